//! Merging two cards of one shop, undoing it, and bringing late edits along.
//!
//! In: a reviewer's decision. Out: `merged_into` on the losing card, what it brings to the winning one, and a row of `card_merge`. What is
//! carried over, and what an undo takes back, is `sync_core::duplicate::carry`'s to say.
//!
//! Invariants:
//! - both histories stay; nothing of the losing card is rewritten but `merged_into`, which only the server writes;
//! - everything a merge writes on the winner is signed with the merge's own epoch, and nothing else is;
//! - no card is merged into one that was merged away, and one that was merged away is not merged again: chains end, cycles cannot be;
//! - every change that is accepted for a losing card is carried over in the transaction that accepts it ([`follow`]), whoever sent it.

use std::collections::HashMap;

use lianka_sync_core::{
    codec::change::{self, Scalar},
    crdt::merge::{Refusal, Write},
    id::{Actor, RecordId, StreetCode},
    kinds::{
        Kind,
        duplicate::carry::{self, SamePersons},
    },
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
    roll::store as roll,
    state::App,
    street::{
        merge::MergeError,
        write::{Late, Signer, StreetWrite},
    },
};

/// The field of a card that was merged away.
pub const MERGED_INTO: &str = "merged_into";
/// Epochs of one merge: one for each of the values it may put beside each other.
const EPOCHS: u32 = 64;
const _: () = assert!(carry::VALUES_MAX <= EPOCHS as usize);

/// An epoch of a merge's own. The high bit keeps it from the epochs of phones, which count from 0.
fn epoch(entropy: [u8; 4]) -> u32 {
    (u32::from_be_bytes(entropy) | 0x8000_0000) & !(EPOCHS - 1)
}

/// Whether `actor` wrote for the merge.
fn wrote(row: &MergeRow) -> impl Fn(Actor) -> bool + use<> {
    let epoch = row.epoch;
    move |actor| i64::from(actor.epoch() & !(EPOCHS - 1)) == epoch
}

fn same_persons(row: &MergeRow) -> SamePersons {
    serde_json::from_value(row.entries.clone()).unwrap_or_default()
}

/// Merges `loser` into `winner`.
pub async fn merge(
    app: &App,
    street: &StreetCode,
    by: &Principal,
    winner: RecordId,
    loser: RecordId,
    note: &str,
) -> Result<MergeRow, ApiError> {
    let mut write = StreetWrite::begin(&app.pool, street, app.clock.now())
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
        compose(&mut write, winner, signer, writes.clone(), &message)?;
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
    let mut write = StreetWrite::begin(&app.pool, street, app.clock.now())
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
        let writes = carry::undo(winning, wrote(&row), &same_persons(&row));
        let signer = Signer::desk(by.device(), by.role());
        compose(
            &mut write,
            winner,
            signer,
            writes,
            &format!("撤销并入 {loser}"),
        )?;
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

/// Carries what this write accepted for cards that were merged away over to the cards that go on. A card may go on in one that was merged
/// itself: then its changes are carried on in turn.
///
/// Nothing here fails a push: what cannot be carried over stays, accepted, in the losing card's history.
pub async fn follow(write: &mut StreetWrite) -> sqlx::Result<()> {
    let mut from = 0;
    loop {
        let (next, late) = write.late(from);
        if late.is_empty() {
            return Ok(());
        }
        from = next;
        let losers: Vec<_> = late.iter().map(|late| late.record.0).collect();
        let street = write.street().clone();
        let rows = store::merges_of_losers(write.tx(), &street, &losers).await?;
        let rows: HashMap<_, _> = rows
            .into_iter()
            .map(|row| (RecordId(row.loser), row))
            .collect();
        write
            .load(rows.values().map(|row| RecordId(row.winner)))
            .await?;
        let authors: Vec<_> = late.iter().map(|late| late.device.0).collect();
        let authors = roll::device_names(write.tx(), &authors).await?;
        for late in late {
            let Some(row) = rows.get(&late.record) else {
                continue;
            };
            let author = authors
                .iter()
                .find(|name| name.device == late.device.0)
                .map_or("", |name| name.username.as_str());
            carry_over(write, row, &late, author);
        }
    }
}

fn carry_over(write: &mut StreetWrite, row: &MergeRow, late: &Late, author: &str) {
    let winner = RecordId(row.winner);
    let (Some(state), Ok(change)) = (write.state(winner), change::decode(&late.bytes)) else {
        tracing::warn!(record = %late.record, %winner, "a late edit stays in the losing card: its winner was erased or cannot be read");
        return;
    };
    let writes = carry::carry(state, wrote(row), &same_persons(row), &change);
    let signer = Signer::Merge {
        desk: None,
        epoch: row.epoch as u32,
    };
    let message = format!(
        "转自已并入的卡片 {}，修改 {}，作者 {author}（设备 {}）",
        late.record, late.hash, late.device
    );
    if let Err(error) = compose(write, winner, signer, writes, &message) {
        tracing::warn!(record = %late.record, %winner, code = error.code().as_str(), "a late edit stays in the losing card");
    }
}

/// Composes, and leaves out what a rule of the winner forbids: a party status whose consent was withdrawn there, a person who was redacted.
fn compose(
    write: &mut StreetWrite,
    record: RecordId,
    signer: Signer,
    mut writes: Vec<Write>,
    message: &str,
) -> Result<(), ApiError> {
    while !writes.is_empty() {
        match write.compose(record, signer, &writes, message) {
            Ok(_) => break,
            Err(refusal) => match refusal.key() {
                Some(key) if writes.iter().any(|write| write.key == key) => {
                    writes.retain(|write| write.key != key);
                }
                _ => return Err(refused(&refusal)),
            },
        }
    }
    Ok(())
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
