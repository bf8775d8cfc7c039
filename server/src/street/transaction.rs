//! One write transaction on a street, the IO half of every push and act: lock, load, decide, save, audit, commit.
//!
//! It holds the street's row lock from the beginning, so sequence numbers are given in commit order. What is decided is `office_core`'s to say;
//! here it is given what it asks for, and what it writes is written. Dropped without a commit it leaves nothing behind. Rows are locked in one
//! order: the street, then the rest, the audit chain's head last; nothing inside waits on a network.

pub mod ahead;
pub mod load;
pub mod save;

use std::ops::{Deref, DerefMut};

use lianka_office_core::{
    acts::{Act, Refused},
    follow,
    store::{Head, Wants},
    street::Street,
};
use lianka_sync_core::{
    id::{RecordId, StreetCode},
    time::ServerTime,
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use ahead::Ahead;

use crate::{
    pipeline_point::{PipelinePoint, reached},
    street::{
        error::{ActError, MergeError},
        store::{records, streets},
    },
};

/// See the module. What is loaded of the street is read and written through it.
pub struct StreetTransaction {
    tx: Transaction<'static, Postgres>,
    street: Box<Street>,
    ahead: Option<Ahead>,
}

impl Deref for StreetTransaction {
    type Target = Street;

    fn deref(&self) -> &Street {
        &self.street
    }
}

impl DerefMut for StreetTransaction {
    fn deref_mut(&mut self) -> &mut Street {
        &mut self.street
    }
}

impl StreetTransaction {
    /// Locks the street.
    pub async fn begin(
        pool: &PgPool,
        street: &StreetCode,
        now: ServerTime,
    ) -> Result<Self, MergeError> {
        let mut tx = pool.begin().await?;
        let head = records::lock_street(&mut tx, street)
            .await?
            .ok_or(MergeError::NoStreet)?;
        let grids = streets::all_grids(&mut tx, street).await?;
        reached(PipelinePoint::StreetLocked);
        let head = Head {
            street: street.clone(),
            store_epoch: head.store_epoch,
            seq: head.seq,
            grids: grids.into_iter().collect(),
        };
        Ok(Self {
            tx,
            street: Box::new(Street::new(head, now)),
            ahead: None,
        })
    }

    /// The connection, inside the transaction.
    pub fn tx(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Loads what of `wants` is not known; whether anything was not.
    pub async fn know(&mut self, wants: Wants) -> sqlx::Result<bool> {
        load::know(&mut self.tx, &mut self.street, wants).await
    }

    /// Loads the records that exist among these, unless they are loaded.
    pub async fn load(&mut self, records: impl IntoIterator<Item = RecordId>) -> sqlx::Result<()> {
        let records = records.into_iter().collect();
        self.know(Wants {
            records,
            ..Wants::default()
        })
        .await?;
        Ok(())
    }

    /// Lets an act decide, once it knows all that it wants to know. Where it refuses, drop the transaction.
    pub async fn decide<A: Act>(&mut self, act: A) -> sqlx::Result<Result<A::Done, A::Refused>> {
        while self.know(act.wants(&self.street)).await? {}
        Ok(act.decide(&mut self.street))
    }

    /// Writes what was decided before, where the street stands as it did then. Where it does not, nothing is done, and all is to be decided anew.
    pub fn takes(&mut self, ahead: Ahead) -> bool {
        let takes = self.street.is_at(&ahead.head);
        if takes {
            self.ahead = Some(ahead);
        }
        takes
    }

    /// Where the street will stand once this is written.
    pub fn next_head(&self) -> Head {
        match &self.ahead {
            Some(ahead) => ahead.next_head(),
            None => self.street.as_head(),
        }
    }

    /// Lets follow what follows from what was decided.
    pub async fn follow(&mut self) -> sqlx::Result<()> {
        while let Some(wants) = follow::follow(&mut self.street) {
            self.know(wants).await?;
        }
        Ok(())
    }

    /// Writes everything, with what follows from it, and ends the transaction.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        let street = self.street.street().clone();
        let (now, writes, rows) = if let Some(ahead) = self.ahead.take() {
            (ahead.now, ahead.writes, ahead.rows)
        } else {
            self.follow().await?;
            (self.street.now(), follow::finish(*self.street), None)
        };
        reached(PipelinePoint::Followed);
        Box::pin(save::save(&mut self.tx, &street, now, writes, rows)).await?;
        reached(PipelinePoint::Audited);
        self.tx.commit().await?;
        reached(PipelinePoint::Committed);
        Ok(())
    }
}

/// One act, committed if it is not refused.
pub async fn act<A: Act<Refused = Refused>>(
    pool: &PgPool,
    street: &StreetCode,
    now: ServerTime,
    act: A,
) -> Result<A::Done, ActError> {
    let mut transaction = StreetTransaction::begin(pool, street, now).await?;
    let done = transaction.decide(act).await??;
    transaction.commit().await?;
    Ok(done)
}
