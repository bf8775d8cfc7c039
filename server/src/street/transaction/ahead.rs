//! A write decided before its turn, while the one before it is written: for whoever writes much in many transactions, as an import does.
//!
//! In: where the street will stand by then, and an act. Out: all that the act writes. Invariants: nothing is locked meanwhile and nothing written; what
//! was decided counts only if the street, once it is locked, stands where it was expected ([`super::StreetTransaction::takes`]), so that nobody wrote in
//! between. What the write before changes is not seen: the act must not depend on it. What takes the processor does so beside the runtime's threads.

use lianka_office_core::{
    acts::Act,
    follow,
    store::{Head, Writes},
    street::Street,
};
use lianka_sync_core::time::ServerTime;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;

use super::load;
use crate::street::projection::Gathered;

/// See the module.
pub struct Ahead {
    pub(super) head: Head,
    pub(super) now: ServerTime,
    pub(super) writes: Writes,
    /// What it writes to the read models, where that needs no look at the store.
    pub(super) rows: Option<Gathered>,
}

impl Ahead {
    /// Lets an act decide.
    pub async fn decide<A>(
        conn: &mut PgConnection,
        head: Head,
        now: ServerTime,
        act: A,
    ) -> sqlx::Result<Result<(Self, A::Done), A::Refused>>
    where
        A: Act + Send + 'static,
        A::Done: Send + 'static,
        A::Refused: Send + 'static,
    {
        let mut street = Box::new(Street::new(head.clone(), now));
        loop {
            let wants = act.wants(&street);
            if !load::know(conn, &mut street, wants).await? {
                break;
            }
        }
        let decided = aside(move || {
            let done = act.decide(&mut street);
            (street, done)
        });
        let (mut street, done) = match decided.await? {
            (street, Ok(done)) => (street, done),
            (_, Err(refused)) => return Ok(Err(refused)),
        };
        loop {
            let followed = aside(move || {
                let wants = follow::follow(&mut street);
                (street, wants)
            });
            let wants;
            (street, wants) = followed.await?;
            let Some(wants) = wants else { break };
            load::know(conn, &mut street, wants).await?;
        }
        let finished = aside(move || {
            let writes = follow::finish(*street);
            let rows = Gathered::without_terms(&writes.records);
            (writes, rows)
        });
        let (writes, rows) = finished.await?;
        let ahead = Self {
            head,
            now,
            writes,
            rows,
        };
        Ok(Ok((ahead, done)))
    }

    /// Where the street will stand once it is written.
    pub fn next_head(&self) -> Head {
        Head {
            seq: self.writes.head.unwrap_or(self.head.seq),
            ..self.head.clone()
        }
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> sqlx::Result<T> {
    let ended = spawn_blocking(work).await;
    ended.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))
}
