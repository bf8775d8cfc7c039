//! Admission: what one device may take of the server, so that devices which send nonsense cannot push honest ones out.
//!
//! In: a device that wants to synchronise, and its body. Out: the request, read; or a refusal that costs almost nothing. Three bounds:
//! - **A device** has so many synchronisations under way, its answers' streams included; and one whose changes are refused again and again is
//!   told to stay away for a while ([`ErrorCode::TooManyRefusals`]). A phone keeps its edits and comes back: nothing is lost, whoever is to blame.
//! - **Processors.** Small requests, which is what phones send all day, and large ones are read in lanes of their own: a large one never makes a
//!   small one wait, and large ones never take the last processor. Of those who wait, whoever took least of the server lately is next; and a
//!   device that took much, or whose changes were refused, keeps to the lane of the large, which then rests as long as it worked, and merges
//!   behind the others. Where nobody else wants anything, that costs it next to nothing.
//! - **Memory.** What was read is counted by what it holds, and waits for room before it waits for its street.
//!
//! Kept in memory and by each server alone: forgetting it harms nobody.

mod lane;

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
    http::error::{ApiError, ErrorCode},
    street::merge::{Ingested, Outcome},
    sync::ingest::{self, Effort, Packing, SyncRequest},
};
use lane::Lane;

/// Synchronisations of one device at once: a phone has one, and beside it what is left of those whose line broke.
const VISITS_MAX: u32 = 3;
/// Strikes at which a device is told to stay away, and at which it may come back.
const STRIKES_MAX: f64 = 100.0;
const STRIKES_AGAIN: f64 = 50.0;
/// Beyond this they are not counted, so that no device is kept away for more than minutes.
const STRIKES_COUNTED: f64 = 250.0;
/// How long a device that is to stay away waits for that answer.
const AWAY_ANSWER_TIME: Duration = Duration::from_secs(1);
/// Strikes forgiven in a second.
const FORGIVEN: f64 = 1.0;
/// Longest `Retry-After`: phones wait no longer.
const RETRY_SECONDS_MAX: f64 = 120.0;
/// For a body that is none.
const STRIKES_OF_A_BODY: f64 = 10.0;
/// Devices that are remembered; of more, those with the fewest strikes are forgotten.
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
/// Strikes at which a device gives way as well.
const STRIKES_ASIDE: f64 = 5.0;

/// Longest rest of the lane of the large after a device that gives way.
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
    devices: Arc<Mutex<HashMap<DeviceId, Conduct>>>,
    small: Arc<Lane>,
    large: Arc<Lane>,
    room: Arc<Semaphore>,
}

/// How a device behaves.
#[derive(Clone, Copy)]
struct Conduct {
    visits: u32,
    strikes: f64,
    at: ServerTime,
    away: bool,
    /// Processor time in milliseconds, up to a moment.
    taken: f64,
    taken_at: Instant,
}

impl Conduct {
    fn forgive(&mut self, now: ServerTime) {
        // A clock that steps back forgives nothing.
        let elapsed = now.unix_ms().saturating_sub(self.at.unix_ms()).max(0) as f64 / 1_000.0;
        self.strikes = (self.strikes - elapsed * FORGIVEN).max(0.0);
        self.away &= self.strikes > STRIKES_AGAIN;
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
struct Visited {
    away: Option<u32>,
    visit: Visit,
}

/// A synchronisation under way.
pub struct Visit {
    devices: Arc<Mutex<HashMap<DeviceId, Conduct>>>,
    device: DeviceId,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut devices = lock(&self.devices);
        if let Some(conduct) = devices.get_mut(&self.device) {
            conduct.visits = conduct.visits.saturating_sub(1);
            if conduct.visits == 0
                && conduct.strikes == 0.0
                && conduct.take(0.0, Instant::now()) == 0.0
            {
                devices.remove(&self.device);
            }
        }
    }
}

impl Visit {
    /// The visit lasts as long as the answer's stream.
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
    /// Lanes for this machine's processors.
    pub fn new() -> Self {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        Self {
            devices: Arc::default(),
            small: Lane::new(processors.max(2)),
            large: Lane::new((processors / 2).max(1)),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }
    }

    /// Whether a device took so much, or sent such things, that it gives way to the others.
    pub fn gives_way(&self, device: DeviceId) -> bool {
        self.share(device).gives_way
    }

    fn share(&self, device: DeviceId) -> Share {
        let mut devices = lock(&self.devices);
        let Some(conduct) = devices.get_mut(&device) else {
            return Share {
                taken: 0.0,
                gives_way: false,
            };
        };
        let taken = conduct.take(0.0, Instant::now());
        Share {
            taken,
            gives_way: taken > TAKEN_MS_MAX || conduct.strikes > STRIKES_ASIDE,
        }
    }

    /// Lets a device in, before a byte of its body is read. One that is to stay away hears so after a moment, so that asking again and again at
    /// once costs it more than the server.
    pub async fn enter(&self, device: DeviceId, now: ServerTime) -> Result<Visit, ApiError> {
        let refusal = match self.visit(device, now) {
            Ok(Visited { away: None, visit }) => return Ok(visit),
            Ok(Visited {
                away: Some(seconds),
                visit,
            }) => {
                sleep(AWAY_ANSWER_TIME).await;
                drop(visit);
                ApiError::new(ErrorCode::TooManyRefusals).retry_after_s(seconds)
            }
            Err(refusal) => refusal,
        };
        Err(refusal)
    }

    fn visit(&self, device: DeviceId, now: ServerTime) -> Result<Visited, ApiError> {
        let mut devices = lock(&self.devices);
        if devices.len() >= DEVICES_MAX && !devices.contains_key(&device) {
            forget_some(&mut devices);
        }
        let conduct = devices.entry(device).or_insert_with(|| Conduct {
            visits: 0,
            strikes: 0.0,
            at: now,
            away: false,
            taken: 0.0,
            taken_at: Instant::now(),
        });
        conduct.forgive(now);
        let away = conduct.away.then(|| {
            ((conduct.strikes - STRIKES_AGAIN) / FORGIVEN)
                .clamp(1.0, RETRY_SECONDS_MAX)
                .ceil() as u32
        });
        if conduct.visits >= VISITS_MAX {
            return Err(ApiError::new(ErrorCode::RateLimited).detail(
                "该设备已有几次同步正在进行，请等其结束。",
                "Several synchronisations of this device are under way: wait for one of them to end.",
            ));
        }
        conduct.visits += 1;
        Ok(Visited {
            away,
            visit: Visit {
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
    ) -> Result<(SyncRequest, Room), ApiError> {
        let read = match self.read_small(device, &body, packing, encoding).await? {
            Some(read) => read,
            None => {
                self.read_in(&self.large, device, body, packing, encoding, Effort::FULL)
                    .await?
            }
        };
        let request = read.inspect_err(|error| {
            if matches!(error.code(), ErrorCode::Malformed | ErrorCode::BodyTooLarge) {
                self.strike(device, now, STRIKES_OF_A_BODY);
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

    /// In the lane of small ones; `None`: it is no small one, or no business of that lane.
    async fn read_small(
        &self,
        device: DeviceId,
        body: &Bytes,
        packing: Packing,
        encoding: Encoding,
    ) -> Result<Option<Read>, ApiError> {
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
        Ok(
            if read
                .as_ref()
                .is_err_and(|error| error.code() == ErrorCode::BodyTooLarge)
            {
                None
            } else {
                Some(read)
            },
        )
    }

    /// On a blocking thread, in turn. The turn is over when the work is, also where nobody waits for it any more.
    async fn read_in(
        &self,
        lane: &Arc<Lane>,
        device: DeviceId,
        body: Bytes,
        packing: Packing,
        encoding: Encoding,
        effort: Effort,
    ) -> Result<Read, ApiError> {
        let Share { taken, gives_way } = self.share(device);
        let turn = timeout(WAIT_MAX, lane.turn(taken)).await;
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
        tokio::task::spawn_blocking(work)
            .await
            .map_err(ApiError::internal)
    }

    /// What became of a device's changes.
    pub fn note(&self, device: DeviceId, now: ServerTime, outcomes: &[Outcome]) {
        take(&self.devices, device, outcomes.len() as f64 * MERGE_MS);
        let strikes: f64 = outcomes
            .iter()
            .filter_map(|outcome| outcome.refusal.as_ref())
            .map(weight)
            .sum();
        if strikes > 0.0 {
            self.strike(device, now, strikes);
        }
    }

    fn strike(&self, device: DeviceId, now: ServerTime, strikes: f64) {
        let mut devices = lock(&self.devices);
        let Some(conduct) = devices.get_mut(&device) else {
            return;
        };
        conduct.forgive(now);
        conduct.strikes = (conduct.strikes + strikes).min(STRIKES_COUNTED);
        if conduct.strikes >= STRIKES_MAX && !conduct.away {
            conduct.away = true;
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

/// Those that have been good for long enough; where nobody has, whoever has the fewest strikes.
fn forget_some(devices: &mut HashMap<DeviceId, Conduct>) {
    let least = devices
        .values()
        .filter(|conduct| conduct.visits == 0)
        .map(|conduct| conduct.strikes)
        .fold(f64::INFINITY, f64::min);
    devices.retain(|_, conduct| conduct.visits > 0 || conduct.strikes > least);
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

type Read = Result<SyncRequest, ApiError>;

fn too_many_requests() -> ApiError {
    ApiError::new(ErrorCode::RateLimited).detail(
        "该设备的请求过多，请稍候。",
        "Too many requests of this device, or too dear ones: wait for some of them to end.",
    )
}

/// To who waited in vain: for the others, or because it gave way to them.
fn no_turn(gave_way: bool) -> ApiError {
    if gave_way {
        too_many_requests()
    } else {
        ApiError::new(ErrorCode::Overloaded)
    }
}

/// What a device took that is here or was not long ago.
fn take(devices: &Mutex<HashMap<DeviceId, Conduct>>, device: DeviceId, ms: f64) {
    if let Some(conduct) = lock(devices).get_mut(&device) {
        conduct.take(ms, Instant::now());
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
            held: None,
            refusal: Some(refusal.clone()),
        };
        (0..count).map(|_| outcome()).collect()
    }

    /// `None`: it is let in.
    fn code(visited: Result<Visited, ApiError>) -> Option<ErrorCode> {
        match visited {
            Ok(Visited { away: None, .. }) => None,
            Ok(Visited { away: Some(_), .. }) => Some(ErrorCode::TooManyRefusals),
            Err(error) => Some(error.code()),
        }
    }

    #[test]
    fn who_sends_nonsense_stays_away_for_a_while_and_nobody_else_does() {
        let admission = Admission::new();
        let visit = admission.visit(device(1), at(0)).expect("let in");
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 99),
        );
        drop(visit);
        let visit = admission.visit(device(1), at(0)).expect("one more time");
        admission.note(
            device(1),
            at(0),
            &refused(&Refusal::Gate(GateError::NotCanonical), 99),
        );
        drop(visit);
        assert_eq!(
            code(admission.visit(device(1), at(0))),
            Some(ErrorCode::TooManyRefusals)
        );
        assert_eq!(code(admission.visit(device(2), at(0))), None);
        assert_eq!(
            code(admission.visit(device(1), at(147))),
            Some(ErrorCode::TooManyRefusals)
        );
        assert_eq!(code(admission.visit(device(1), at(149))), None, "forgiven");
        assert_eq!(
            code(admission.visit(device(1), at(0))),
            None,
            "also under a clock that steps back"
        );
        let rested =
            |conduct: &mut Conduct| conduct.take(0.0, Instant::now() + Duration::from_mins(1));
        assert_eq!(
            lock(&admission.devices).get_mut(&device(1)).map(rested),
            Some(0.0)
        );
        drop(admission.visit(device(1), at(1_000)));
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
            (Refusal::SequenceGap, 1_900),
            (Refusal::NotYourGrid, 300),
        ] {
            let visit = admission.visit(device(1), at(0)).expect("let in");
            admission.note(device(1), at(0), &refused(&refusal, count));
            drop(visit);
            assert_eq!(code(admission.visit(device(1), at(0))), None, "{refusal:?}");
            lock(&admission.devices).clear();
        }
    }

    #[test]
    fn a_device_has_a_few_visits_at_once() {
        let admission = Admission::new();
        let visits: Vec<_> = (0..VISITS_MAX)
            .map(|_| admission.visit(device(1), at(0)).expect("let in"))
            .collect();
        assert_eq!(
            code(admission.visit(device(1), at(0))),
            Some(ErrorCode::RateLimited)
        );
        assert_eq!(code(admission.visit(device(2), at(0))), None);
        drop(visits);
        assert_eq!(code(admission.visit(device(1), at(0))), None);
    }

    #[test]
    fn memory_of_devices_is_bounded() {
        let admission = Admission::new();
        for n in 0..(DEVICES_MAX as u128 + 50) {
            let visit = admission.visit(device(n), at(0)).expect("let in");
            admission.strike(device(n), at(0), 1.0 + (n % 7) as f64);
            drop(visit);
        }
        assert!(lock(&admission.devices).len() <= DEVICES_MAX);
    }

    #[test]
    fn who_takes_much_gives_way_until_it_is_forgotten() {
        let admission = Admission::new();
        let began = Instant::now();
        let visits: Vec<_> = [1, 2]
            .map(|n| admission.visit(device(n), at(0)).expect("let in"))
            .into();
        take(&admission.devices, device(1), 100_000.0);
        take(&admission.devices, device(2), 20.0);
        assert!(admission.gives_way(device(1)));
        assert!(!admission.gives_way(device(2)), "a phone's ordinary day");
        assert!(!admission.gives_way(device(3)), "nor a stranger");
        let mut devices = lock(&admission.devices);
        let taken = devices
            .get_mut(&device(1))
            .map(|conduct| conduct.take(0.0, began + Duration::from_mins(2)));
        assert!(
            taken.is_some_and(|taken| taken < TAKEN_MS_MAX),
            "whatever it took: {taken:?}"
        );
        drop(devices);
        drop(visits);
    }

    #[test]
    fn a_few_changes_that_no_phone_writes_are_enough_to_give_way() {
        let admission = Admission::new();
        let _visit = admission.visit(device(1), at(0)).expect("let in");
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
