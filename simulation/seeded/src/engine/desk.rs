//! Acts at the office, from the script's names to the run's ids.

use lianka_sync_core::{id::RecordId, key::NOTE, kinds::Kind};
use uuid::Uuid;

use super::Simulation;
use crate::{
    draw::Draw,
    office::{Act, Acted, HeldId, Office, SheetRow},
    script::{BEGIN_UNIX_MS, Desk, MadeBy, PlannedRow, Set},
};

impl<O: Office> Simulation<'_, O> {
    pub(super) async fn desk(&mut self, no: u32, desk: &Desk) {
        if let Desk::Export { records } = desk {
            self.export(no, records).await;
            return;
        }
        // What the script names is not there where its step was taken out, or did nothing.
        let Some(act) = self.act_of(no, desk).await else {
            return;
        };
        let created = match &act {
            Act::Create { record, .. } => Some(RecordId(*record)),
            Act::WriteRows { rows, .. } => rows.iter().find_map(|row| match row {
                SheetRow::Create { record, .. } => Some(RecordId(*record)),
                SheetRow::Edit { .. } => None,
            }),
            _ => None,
        };
        let of_rows = match &act {
            Act::WriteRows { rows, .. } => {
                let records: Vec<Uuid> = rows.iter().map(SheetRow::record).collect();
                self.imports.insert(MadeBy(no), records.clone());
                Some(records)
            }
            Act::UndoRows { .. } => match desk {
                Desk::UndoImport { import } => self.imports.get(import).cloned(),
                _ => None,
            },
            _ => None,
        };
        if let Some(records) = &of_rows {
            self.look(false, records).await;
        }
        let acted = self.act(act).await;
        if let Some(records) = &of_rows {
            self.look(false, records).await;
        }
        if let (Acted::Done, Some(record)) = (acted, created) {
            self.made
                .insert(MadeBy(no), (record, Kind::ShopCard.as_str()));
        }
    }

    /// Makes a sheet of cards.
    async fn export(&mut self, no: u32, records: &[MadeBy]) {
        let records: Vec<_> = records
            .iter()
            .filter_map(|record| self.id_of(*record))
            .collect();
        let look = self.look(true, &records).await;
        self.sheets.insert(MadeBy(no), look);
    }

    /// The rows of a sheet, of cards that were there when it was made.
    fn rows(
        &self,
        no: u32,
        sheet: MadeBy,
        rows: &[PlannedRow],
        brings: Option<&(String, Set)>,
    ) -> Option<Vec<SheetRow>> {
        let sheet = self.sheets.get(&sheet)?;
        let edit = |row: &PlannedRow| {
            let record = self.id_of(row.record)?;
            let fields = sheet.records.get(&record)?.as_ref()?;
            let was = fields.get(NOTE).and_then(|shown| shown.first());
            let was = was.map(|shown| shown.value.clone()).unwrap_or_default();
            let note = row.note.as_ref().map(|word| match was.as_str() {
                "" => word.clone(),
                was => format!("{was}\u{3000}{word}"),
            });
            Some(SheetRow::Edit {
                record,
                cells: row.cells.clone(),
                note: note.map(|text| (was, text)),
                seen: sheet.head,
            })
        };
        let mut rows: Vec<_> = rows.iter().filter_map(edit).collect();
        rows.extend(brings.map(|(grid, set)| SheetRow::Create {
            record: made_at_desk(self.script.seed, no).0,
            grid: grid.clone(),
            set: set.clone(),
        }));
        Some(rows)
    }

    fn id_of(&self, record: MadeBy) -> Option<Uuid> {
        self.made.get(&record).map(|(record, _)| record.0)
    }

    /// The `nth` of what waits for a reviewer, or of what is decided.
    pub(super) async fn held(&mut self, nth: usize, decided: bool) -> Option<HeldId> {
        self.office.held(decided).await.into_iter().nth(nth)
    }

    async fn act_of(&mut self, no: u32, desk: &Desk) -> Option<Act> {
        Some(match desk {
            Desk::Assign { username, grids } => Act::Assign {
                username: username.clone(),
                grids: grids.clone(),
            },
            Desk::Role { username, role } => Act::Role {
                username: username.clone(),
                role: role.clone(),
            },
            Desk::Revoke { phone, wipe } => Act::Revoke {
                device: self.device_of(*phone)?,
                wipe: *wipe,
            },
            Desk::Edit {
                record,
                set,
                looked,
            } => Act::Edit {
                record: self.id_of(*record)?,
                set: set.clone(),
                looked: *looked,
            },
            Desk::Create { grid, set } => Act::Create {
                record: made_at_desk(self.script.seed, no).0,
                grid: grid.clone(),
                set: set.clone(),
            },
            Desk::ResolveSpelling => Act::ResolveSpelling,
            Desk::HeldAsEdit { nth } => Act::HeldAsEdit {
                held: self.held(*nth, false).await?,
            },
            Desk::Resolve {
                record,
                field,
                nth,
                instead,
                looked_at,
            } => Act::Resolve {
                record: self.id_of(*record)?,
                field: field.clone(),
                nth: *nth,
                instead: instead.clone(),
                looked_at: *looked_at,
            },
            Desk::UndoChoice {
                record,
                field,
                force,
            } => Act::UndoChoice {
                record: self.id_of(*record)?,
                field: field.clone(),
                force: *force,
            },
            Desk::HeldAgain { nth, accept } => Act::HeldAgain {
                held: self.held(*nth, true).await?,
                accept: *accept,
            },
            Desk::UndoMerge { winner, loser } => Act::UndoMerge {
                winner: self.id_of(*winner)?,
                loser: self.id_of(*loser)?,
            },
            Desk::Held { nth, accept } => Act::Held {
                held: self.held(*nth, false).await?,
                accept: *accept,
            },
            Desk::Move { records, grid } => {
                let records: Vec<_> = records
                    .iter()
                    .filter_map(|record| self.id_of(*record))
                    .collect();
                Act::Move {
                    records: Some(records).filter(|records| !records.is_empty())?,
                    grid: grid.clone(),
                }
            }
            Desk::Merge { winner, loser } => Act::Merge {
                winner: self.id_of(*winner)?,
                loser: self.id_of(*loser)?,
            },
            Desk::JoinContacts { record, kept, gone } => Act::JoinContacts {
                record: self.id_of(*record)?,
                kept: *kept,
                gone: *gone,
            },
            Desk::PartContacts { record, kept, gone } => Act::PartContacts {
                record: self.id_of(*record)?,
                kept: *kept,
                gone: *gone,
            },
            Desk::Erase { record } => Act::Erase {
                record: self.id_of(*record)?,
            },
            Desk::Redact { record, entry } => Act::Redact {
                record: self.id_of(*record)?,
                entry: *entry,
            },
            Desk::RedactCompanion { visit } => {
                let (name, record) = (self.companions.get(visit)?, self.id_of(*visit)?);
                let key = format!("companions/{name}");
                Act::RedactMember { record, key }
            }
            Desk::Step {
                record,
                step,
                fields,
            } => Act::Step {
                record: self.id_of(*record)?,
                step: step.clone(),
                fields: fields.clone(),
            },
            Desk::Export { .. } => return None,
            Desk::Import {
                sheet,
                rows,
                brings,
            } => Act::WriteRows {
                import: import(self.script.seed, no),
                rows: self.rows(no, *sheet, rows, brings.as_ref())?,
            },
            Desk::UndoImport { import: of } => {
                self.imports.get(of)?;
                Act::UndoRows {
                    import: import(self.script.seed, of.0),
                }
            }
            Desk::PrepareCompaction { record } => Act::PrepareCompaction {
                record: self.id_of(*record)?,
            },
            Desk::Compact { record } => Act::Compact {
                record: self.id_of(*record)?,
            },
            Desk::Backup => Act::Backup,
            Desk::Restore => Act::Restore,
            Desk::Failover => Act::Failover,
            Desk::Restart => Act::Restart,
        })
    }
}

/// The id of a card that a desk creates in a step.
fn made_at_desk(seed: u64, no: u32) -> RecordId {
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&Draw::of(seed, "desk", u64::from(no)).bytes(10));
    RecordId::new_v7(BEGIN_UNIX_MS.unsigned_abs(), entropy)
}

/// The id of the import of a step.
fn import(seed: u64, no: u32) -> Uuid {
    let mut random = [0; 16];
    random.copy_from_slice(&Draw::of(seed, "import", u64::from(no)).bytes(16));
    uuid::Builder::from_random_bytes(random).into_uuid()
}

/// Under what an act is counted.
pub(super) fn counted(act: &Act, acted: &Acted) -> &'static str {
    match acted {
        Acted::Nothing => return "act: nothing to do it to",
        Acted::Refused(_) => return "act: refused",
        Acted::Done | Acted::Code(_) => {}
    }
    match act {
        Act::Enrol { .. } => "act: enrol",
        Act::Assign { .. } => "act: assign",
        Act::Role { .. } => "act: change a role",
        Act::Revoke { wipe: false, .. } => "act: revoke",
        Act::Revoke { wipe: true, .. } => "act: wipe",
        Act::Edit { .. } => "act: edit",
        Act::Create { .. } => "act: create",
        Act::ResolveSpelling => "act: resolve spelling",
        Act::HeldAsEdit { .. } => "act: accept as the desk's edit",
        Act::RedactMember { .. } => "act: redact a companion",
        Act::Resolve { .. } => "act: resolve",
        Act::UndoChoice { .. } => "act: undo a choice",
        Act::HeldAgain { .. } => "act: decide a second time",
        Act::UndoMerge { .. } => "act: undo a merge",
        Act::Held { accept: true, .. } => "act: accept what is held",
        Act::Held { accept: false, .. } => "act: refuse what is held",
        Act::Move { .. } => "act: move",
        Act::Merge { .. } => "act: merge",
        Act::JoinContacts { .. } => "act: join contacts",
        Act::PartContacts { .. } => "act: part contacts",
        Act::Erase { .. } => "act: erase",
        Act::Redact { .. } => "act: redact",
        Act::Step { .. } => "act: transfer step",
        Act::WriteRows { .. } => "act: write rows",
        Act::UndoRows { .. } => "act: undo rows",
        Act::PrepareCompaction { .. } => "act: prepare a compaction",
        Act::Compact { .. } => "act: compact",
        Act::Backup => "act: backup",
        Act::Restore => "act: restore",
        Act::Failover => "act: failover",
        Act::Restart => "act: restart",
    }
}
