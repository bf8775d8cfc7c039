//! Acts at the office, from the script's names to the world's ids.

use uuid::Uuid;

use super::World;
use crate::{
    office::{Act, Acted, Office},
    script::{Desk, MadeBy},
};

impl<O: Office> World<'_, O> {
    pub(super) async fn desk(&mut self, desk: &Desk) {
        // What the script names is not there where its step was taken out, or did nothing.
        if let Some(act) = self.act_of(desk) {
            self.act(act).await;
        }
    }

    fn id_of(&self, record: MadeBy) -> Option<Uuid> {
        self.made.get(&record).map(|(record, _)| record.0)
    }

    fn act_of(&self, desk: &Desk) -> Option<Act> {
        Some(match desk {
            Desk::Assign { username, grids } => Act::Assign {
                username: username.clone(),
                grids: grids.clone(),
            },
            Desk::Revoke { phone, wipe } => Act::Revoke {
                device: self.device_of(*phone)?,
                wipe: *wipe,
            },
            Desk::Edit { record, set } => Act::Edit {
                record: self.id_of(*record)?,
                set: set.clone(),
            },
            Desk::Resolve {
                record,
                field,
                nth,
                looked_at,
            } => Act::Resolve {
                record: self.id_of(*record)?,
                field: field.clone(),
                nth: *nth,
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
                nth: *nth,
                accept: *accept,
            },
            Desk::UndoMerge { winner, loser } => Act::UndoMerge {
                winner: self.id_of(*winner)?,
                loser: self.id_of(*loser)?,
            },
            Desk::Held { nth, accept } => Act::Held {
                nth: *nth,
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
            Desk::Erase { record } => Act::Erase {
                record: self.id_of(*record)?,
            },
            Desk::Redact { record, entry } => Act::Redact {
                record: self.id_of(*record)?,
                entry: *entry,
            },
            Desk::Step {
                record,
                step,
                fields,
            } => Act::Step {
                record: self.id_of(*record)?,
                step: step.clone(),
                fields: fields.clone(),
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
        Act::Revoke { wipe: false, .. } => "act: revoke",
        Act::Revoke { wipe: true, .. } => "act: wipe",
        Act::Edit { .. } => "act: edit",
        Act::Resolve { .. } => "act: resolve",
        Act::UndoChoice { .. } => "act: undo a choice",
        Act::HeldAgain { .. } => "act: decide a second time",
        Act::UndoMerge { .. } => "act: undo a merge",
        Act::Held { accept: true, .. } => "act: accept what is held",
        Act::Held { accept: false, .. } => "act: refuse what is held",
        Act::Move { .. } => "act: move",
        Act::Merge { .. } => "act: merge",
        Act::Erase { .. } => "act: erase",
        Act::Redact { .. } => "act: redact",
        Act::Step { .. } => "act: transfer step",
        Act::Compact { .. } => "act: compact",
        Act::Backup => "act: backup",
        Act::Restore => "act: restore",
        Act::Failover => "act: failover",
        Act::Restart => "act: restart",
    }
}
