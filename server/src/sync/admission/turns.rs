//! Turns: a semaphore of which those who wait get a permit not by when they came, but by how little they took.
//!
//! In: who wants to work, with what they took so far. Out: turns. Who goes away while waiting is passed over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// See the module.
pub(crate) struct Turns(Mutex<Places>);

struct Places {
    free: usize,
    /// By what they took, then in the order in which they came.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Turn>>,
    came: u64,
}

/// A permit, given back when it is dropped.
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Turns {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Places {
            free: places,
            waiting: BTreeMap::new(),
            came: 0,
        })))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn for one who took so much. Always `Some` as long as the turns are there.
    pub async fn turn(self: &Arc<Self>, taken: f64) -> Option<Turn> {
        let turn = {
            let mut places = self.places();
            if places.free > 0 {
                places.free -= 1;
                return Some(Turn(Some(Arc::clone(self))));
            }
            let (sender, receiver) = oneshot::channel();
            places.came += 1;
            let came = places.came;
            places.waiting.insert((taken as u64, came), sender);
            receiver
        };
        turn.await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut turns) = self.0.take() else {
            return;
        };
        loop {
            let next = {
                let mut places = turns.places();
                let Some((_, next)) = places.waiting.pop_first() else {
                    places.free += 1;
                    return;
                };
                next
            };
            // Not under the lock: a turn that nobody takes is dropped here.
            match next.send(Turn(Some(turns))) {
                Ok(()) => return,
                Err(mut untaken) => match untaken.0.take() {
                    Some(still) => turns = still,
                    None => return,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, poll};

    #[tokio::test]
    async fn whoever_took_least_is_next_and_who_went_away_is_passed_over() {
        let turns = Turns::new(1);
        let first = turns.turn(9_000.0).await.expect("free");
        let mut greedy = Box::pin(turns.turn(5_000.0));
        let mut gone = Box::pin(turns.turn(0.0));
        let mut modest = Box::pin(turns.turn(1.0));
        let mut equal = Box::pin(turns.turn(1.0));
        for waiting in [&mut greedy, &mut gone, &mut modest, &mut equal] {
            assert!(poll!(waiting).is_pending());
        }
        drop(gone);
        drop(first);
        assert!(poll!(&mut greedy).is_pending() && poll!(&mut equal).is_pending());
        let second = modest
            .now_or_never()
            .flatten()
            .expect("the first of the modest");
        drop(second);
        let third = equal.now_or_never().flatten().expect("the other");
        assert!(poll!(&mut greedy).is_pending());
        drop(third);
        drop(
            greedy
                .now_or_never()
                .flatten()
                .expect("then the greedy one"),
        );
        assert!(
            turns.turn(1.0).now_or_never().is_some(),
            "the place is free again"
        );
    }

    #[tokio::test]
    async fn a_turn_that_comes_too_late_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = turns.turn(0.0).await.expect("free");
        let mut absent = Box::pin(turns.turn(0.0));
        let mut behind = Box::pin(turns.turn(1.0));
        assert!(poll!(&mut absent).is_pending() && poll!(&mut behind).is_pending());
        drop(first);
        // The turn is on its way, and nobody takes it.
        drop(absent);
        assert!(behind.now_or_never().flatten().is_some());
    }
}
