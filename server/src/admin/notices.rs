//! A yearly notice of public holidays, taken in for a street.
//!
//! It is taken whole or not at all, day by day over what was known before, and the terms of open requests are counted anew by it in the same
//! transaction.

use lianka_sync_core::{
    crdt::merge::RegisterState,
    id::{RecordId, StreetCode},
    kinds::{
        projection::Touched,
        transfer::calendar::{Calendar, DayKind, NoticeError, notice},
    },
    time::ServerTime,
};
use sqlx::PgPool;

use crate::{
    audit::{self, Event},
    street::{
        error::MergeError,
        projection::{self, Projection},
        store::{calendars, records},
    },
};

/// Why a notice was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    #[error(transparent)]
    Notice(#[from] NoticeError),
    #[error(transparent)]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("record {0}: its stored register state does not parse; restore it from a backup")]
    State(RecordId),
}

/// Takes a notice in for a street: its days, and the terms that they move. The calendar afterwards.
pub async fn put(
    pool: &PgPool,
    street: &StreetCode,
    text: &str,
    event: Event,
    now: ServerTime,
) -> Result<Calendar, CalendarError> {
    let days = notice(text)?;
    let mut tx = pool.begin().await?;
    records::lock_street(&mut tx, street)
        .await?
        .ok_or(MergeError::NoStreet)?;
    let changed = calendars::put(&mut tx, street, &days).await?;
    let calendar = calendars::calendar(&mut tx, street).await?;
    if changed > 0 {
        let counting = calendars::counting_working_days(&mut tx, street).await?;
        let states = counting
            .into_iter()
            .map(|(record, seq, state)| {
                let state =
                    RegisterState::from_bytes(&state).map_err(|_| CalendarError::State(record))?;
                Ok((record, seq, state))
            })
            .collect::<Result<Vec<_>, CalendarError>>()?;
        let projections: Vec<_> = states
            .iter()
            .map(|(record, seq, state)| Projection {
                record: *record,
                seq: *seq,
                state,
                touched: &Touched::ALL,
            })
            .collect();
        projection::write(&mut tx, street, &projections).await?;
        let holidays = days.values().filter(|kind| **kind == DayKind::Holiday);
        let event = event
            .with("days", days.len())
            .with("holidays", holidays.count())
            .with("changed", changed);
        audit::append(&mut tx, street.into(), now, &[event]).await?;
    }
    tx.commit().await?;
    Ok(calendar)
}
