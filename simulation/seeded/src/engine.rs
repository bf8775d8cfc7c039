//! Runs a script: phones, network and clocks around an office, then heals everything and collects what is left.
//!
//! Single-threaded and event by event: at any instant one thing moves (one phone until it waits for its network or its back-off, or the office),
//! and what moves next is decided by the true time alone. Must run on a current-thread runtime with paused time. An office that waits for the
//! outside (a real database) has to block the thread meanwhile, with a runtime of its own on another thread: this runtime must not idle.

use std::collections::BTreeMap;

use lianka_client::{PhoneError, phone::NewVisit};
use lianka_sync_core::id::RecordId;
use uuid::Uuid;

use crate::{
    coverage::Coverage,
    draw::Draw,
    journal::{Event, Journal, Line, PhoneEvidence, PhoneNo},
    network::{Body, Signal},
    office::{Act, Acted, Evidence, Look, Office},
    phones::{self, Rig},
    script::{BEGIN_UNIX_MS, MadeBy, Script, What},
};

mod calls;
mod desk;
mod evidence;
mod heads;
mod heal;
mod people;
#[cfg(test)]
mod tests;

use calls::Transit;

/// Everything that is known about a run that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    pub seed: u64,
    pub journal: Journal,
    /// In the order of their numbers.
    pub phones: Vec<PhoneEvidence>,
    pub evidence: Evidence,
    pub coverage: Coverage,
    /// What already the engine can see is wrong, in words: a run that does not become quiet, a phone's file that does not open.
    pub alarms: Vec<String>,
}

/// What happens at its time.
#[derive(Debug)]
enum Happening {
    Step(usize),
    /// A call arrives at the office; `again`: a repetition, whose answer goes nowhere.
    Arrival {
        call: u64,
        again: bool,
    },
    /// The beginning of an answer arrives at the phone.
    Head {
        call: u64,
    },
    /// The phone gives up on a call.
    Break {
        call: u64,
    },
    Chunk {
        phone: usize,
        incarnation: u64,
        call: u64,
        chunk: ChunkSender,
    },
    /// The phone's back-off is over.
    Resume {
        phone: usize,
        incarnation: u64,
        over: tokio::sync::oneshot::Sender<()>,
    },
}

type ChunkSender =
    tokio::sync::oneshot::Sender<Result<Option<Vec<u8>>, lianka_client::transport::Broken>>;

/// A run under way.
struct Simulation<'w, O> {
    script: &'w Script,
    office: &'w mut O,
    folder: tempfile::TempDir,
    /// True time since the beginning.
    now_ms: i64,
    office_skew_ms: i64,
    /// By time, then by order of entry.
    agenda: BTreeMap<(i64, u64), Happening>,
    entered: u64,
    phones: BTreeMap<usize, Rig>,
    transits: BTreeMap<u64, Transit>,
    bodies: BTreeMap<u64, Body>,
    calls: u64,
    made: BTreeMap<MadeBy, (RecordId, &'static str)>,
    /// Who went along on visits, by the step that noted them.
    companions: BTreeMap<MadeBy, String>,
    /// Sheets, by the step that made them. A restored office does not know them.
    sheets: BTreeMap<MadeBy, Look>,
    /// The cards of imports, by the step that wrote them.
    imports: BTreeMap<MadeBy, Vec<Uuid>>,
    die_before_reply: bool,
    restored: bool,
    journal: Journal,
    coverage: Coverage,
    alarms: Vec<String>,
}

/// Runs a script to its end.
pub async fn run<O: Office>(script: &Script, office: &mut O) -> Story {
    let mut simulation = Simulation::new(script, office);
    simulation.live().await;
    simulation.heal().await;
    simulation.story().await
}

/// The same on a runtime as it must be.
pub fn run_to_end<O: Office>(script: &Script, office: &mut O) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .expect("a runtime without sockets needs nothing")
        .block_on(run(script, office))
}

/// A folder in memory where there is one: phones flush at every commit.
fn folder() -> tempfile::TempDir {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("lianka-simulation-");
        builder
    };
    builder()
        .tempdir_in("/dev/shm")
        .or_else(|_| builder().tempdir())
        .expect("a temporary folder")
}

impl<'w, O: Office> Simulation<'w, O> {
    fn new(script: &'w Script, office: &'w mut O) -> Self {
        let mut simulation = Self {
            script,
            office,
            folder: folder(),
            now_ms: 0,
            office_skew_ms: 0,
            agenda: BTreeMap::new(),
            entered: 0,
            phones: BTreeMap::new(),
            transits: BTreeMap::new(),
            bodies: BTreeMap::new(),
            calls: 0,
            made: BTreeMap::new(),
            companions: BTreeMap::new(),
            sheets: BTreeMap::new(),
            imports: BTreeMap::new(),
            die_before_reply: false,
            restored: false,
            journal: Journal::default(),
            coverage: Coverage::default(),
            alarms: Vec::new(),
        };
        for (index, step) in script.steps.iter().enumerate() {
            simulation.enter(step.at_ms, Happening::Step(index));
        }
        simulation
    }

    /// The script, and whatever it set going.
    async fn live(&mut self) {
        while let Some(((at_ms, _), happening)) = self.agenda.pop_first() {
            self.now_ms = at_ms;
            match happening {
                Happening::Step(index) => self.step(index).await,
                Happening::Arrival { call, again } => self.arrive(call, again).await,
                Happening::Head { call } => self.head(call).await,
                Happening::Break { call } => self.break_off(call).await,
                Happening::Chunk {
                    phone,
                    incarnation,
                    call,
                    chunk,
                } => {
                    let piece = self
                        .bodies
                        .get_mut(&call)
                        .map_or(Err(lianka_client::transport::Broken::Line), Body::read);
                    if !matches!(piece, Ok(Some(_))) {
                        self.bodies.remove(&call);
                    }
                    if chunk.send(piece).is_ok() {
                        self.drive(phone, incarnation).await;
                    }
                }
                Happening::Resume {
                    phone,
                    incarnation,
                    over,
                } => {
                    if over.send(()).is_ok() {
                        self.drive(phone, incarnation).await;
                    }
                }
            }
        }
    }

    fn enter(&mut self, at_ms: i64, happening: Happening) {
        self.entered += 1;
        self.agenda.insert((at_ms, self.entered), happening);
    }

    fn later(&mut self, in_ms: i64, happening: Happening) {
        self.enter(self.now_ms + in_ms.max(0), happening);
    }

    fn true_unix_ms(&self) -> i64 {
        BEGIN_UNIX_MS + self.now_ms
    }

    fn tell(&mut self, event: Event) {
        self.journal.lines.push(Line {
            at_unix_ms: self.true_unix_ms(),
            event,
        });
    }

    fn alarm(&mut self, what: String) {
        if self.alarms.len() < 20 {
            self.alarms.push(what);
        }
    }

    /// The phone, with its clock set right or wrong as it is, where it is in use.
    fn rig(&mut self, phone: usize) -> Option<&mut Rig> {
        let now = self.true_unix_ms();
        let rig = self
            .phones
            .get_mut(&phone)
            .filter(|rig| rig.phone.is_some() && !rig.gone)?;
        rig.set_time(now);
        Some(rig)
    }

    /// What the office shows of these cards now.
    async fn look(&mut self, for_sheet: bool, records: &[Uuid]) -> Look {
        let look = self.office.look(records).await;
        let told = look.clone();
        self.tell(Event::Looked {
            for_sheet,
            look: told,
        });
        look
    }

    async fn act(&mut self, act: Act) -> Acted {
        self.office
            .set_time(BEGIN_UNIX_MS + self.now_ms + self.office_skew_ms);
        let acted = self.office.act(&act).await;
        self.coverage.count(desk::counted(&act, &acted));
        if act == Act::Restore && acted == Acted::Done {
            self.restored = true;
            self.sheets.clear();
        }
        if matches!(&acted, Acted::Refused(code) if code == "internal") {
            self.alarm(format!("{act:?}: internal"));
        }
        self.tell(Event::Acted {
            act,
            acted: acted.clone(),
        });
        acted
    }

    fn set_office_clock(&mut self, by_ms: i64) {
        if std::mem::replace(&mut self.office_skew_ms, by_ms) != by_ms {
            self.tell(Event::OfficeClock { by_ms });
        }
    }

    async fn tend(&mut self) {
        self.office
            .set_time(BEGIN_UNIX_MS + self.now_ms + self.office_skew_ms);
        self.office.tend().await;
        self.tell(Event::Tended);
    }

    /// Lets a phone go on until it waits for something, or is done.
    async fn drive(&mut self, phone: usize, incarnation: u64) {
        let now = self.true_unix_ms();
        let Some(rig) = self
            .phones
            .get_mut(&phone)
            .filter(|rig| rig.incarnation == incarnation)
        else {
            return;
        };
        let Some(mut running) = rig.running.take() else {
            return;
        };
        rig.set_time(now);
        let before = rig.log_bytes();
        let moved = tokio::select! {
            biased;
            done = &mut running => Ok(done),
            Some(signal) = rig.signals.recv() => Err(signal),
        };
        match moved {
            Ok(done) => self.synchronised(phone, done),
            Err(signal) => {
                rig.unheard =
                    (!matches!(signal, Signal::Call(..))).then(|| (before, rig.log_bytes()));
                rig.running = Some(running);
                self.wait_for(phone, incarnation, signal);
            }
        }
    }

    fn wait_for(&mut self, phone: usize, incarnation: u64, signal: Signal) {
        match signal {
            Signal::Call(request, answer) => self.send(phone, request, answer),
            Signal::Chunk(call, chunk) => {
                let gap = self.bodies.get(&call).map_or(0, |body| body.gap_ms);
                self.later(
                    gap,
                    Happening::Chunk {
                        phone,
                        incarnation,
                        call,
                        chunk,
                    },
                );
            }
            Signal::BackOff(wait, over) => {
                self.coverage.count("phone: waits and tries again");
                self.later(
                    wait.as_millis() as i64,
                    Happening::Resume {
                        phone,
                        incarnation,
                        over,
                    },
                );
            }
        }
    }

    /// What a synchronisation came to.
    fn synchronised(&mut self, phone: usize, done: Result<lianka_client::SyncReport, PhoneError>) {
        match done {
            Ok(report) => {
                self.count_report(&report);
                if report.wiped {
                    self.wiped(phone);
                }
            }
            Err(error) => self.failed(phone, &error),
        }
    }

    fn wiped(&mut self, phone: usize) {
        self.coverage.count("phone: wiped");
        if let Some(rig) = self.phones.get_mut(&phone) {
            rig.gone = true;
            rig.stop();
        }
        self.tell(Event::Wiped {
            phone: PhoneNo(phone),
        });
    }

    /// A synchronisation that failed. Most failures are the network's; some may not happen whatever the network does.
    fn failed(&mut self, phone: usize, error: &PhoneError) {
        match error {
            PhoneError::Store(lianka_client::local_store::StoreError::Wiped(_)) => {
                self.wiped(phone);
            }
            PhoneError::Store(_)
            | PhoneError::Protocol(_)
            | PhoneError::Edit(_)
            | PhoneError::Cut => {
                self.alarm(format!("phone {phone} at {}: {error}", self.now_ms));
            }
            PhoneError::Transport(_) if error.code() == "bad_answer" => {
                self.alarm(format!("phone {phone} at {}: {error}", self.now_ms));
            }
            _ => {}
        }
        self.coverage.count(match error.code() {
            "signed_out" => "sync: signed out",
            "network" | "incomplete" => "sync: given up",
            _ => "sync: other failure",
        });
    }

    fn count_report(&mut self, report: &lianka_client::SyncReport) {
        let tally = &report.tally;
        if tally.unexpected > 0 {
            // The phone mends it by a pull from the start; whoever had to send it was wrong about what the phone holds.
            self.alarm(format!(
                "at {}: {} changes came of records that the phone did not hold",
                self.now_ms, tally.unexpected
            ));
        }
        let counted = [
            ("sync: complete", 1),
            ("sync: retried", report.retries),
            ("sync: rebased", tally.rebased),
            ("sync: drafted", tally.drafted),
            ("sync: healed a change", tally.healed),
            ("sync: reset", tally.resets),
            ("sync: left", tally.left),
            ("sync: erased", tally.erased),
            ("sync: redacted", tally.redacted),
            ("sync: dropped with what was erased", tally.dropped),
            ("sync: unexpected change", tally.unexpected),
            ("sync: snapshots", tally.snapshots),
            ("sync: changes", tally.changes),
        ];
        for (name, count) in counted {
            if count > 0 {
                *self.coverage.0.entry(name).or_default() += u64::from(count);
            }
        }
    }

    /// A stream of draws for one step.
    fn step_draw(&self, purpose: &str, no: u32) -> Draw {
        Draw::of(self.script.seed, purpose, u64::from(no))
    }

    fn new_rig(&mut self, phone: usize, username: &str) {
        let rig = Rig::new(self.script.seed, phone, username, self.folder.path());
        self.phones.insert(phone, rig);
    }

    fn lose(&mut self, phone: usize) {
        let Some(rig) = self.phones.get_mut(&phone).filter(|rig| !rig.gone) else {
            return;
        };
        rig.gone = true;
        rig.stop();
        phones::remove(&rig.path);
        self.coverage.count("phone: lost");
        self.tell(Event::PhoneLost {
            phone: PhoneNo(phone),
        });
    }

    fn device_of(&self, phone: usize) -> Option<Uuid> {
        self.phones
            .get(&phone)
            .map(|rig| rig.device)
            .filter(|device| !device.is_nil())
    }

    async fn step(&mut self, index: usize) {
        let step = self.script.steps[index].clone();
        match step.what {
            What::Enrol { phone, username } => self.enrol(phone, &username, step.no).await,
            What::Create {
                phone,
                grid,
                set,
                note,
            } => self.create(step.no, phone, &grid, &set, note),
            What::Edit {
                phone,
                record,
                set,
                note,
            } => self.edit(step.no, phone, record, &set, note),
            What::Forge {
                phone,
                from,
                record,
                set,
            } => self.forge(step.no, phone, from, record, &set).await,
            What::Heads {
                phone,
                record,
                set,
                how,
            } => self.heads(step.no, phone, record, &set, &how).await,
            What::File {
                phone,
                grid,
                kind,
                alias,
                fields,
                submit,
            } => self.file(step.no, phone, &grid, kind, alias, fields, submit),
            What::Event {
                phone,
                record,
                step,
                fields,
            } => self.event(phone, record, &step, &fields),
            What::Visit {
                phone,
                shop,
                at,
                outcome,
                companion,
                remark,
                replaces,
            } => {
                let new = NewVisit {
                    at,
                    channel: "door".into(),
                    outcome,
                    companions: companion.into_iter().collect(),
                    remark: Some(remark),
                    replaces: replaces.and_then(|made| Some(self.made.get(&made)?.0)),
                    ..NewVisit::default()
                };
                self.visit(step.no, phone, shop, &new);
            }
            What::Void {
                phone,
                visit,
                reason,
            } => self.void(phone, visit, &reason),
            What::RetryDraft { phone, nth } => self.retry_draft(phone, nth),
            What::DropDraft { phone, nth } => self.drop_draft(phone, nth),
            What::Sync { phone } => {
                let Some(rig) = self.rig(phone) else { return };
                if rig.running.is_some() {
                    self.coverage.count("sync: busy already");
                    return;
                }
                (rig.sync_step, rig.calls) = (u64::from(step.no), 0);
                rig.begin();
                let incarnation = rig.incarnation;
                self.drive(phone, incarnation).await;
            }
            What::Crash { phone } => self.crash(phone, step.no),
            What::Lose { phone } => self.lose(phone),
            What::Clone { phone, to } => self.clone_phone(phone, to),
            What::Older { phone, older } => self.older(phone, older),
            What::Network { phone, weather } => {
                if let Some(rig) = self.phones.get_mut(&phone) {
                    rig.weather = weather;
                }
            }
            What::Skew { phone, by_ms } => {
                if let Some(rig) = self.phones.get_mut(&phone) {
                    let back = by_ms < rig.skew_ms;
                    rig.skew_ms = by_ms;
                    self.coverage.count(if back {
                        "clock: a phone's steps back"
                    } else {
                        "clock: a phone's steps ahead"
                    });
                }
            }
            What::OfficeSkew { by_ms } => {
                let back = by_ms < self.office_skew_ms;
                self.set_office_clock(by_ms);
                self.coverage.count(if back {
                    "clock: the office's steps back"
                } else {
                    "clock: the office's steps ahead"
                });
            }
            What::Desk(desk) => self.desk(step.no, &desk).await,
            What::DieBeforeReply => self.die_before_reply = true,
            What::Tend => {
                self.tend().await;
                self.coverage.count("office: background passes");
            }
        }
    }
}
