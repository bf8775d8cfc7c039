//! What users are told beside their records: docs/protocol.md, "Notices".

use std::collections::BTreeMap;

use lianka_sync_core::{
    codec::wire::Notice,
    crdt::merge::RegisterState,
    id::{ChangeHash, RecordId},
    time::ServerTime,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    desk,
    ledger::{Settled, Store},
    write::{Choice, Writing},
};

/// A notice to be told: to whom, and what.
pub struct Told<'t> {
    pub seq: u64,
    pub username: &'t str,
    pub kind: &'static str,
    pub record: RecordId,
    pub field: Option<&'t str>,
    pub hash: ChangeHash,
    pub by: Option<String>,
    pub note: Option<String>,
}

impl Store {
    /// Tells a user, once.
    pub(super) fn tell(&mut self, now: ServerTime, told: Told<'_>) {
        let id = id_of(now, &told);
        let notices = self.notices.entry(told.username.to_owned()).or_default();
        if notices.iter().all(|notice| notice.id != id) {
            let Told {
                seq,
                kind,
                record,
                field,
                hash,
                by,
                note,
                ..
            } = told;
            let (kind, field) = (kind.to_owned(), field.map(str::to_owned));
            notices.push(Notice {
                id,
                seq,
                kind,
                record,
                field,
                hash: Some(hash),
                by,
                at: now,
                note,
            });
        }
    }
}

/// The same for the same news, and in the order of time.
fn id_of(now: ServerTime, told: &Told<'_>) -> Uuid {
    let digest = Sha256::new()
        .chain_update(told.kind)
        .chain_update([0])
        .chain_update(told.username)
        .chain_update([0])
        .chain_update(told.field.unwrap_or_default())
        .chain_update([0])
        .chain_update(told.hash.0)
        .finalize();
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&digest[..10]);
    RecordId::new_v7(now.unix_ms().unsigned_abs(), entropy).0
}

impl Writing<'_> {
    /// Whoever wrote a value that somebody else chose against is told, unless another value of theirs was chosen.
    pub(super) fn tell_of_choices(&mut self) {
        for choice in std::mem::take(&mut self.choices) {
            let key = choice.settlement.key.as_str();
            let still_said = |state: &RegisterState| {
                state.generation() == choice.generation || !state.visible(key).is_empty()
            };
            if !self.state(choice.record).is_some_and(still_said) {
                continue;
            }
            self.tell_losers(&choice);
            let replaced = choice.settlement.replaced.iter().map(|value| &value.value);
            let values = replaced
                .chain(&choice.settlement.chosen)
                .map(desk::text)
                .collect();
            self.store.settled.push(Settled {
                record: choice.record,
                key: choice.settlement.key,
                values,
            });
        }
    }

    fn tell_losers(&mut self, choice: &Choice) {
        let mut won: BTreeMap<String, bool> = BTreeMap::new();
        for value in &choice.settlement.replaced {
            if let Some(username) = self.store.username(value.device) {
                *won.entry(username.to_owned()).or_default() |=
                    Some(&value.value) == choice.settlement.chosen.as_ref();
            }
        }
        let by = self.store.username(choice.by).map(str::to_owned);
        let role = by
            .as_ref()
            .and_then(|by| self.store.users.get(by))
            .map(|user| user.role.as_str().to_owned());
        for (username, _) in won
            .iter()
            .filter(|(username, won)| !**won && Some(*username) != by.as_ref())
        {
            self.store.tell(
                self.now,
                Told {
                    seq: choice.seq,
                    username,
                    kind: "value_not_chosen",
                    record: choice.record,
                    field: Some(&choice.settlement.key),
                    hash: choice.hash,
                    by: role.clone(),
                    note: Some(choice.remark.clone()).filter(|remark| !remark.is_empty()),
                },
            );
        }
    }
}
