//! Admission: what one device may take of the server, so that devices which send nonsense cannot push honest ones out.
//!
//! In: a device that wants to synchronise, and its body. Out: the request, read; or a refusal that costs almost nothing. Three bounds:
//! - **A device** has so many synchronisations under way, its answers' streams included; and one whose changes are refused again and again is
//!   told to stay away for a while ([`ErrorCode::TooManyRefusals`]). A phone keeps its edits and comes back: nothing is lost, whoever is to blame.
//! - **Processors.** Small requests, which is what phones send all day, and large ones are read in lanes of their own: a large one never makes a
//!   small one wait, and large ones never take the last processor.
//! - **Memory.** What was read is counted by what it holds, and waits for room before it waits for its street.
//!
//! Kept in memory and by each server alone: forgetting it harms nobody.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use lianka_sync_core::{id::DeviceId, merge::Refusal, time::ServerTime, wire::Encoding};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    error::{ApiError, ErrorCode},
    ingest::{self, Effort, Packing, SyncRequest},
    merge::Outcome,
};

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
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// How a device behaves.
#[derive(Clone, Copy)]
struct Conduct {
    visits: u32,
    strikes: f64,
    at: ServerTime,
    away: bool,
}

impl Conduct {
    fn forgive(&mut self, now: ServerTime) {
        // A clock that steps back forgives nothing.
        let elapsed = now.unix_ms().saturating_sub(self.at.unix_ms()).max(0) as f64 / 1_000.0;
        self.strikes = (self.strikes - elapsed * FORGIVEN).max(0.0);
        self.away &= self.strikes > STRIKES_AGAIN;
        self.at = now;
    }
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
            if conduct.visits == 0 && conduct.strikes == 0.0 {
                devices.remove(&self.device);
            }
        }
    }
}

impl Visit {
    /// The visit lasts as long as the answer's stream.
    pub fn around(self, body: Body) -> Body {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            let _ = &self;
        }))
    }
}

/// Memory that a request holds.
pub struct Room(#[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit);

impl Admission {
    /// Lanes for this machine's processors.
    pub fn new() -> Self {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        Self {
            devices: Arc::default(),
            small: Arc::new(Semaphore::new(processors.max(2))),
            large: Arc::new(Semaphore::new((processors / 2).max(1))),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }
    }

    /// Lets a device in, before a byte of its body is read. One that is to stay away hears so after a moment, so that asking again and again at
    /// once costs it more than the server.
    pub async fn enter(&self, device: DeviceId, now: ServerTime) -> Result<Visit, ApiError> {
        let refusal = match self.visit(device, now) {
            Ok(Visited { away: None, visit }) => return Ok(visit),
            Ok(Visited { away: Some(seconds), visit }) => {
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
        let conduct = devices.entry(device).or_insert(Conduct { visits: 0, strikes: 0.0, at: now, away: false });
        conduct.forgive(now);
        let away = conduct.away.then(|| ((conduct.strikes - STRIKES_AGAIN) / FORGIVEN).clamp(1.0, RETRY_SECONDS_MAX).ceil() as u32);
        if conduct.visits >= VISITS_MAX {
            return Err(ApiError::new(ErrorCode::RateLimited).detail(
                "该设备已有几次同步正在进行，请等其结束。",
                "Several synchronisations of this device are under way: wait for one of them to end.",
            ));
        }
        conduct.visits += 1;
        Ok(Visited { away, visit: Visit { devices: Arc::clone(&self.devices), device } })
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
        let read = match self.read_small(&body, packing, encoding).await? {
            Some(read) => read,
            None => in_lane(&self.large, body, packing, encoding, Effort::FULL).await?,
        };
        let request = read.inspect_err(|error| {
            if matches!(error.code(), ErrorCode::Malformed | ErrorCode::BodyTooLarge) {
                self.strike(device, now, STRIKES_OF_A_BODY);
            }
        })?;
        let held = |changes: &[ingest::Ingested]| {
            let of = |change: &ingest::Ingested| {
                let ops = change.change.as_ref().map_or(0, |change| change.ops.len());
                CHANGE_BYTES + 2 * change.pushed.bytes.len() + ops * OP_BYTES
            };
            (changes.iter().map(of).sum::<usize>() / 1024 + 1).min(ROOM_KIB as usize) as u32
        };
        let room = timeout(WAIT_MAX, Arc::clone(&self.room).acquire_many_owned(held(&request.changes))).await;
        // The semaphore is never closed.
        let room = room.ok().and_then(Result::ok).ok_or_else(|| ApiError::new(ErrorCode::Overloaded))?;
        Ok((request, Room(room)))
    }

    /// In the lane of small ones; `None`: it is no small one.
    async fn read_small(&self, body: &Bytes, packing: Packing, encoding: Encoding) -> Result<Option<Read>, ApiError> {
        if body.len() > SMALL_BODY_BYTES {
            return Ok(None);
        }
        let read = in_lane(&self.small, body.clone(), packing, encoding, Effort::SMALL).await?;
        Ok(if read.as_ref().is_err_and(|error| error.code() == ErrorCode::BodyTooLarge) { None } else { Some(read) })
    }

    /// What became of a device's changes.
    pub fn note(&self, device: DeviceId, now: ServerTime, outcomes: &[Outcome]) {
        let strikes: f64 = outcomes.iter().filter_map(|outcome| outcome.refusal.as_ref()).map(weight).sum();
        if strikes > 0.0 {
            self.strike(device, now, strikes);
        }
    }

    fn strike(&self, device: DeviceId, now: ServerTime, strikes: f64) {
        let mut devices = lock(&self.devices);
        let Some(conduct) = devices.get_mut(&device) else { return };
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

fn lock(devices: &Mutex<HashMap<DeviceId, Conduct>>) -> MutexGuard<'_, HashMap<DeviceId, Conduct>> {
    devices.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that have been good for long enough; where nobody has, whoever has the fewest strikes.
fn forget_some(devices: &mut HashMap<DeviceId, Conduct>) {
    let least = devices.values().filter(|conduct| conduct.visits == 0).map(|conduct| conduct.strikes).fold(f64::INFINITY, f64::min);
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

/// On a blocking thread, in turn. The turn is over when the work is, also where nobody waits for it any more.
async fn in_lane(lane: &Arc<Semaphore>, body: Bytes, packing: Packing, encoding: Encoding, effort: Effort) -> Result<Read, ApiError> {
    let turn = timeout(WAIT_MAX, Arc::clone(lane).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(|| ApiError::new(ErrorCode::Overloaded))?;
    let work = move || {
        let _turn = turn;
        ingest::read_within(&body, packing, encoding, effort)
    };
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lianka_sync_core::{change::GateError, id::RecordId, wire::VerdictStatus};
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
        admission.note(device(1), at(0), &refused(&Refusal::Gate(GateError::NotCanonical), 99));
        drop(visit);
        let visit = admission.visit(device(1), at(0)).expect("one more time");
        admission.note(device(1), at(0), &refused(&Refusal::Gate(GateError::NotCanonical), 99));
        drop(visit);
        assert_eq!(code(admission.visit(device(1), at(0))), Some(ErrorCode::TooManyRefusals));
        assert_eq!(code(admission.visit(device(2), at(0))), None);
        assert_eq!(code(admission.visit(device(1), at(147))), Some(ErrorCode::TooManyRefusals));
        assert_eq!(code(admission.visit(device(1), at(149))), None, "forgiven");
        assert_eq!(code(admission.visit(device(1), at(0))), None, "also under a clock that steps back");
        drop(admission.visit(device(1), at(1_000)));
        assert!(lock(&admission.devices).is_empty(), "who is good is not remembered");
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
        let visits: Vec<_> = (0..VISITS_MAX).map(|_| admission.visit(device(1), at(0)).expect("let in")).collect();
        assert_eq!(code(admission.visit(device(1), at(0))), Some(ErrorCode::RateLimited));
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
}
