//! What a decision wants to know, read from Postgres: one statement for each kind of question that is asked.

use lianka_office_core::{
    store::{Grids, Loaded, Stored, StoredRecord, Wants},
    street::Street,
};
use lianka_sync_core::{
    crdt::merge::RegisterState,
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::transfer::letter_key,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::street::store::{
    calendars, card_merges as duplicates, contact_joins, erasures, held_changes as held,
    read_models,
    records::{self, DocumentPage},
    resolutions as conflicts, streets, transfers, trimmed,
};

/// Receipts of one record that are looked through.
const RECEIPTS_MAX: i64 = 500;

/// Loads what of `wants` the street does not know yet; whether there was anything.
pub async fn know(
    conn: &mut PgConnection,
    street: &mut Street,
    wants: Wants,
) -> sqlx::Result<bool> {
    let lacking = street.lacks(wants);
    if lacking.is_empty() {
        return Ok(false);
    }
    let loaded = Box::pin(load(conn, street.street(), &lacking)).await?;
    street.learn(lacking, loaded);
    Ok(true)
}

/// Answers what is wanted.
pub async fn load(
    tx: &mut PgConnection,
    street: &StreetCode,
    wants: &Wants,
) -> sqlx::Result<Loaded> {
    let mut loaded = Loaded::default();
    if !wants.records.is_empty() {
        load_records(tx, street, &ids_of(&wants.records), &mut loaded).await?;
    }
    if !wants.documents.is_empty() {
        let records = ids_of(&wants.documents);
        let page = DocumentPage {
            grids: None,
            records: Some(&records),
            after: 0,
            limit: records.len() as i64,
        };
        let documents = records::documents(tx, street, page).await?.into_iter();
        loaded.documents = documents.map(|one| (one.record, one.bytes)).collect();
    }
    if !wants.histories.is_empty() {
        let records = ids_of(&wants.histories);
        loaded.histories = records::places(tx, street, &records).await?;
        for (record, places) in trimmed::places(tx, street, &records).await? {
            let all = loaded.histories.entry(record).or_default();
            all.extend(places);
            all.sort_by_key(|place| place.seq);
        }
    }
    if !wants.assignments.is_empty() {
        let users: Vec<String> = wants.assignments.iter().cloned().collect();
        for assignment in streets::assignments_of(tx, street, &users).await? {
            let of: &mut Grids = loaded.assignments.entry(assignment.username).or_default();
            if assignment.current {
                of.now.insert(assignment.grid.clone());
            }
            of.ever.insert(assignment.grid);
        }
    }
    if !wants.roles.is_empty() {
        let users: Vec<String> = wants.roles.iter().cloned().collect();
        loaded.roles = streets::roles_of(tx, &users).await?.into_iter().collect();
    }
    if !wants.sequences.is_empty() {
        let (records, hashes) = changes(&wants.sequences);
        loaded.sequences = records::seqs(tx, street, &records, &hashes).await?;
    }
    if !wants.earlier.is_empty() {
        let (records, hashes) = changes(&wants.earlier);
        let earlier = trimmed::earlier(tx, street, &records, &hashes).await?;
        loaded.earlier = earlier.into_iter().map(|change| (change, ())).collect();
    }
    if !wants.held.is_empty() {
        let (records, hashes) = changes(&wants.held);
        loaded.held = held::known(tx, street, &records, &hashes).await?;
    }
    if !wants.waiting.is_empty() {
        loaded.waiting = held::count_by_device(tx, street, &devices(&wants.waiting)).await?;
    }
    if !wants.reasons.is_empty() {
        loaded.reasons = held::open_of_records(tx, street, &ids_of(&wants.reasons)).await?;
    }
    if !wants.left_grids.is_empty() {
        loaded.left_grids = records::left_grids(tx, street, &ids_of(&wants.left_grids)).await?;
    }
    if !wants.people.is_empty() {
        loaded.people = conflicts::writers(tx, &devices(&wants.people)).await?;
    }
    if !wants.unmade.is_empty() {
        let unmade = erasures::unmade(tx, street, &ids_of(&wants.unmade)).await?;
        loaded.unmade = unmade.into_iter().map(|record| (record, ())).collect();
    }
    if !wants.merged_away.is_empty() {
        let merges = duplicates::merges_of_losers(tx, street, &ids_of(&wants.merged_away)).await?;
        loaded.merged_away = merges
            .into_iter()
            .map(|merge| (merge.loser, merge))
            .collect();
    }
    if !wants.letters.is_empty() {
        for (record, number) in transfers::live_letters(tx, street).await? {
            let key = letter_key(&number);
            if wants.letters.contains(&key) {
                loaded.letters.entry(key).or_default().push(record);
            }
        }
    }
    if !wants.calendars.is_empty() {
        let calendar = calendars::calendar(tx, street).await?;
        loaded.calendars.insert((), calendar);
    }
    if !wants.requests.is_empty() {
        let requests = transfers::open_requests(tx, street).await?;
        loaded.requests.insert((), requests);
    }
    if !wants.different.is_empty() {
        let different = transfers::different_people(tx, street).await?;
        loaded.different.insert((), different);
    }
    if !wants.joins.is_empty() || !wants.joins_of.is_empty() {
        let ids: Vec<Uuid> = wants.joins.iter().copied().collect();
        for record in &wants.joins_of {
            loaded.joins_of.entry(*record).or_default();
        }
        for join in contact_joins::joins(tx, street, &ids, &ids_of(&wants.joins_of)).await? {
            if wants.joins.contains(&join.join) {
                loaded.joins.insert(join.join, join.clone());
            }
            if let Some(of) = loaded.joins_of.get_mut(&join.record) {
                of.push(join);
            }
        }
    }
    if !wants.restored.is_empty() {
        loaded.restored = conflicts::restored(tx, street, &ids_of(&wants.restored)).await?;
    }
    load_for_acts(tx, street, wants, &mut loaded).await?;
    Ok(loaded)
}

/// What only acts of the office ask.
async fn load_for_acts(
    tx: &mut PgConnection,
    street: &StreetCode,
    wants: &Wants,
    loaded: &mut Loaded,
) -> sqlx::Result<()> {
    for record in &wants.holdings {
        let counts = erasures::holdings(tx, street, *record).await?;
        loaded.holdings.insert(*record, counts);
    }
    for (record, entries) in &wants.mentions {
        let counts = erasures::mentions(tx, street, *record, entries).await?;
        loaded.mentions.insert((*record, entries.clone()), counts);
    }
    for record in &wants.receipts {
        let (receipts, _) = erasures::page(tx, street, Some(record.0), RECEIPTS_MAX, 0).await?;
        loaded.receipts.insert(*record, receipts);
    }
    for (record, entry) in &wants.copies {
        let copies = erasures::records_with_entry(tx, street, *record, *entry).await?;
        loaded.copies.insert((*record, *entry), copies);
    }
    if !wants.children.is_empty() {
        let parents = ids_of(&wants.children);
        for parent in &wants.children {
            loaded.children.entry(*parent).or_default();
        }
        let merged = duplicates::merged_into(tx, street, &parents).await?;
        for (parent, child) in read_models::belonging_to(tx, street, &parents)
            .await?
            .into_iter()
            .chain(merged)
        {
            let of = loaded.children.entry(RecordId(parent)).or_default();
            of.push(RecordId(child));
        }
    }
    for record in &wants.merged_with {
        let others = erasures::merged_with(tx, street, *record).await?;
        loaded.merged_with.insert(*record, others);
    }
    if !wants.held_changes.is_empty() || !wants.held_of.is_empty() {
        let ids: Vec<Uuid> = wants.held_changes.iter().copied().collect();
        for held in held::changes(tx, street, &ids, &ids_of(&wants.held_of)).await? {
            if wants.held_changes.contains(&held.held) {
                loaded.held_changes.insert(held.held, held.clone());
            }
            if wants.held_of.contains(&held.record) && !held.bytes.is_empty() {
                loaded.held_of.entry(held.record).or_default().push(held);
            }
        }
    }
    for merge in &wants.merges {
        let found = duplicates::merge(tx, street, *merge).await?;
        loaded.merges.extend(found.map(|found| (*merge, found)));
    }
    if !wants.merges_of.is_empty() {
        for record in &wants.merges_of {
            loaded.merges_of.entry(*record).or_default();
        }
        for merge in duplicates::merges_of(tx, street, &ids_of(&wants.merges_of)).await? {
            for card in [merge.winner, merge.loser] {
                if let Some(of) = loaded.merges_of.get_mut(&card) {
                    of.push(merge.clone());
                }
            }
        }
    }
    if !wants.resolutions.is_empty() {
        let ids: Vec<Uuid> = wants.resolutions.iter().copied().collect();
        loaded.resolutions = conflicts::by_id(tx, street, &ids).await?;
    }
    Ok(())
}

async fn load_records(
    tx: &mut PgConnection,
    street: &StreetCode,
    wanted: &[Uuid],
    loaded: &mut Loaded,
) -> sqlx::Result<()> {
    for (record, row) in records::load(tx, street, wanted).await? {
        let stored = match RegisterState::from_bytes(&row.state) {
            Ok(state) => Stored::Record(StoredRecord {
                grid: row.grid,
                seq: row.seq,
                grid_seq: row.grid_seq,
                state,
            }),
            Err(_) => Stored::Unreadable,
        };
        loaded.records.insert(record, stored);
    }
    let missing: Vec<_> = wanted
        .iter()
        .copied()
        .filter(|record| !loaded.records.contains_key(&RecordId(*record)))
        .collect();
    if !missing.is_empty() {
        let erased = erasures::erased(tx, street, &missing).await?.into_iter();
        loaded
            .records
            .extend(erased.map(|record| (record, Stored::Erased)));
    }
    Ok(())
}

pub(super) fn ids_of<'w>(records: impl IntoIterator<Item = &'w RecordId>) -> Vec<Uuid> {
    records.into_iter().map(|record| record.0).collect()
}

fn devices<'w>(devices: impl IntoIterator<Item = &'w DeviceId>) -> Vec<Uuid> {
    devices.into_iter().map(|device| device.0).collect()
}

fn changes<'w>(
    changes: impl IntoIterator<Item = &'w (RecordId, ChangeHash)>,
) -> (Vec<Uuid>, Vec<Vec<u8>>) {
    changes
        .into_iter()
        .map(|(record, hash)| (record.0, hash.0.to_vec()))
        .unzip()
}
