//! What the clock does to a transfer whose limit has passed: a ruling of its own, or the end of a draft that nobody submitted.
//!
//! Invariant: the clock acts once for each limit, on however many servers: only what is due now, under the lock, is done.

use std::collections::BTreeMap;

use lianka_sync_core::{
    crdt::merge::RegisterState,
    id::{DeviceId, RecordId},
    kinds::transfer::{
        self, Case, Facts, Outcome, Ruled, Then, calendar::Calendar, member::clock_event_id,
    },
    time::ServerTime,
};
use uuid::Uuid;

use super::{
    Act, Refused,
    erase::{self, BY_CLOCK, Request},
    records,
    step::event_keys,
};
use crate::{follow::rulings::write_ruling, store::Wants, street::Street};

/// What is due on one request.
#[derive(Debug)]
pub struct Tick {
    pub record: RecordId,
    /// What a receipt would be known by.
    pub erasure: Uuid,
}

/// The street's calendar; a draft's term needs none.
fn calendar(street: &Street) -> Calendar {
    let known = street.known().calendars.get(&());
    known.cloned().unwrap_or_default()
}

fn ends(state: &RegisterState, case: &Case, now: ServerTime) -> bool {
    let clock = case.now.clock(state.created_at(), &Calendar::default());
    clock.is_some_and(|(due, then)| now >= due && then == Then::Erase)
}

impl Act for Tick {
    /// Whether anything was.
    type Done = bool;
    type Refused = Refused;

    fn wants(&self, street: &Street) -> Wants {
        match street.state(self.record) {
            Some(state) if ends(state, &Case::of(&state.view()), street.now()) => {
                erase::wants(street, self.record)
            }
            _ => Wants {
                calendars: [()].into(),
                ..records([self.record])
            },
        }
    }

    fn decide(self, street: &mut Street) -> Result<bool, Refused> {
        let (record, now) = (self.record, street.now());
        let Some(state) = street.state(record) else {
            return Ok(false);
        };
        let case = Case::of(&state.view());
        if ends(state, &case, now) {
            let request = Request {
                username: BY_CLOCK.to_owned(),
                device: DeviceId::default(),
                reason: "purpose_ended",
                erasure: self.erasure,
            };
            erase::erase(street, record, &request)?;
            return Ok(true);
        }
        let facts = Facts {
            calendar: calendar(street),
            ..Facts::default()
        };
        let Some(step) = transfer::clock_step(&case, now, &facts.calendar) else {
            return Ok(false);
        };
        let id = clock_event_id(record, case.now.no, now);
        let event = transfer::clock_event(&case, id, step);
        let ruling = transfer::rule(&case, &event, now, &facts);
        if ruling.outcome != Outcome::Applied {
            return Ok(false);
        }
        let ruled = Ruled {
            no: case.now.no + 1,
            at: now,
            ruling,
            by: None,
        };
        let writes = event_keys(id, event.step, event.seen, &BTreeMap::new());
        Ok(write_ruling(street, record, &event, &ruled, writes))
    }
}
