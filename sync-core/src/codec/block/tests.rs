//! What goes into a block comes out as it was; and what hostile bytes may claim.

use std::convert::Infallible;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::{pack::Packer, *};
use crate::{
    codec::change::{self, Action, Op, Scalar},
    crdt::record::{Edit, Record},
    id::DeviceId,
    limits,
    time::DeviceTime,
};

fn actor(n: u128) -> Actor {
    Actor::new(DeviceId(Uuid::from_u128(n)), 1)
}

fn at(seconds: i64) -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_000_000 + seconds)
}

fn card(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

/// What a phone holds: of each record its changes, the last first.
#[derive(Default)]
struct Phone {
    held: Vec<(RecordId, Vec<ChangeHash>)>,
    /// How many of them are cheap to tell.
    cheap: usize,
}

impl Holdings for Phone {
    type Error = Infallible;

    fn records(&mut self, short: ShortRecord) -> Result<Vec<RecordId>, Infallible> {
        let records = self.held.iter().map(|(record, _)| *record);
        Ok(records
            .filter(|record| short_record(*record) == short)
            .collect())
    }

    fn changes(
        &mut self,
        record: RecordId,
        begins: &dyn Fn(&ChangeHash) -> bool,
        all: bool,
    ) -> Result<Vec<ChangeHash>, Infallible> {
        let of = self.held.iter().filter(|(held, _)| *held == record);
        let hashes = of.flat_map(|(_, hashes)| hashes.iter().copied());
        let cheap = if all { usize::MAX } else { self.cheap };
        Ok(hashes.take(cheap).filter(|hash| begins(hash)).collect())
    }
}

fn unpacked(bytes: &[u8], phone: &mut Phone) -> Option<Vec<Unpacked>> {
    let Ok(unpacked) = Block::read(bytes).unwrap().unpack(phone);
    unpacked
}

/// Cards that everybody holds, and what several phones write to them, each in its own order of seeing.
struct Street {
    records: Vec<(RecordId, Record)>,
    phone: Phone,
    log: Vec<Entry>,
}

impl Street {
    fn new(cards: u128) -> Self {
        let mut street = Self {
            records: Vec::new(),
            phone: Phone {
                held: Vec::new(),
                cheap: 1,
            },
            log: Vec::new(),
        };
        for n in 1..=cards {
            let edits = [
                Edit::set("kind", "shop_card"),
                Edit::set("street", "310104003"),
                Edit::set("grid", "康平01"),
                Edit::set("sign_name", &format!("第{n}号包子")),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ];
            let (record, change) = Record::create(actor(100), at(0), &edits).unwrap();
            // Made in the same millisecond: the ids begin alike.
            let id = card(0x0198_c0de_0000_7000_8000_0000_0000_0000 + n);
            street.phone.held.push((id, vec![change.hash]));
            street.records.push((id, record));
        }
        street
    }

    /// Somebody edits a card as it stands at the office, or as everybody had it in the morning.
    fn edit(&mut self, card: usize, by: u128, sees_all: bool, edits: &[Edit]) {
        let (id, record) = &mut self.records[card];
        let seq = self.log.len() as u64 + 7;
        let mut copy = record.clone();
        if !sees_all {
            let first = self.phone.held[card].1[0];
            copy = record.when(&|hash| hash == first).unwrap().unwrap();
        }
        let epoch = u32::try_from(seq).unwrap();
        let author = Actor::new(DeviceId(Uuid::from_u128(by)), epoch);
        let Some(change) = copy.edit(author, at(seq as i64), edits, "").unwrap() else {
            return;
        };
        record.apply([change.bytes.as_slice()]).unwrap();
        self.log.push(Entry {
            record: *id,
            generation: 1,
            seq,
            change,
        });
    }
}

fn assert_same(unpacked: &[Unpacked], entries: &[Entry]) {
    assert_eq!(unpacked.len(), entries.len());
    for (unpacked, entry) in unpacked.iter().zip(entries) {
        let expected = Unpacked {
            record: entry.record,
            generation: entry.generation,
            seq: entry.seq,
            hash: entry.change.hash,
            actor: entry.change.actor,
            bytes: entry.change.bytes.clone(),
        };
        assert_eq!(unpacked, &expected);
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let text = "\\PC{0,12}";
    prop_oneof![
        text.prop_map(|text| Edit::set("sign_name", &text)),
        text.prop_map(|text| Edit::set("custom/area", &text)),
        any::<i64>().prop_map(|number| Edit::Put {
            key: "sort".into(),
            value: Scalar::Int(number)
        }),
        Just(Edit::add("tags/夜市")),
        Just(Edit::Delete {
            key: "tags/夜市".into()
        }),
        Just(Edit::Put {
            key: "tags/夜市".into(),
            value: Scalar::Bool(false)
        }),
        text.prop_map(|text| Edit::Note { text }),
    ]
}

proptest! {
    #[test]
    fn what_is_packed_comes_out_as_it_was(
        edits in vec((0_usize..3, 1_u128..5, any::<bool>(), vec(edit(), 1..4)), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut street = Street::new(3);
        for (card, by, sees_all, edits) in &edits {
            street.edit(*card, *by, *sees_all, edits);
        }
        // In one block, and in two of which the later builds on the earlier.
        let cut = cut.index(street.log.len() + 1);
        for part in [&street.log[..cut], &street.log[cut..]] {
            let block = pack(part).unwrap();
            assert_same(&unpacked(&block, &mut street.phone).unwrap(), part);
            for entry in part {
                let held = street.phone.held.iter_mut().find(|(record, _)| *record == entry.record);
                held.unwrap().1.push(entry.change.hash);
            }
        }
    }

    /// What passes is within the limits of a change, whatever it claims; and nothing panics.
    #[test]
    fn a_damaged_block_comes_out_as_it_was_or_not_at_all(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut street = Street::new(2);
        for by in 1..6 {
            let note = Edit::Note { text: format!("门口{by}") };
            street.edit(by as usize % 2, by, by % 2 == 0, &[Edit::set("sign_name", "张记"), note]);
        }
        let mut block = pack(&street.log).unwrap();
        for (at, byte) in damage {
            let at = at.index(block.len());
            block[at] = byte;
        }
        let truncated = &block[..end.index(block.len())];
        for bytes in [truncated, &block] {
            if let Ok(block) = Block::read(bytes) {
                let Ok(unpacked) = block.unpack(&mut street.phone);
                for change in unpacked.into_iter().flatten() {
                    let there = street.log.iter().any(|entry| entry.change.bytes == change.bytes);
                    prop_assert!(there, "{:?}", change);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        for bytes in [bytes.clone(), [&[VERSION][..], &bytes].concat()] {
            if let Ok(block) = Block::read(&bytes) {
                let _ = block.unpack(&mut Street::new(2).phone);
            }
        }
    }
}

/// A street in which one card was written to again and again.
fn chain() -> Street {
    let mut street = Street::new(2);
    for by in 1..4 {
        street.edit(0, by, true, &[Edit::set("sign_name", &format!("第{by}家"))]);
    }
    street
}

#[test]
fn a_dependency_that_is_dear_to_tell_is_found_as_well() {
    let mut street = chain();
    let before = street.log.remove(0).change.hash;
    let block = pack(&street.log).unwrap();
    street.phone.held[0].1.push(before);
    assert_same(&unpacked(&block, &mut street.phone).unwrap(), &street.log);
}

#[test]
fn what_builds_on_something_unknown_does_not_come_out() {
    let mut street = chain();
    street.log.remove(0);
    let block = pack(&street.log).unwrap();
    assert_eq!(unpacked(&block, &mut street.phone), None);
    // Nor where the record is not held.
    street.phone.held.clear();
    assert_eq!(unpacked(&block, &mut street.phone), None);
}

/// Who makes up ids can make them end alike: what a change builds on says which record is meant.
#[test]
fn records_that_end_alike_are_told_apart() {
    let mut street = chain();
    street.edit(1, 9, true, &[Edit::set("sign_name", "另一家")]);
    let twin = card(0x0198_0000_0000_7000_8000_0000_0000_0001);
    let other = street.phone.held[1].1.clone();
    street.phone.held.insert(0, (twin, other));
    let block = pack(&street.log).unwrap();
    assert_same(&unpacked(&block, &mut street.phone).unwrap(), &street.log);
    // A change that builds on nothing says nothing.
    let mut first = street.log[0].clone();
    first.change.deps.clear();
    (first.change.hash, first.change.bytes) = change::encode_known(&first.change);
    let block = pack(&[first]).unwrap();
    assert_eq!(unpacked(&block, &mut street.phone), None);
}

#[test]
fn a_change_that_begins_like_a_dependency_is_not_taken_for_it() {
    let mut street = chain();
    let dep = street.phone.held[0].1[0];
    let like = |n: u8| {
        let mut hash = ChangeHash([n; 32]);
        hash.0[..2].copy_from_slice(&dep.0[..2]);
        hash
    };
    street.phone.cheap = 100;
    let block = pack(&street.log).unwrap();
    street.phone.held[0].1.splice(0..0, [like(1), like(2)]);
    assert_same(&unpacked(&block, &mut street.phone).unwrap(), &street.log);
    // Not beyond so many ways.
    let many = (0..limits::BLOCK_TRIES_MAX).map(|n| like(n as u8));
    street.phone.held[0].1.splice(0..0, many);
    assert_eq!(unpacked(&block, &mut street.phone), None);
}

#[test]
fn more_than_a_block_may_hold_is_not_packed() {
    let street = chain();
    let many = |n| vec![street.log[0].clone(); n];
    assert!(pack(&many(limits::BLOCK_CHANGES_MAX)).is_some());
    assert_eq!(pack(&many(limits::BLOCK_CHANGES_MAX + 1)), None);
    let mut large = street.log[0].clone();
    let op = large.change.ops[0].clone();
    large.change.ops = vec![op; limits::BLOCK_OPS_MAX / 8];
    assert!(pack(&vec![large.clone(); 8]).is_some());
    assert_eq!(pack(&vec![large; 9]), None);
}

#[test]
fn what_claims_too_much_is_refused_before_it_is_written_out() {
    let refused = |bytes: &[u8]| Block::read(bytes).err();
    let header = |changes: u64| {
        let mut bytes = vec![VERSION];
        change::column::write_uleb(&mut bytes, changes);
        bytes.extend([0; column::COLUMNS]);
        bytes
    };
    assert_eq!(refused(&header(0)), None);
    let max = limits::BLOCK_CHANGES_MAX;
    let too_many = Some(BlockError::TooLarge("changes", max));
    assert_eq!(refused(&header(max as u64 + 1)), too_many);
    assert_eq!(refused(&header(u64::MAX)), too_many);
    let max = limits::BLOCK_BYTES_MAX;
    let long = Some(BlockError::TooLarge("bytes", max));
    assert_eq!(refused(&vec![VERSION; max + 1]), long);
    assert_eq!(refused(&[2, 0]), Some(BlockError::Malformed("version")));
    // One long key in ten thousand operations.
    let mut entry = chain().log.remove(0);
    let long = Op {
        action: Action::Delete {
            key: "k".repeat(limits::KEY_BYTES_MAX),
        },
        pred: Vec::new(),
    };
    entry.change.ops = vec![long; limits::CHANGE_OPS_MAX];
    let entries = vec![entry; 4];
    assert_eq!(pack(&entries), None);
    let max = limits::BLOCK_UNPACKED_BYTES_MAX;
    let mut packer = Packer::new();
    packer.entries(&entries);
    let written = packer.out.finish(VERSION, entries.len());
    let too_large = Some(BlockError::TooLarge("keys and values", max));
    assert_eq!(refused(&written), too_large);
}

/// The bytes of a block are frozen: phones in the field read them.
#[test]
fn a_block_is_frozen() {
    let mut street = chain();
    street.edit(
        1,
        4,
        true,
        &[
            Edit::add("tags/夜市"),
            Edit::Note {
                text: "门口".into(),
            },
        ],
    );
    let block = pack(&street.log).unwrap();
    assert_eq!(
        hex::encode(&block),
        include_str!("fixtures/block.hex").trim()
    );
}
