//! The end of a run: the network is good, clocks are right, everybody synchronises, reviewers decide, until nothing moves any more.

use lianka_client::{Phone, PhoneError, local_store::StoreError};
use lianka_sync_core::lang::Lang;

use super::Simulation;
use crate::{
    draw::Draw,
    journal::Event,
    office::{Act, Acted, Office},
    script::Weather,
};

/// Rounds after which a run must be quiet. A rebase takes two, a restore three, a held chain one a change.
const ROUNDS_MAX: u32 = 40;
/// Synchronisations over a good network after which every outbox must be empty, with reviewers deciding between them; docs/simulation.md states it.
const OUTBOX_ROUNDS_MAX: u32 = 6;
/// Rounds in a row in which nothing moved.
const QUIET_ROUNDS: u32 = 2;
const ROUND_MS: i64 = 3_600_000;
/// Held changes decided in one round.
const HELD_MAX: u32 = 200;

impl<O: Office> Simulation<'_, O> {
    pub(super) async fn heal(&mut self) {
        self.die_before_reply = false;
        self.set_office_clock(0);
        let phones: Vec<_> = self.phones.keys().copied().collect();
        for phone in &phones {
            self.older(*phone, false);
            let Some(rig) = self.phones.get_mut(phone) else {
                continue;
            };
            (rig.weather, rig.skew_ms) = (Weather::Fine, 0);
            if rig.running.is_some() {
                // The user gives up a synchronisation that hangs and begins another.
                rig.new_line();
                if !rig.gone && rig.open().is_err() {
                    self.alarm(format!("phone {phone} does not open"));
                }
            }
        }
        let mut draw = Draw::of(self.script.seed, "heal", 0);
        let mut quiet = 0;
        let mut waiting = 0;
        for round in 1..=ROUNDS_MAX {
            self.now_ms += ROUND_MS;
            let moved = self.round(&phones, &mut draw).await;
            if phones.iter().any(|phone| self.unsent(*phone).is_some()) {
                waiting = round;
            }
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == QUIET_ROUNDS {
                self.coverage.count("run: quiet");
                self.coverage.count(match waiting {
                    0 => "outboxes: empty after one synchronisation",
                    1 => "outboxes: empty after two",
                    2 => "outboxes: empty after three",
                    3 => "outboxes: empty after four",
                    4 => "outboxes: empty after five",
                    _ => "outboxes: empty later",
                });
                if waiting >= OUTBOX_ROUNDS_MAX {
                    self.alarm(format!(
                        "an outbox was empty only after {} rounds",
                        waiting + 1
                    ));
                }
                return;
            }
        }
        let unsent: Vec<_> = phones
            .iter()
            .filter_map(|phone| Some((*phone, self.unsent(*phone)?)))
            .collect();
        self.alarm(format!(
            "not quiet after {ROUNDS_MAX} rounds; left in outboxes: {unsent:?}"
        ));
    }

    /// The office does what it has to do, everybody synchronises once, reviewers decide. Whether anything moved.
    async fn round(&mut self, phones: &[usize], draw: &mut Draw) -> bool {
        let mut moved = false;
        // First: what the clock rules on is to reach the phones in the same round.
        self.tend().await;
        for phone in phones {
            moved |= self.sync_well(*phone).await;
        }
        for _ in 0..HELD_MAX {
            let Some(held) = self.held(0, false).await else {
                break;
            };
            let accept = !draw.one_in(3);
            self.act(Act::Held { held, accept }).await;
            moved = true;
        }
        moved
    }

    /// One synchronisation over a good network; a user who is signed out enrols again. Whether anything moved.
    async fn sync_well(&mut self, phone: usize) -> bool {
        let Some(handle) = self.rig(phone).and_then(|rig| rig.phone.clone()) else {
            return false;
        };
        let lines = self.journal.lines.len();
        let done = self
            .served_while(phone, Box::pin(async move { handle.sync().await }), false)
            .await;
        match done {
            Ok(report) => {
                self.count_report(&report);
                if report.wiped {
                    self.wiped(phone);
                    return true;
                }
                let tally = report.tally;
                let took = tally.snapshots
                    + tally.changes
                    + tally.left
                    + tally.erased
                    + tally.redacted
                    + tally.resets
                    + tally.unexpected;
                // What is held waits for the reviewer, who comes next.
                took > 0 || report.unsent > 0 || self.answered_since(lines)
            }
            Err(PhoneError::SignedOut(_)) => {
                self.coverage.count("sync: signed out");
                let username = self
                    .phones
                    .get(&phone)
                    .map(|rig| rig.username.clone())
                    .unwrap_or_default();
                if let Acted::Code(code) = self.act(Act::Enrol { username }).await {
                    self.enrol_with(phone, &code, false).await;
                }
                true
            }
            Err(PhoneError::Store(StoreError::Wiped(_))) => {
                self.wiped(phone);
                self.report_wipe(phone).await;
                true
            }
            Err(error) => {
                self.alarm(format!(
                    "phone {phone} cannot synchronise over a good network: {} {error}",
                    error.code()
                ));
                true
            }
        }
    }

    fn answered_since(&self, lines: usize) -> bool {
        self.journal.lines[lines..].iter().any(
            |line| matches!(&line.event, Event::Verdict { status, .. } if status != "duplicate"),
        )
    }

    /// A phone that cleared itself while the office was out of reach says so.
    async fn report_wipe(&mut self, phone: usize) {
        let now = lianka_sync_core::time::DeviceTime::from_unix_ms(self.true_unix_ms());
        let Some(rig) = self.phones.get(&phone) else {
            return;
        };
        let (transport, path) = (rig.transport(), rig.path.clone());
        let telling =
            async move { Phone::report_wipe_over(Some(transport), &path, Lang::Zh, now).await };
        if let Err(error) = self.served_while(phone, Box::pin(telling), false).await {
            self.alarm(format!(
                "phone {phone} cannot tell that it was wiped: {error}"
            ));
        }
    }

    fn unsent(&mut self, phone: usize) -> Option<usize> {
        let handle = self.rig(phone)?.phone.clone()?;
        handle
            .outbox()
            .ok()
            .map(|entries| entries.len())
            .filter(|entries| *entries > 0)
    }
}
