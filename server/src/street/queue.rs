//! Group commit: pushes to one street that wait at the same moment are merged and committed together.
//!
//! A street has one worker in this process while it has work. The queue is bounded: a push that finds it full is refused as overloaded
//! before anything of it is stored, and the phone keeps it. Other servers' workers on the same street are ordered by the street's row lock.
//!
//! Whoever writes much in many transactions, as an import does, asks for a [`Turn`] before each: phones go first, and wait for one of them at most.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lianka_sync_core::id::StreetCode;
use sqlx::PgPool;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    clock::{Clock, Entropy},
    pipeline_point::{PipelinePoint, reached},
    store::waits::within,
    street::{
        error::{MergeError, PushError},
        merge::{self, Outcome, Push},
    },
};

/// Requests that may wait for one street.
const WAITING_MAX: usize = 256;
/// Changes after which a batch is full: enough to make the commit cheap, few enough to keep the lock short.
const BATCH_CHANGES: usize = 4_000;

/// Phones that pushed within this time are taken to be at work.
const AT_WORK_FOR: Duration = Duration::from_secs(5);

/// Changes up to which a push is small: what a phone brings after a day.
const SMALL_PUSH_CHANGES: usize = 200;
/// Operations of all of them, likewise.
const SMALL_PUSH_OPS: usize = 20_000;

type Reply = Result<Vec<Outcome>, PushError>;

struct Waiting {
    push: Push,
    /// It is merged behind those of devices that took less of the server.
    gives_way: bool,
    reply: oneshot::Sender<Reply>,
}

/// Who comes to a street's queue.
enum Arrival {
    Push(Waiting),
    /// Somebody who writes by himself.
    Writer(oneshot::Sender<Turn>),
}

/// The right to write a street in a transaction of one's own while no push is merged. Drop it after the commit.
#[derive(Debug)]
pub struct Turn {
    /// Whether a push came since the turn before: phones are at work.
    pub phones_are_at_work: bool,
    _ended: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// Where no queue orders writers, the street's row lock does.
    pub fn of_the_row_lock() -> Self {
        Self {
            phones_are_at_work: true,
            _ended: None,
        }
    }
}

/// What a worker does next.
enum Next {
    Merge(Vec<Waiting>),
    GiveTurn(oneshot::Sender<Turn>),
}

/// Who waits for a street. By turns all small pushes together and one large one or one writer, so that a small push waits for one of these at most.
#[derive(Default)]
struct Line {
    small: VecDeque<Waiting>,
    large: VecDeque<Arrival>,
    large_is_next: bool,
    /// When the last push came.
    pushed_at: Option<Instant>,
}

impl Line {
    /// What is next, once somebody waits; `None` where nobody will.
    async fn more(&mut self, receiver: &mut mpsc::Receiver<Arrival>) -> Option<Next> {
        if self.small.is_empty() && self.large.is_empty() {
            let first = receiver.recv().await?;
            self.join(first);
        }
        // As many again as the queue holds may wait here, and no more.
        while self.small.len() + self.large.len() < WAITING_MAX
            && let Ok(next) = receiver.try_recv()
        {
            self.join(next);
        }
        if self.small.is_empty() || (self.large_is_next && !self.large.is_empty()) {
            self.large_is_next = false;
            return self.large.pop_front().map(|large| match large {
                Arrival::Push(push) => Next::Merge(vec![push]),
                Arrival::Writer(writer) => Next::GiveTurn(writer),
            });
        }
        self.large_is_next = true;
        let mut changes = 0;
        let mut batch = Vec::new();
        while changes < BATCH_CHANGES
            && let Some(next) = self.small.pop_front()
        {
            changes += next.push.changes.len();
            batch.push(next);
        }
        Some(Next::Merge(batch))
    }

    fn join(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Push(push) => {
                self.pushed_at = Some(Instant::now());
                if is_small(&push.push) && !push.gives_way {
                    self.small.push_back(push);
                } else {
                    self.large.push_back(Arrival::Push(push));
                }
            }
            Arrival::Writer(_) => self.large.push_back(arrival),
        }
    }

    /// Lets somebody write, and waits until that is done.
    async fn give_turn(&self, writer: oneshot::Sender<Turn>) {
        let (ended, end) = oneshot::channel();
        let turn = Turn {
            phones_are_at_work: self.pushed_at.is_some_and(|at| at.elapsed() < AT_WORK_FOR),
            _ended: Some(ended),
        };
        // Whoever went away meanwhile drops the turn at once.
        let _ = writer.send(turn);
        let _ = end.await;
    }
}

/// The streets' queues of this process.
#[derive(Clone)]
pub struct StreetQueues {
    pool: PgPool,
    clock: Clock,
    entropy: Entropy,
    /// A commit that takes longer is given up: the phones send again, and find out whether it came about.
    commit_time_max: Duration,
    queues: Arc<Mutex<HashMap<StreetCode, mpsc::Sender<Arrival>>>>,
}

impl StreetQueues {
    pub fn new(pool: PgPool, clock: Clock, entropy: Entropy, commit_time_max: Duration) -> Self {
        Self {
            pool,
            clock,
            entropy,
            commit_time_max,
            queues: Arc::default(),
        }
    }

    /// Merges a push, together with whatever else waits for the street; returns after the commit.
    pub async fn push(
        &self,
        street: &StreetCode,
        push: Push,
        gives_way: bool,
    ) -> Result<Vec<Outcome>, PushError> {
        if push.changes.iter().all(|change| change.change.is_err()) {
            // Nothing of it concerns the street.
            return Ok(push
                .changes
                .iter()
                .filter_map(Outcome::of_refused)
                .collect());
        }
        let resent = merge::resent(&self.pool, street, &push, self.clock.now()).await;
        if let Some(outcomes) = resent.map_err(|error| PushError::Batch(Arc::new(error)))? {
            return Ok(outcomes);
        }
        let (reply, outcome) = oneshot::channel();
        let waiting = Waiting {
            push,
            gives_way,
            reply,
        };
        self.enqueue(street, Arrival::Push(waiting))?;
        // A worker ends only with the process, so a lost reply means that the server stops.
        outcome.await.unwrap_or_else(|_| Err(PushError::Stopping))
    }

    /// Waits for a turn to write the street. Where the queue is full, phones are refused as well, and it is given at once.
    pub async fn turn(&self, street: &StreetCode) -> Turn {
        let (writer, turn) = oneshot::channel();
        let queued = self.enqueue(street, Arrival::Writer(writer)).is_ok();
        if !queued {
            return Turn::of_the_row_lock();
        }
        // A worker that was lost gives no turns.
        turn.await.unwrap_or_else(|_| Turn::of_the_row_lock())
    }

    fn enqueue(&self, street: &StreetCode, waiting: Arrival) -> Result<(), PushError> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues
            .entry(street.clone())
            .or_insert_with(|| self.start_worker(street.clone()));
        match queue.try_send(waiting) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(PushError::Full),
            Err(mpsc::error::TrySendError::Closed(waiting)) => {
                // The worker was lost to a panic: the next push starts another.
                let queue = self.start_worker(street.clone());
                let sent = queue.try_send(waiting).map_err(|_| PushError::Full);
                queues.insert(street.clone(), queue);
                sent
            }
        }
    }

    fn start_worker(&self, street: StreetCode) -> mpsc::Sender<Arrival> {
        let (sender, mut receiver) = mpsc::channel::<Arrival>(WAITING_MAX);
        let this = self.clone();
        tokio::spawn(async move {
            let mut waiting = Line::default();
            while let Some(next) = waiting.more(&mut receiver).await {
                match next {
                    Next::Merge(batch) => this.commit(&street, batch).await,
                    Next::GiveTurn(writer) => waiting.give_turn(writer).await,
                }
            }
        });
        sender
    }

    async fn commit(&self, street: &StreetCode, batch: Vec<Waiting>) {
        let (pushes, replies): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.push, waiting.reply))
            .unzip();
        reached(PipelinePoint::PushTaken);
        match self.merge(street, &pushes).await {
            Err(error) if error.is_about_content() && pushes.len() > 1 => {
                // One push holds what the store does not take; the others must not wait for it for ever.
                tracing::warn!(%street, "a batch was refused by the store; its requests are committed one by one");
                for (push, reply) in pushes.chunks(1).zip(replies) {
                    let outcomes = self.merge(street, push).await;
                    answer(outcomes, vec![reply]);
                }
            }
            outcomes => {
                tracing::debug!(%street, requests = pushes.len(), "committed a batch");
                answer(outcomes, replies);
            }
        }
        reached(PipelinePoint::PushAnswered);
    }

    async fn merge(
        &self,
        street: &StreetCode,
        pushes: &[Push],
    ) -> Result<Vec<Vec<Outcome>>, MergeError> {
        within(
            self.commit_time_max,
            merge::commit(&self.pool, street, pushes, self.clock.now(), &self.entropy),
        )
        .await
    }
}

fn is_small(push: &Push) -> bool {
    let ops: usize = push
        .changes
        .iter()
        .filter_map(|change| change.change.as_ref().ok())
        .map(|change| change.ops.len())
        .sum();
    push.changes.len() <= SMALL_PUSH_CHANGES && ops <= SMALL_PUSH_OPS
}

/// A phone that went away meanwhile sends again; its changes are then duplicates.
fn answer(outcomes: Result<Vec<Vec<Outcome>>, MergeError>, replies: Vec<oneshot::Sender<Reply>>) {
    match outcomes {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _ = reply.send(Ok(outcome));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for reply in replies {
                let _ = reply.send(Err(PushError::Batch(Arc::clone(&error))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lianka_office_core::push::Author;
    use lianka_sync_core::{access::Role, id::DeviceId};
    use uuid::Uuid;

    use super::*;

    fn push() -> Arrival {
        let author = Author {
            username: "wang.fang".into(),
            role: Role::Secretary,
            device: DeviceId(Uuid::from_u128(1)),
            wiped: false,
        };
        Arrival::Push(Waiting {
            push: Push {
                author,
                changes: Vec::new(),
            },
            gives_way: false,
            reply: oneshot::channel().0,
        })
    }

    fn name(next: Option<&Next>) -> &'static str {
        match next {
            Some(Next::Merge(_)) => "phones",
            Some(Next::GiveTurn(_)) => "writer",
            None => "nobody",
        }
    }

    #[tokio::test]
    async fn phones_wait_for_one_writer_at_most_and_writers_for_the_phones_that_wait() {
        let (sender, mut receiver) = mpsc::channel(8);
        let mut line = Line::default();
        let send = |arrival| assert!(sender.try_send(arrival).is_ok());
        let writer = || Arrival::Writer(oneshot::channel().0);
        send(writer());
        send(writer());
        send(push());
        send(push());
        assert_eq!(name(line.more(&mut receiver).await.as_ref()), "phones");
        send(push());
        assert_eq!(name(line.more(&mut receiver).await.as_ref()), "writer");
        assert_eq!(name(line.more(&mut receiver).await.as_ref()), "phones");
        assert_eq!(name(line.more(&mut receiver).await.as_ref()), "writer");
        drop(sender);
        assert_eq!(name(line.more(&mut receiver).await.as_ref()), "nobody");
    }

    #[tokio::test]
    async fn a_turn_ends_when_it_is_dropped_and_tells_of_phones_at_work() {
        let (sender, mut receiver) = mpsc::channel(8);
        let mut line = Line::default();
        for at_work in [false, true] {
            if at_work {
                assert!(sender.try_send(push()).is_ok());
                line.more(&mut receiver).await;
            }
            let (writer, turn) = oneshot::channel();
            let taken = async { turn.await.map(|turn: Turn| turn.phones_are_at_work) };
            let ((), taken) = tokio::join!(line.give_turn(writer), taken);
            assert_eq!(taken, Ok(at_work));
        }
        // Whoever went away keeps nobody waiting.
        let (writer, gone) = oneshot::channel();
        drop(gone);
        line.give_turn(writer).await;
    }
}
