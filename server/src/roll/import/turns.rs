//! The rows of an import that wait, worked through part after part: each part one transaction, for which phones wait, and which waits for phones.
//!
//! Whatever looks at every row (marking, counting) is done without the street.

use std::{collections::HashSet, time::Duration};

use lianka_office_core::store::Head;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    ImportError, Office, opened,
    rows::{UNASSIGNED, create_ahead, undo_part, was_created, write_part},
    store::{self, ImportRow, Marking, RowEnd, StoredRow},
};
use crate::{
    audit::{self, Action},
    pipeline_point::{PipelinePoint, reached},
    street::{
        queue::Turn,
        store::streets::{self, Grid},
        transaction::{StreetTransaction, ahead::Ahead},
    },
};

/// Rows whose state is changed by one statement.
const MARKED_AT_ONCE: i64 = 2_000;

impl Office<'_> {
    /// Waits until phones that wait for the street had theirs.
    async fn turn(&self) -> Turn {
        match self.queues {
            Some(queues) => queues.turn(self.street).await,
            None => Turn::of_the_row_lock(),
        }
    }
}

/// Which way rows go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Apply,
    Undo,
}

impl Doing {
    fn waiting(self) -> &'static str {
        match self {
            Self::Apply => "chosen",
            Self::Undo => "undoing",
        }
    }

    /// How rows are marked before any is written, or taken back: what still waited to be written is not written any more once all is taken back.
    fn markings(self) -> &'static [Marking] {
        match self {
            Self::Apply => &[Marking::Choose],
            Self::Undo => &[Marking::Unchoose, Marking::Undo],
        }
    }

    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Apply => "applying",
            Self::Undo => "undoing",
        }
    }
}

/// How many rows are written in one transaction: phones' pushes wait for it, and get their turn between two.
struct Pace {
    rows: i64,
    /// So many at most.
    rows_max: i64,
    /// Rows up to here are done.
    after: i32,
    /// Whether there is a grid for cards without one.
    has_unassigned: bool,
}

impl Pace {
    /// So many at least: below, what every transaction costs is most of it.
    const ROWS_MIN: i64 = 20;
    const ROWS_MIN_ALONE: i64 = 200;
    /// How long a transaction should keep phones waiting, and how long it may where none are at work.
    const WITH_PHONES: Duration = Duration::from_millis(20);
    const ALONE: Duration = Duration::from_millis(150);

    fn start(rows_max: i64, has_unassigned: bool) -> Self {
        Self {
            rows: rows_max.min(50),
            rows_max,
            after: 0,
            has_unassigned,
        }
    }

    /// After so many rows took so long.
    fn went(&mut self, rows: usize, took: Duration, phones_are_at_work: bool) {
        let (aim, at_least) = if phones_are_at_work {
            (Self::WITH_PHONES, Self::ROWS_MIN)
        } else {
            (Self::ALONE, Self::ROWS_MIN_ALONE)
        };
        let fitting = rows as f64 * aim.as_secs_f64() / took.as_secs_f64().max(0.001);
        self.rows = (fitting as i64)
            .min(self.rows * 2)
            .max(at_least)
            .min(self.rows_max);
    }
}

/// Works through the rows that wait, part after part, until none is left or the time of a request is over.
pub(super) async fn run(
    office: &Office<'_>,
    import: Uuid,
    doing: Doing,
) -> Result<(), ImportError> {
    let until = Instant::now() + office.at_most;
    let mut conn = office.pool.acquire().await?;
    let row = store::uncounted(&mut conn, office.street, import)
        .await?
        .ok_or(ImportError::NoImport)?;
    drop(conn);
    if row.status != doing.status() {
        return Ok(());
    }
    if row.plan.marking {
        mark(office, &row, doing).await?;
    }
    // Rows without a grid go where the import says.
    let mut pace = Pace::start(office.rows_at_once, row.plan.grid.is_some());
    let mut prepared = None;
    loop {
        match part(office, import, doing, &mut pace, &mut prepared).await? {
            // Where it stands in the end is said by a look of its own.
            Stands::NothingWaits => {}
            Stands::MoreWaits if Instant::now() < until => {}
            Stands::Ended | Stands::MoreWaits => return Ok(()),
        }
    }
}

/// Marks the rows that are to be written, or taken back, where that was begun and is not done: without the street, in which phones wait.
async fn mark(office: &Office<'_>, import: &ImportRow, doing: Doing) -> Result<(), ImportError> {
    let (street, import) = (office.street, import.import);
    let mut conn = office.pool.acquire().await?;
    for marking in doing.markings() {
        let mut after = 0;
        while let Some(last) =
            store::mark_some(&mut conn, street, import, *marking, after, MARKED_AT_ONCE).await?
        {
            after = last;
        }
    }
    drop(conn);
    let still = |status: &str| status == doing.status();
    match opened(office, import, still).await {
        Ok((mut tx, mut row)) => {
            row.plan.marking = false;
            store::set_plan(&mut tx, street, import, &row.plan.0).await?;
            tx.commit().await?;
            Ok(())
        }
        // Somebody ended it, or takes it back, meanwhile.
        Err(ImportError::WrongStatus(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Where an import stands after a part.
enum Stands {
    MoreWaits,
    /// The part was the last.
    NothingWaits,
    Ended,
}

/// Rows that were decided while those before them were written.
struct Prepared {
    rows: Vec<StoredRow>,
    is_last: bool,
    ahead: Ahead,
    ends: Vec<RowEnd>,
}

/// Decides the next rows, which all make cards, as if the street stood there by then; nothing where something must be looked at first.
async fn prepare(
    office: &Office<'_>,
    import: &ImportRow,
    head: Head,
    pace: &Pace,
    before: &HashSet<Vec<u8>>,
) -> Result<Option<Prepared>, ImportError> {
    let (street, state) = (office.street, Doing::Apply.waiting());
    let mut conn = office.pool.acquire().await?;
    let limit = pace.rows;
    let rows = store::pending(&mut conn, street, import.import, state, pace.after, limit).await?;
    let needs_grid = |row: &StoredRow| row.content.grid.is_none() && !pace.has_unassigned;
    let waits =
        |row: &StoredRow| !was_created(row) || needs_grid(row) || before.contains(&row.identity);
    if rows.is_empty() || rows.iter().any(waits) {
        return Ok(None);
    }
    let now = office.clock.now();
    let decided = create_ahead(&mut conn, office, import, head, now, &rows).await?;
    Ok(decided.map(|(ahead, ends)| Prepared {
        is_last: (rows.len() as i64) < limit,
        rows,
        ahead,
        ends,
    }))
}

/// The next rows, in one transaction with what became of them; and while that is written, the rows after them are prepared.
async fn part(
    office: &Office<'_>,
    import: Uuid,
    doing: Doing,
    pace: &mut Pace,
    prepared: &mut Option<Prepared>,
) -> Result<Stands, ImportError> {
    let (street, by) = (office.street, &office.by);
    // What the rows say, and what takes a look at all of them, is read before anybody has to wait.
    let (mut decided, mut open) = (None, false);
    let (ahead, is_last) = if let Some(prepared) = prepared.take() {
        decided = Some((prepared.ahead, prepared.ends));
        (prepared.rows, prepared.is_last)
    } else {
        let mut conn = office.pool.acquire().await?;
        let (state, limit) = (doing.waiting(), pace.rows);
        let mut ahead = store::pending(&mut conn, street, import, state, pace.after, limit).await?;
        if ahead.is_empty() && pace.after > 0 {
            // Whoever chose again meanwhile may have chosen rows before.
            ahead = store::pending(&mut conn, street, import, state, 0, limit).await?;
        }
        open = ahead.is_empty() && store::any_open(&mut conn, street, import).await?;
        let is_last = (ahead.len() as i64) < limit;
        (ahead, is_last)
    };
    let needs_grid = |row: &StoredRow| was_created(row) && row.content.grid.is_none();
    if doing == Doing::Apply && !pace.has_unassigned && ahead.iter().any(needs_grid) {
        make_unassigned(office).await?;
        pace.has_unassigned = true;
    }
    let turn = office.turn().await;
    let phones_are_at_work = turn.phones_are_at_work;
    let begun = Instant::now();
    let mut transaction = StreetTransaction::begin(office.pool, street, office.clock.now()).await?;
    let row = store::uncounted(transaction.tx(), street, import)
        .await?
        .ok_or(ImportError::NoImport)?;
    if row.status != doing.status() {
        return Ok(Stands::Ended);
    }
    // Of two who do it at once the second finds rows that wait no more.
    let numbers: Vec<i32> = ahead.iter().map(|row| row.row).collect();
    pace.after = numbers.last().copied().unwrap_or_default();
    let still = store::waiting(transaction.tx(), street, import, doing.waiting(), &numbers).await?;
    if !still.any {
        let status = match doing {
            Doing::Undo => "undone",
            Doing::Apply if open => "proposed",
            Doing::Apply => "applied",
        };
        store::set_status(transaction.tx(), street, import, status).await?;
        transaction.commit().await?;
        drop(turn);
        store::count_created(&mut *office.pool.acquire().await?, street, import).await?;
        return Ok(Stands::Ended);
    }
    let all_wait = ahead.len() == still.rows.len();
    let waiting: Vec<_> = ahead
        .into_iter()
        .filter(|row| still.rows.contains(&row.row))
        .collect();
    let count = waiting.len();
    let mut identities: HashSet<Vec<u8>> = HashSet::new();
    identities.extend(waiting.iter().map(|row| row.identity.clone()));
    // Where somebody wrote meanwhile, or rows wait no more, all is decided anew.
    let taken = decided
        .filter(|_| all_wait)
        .and_then(|(decided, ends)| transaction.takes(decided).then_some(ends));
    let ends = match (taken, doing) {
        (Some(ends), _) => ends,
        (None, Doing::Apply) => write_part(&mut transaction, street, by, &row, waiting).await?,
        (None, Doing::Undo) => undo_part(&mut transaction, by, &row, waiting).await?,
    };
    reached(PipelinePoint::ImportWritten);
    transaction.follow().await?;
    let next_head = transaction.next_head();
    // Whoever pushes would make it vain.
    let goes_on = doing == Doing::Apply && !is_last && !phones_are_at_work;
    let write = async {
        store::end_rows(transaction.tx(), street, import, &ends).await?;
        reached(PipelinePoint::ImportEnded);
        transaction.commit().await?;
        reached(PipelinePoint::ImportCommitted);
        drop(turn);
        Ok::<_, ImportError>(begun.elapsed())
    };
    let next = async {
        if goes_on {
            prepare(office, &row, next_head, pace, &identities).await
        } else {
            Ok(None)
        }
    };
    let (took, next) = tokio::join!(write, next);
    let took = took?;
    *prepared = next?;
    if count > 0 {
        pace.went(count, took, phones_are_at_work);
    }
    Ok(if is_last {
        Stands::NothingWaits
    } else {
        Stands::MoreWaits
    })
}

/// Makes the grid for cards without one, unless the street has it.
async fn make_unassigned(office: &Office<'_>) -> Result<(), ImportError> {
    let street = office.street;
    let grid = Grid {
        grid: UNASSIGNED.to_owned(),
        name: UNASSIGNED.to_owned(),
        area: String::new(),
    };
    let mut tx = office.pool.begin().await?;
    if streets::insert_grid(&mut tx, street, &grid).await? {
        let event = office.by.event(Action::Grid).with("grid", UNASSIGNED);
        audit::append(&mut tx, street.into(), office.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_as_long_as_phones_can_wait() {
        let mut pace = Pace::start(500, false);
        let mut after = |rows, ms, phones| {
            pace.went(rows, Duration::from_millis(ms), phones);
            pace.rows
        };
        assert_eq!(after(50, 10, true), 100, "never more than twice as many");
        assert_eq!(after(100, 40, true), 50);
        assert_eq!(after(50, 1_000, true), Pace::ROWS_MIN);
        assert_eq!(after(20, 10, false), Pace::ROWS_MIN_ALONE);
        assert_eq!(after(200, 100, false), 300);
        for _ in 0..5 {
            after(100, 1, false);
        }
        assert_eq!(after(500, 0, false), 500);
    }
}
