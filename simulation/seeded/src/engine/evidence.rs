//! What is left on the phones when all is quiet, read from their files.

use std::{collections::BTreeMap, path::Path};

use automerge::AutoCommit;
use lianka_client::{
    local_store::{LocalStore, StoreError},
    phone::Phone,
};
use lianka_client_core::{
    document,
    store::{RecordStore, Records},
};

use super::{Simulation, Story, people};
use crate::{
    journal::{PhoneEvidence, PhoneNo, PhoneRecord},
    office::Office,
    phones::{Files, Rig},
    reading,
};

impl<O: Office> Simulation<'_, O> {
    pub(super) async fn story(mut self) -> Story {
        let now = self.true_unix_ms();
        let mut phones = Vec::new();
        let mut rigs = std::mem::take(&mut self.phones);
        for rig in rigs.values_mut() {
            rig.set_time(now);
            match evidence_of(rig) {
                Ok(evidence) => phones.push(evidence),
                Err(error) => self.alarm(format!("phone {} cannot be read: {error}", rig.no)),
            }
        }
        self.office.set_time(now);
        let evidence = self.office.evidence().await;
        Story {
            seed: self.script.seed,
            journal: self.journal,
            phones,
            evidence,
            coverage: self.coverage,
            alarms: self.alarms,
        }
    }
}

fn evidence_of(rig: &mut Rig) -> Result<PhoneEvidence, StoreError> {
    let mut evidence = PhoneEvidence {
        phone: PhoneNo(rig.no),
        username: rig.username.clone(),
        device: rig.device,
        gone: rig.gone || rig.phone.is_none(),
        grids: Vec::new(),
        records: BTreeMap::new(),
        outbox: Vec::new(),
        drafts: Vec::new(),
        was_older: rig.was_older,
        notices: Vec::new(),
        file: Vec::new(),
    };
    if let Some(phone) = &rig.phone {
        read(phone, &mut evidence)?;
        records(&rig.path, &mut evidence)?;
    }
    if let Ok(files) = Files::read(&rig.path) {
        evidence.file = [files.main, files.log].concat();
        evidence
            .file
            .extend(unpacked(&rig.path).unwrap_or_default());
    }
    Ok(evidence)
}

fn read(phone: &Phone, evidence: &mut PhoneEvidence) -> Result<(), StoreError> {
    let locked =
        |error: lianka_client::PhoneError| StoreError::Io(std::io::Error::other(error.to_string()));
    let identity = phone.identity().map_err(locked)?;
    // Who edits nothing is told of every grid, and works none.
    if identity.role.receives_records() {
        evidence.grids = identity.grids.into_iter().map(|grid| grid.grid).collect();
    }
    for entry in phone.outbox().map_err(locked)? {
        evidence.outbox.push((
            entry.record.0,
            entry.hash.to_string(),
            entry.state.as_str().to_owned(),
            people::did(&entry.edits),
        ));
    }
    for kept in phone.drafts().map_err(locked)? {
        evidence.drafts.push((
            kept.draft.record.0,
            kept.draft.reason.code,
            people::did(&kept.draft.edits),
        ));
    }
    Ok(())
}

fn records(path: &Path, evidence: &mut PhoneEvidence) -> Result<(), StoreError> {
    let mut store = LocalStore::open(path)?;
    store.read(|tx| {
        for kept in tx.notices()? {
            let notice = kept.notice;
            let hash = notice.hash.map(|hash| hash.to_string());
            evidence.notices.push((notice.kind, notice.record.0, hash));
        }
        for record in tx.records()? {
            let state = tx.record_state(record)?;
            let Some(stored) = &state.stored else {
                continue;
            };
            let (generation, grid) = (stored.generation, stored.grid.clone());
            let view = document::open(&state)
                .ok()
                .flatten()
                .and_then(|mut opened| opened.document.view().ok());
            let view = view.ok_or(StoreError::Damaged("record"))?;
            evidence.records.insert(
                record.0,
                PhoneRecord {
                    generation,
                    grid,
                    fields: reading::shown(&view),
                    won: reading::won(&view),
                },
            );
        }
        Ok(())
    })
}

/// Every document and change in the file without its compression: what was erased is looked for in it.
fn unpacked(path: &Path) -> rusqlite::Result<Vec<u8>> {
    let connection = rusqlite::Connection::open(path)?;
    let mut plain = Vec::new();
    for table in [
        "SELECT bytes FROM snapshot",
        "SELECT bytes FROM tail",
        "SELECT bytes FROM outbox",
    ] {
        let mut rows = connection.prepare(table)?;
        for blob in rows.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
            let blob = blob?;
            if let Ok(change) = automerge::Change::from_bytes(blob.clone()) {
                plain.extend_from_slice(change.raw_bytes());
            } else if let Ok(mut document) = AutoCommit::load(&blob) {
                plain.extend(document.save_nocompress());
                for change in document.get_changes(&[]) {
                    plain.extend_from_slice(change.raw_bytes());
                }
            }
        }
    }
    Ok(plain)
}
