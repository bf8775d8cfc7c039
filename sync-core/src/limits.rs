//! Every maximum in one place, with the relations between them asserted at compile time.
//!
//! docs/protocol.md prints these numbers; a test of the repository compares the two.

/// Bytes of one change chunk, inflated.
pub const CHANGE_BYTES_MAX: usize = 64 * 1024;
/// Operations in one change. A note of the greatest length can be typed, or replaced, in one change.
pub const CHANGE_OPS_MAX: usize = 5_000;
/// Dependencies named by one change.
pub const CHANGE_DEPS_MAX: usize = 64;
/// Heads that a record may have: the next change of anybody names them all, so they must stay below [`CHANGE_DEPS_MAX`].
pub const RECORD_HEADS_MAX: usize = 48;
/// Actors named by one change, its author included.
pub const CHANGE_ACTORS_MAX: usize = 64;
/// Predecessors named by one operation.
pub const OP_PREDS_MAX: usize = 64;
/// Predecessors over all operations of a change.
pub const CHANGE_PREDS_MAX: usize = 2 * CHANGE_OPS_MAX;
/// Bytes of a change's message.
pub const CHANGE_MESSAGE_BYTES_MAX: usize = 600;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 256;
/// Bytes of one scalar value.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Characters of the note.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// Highest operation counter that may ever appear in a record: Automerge counts in 32 bits.
pub const OP_COUNTER_MAX: u64 = 1 << 30;
/// Highest sequence number of one actor in one record.
pub const ACTOR_SEQ_MAX: u64 = 1 << 20;
/// Latest device time a change may carry, in seconds since 1970 (the first day of 2100): catches milliseconds sent as seconds.
pub const CHANGE_TIME_SECONDS_MAX: i64 = 4_102_444_800;
/// Changes in the history of one generation of a record; the office compacts it before.
pub const RECORD_CHANGES_MAX: usize = 20_000;
/// Bytes of all changes of one generation of a record: its snapshot must fit one item, and nobody can fill a street's store with one card.
pub const RECORD_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Actors in the history of one generation of a record.
pub const RECORD_ACTORS_MAX: usize = 2_000;
/// Distinct keys a record may hold, deleted ones included.
pub const RECORD_KEYS_MAX: usize = 5_000;
/// Concurrent values one register may hold.
pub const REGISTER_VALUES_MAX: usize = 64;
/// Operations one register remembers as overwritten.
pub const REGISTER_OVERWRITTEN_MAX: usize = 20_000;
/// Characters of a set member's or custom field's name.
pub const MEMBER_CHARS_MAX: usize = 40;

/// Bytes of one item on the wire.
pub const ITEM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one sync request as sent.
pub const SYNC_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one sync request after inflation.
pub const SYNC_INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Changes in one sync request; a phone with more sends several requests.
pub const SYNC_CHANGES_MAX: usize = 2_000;
/// Operations of all changes of one sync request: a run of them takes a few bytes on the wire and a hundred each once read.
pub const SYNC_OPS_MAX: usize = 500_000;
/// Bytes of response after which a checkpoint is sent.
pub const CHECKPOINT_BYTES: usize = 1024 * 1024;
/// Changes in one block.
pub const BLOCK_CHANGES_MAX: usize = 1_024;
/// Operations of all changes of one block.
pub const BLOCK_OPS_MAX: usize = 32 * 1024;
/// Bytes of one block.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the keys, values and messages of all changes of one block.
pub const BLOCK_UNPACKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a change beyond which it is sent as it is, not in a block.
pub const BLOCK_CHANGE_BYTES_MAX: usize = 4 * 1024;
/// Ways to put one change of a block together before it is taken for lost.
pub const BLOCK_TRIES_MAX: usize = 64;
/// Pending changes of one record beyond which a phone is sent the snapshot instead.
pub const TAIL_CHANGES_MAX: usize = 32;

const _: () = assert!(
    CHANGE_OPS_MAX >= 2 * NOTE_CHARS_MAX + 100,
    "replacing a whole note fits one change"
);
const _: () = assert!(
    CHANGE_BYTES_MAX * 4 / 3 + 1024 < ITEM_BYTES_MAX,
    "a change fits an item in base64"
);
const _: () = assert!(
    BLOCK_BYTES_MAX * 4 / 3 + 1024 < ITEM_BYTES_MAX,
    "a block fits an item in base64"
);
const _: () = assert!(
    RECORD_BYTES_MAX as usize * 4 / 3 + 1024 < ITEM_BYTES_MAX,
    "a snapshot fits an item in base64"
);
const _: () = assert!(
    RECORD_HEADS_MAX < CHANGE_DEPS_MAX,
    "a change can name every head"
);
const _: () = assert!(
    ITEM_BYTES_MAX < SYNC_INFLATED_BYTES_MAX,
    "an item fits a request"
);
const _: () = assert!(
    CHANGE_OPS_MAX * 10 <= SYNC_OPS_MAX,
    "a phone that sends the largest changes gets on"
);
const _: () = assert!(
    SYNC_BODY_BYTES_MAX <= SYNC_INFLATED_BYTES_MAX,
    "a body as sent is never larger than inflated"
);
const _: () = assert!(
    OP_COUNTER_MAX < u32::MAX as u64,
    "Automerge's counters are 32 bits"
);
