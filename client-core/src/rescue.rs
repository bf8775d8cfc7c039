//! Unsent edits as a file: what a phone that cannot reach the office hands out, and another phone of the same user takes in and sends.
//!
//! In: the outbox and the drafts. Out: [`Unsent`], and on the other phone the effects that put it there. Nothing is signed in anybody else's name:
//! the entries are carried as they were made. One that the office has is answered as a duplicate; every other is refused as another device's, and
//! the rebase that follows writes it in this phone's name, with what its author had seen, as after an enrolment anew. Taking a file in twice, or sending
//! from both phones, changes nothing.
//!
//! [`file_key`] makes the key that the file is sealed with; sealing is the adapter's, with the AEAD that its platform has.

use argon2::{Algorithm, Argon2, Params, Version};
use lianka_sync_core::{
    codec::change,
    crdt::record::Edit,
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::{Kind, key},
    time::DeviceTime,
};
use serde::{Deserialize, Serialize};

use crate::{
    Draft, Effect, Identity, OutboxEntry, OutboxState, Reason, document, record::RecordState,
    store::Records,
};

/// Bytes of the salt.
pub const SALT_BYTES: usize = 16;
/// The shortest passphrase: whoever holds the file may try as often as they like.
pub const PASSPHRASE_CHARS_MIN: usize = 8;
/// Memory of the key's derivation in KiB, and its passes: OWASP's, as for passwords at the office.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// What a phone has not handed over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unsent {
    /// Who the phone was.
    pub device: DeviceId,
    /// Whose edits they are.
    pub username: String,
    /// Where.
    pub street: StreetCode,
    /// When the file was written, by the phone's clock.
    pub written_at: DeviceTime,
    /// Changes, in their order. What waits for a reviewer is not among them: the office has it.
    pub entries: Vec<Carried>,
    /// Edits that could not be kept.
    pub drafts: Vec<Draft>,
}

/// An outbox entry on its way in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Carried {
    record: RecordId,
    kind: Kind,
    grid: String,
    generation: u32,
    bytes: Vec<u8>,
    edits: Vec<Edit>,
    made_at: DeviceTime,
}

/// What was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TakenIn {
    /// Changes that will be sent.
    pub entries: usize,
    /// Edits that are drafts now: those of the file, and changes of records that this phone does not hold.
    pub drafts: usize,
    /// Changes that were here already.
    pub known: usize,
}

/// Why a file is not taken in. Nothing of it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTaken {
    /// The edits are another user's, or of another street.
    #[error("the edits are {0}'s")]
    OtherUser(String),
    /// An entry is no change.
    #[error("a change in the file does not read")]
    Damaged,
}

/// The key of a file, from a passphrase: Argon2id. `None` where the passphrase is too short.
pub fn file_key(passphrase: &str, salt: &[u8; SALT_BYTES]) -> Option<[u8; 32]> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return None;
    }
    let mut key = [0; 32];
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(key.len())).ok()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .ok()?;
    Some(key)
}

/// What the phone has not handed over.
pub fn unsent<R: Records>(tx: &R, now: DeviceTime) -> Result<Unsent, R::Error> {
    let identity = tx.identity()?;
    let mut entries = Vec::new();
    for entry in tx.outbox()? {
        if entry.state == OutboxState::Held {
            continue;
        }
        let grid = tx.record_state(entry.record)?.stored;
        entries.push(Carried {
            record: entry.record,
            kind: entry.kind,
            grid: grid.map_or_else(String::new, |stored| stored.grid),
            generation: entry.generation,
            bytes: entry.bytes,
            edits: entry.edits,
            made_at: entry.made_at,
        });
    }
    Ok(Unsent {
        device: identity.device,
        username: identity.username,
        street: identity.street,
        written_at: now,
        entries,
        drafts: tx.drafts()?.into_iter().map(|kept| kept.draft).collect(),
    })
}

/// Puts what another phone of this user had not handed over into this one's outbox and drafts.
pub fn take_in<R: Records>(tx: &R, unsent: &Unsent) -> Result<Result<TakenIn, NotTaken>, R::Error> {
    let identity = tx.identity()?;
    if (&identity.username, &identity.street) != (&unsent.username, &unsent.street) {
        return Ok(Err(NotTaken::OtherUser(unsent.username.clone())));
    }
    let mut taken = TakenIn::default();
    let mut before = tx.taken_in()?;
    for carried in &unsent.entries {
        let state = tx.record_state(carried.record)?;
        let Ok(change) = change::decode(&carried.bytes) else {
            // The transaction is the caller's to drop.
            return Ok(Err(NotTaken::Damaged));
        };
        // Once written in this phone's name it has other bytes: that it was taken in is remembered by those it came with.
        let is_new = before.insert(format!("{}/{}", carried.record, change.hash));
        if !is_new || is_known(&state, change.hash) {
            taken.known += 1;
            continue;
        }
        let creates = carried
            .edits
            .iter()
            .any(|edit| matches!(edit, Edit::Put { key, .. } if key == key::KIND));
        let mut effects = Vec::new();
        match (&state.stored, creates) {
            (None, false) => {
                taken.drafts += 1;
                effects.push(Effect::PutDraft(Box::new(carried.draft())));
            }
            (stored, _) => {
                taken.entries += 1;
                if stored.is_none() {
                    effects.push(Effect::CreateRecord {
                        record: carried.record,
                        kind: carried.kind,
                        grid: carried.grid.clone(),
                    });
                }
                let entry = OutboxEntry::new(
                    carried.record,
                    carried.kind,
                    carried.generation,
                    &change,
                    carried.edits.clone(),
                    carried.made_at,
                );
                effects.push(Effect::Enqueue(Box::new(entry)));
            }
        }
        tx.apply(&effects)?;
    }
    for draft in &unsent.drafts {
        if before.insert(format!("{}@{}", draft.record, draft.made_at.unix_ms())) {
            taken.drafts += 1;
            tx.apply(&[Effect::PutDraft(Box::new(draft.clone()))])?;
        } else {
            taken.known += 1;
        }
    }
    tx.set_taken_in(&before)?;
    remember(tx, identity, unsent.device)?;
    Ok(Ok(taken))
}

/// The other phone was this user's: a server that loses what it wrote gets it again from here.
fn remember<R: Records>(tx: &R, mut identity: Identity, device: DeviceId) -> Result<(), R::Error> {
    if device == identity.device || identity.former_devices.contains(&device) {
        return Ok(());
    }
    identity.former_devices.push(device);
    tx.set_identity(&identity)
}

/// Whether the phone holds the change: from the office, or in its outbox.
fn is_known(state: &RecordState, hash: ChangeHash) -> bool {
    let in_document = |mut opened: document::Opened| opened.document.contains(hash);
    state.outbox.iter().any(|entry| entry.hash == hash)
        || document::open(state).is_ok_and(|opened| opened.is_some_and(in_document))
}

impl Carried {
    fn draft(&self) -> Draft {
        Draft {
            record: self.record,
            kind: self.kind,
            creating: false,
            edits: self.edits.clone(),
            made_at: self.made_at,
            reason: Reason {
                code: "no_such_record".into(),
                ..Reason::default()
            },
        }
    }
}
