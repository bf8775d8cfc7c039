//! Merging two cards of one shop, undoing it, and bringing late edits along.
//!
//! In: a reviewer's decision. Out: `merged_into` on the losing card, what it brings to the winning one, and a row of `card_merge`. What is
//! carried over, and what an undo takes back, is `sync_core::duplicate::carry`'s to say.
//!
//! Invariants:
//! - both histories stay; nothing of the losing card is rewritten but `merged_into`, which only the server writes;
//! - everything a merge writes on the winner is signed with the merge's own epoch, and nothing else is;
//! - no card is merged into one that was merged away, and one that was merged away is not merged again: chains end, cycles cannot be;
//! - every change that is accepted for a losing card is carried over in the transaction that accepts it, whoever sent it.

use lianka_office_core::{
    acts::merge_cards::{MERGED_INTO, epoch, wrote},
    follow::compose_what_fits,
    store::CardMerge,
    street::Signer,
};
use lianka_sync_core::{
    codec::change::Scalar,
    crdt::merge::{Refusal, Write},
    id::{RecordId, StreetCode},
    kinds::{Kind, duplicate::carry},
};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    audit::{Action, Event},
    auth::Principal,
    duplicates::{
        self,
        store::{self as store, MergeRow},
    },
    http::error::{ApiError, ErrorCode},
    state::App,
    street::{merge::MergeError, transaction::StreetTransaction},
};

/// Merges `loser` into `winner`.
pub async fn merge(
    app: &App,
    street: &StreetCode,
    by: &Principal,
    winner: RecordId,
    loser: RecordId,
    note: &str,
) -> Result<MergeRow, ApiError> {
    let mut write = StreetTransaction::begin(&app.pool, street, app.clock.now())
        .await
        .map_err(not_begun)?;
    write.load([winner, loser]).await?;
    let (Some(winning), Some(losing)) = (write.state(winner), write.state(loser)) else {
        return Err(ApiError::new(ErrorCode::NotFound));
    };
    if winning.kind() != Kind::ShopCard || losing.kind() != Kind::ShopCard {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    if winner == loser {
        return Err(ApiError::invalid_field("winner", "one_of_the_pair"));
    }
    if winning.text(MERGED_INTO).is_some() || losing.text(MERGED_INTO).is_some() {
        return Err(ApiError::new(ErrorCode::AlreadyMerged));
    }
    let plan = carry::plan(&winning.view(), &losing.view());
    let epoch = epoch(app.entropy.bytes());
    let message = format!("并入重复卡片 {loser}");
    for (nth, writes) in plan.changes.iter().enumerate() {
        let signer = Signer::Merge {
            desk: Some((by.device(), by.role())),
            epoch: epoch + nth as u32,
        };
        compose_what_fits(&mut write, winner, signer, writes.clone(), &message)
            .map_err(|refusal| refused(&refusal))?;
    }
    let away = [Write::new(
        MERGED_INTO,
        Some(Scalar::Str(winner.to_string())),
    )];
    write
        .compose(loser, Signer::Server, &away, &format!("并入 {winner}"))
        .map_err(|refusal| refused(&refusal))?;
    let now = write.now();
    let reasons = duplicates::reasons(write.tx(), street, winner, loser).await?;
    let row = MergeRow {
        merge: RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()).0,
        winner: winner.0,
        loser: loser.0,
        reasons: reasons.iter().map(ToString::to_string).collect(),
        note: note.to_owned(),
        username: by.username().to_owned(),
        device: by.device().0,
        epoch: epoch.into(),
        entries: json!(plan.same_persons),
        merged_at: OffsetDateTime::from(now),
        undone_by: None,
        undone_note: None,
        undone_at: None,
    };
    store::insert_merge(write.tx(), street, &row).await?;
    let event = Event::by(by.username(), by.device(), Action::Merge).on(winner);
    write.audit(
        event
            .with("merge", row.merge.to_string())
            .with("loser", loser.to_string()),
    );
    write.commit().await?;
    Ok(row)
}

/// Brings both cards of a merge back.
pub async fn undo(
    app: &App,
    street: &StreetCode,
    by: &Principal,
    merge: Uuid,
    note: &str,
) -> Result<MergeRow, ApiError> {
    let mut write = StreetTransaction::begin(&app.pool, street, app.clock.now())
        .await
        .map_err(not_begun)?;
    // Read under the street's lock: of two who undo at once, the second finds it undone.
    let row = store::merge(write.tx(), street, merge)
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    if row.undone_at.is_some() {
        return Err(ApiError::new(ErrorCode::MergeUndone));
    }
    let (winner, loser) = (RecordId(row.winner), RecordId(row.loser));
    write.load([winner, loser]).await?;
    // A winner that was erased has nothing left to give back; the other card comes back all the same.
    if let Some(winning) = write.state(winner) {
        if winning.text(MERGED_INTO).is_some() {
            return Err(ApiError::new(ErrorCode::MergeNotLast));
        }
        let merge = CardMerge::from(row.clone());
        let writes = carry::undo(winning, wrote(&merge), &merge.same_persons);
        let signer = Signer::desk(by.device(), by.role());
        compose_what_fits(
            &mut write,
            winner,
            signer,
            writes,
            &format!("撤销并入 {loser}"),
        )
        .map_err(|refusal| refused(&refusal))?;
    }
    write
        .compose(
            loser,
            Signer::Server,
            &[Write::new(MERGED_INTO, None)],
            &format!("撤销并入 {winner}"),
        )
        .map_err(|refusal| refused(&refusal))?;
    let now = OffsetDateTime::from(write.now());
    store::mark_undone(write.tx(), street, merge, by.username(), note, now).await?;
    let event = Event::by(by.username(), by.device(), Action::MergeUndone).on(winner);
    write.audit(
        event
            .with("merge", merge.to_string())
            .with("loser", loser.to_string()),
    );
    write.commit().await?;
    Ok(MergeRow {
        undone_by: Some(by.username().to_owned()),
        undone_note: Some(note.to_owned()),
        undone_at: Some(now),
        ..row
    })
}

/// Why a street write did not begin, for a caller.
pub fn not_begun(error: MergeError) -> ApiError {
    match error {
        MergeError::Store(error) => error.into(),
        MergeError::NoStreet => ApiError::new(ErrorCode::NotFound),
    }
}

/// A card that is full, or cannot be read just now.
fn refused(refusal: &Refusal) -> ApiError {
    let code = if refusal.retryable() {
        ErrorCode::Unavailable
    } else {
        ErrorCode::CardRefuses
    };
    let detail = (
        refusal.message(lianka_sync_core::lang::Lang::Zh),
        refusal.message(lianka_sync_core::lang::Lang::En),
    );
    ApiError::new(code).detail(detail.0, detail.1)
}
