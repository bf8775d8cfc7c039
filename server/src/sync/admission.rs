//! Admission: what one device may take of the server, so that devices which send nonsense cannot push honest ones out.
//!
//! In: a device that wants to synchronise, and its body. Out: the request, read; or a refusal that costs almost nothing. Three bounds:
//! - **A device** has so many synchronisations under way, its answers' streams included; and one whose changes are refused again and again is
//!   told to stay away for a while ([`SyncError::Away`]). A phone keeps its edits and comes back: nothing is lost, whoever is to blame.
//! - **Processors.** Small requests, which is what phones send all day, and large ones have permits of their own: a large one never makes a
//!   small one wait, and large ones never take the last processor. Of those who wait, whoever took least of the server lately is next; and a
//!   device that took much, or whose changes were refused, is counted among the large, rests as long as it worked before its permit is given
//!   back, and merges behind the others. Where nobody else wants anything, that costs it next to nothing.
//! - **Memory.** What was read is counted by what it holds, and waits for room before it waits for its street.
//!
//! Kept in memory and by each server alone: forgetting it harms nobody.

mod turns;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use lianka_sync_core::{
    codec::wire::Encoding, crdt::merge::Refusal, id::DeviceId, time::ServerTime,
};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::{
    street::merge::{Ingested, Outcome},
    sync::{
        error::SyncError,
        ingest::{self, Effort, IngestError, Packing, SyncRequest},
    },
};
use turns::Turns;

/// Synchronisations of one device at once: a phone has one, and beside it what is left of those whose line broke.
const SYNCS_MAX: u32 = 3;
/// Penalty at which a device is told to stay away, and at which it may come back.
const PENALTY_MAX: f64 = 100.0;
const PENALTY_AGAIN: f64 = 50.0;
/// Beyond this it is not counted, so that no device is kept away for more than minutes.
const PENALTY_COUNTED: f64 = 250.0;
/// How long a device that is to stay away waits for that answer.
const AWAY_ANSWER_TIME: Duration = Duration::from_secs(1);
/// Penalty forgiven in a second.
const FORGIVEN: f64 = 1.0;
/// Longest `Retry-After`: phones wait no longer.
const RETRY_SECONDS_MAX: f64 = 120.0;
/// For a body that is none.
const PENALTY_OF_A_BODY: f64 = 10.0;
/// Devices that are remembered; of more, those with the smallest penalty are forgotten.
const DEVICES_MAX: usize = 10_000;

/// Processor time, in milliseconds, that a device may have taken of late without giving way to the others: a phone's day takes a tenth.
const TAKEN_MS_MAX: f64 = 100.0;
/// Beyond this it is not counted, so that a device gives way for minutes at most.
const TAKEN_MS_COUNTED: f64 = 5_000.0;
/// Forgotten of it in a second.
const FORGOTTEN_MS: f64 = 50.0;
/// What a change costs to merge, and a piece of an answer to make: about, in milliseconds.
const MERGE_MS: f64 = 0.2;
const PIECE_MS: f64 = 2.0;
/// Penalty at which a device gives way as well.
const PENALTY_ASIDE: f64 = 5.0;

/// Longest rest after work for a device that gives way.
const REST_MAX: Duration = Duration::from_secs(1);

/// Bytes of a body as sent up to which a request is small, if what is in it is small as well.
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// KiB that requests hold that are read and not yet merged.
const ROOM_KIB: u32 = 256 * 1024;
/// What an operation takes once it is read, and a change beside its bytes.
const OP_BYTES: usize = 160;
const CHANGE_BYTES: usize = 512;
/// Longer than honest requests wait at the worst of times; then the phone is told to come back.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// See the module.
pub struct Admission {
    devices: Arc<Mutex<HashMap<DeviceId, Usage>>>,
    small: Arc<Turns>,
    large: Arc<Turns>,
    room: Arc<Semaphore>,
}

/// What a device does of late.
#[derive(Clone, Copy)]
struct Usage {
    running: u32,
    penalty: f64,
    at: ServerTime,
    away: bool,
    /// Processor time in milliseconds, up to a moment.
    taken: f64,
    taken_at: Instant,
}

impl Usage {
    fn forgive(&mut self, now: ServerTime) {
        // A clock that steps back forgives nothing.
        let elapsed = now.unix_ms().saturating_sub(self.at.unix_ms()).max(0) as f64 / 1_000.0;
        self.penalty = (self.penalty - elapsed * FORGIVEN).max(0.0);
        self.away &= self.penalty > PENALTY_AGAIN;
        self.at = now;
    }

    /// Takes so many milliseconds more; what it has taken of late.
    fn take(&mut self, ms: f64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.taken_at).as_secs_f64();
        self.taken = ((self.taken - elapsed * FORGOTTEN_MS).max(0.0) + ms).min(TAKEN_MS_COUNTED);
        self.taken_at = now;
        self.taken
    }
}

/// What a device took of late, and whether it gives way.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Share {
    taken: f64,
    gives_way: bool,
}

/// A device that came, and for how many seconds it is to go again.
struct Entered {
    away: Option<u32>,
    permit: SyncPermit,
}

/// A synchronisation under way.
pub struct SyncPermit {
    devices: Arc<Mutex<HashMap<DeviceId, Usage>>>,
    device: DeviceId,
}

impl Drop for SyncPermit {
    fn drop(&mut self) {
        let mut devices = lock(&self.devices);
        if let Some(usage) = devices.get_mut(&self.device) {
            usage.running = usage.running.saturating_sub(1);
            if usage.running == 0 && usage.penalty == 0.0 && usage.take(0.0, Instant::now()) == 0.0
            {
                devices.remove(&self.device);
            }
        }
    }
}

impl SyncPermit {
    /// The permit is held as long as the answer's stream.
    pub fn around(self, body: Body) -> Body {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            take(&self.devices, self.device, PIECE_MS);
        }))
    }
}

/// Memory that a request holds.
pub struct Room(
    #[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit,
);

impl Admission {
    /// Permits for this machine's processors.
    pub fn new() -> Self {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        Self {
            devices: Arc::default(),
            small: Turns::new(processors.max(2)),
            large: Turns::new((processors / 2).max(1)),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }
    }

    /// Whether a device took so much, or sent such things, that it gives way to the others.
    pub fn gives_way(&self, device: DeviceId) -> bool {
        self.share(device).gives_way
    }

    fn share(&self, device: DeviceId) -> Share {
        let mut devices = lock(&self.devices);
        let Some(usage) = devices.get_mut(&device) else {
            return Share {
                taken: 0.0,
                gives_way: false,
            };
        };
        let taken = usage.take(0.0, Instant::now());
        Share {
            taken,
            gives_way: taken > TAKEN_MS_MAX || usage.penalty > PENALTY_ASIDE,
        }
    }

    /// Lets a device in, before a byte of its body is read. One that is to stay away hears so after a moment, so that asking again and again at
    /// once costs it more than the server.
    pub async fn enter(&self, device: DeviceId, now: ServerTime) -> Result<SyncPermit, SyncError> {
        let refusal = match self.permit(device, now) {
            Ok(Entered { away: None, permit }) => return Ok(permit),
            Ok(Entered {
                away: Some(seconds),
                permit,
            }) => {
                sleep(AWAY_ANSWER_TIME).await;
                drop(permit);
                SyncError::Away { wait_s: seconds }
            }
            Err(refusal) => refusal,
        };
        Err(refusal)
    }

    fn permit(&self, device: DeviceId, now: ServerTime) -> Result<Entered, SyncError> {
        let mut devices = lock(&self.devices);
        if devices.len() >= DEVICES_MAX && !devices.contains_key(&device) {
            forget_some(&mut devices);
        }
        let usage = devices.entry(device).or_insert_with(|| Usage {
            running: 0,
            penalty: 0.0,
            at: now,
            away: false,
            taken: 0.0,
            taken_at: Instant::now(),
        });
        usage.forgive(now);
        let away = usage.away.then(|| {
            ((usage.penalty - PENALTY_AGAIN) / FORGIVEN)
                .clamp(1.0, RETRY_SECONDS_MAX)
                .ceil() as u32
        });
        if usage.running >= SYNCS_MAX {
            return Err(SyncError::TooManySyncs);
        }
        usage.running += 1;
        Ok(Entered {
            away,
            permit: SyncPermit {
                devices: Arc::clone(&self.devices),
                device,
            },
        })
    }

    /// Reads a body; what it holds counts until the room is given back.
    pub async fn read(
        &self,
        device: DeviceId,
        now: ServerTime,
        body: Bytes,
        packing: Packing,
        encoding: Encoding,
    ) -> Result<(SyncRequest, Room), SyncError> {
        let read = match self.read_small(device, &body, packing, encoding).await? {
            Some(read) => read,
            None => {
                self.read_in(&self.large, device, body, packing, encoding, Effort::FULL)
                    .await?
            }
        };
        let request = read.inspect_err(|error| {
            if error.is_about_the_body() {
                self.penalise(device, now, PENALTY_OF_A_BODY);
            }
        })?;
        let held = |changes: &[Ingested]| {
            let of = |change: &Ingested| {
                let ops = change.change.as_ref().map_or(0, |change| change.ops.len());
                CHANGE_BYTES + 2 * change.pushed.bytes.len() + ops * OP_BYTES
            };
            (changes.iter().map(of).sum::<usize>() / 1024 + 1).min(ROOM_KIB as usize) as u32
        };
        let gives_way = self.gives_way(device);
        let room = timeout(
            WAIT_MAX,
            Arc::clone(&self.room).acquire_many_owned(held(&request.changes)),
        )
        .await;
        // The semaphore is never closed.
        let room = room
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| no_turn(gives_way))?;
        Ok((request, Room(room)))
    }

    /// Among the small ones; `None`: it is none, or its device gives way.
    async fn read_small(
        &self,
        device: DeviceId,
        body: &Bytes,
        packing: Packing,
        encoding: Encoding,
    ) -> Result<Option<Read>, SyncError> {
        if body.len() > SMALL_BODY_BYTES || self.gives_way(device) {
            return Ok(None);
        }
        let read = self
            .read_in(
                &self.small,
                device,
                body.clone(),
                packing,
                encoding,
                Effort::SMALL,
            )
            .await?;
        Ok(if read.as_ref().is_err_and(IngestError::is_too_much) {
            None
        } else {
            Some(read)
        })
    }

    /// On a blocking thread, in turn. The turn is over when the work is, also where nobody waits for it any more.
    async fn read_in(
        &self,
        turns: &Arc<Turns>,
        device: DeviceId,
        body: Bytes,
        packing: Packing,
        encoding: Encoding,
        effort: Effort,
    ) -> Result<Read, SyncError> {
        let Share { taken, gives_way } = self.share(device);
        let turn = timeout(WAIT_MAX, turns.turn(taken)).await;
        let turn = turn.ok().flatten().ok_or_else(|| no_turn(gives_way))?;
        let rests = self.gives_way(device);
        let devices = Arc::clone(&self.devices);
        let work = move || {
            let begun = processor_time();
            let read = ingest::read_within(&body, packing, encoding, effort);
            let worked = processor_time().saturating_sub(begun);
            take(&devices, device, worked.as_secs_f64() * 1_000.0);
            if rests {
                Handle::current().spawn(async move {
                    sleep(worked.min(REST_MAX)).await;
                    drop(turn);
                });
            }
            read
        };
        Ok(tokio::task::spawn_blocking(work).await?)
    }

    /// What became of a device's changes.
    pub fn note(&self, device: DeviceId, now: ServerTime, outcomes: &[Outcome]) {
        take(&self.devices, device, outcomes.len() as f64 * MERGE_MS);
        let penalty: f64 = outcomes
            .iter()
            .filter_map(|outcome| outcome.refusal.as_ref())
            .map(weight)
            .sum();
        if penalty > 0.0 {
            self.penalise(device, now, penalty);
        }
    }

    fn penalise(&self, device: DeviceId, now: ServerTime, penalty: f64) {
        let mut devices = lock(&self.devices);
        let Some(usage) = devices.get_mut(&device) else {
            return;
        };
        usage.forgive(now);
        usage.penalty = (usage.penalty + penalty).min(PENALTY_COUNTED);
        if usage.penalty >= PENALTY_MAX && !usage.away {
            usage.away = true;
            tracing::warn!(%device, "a device sends changes that no phone writes; it is told to stay away for a while");
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that have been good for long enough; where nobody has, whoever has the smallest penalty.
fn forget_some(devices: &mut HashMap<DeviceId, Usage>) {
    let least = devices
        .values()
        .filter(|usage| usage.running == 0)
        .map(|usage| usage.penalty)
        .fold(f64::INFINITY, f64::min);
    devices.retain(|_, usage| usage.running > 0 || usage.penalty > least);
}

/// How much a refusal tells against a device. What does not pass the gate was written by no phone; what MERGE refuses seldom was; what the
/// office did meanwhile, or another phone, tells nothing.
fn weight(refusal: &Refusal) -> f64 {
    match refusal {
        Refusal::Gate(_) => 1.0,
        Refusal::Field { .. }
        | Refusal::ForeignActor
        | Refusal::RecordExists
        | Refusal::KindMismatch
        | Refusal::WrongStreet
        | Refusal::BadStartOp
        | Refusal::BadPredecessor { .. }
        | Refusal::NotYourGrid
        | Refusal::UnknownGrid => 0.25,
        // A restored server lacks much for a while, and a cloned phone forks all it has.
        Refusal::ActorForked | Refusal::DependencyMissing | Refusal::SequenceGap => 0.05,
        _ => 0.0,
    }
}

type Read = Result<SyncRequest, IngestError>;

/// To who waited in vain: for the others, or because it gave way to them.
fn no_turn(gave_way: bool) -> SyncError {
    if gave_way {
        SyncError::GaveWay
    } else {
        SyncError::Overloaded
    }
}

/// What a device took that is here or was not long ago.
fn take(devices: &Mutex<HashMap<DeviceId, Usage>>, device: DeviceId, ms: f64) {
    if let Some(usage) = lock(devices).get_mut(&device) {
        usage.take(ms, Instant::now());
    }
}

/// Of this thread: however busy the machine is, a device answers for its own work only.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lianka_sync_core::{
        codec::{change::GateError, wire::VerdictStatus},
        id::RecordId,
    };
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    fn at(seconds: i64) -> ServerTime {
        ServerTime::from_unix_ms(1_795_248_000_000 + seconds * 1_000)
    }

    fn refused(refusal: &Refusal, count: usize) -> Vec<Outcome> {
        let outcome = || Outcome {
            record: RecordId(Uuid::nil()),
            hash: None,
            status: VerdictStatus::Rejected,
            seq: None,
            code: None,
            refusal: Some(refusal.clone()),
        };
        (0..count).map(|_| outcome()).collect()
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Entry {
        LetIn,
        Away,
        TooMany,
    }

    fn entry(entered: Result<Entered, SyncError>) -> Entry {
        match entered.map(|entered| entered.away) {
            Ok(None) => Entry::LetIn,
            Ok(Some(_)) => Entry::Away,
            Err(_) => Entry::TooMany,
        }
    }

    #[test]
    fn who_sends_nonsense_stays_away_for_a_while_and_nobody_else_does() {
        let admission = Admission::new();
        let permit = admission.permit(device(1), at(0)).expect("let in");
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 99),
        );
        drop(permit);
        let permit = admission.permit(device(1), at(0)).expect("one more time");
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 99),
        );
        drop(permit);
        assert_eq!(entry(admission.permit(device(1), at(0))), Entry::Away);
        assert_eq!(entry(admission.permit(device(2), at(0))), Entry::LetIn);
        assert_eq!(entry(admission.permit(device(1), at(147))), Entry::Away);
        assert_eq!(
            entry(admission.permit(device(1), at(149))),
            Entry::LetIn,
            "forgiven"
        );
        assert_eq!(
            entry(admission.permit(device(1), at(0))),
            Entry::LetIn,
            "also under a clock that steps back"
        );
        let rested = |usage: &mut Usage| usage.take(0.0, Instant::now() + Duration::from_mins(1));
        assert_eq!(
            lock(&admission.devices).get_mut(&device(1)).map(rested),
            Some(0.0)
        );
        drop(admission.permit(device(1), at(1_000)));
        assert!(
            lock(&admission.devices).is_empty(),
            "who is good is not remembered"
        );
    }

    #[test]
    fn what_an_honest_phone_may_meet_keeps_nobody_away() {
        let admission = Admission::new();
        for (refusal, count) in [
            (Refusal::DependsOnRejected, 2_000),
            (Refusal::StaleGeneration, 2_000),
            (Refusal::Erased, 2_000),
            (Refusal::ImportUndone, 2_000),
            (Refusal::SequenceGap, 1_900),
            (Refusal::NotYourGrid, 300),
        ] {
            let permit = admission.permit(device(1), at(0)).expect("let in");
            admission.note(device(1), at(0), &refused(&refusal, count));
            drop(permit);
            assert_eq!(
                entry(admission.permit(device(1), at(0))),
                Entry::LetIn,
                "{refusal:?}"
            );
            lock(&admission.devices).clear();
        }
    }

    #[test]
    fn a_device_has_a_few_running_at_once() {
        let admission = Admission::new();
        let running: Vec<_> = (0..SYNCS_MAX)
            .map(|_| admission.permit(device(1), at(0)).expect("let in"))
            .collect();
        assert_eq!(entry(admission.permit(device(1), at(0))), Entry::TooMany);
        assert_eq!(entry(admission.permit(device(2), at(0))), Entry::LetIn);
        drop(running);
        assert_eq!(entry(admission.permit(device(1), at(0))), Entry::LetIn);
    }

    #[test]
    fn memory_of_devices_is_bounded() {
        let admission = Admission::new();
        for n in 0..(DEVICES_MAX as u128 + 50) {
            let permit = admission.permit(device(n), at(0)).expect("let in");
            admission.penalise(device(n), at(0), 1.0 + (n % 7) as f64);
            drop(permit);
        }
        assert!(lock(&admission.devices).len() <= DEVICES_MAX);
    }

    #[test]
    fn who_takes_much_gives_way_until_it_is_forgotten() {
        let admission = Admission::new();
        let began = Instant::now();
        let running: Vec<_> = [1, 2]
            .map(|n| admission.permit(device(n), at(0)).expect("let in"))
            .into();
        take(&admission.devices, device(1), 100_000.0);
        take(&admission.devices, device(2), 20.0);
        assert!(admission.gives_way(device(1)));
        assert!(!admission.gives_way(device(2)), "a phone's ordinary day");
        assert!(!admission.gives_way(device(3)), "nor a stranger");
        let mut devices = lock(&admission.devices);
        let taken = devices
            .get_mut(&device(1))
            .map(|usage| usage.take(0.0, began + Duration::from_mins(2)));
        assert!(
            taken.is_some_and(|taken| taken < TAKEN_MS_MAX),
            "whatever it took: {taken:?}"
        );
        drop(devices);
        drop(running);
    }

    #[test]
    fn a_few_changes_that_no_phone_writes_are_enough_to_give_way() {
        let admission = Admission::new();
        let _permit = admission.permit(device(1), at(0)).expect("let in");
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 3),
        );
        assert!(!admission.gives_way(device(1)));
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 3),
        );
        assert!(admission.gives_way(device(1)));
    }
}
