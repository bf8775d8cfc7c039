//! Forgetting on disk, at once: what was erased stands in dead rows, statistics and the write-ahead log until Postgres comes to it.
//!
//! In: a pool, and what to look for afterwards. Out: every table with its indexes written anew of the rows that there are, the log of before
//! gone, the files read; in words, what could not be done and what is still there. Nothing that stands in a row is touched.

mod files;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use lianka_sync_core::lang::Lang;
use sqlx::{PgConnection, PgPool};

use crate::privacy::store::forgetting as store;

pub use files::files_with;

/// Segments of the log that are ended for the sake of those with old content: sixteen times what Postgres keeps by default.
const SEGMENTS_MAX: usize = 1_024;

/// Why forgetting broke off.
#[derive(Debug, thiserror::Error)]
pub enum ForgettingError {
    /// Postgres did not answer.
    #[error("Postgres failed")]
    Store(#[from] sqlx::Error),
    /// The search ended early.
    #[error("the search for the given texts failed")]
    Search(#[from] tokio::task::JoinError),
}

/// What is told, in one language, and how much of it is not as it should be.
struct Teller<'t> {
    lang: Lang,
    line: &'t mut (dyn FnMut(String) + Send),
    left: usize,
}

impl Teller<'_> {
    fn say(&mut self, zh: String, en: String) {
        (self.line)(match self.lang {
            Lang::Zh => zh,
            Lang::En => en,
        });
    }

    fn left(&mut self, zh: &str, en: &str) {
        self.left += 1;
        self.say(format!("未完成：{zh}"), format!("Not done: {en}"));
    }
}

/// Rewrites the whole database, lets go of the log, and looks for `texts` in Postgres' files. `folder` is where those of a private Postgres are,
/// which may not know its folder by name. `line` hears what is done; the answer is how many things were left.
pub async fn now(
    pool: &PgPool,
    folder: Option<PathBuf>,
    texts: Vec<String>,
    lang: Lang,
    line: &mut (dyn FnMut(String) + Send),
) -> Result<usize, ForgettingError> {
    let mut teller = Teller {
        lang,
        line,
        left: 0,
    };
    // Of its own: it is not to be lent out again with the bounds lifted.
    let mut conn = pool.acquire().await?.detach();
    store::lift_bounds(&mut conn).await?;
    rewrite(&mut conn, &mut teller).await?;
    release_log(&mut conn, &mut teller).await?;
    if !texts.is_empty() {
        look_for(&mut conn, folder, texts, &mut teller).await?;
    }
    Ok(teller.left)
}

async fn rewrite(conn: &mut PgConnection, teller: &mut Teller<'_>) -> sqlx::Result<()> {
    let began = store::clock(conn).await?;
    let tables = store::tables(conn).await?;
    let all = tables.len();
    for (no, table) in (1..).zip(&tables) {
        let (name, kb) = (&table.name, table.bytes / 1024);
        teller.say(
            format!("{no}/{all}：{name}（{kb} kB）"),
            format!("{no} of {all}: {name} ({kb} kB)"),
        );
        match store::rewrite(conn, table).await {
            Ok(()) if store::filenode(conn, name).await? != table.filenode => {}
            // Postgres passes over what belongs to another role, and only warns.
            Ok(()) => teller.left(
                &format!("{name} 没有重写：它属于另一个角色"),
                &format!("{name} was not rewritten: it belongs to another role"),
            ),
            Err(error) if error.as_database_error().is_some() => teller.left(
                &format!("{name} 没有重写：{error}"),
                &format!("{name} was not rewritten: {error}"),
            ),
            Err(error) => return Err(error),
        }
    }
    for keeper in store::keepers(conn, began).await? {
        teller.left(
            &format!("删除的行可能还留着，因为：{keeper}"),
            &format!("deleted rows may have been kept for {keeper}"),
        );
    }
    Ok(())
}

async fn release_log(conn: &mut PgConnection, teller: &mut Teller<'_>) -> sqlx::Result<()> {
    teller.say("预写日志".into(), "the write-ahead log".into());
    match let_go(conn).await {
        Ok(true) => {}
        Ok(false) => teller.left(
            "预写日志的一些段还留着，为归档或副本而留",
            "segments of the write-ahead log are still kept, for an archive or a replica",
        ),
        Err(error) if error.as_database_error().is_some() => teller.left(
            &format!("预写日志要等 Postgres 不再需要时才会消失：{error}"),
            &format!("the write-ahead log goes only as Postgres needs it no more: {error}"),
        ),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Whether every segment that was there is gone.
async fn let_go(conn: &mut PgConnection) -> sqlx::Result<bool> {
    store::checkpoint(conn).await?;
    store::recycle_log(conn, false).await?;
    let released = release_segments(conn).await;
    // Whatever came of it, the setting does not stay.
    store::recycle_log(conn, true).await?;
    released
}

/// A segment that was kept for use again is used, so that it can be removed in its turn: at most once around.
async fn release_segments(conn: &mut PgConnection) -> sqlx::Result<bool> {
    // The checkpointer learns of the setting by a signal. Should this one come first, what it renames stands among the old segments below.
    store::checkpoint(conn).await?;
    let old = store::log_segments(conn).await?;
    for _ in 0..(old.len() + 2).min(SEGMENTS_MAX) {
        store::next_segment(conn).await?;
        store::checkpoint(conn).await?;
        let segments = store::log_segments(conn).await?;
        if !segments.iter().any(|segment| old.contains(segment)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn look_for(
    conn: &mut PgConnection,
    folder: Option<PathBuf>,
    texts: Vec<String>,
    teller: &mut Teller<'_>,
) -> Result<(), ForgettingError> {
    let folder = match folder {
        Some(folder) => Ok(folder),
        None => reported_folder(conn).await?,
    };
    let folder = match folder {
        Ok(folder) => folder,
        Err(why) => {
            teller.left(
                &format!("什么也没有证明，文件读不到：{why}"),
                &format!("nothing was proved, the files cannot be read: {why}"),
            );
            return Ok(());
        }
    };
    let (searched, number) = (folder.clone(), texts.len());
    let found = tokio::task::spawn_blocking(move || files_with(&searched, &texts)).await?;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            teller.left(
                &format!("什么也没有证明：{}：{error}", folder.display()),
                &format!("nothing was proved: {}: {error}", folder.display()),
            );
            return Ok(());
        }
    };
    if found.is_empty() {
        teller.say(
            format!("{number} 段文字都不在 {} 的任何文件里", folder.display()),
            format!(
                "None of the {number} texts is in a file below {}",
                folder.display()
            ),
        );
    }
    for file in found {
        let holder = match filenode(&file) {
            Some(number) => store::relation(conn, number).await?,
            None => None,
        };
        let holder = holder.map_or(String::new(), |holder| format!(" ({holder})"));
        teller.left(
            &format!("还在：{}{holder}", file.display()),
            &format!("still there: {}{holder}", file.display()),
        );
    }
    Ok(())
}

/// The number in the name of a table's file: `16412`, `16412.1`, `16412_fsm`.
/// `None` for files of other kinds, such as a segment of the write-ahead log, whose name may be all digits as well.
fn filenode(file: &Path) -> Option<i64> {
    let name = file.file_name()?.to_str()?;
    let number: u32 = name.split(['.', '_']).next()?.parse().ok()?;
    Some(number.into())
}

/// Where Postgres says its files are: only if it tells this role, and they can be read here and are its own, not those of another on this machine.
async fn reported_folder(conn: &mut PgConnection) -> sqlx::Result<Result<PathBuf, String>> {
    let reported = async {
        let folder = PathBuf::from(store::data_directory(&mut *conn).await?);
        Ok((folder, store::identifier(conn).await?))
    };
    let (folder, identifier) = match reported.await {
        Ok(reported) => reported,
        Err(error @ sqlx::Error::Database(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut control = [0; 8];
    let read: io::Result<()> = File::open(folder.join("global/pg_control"))
        .and_then(|mut file| file.read_exact(&mut control));
    Ok(match read {
        Ok(()) if i64::from_ne_bytes(control) == identifier => Ok(folder),
        Ok(()) => Err(format!("{} ≠ {identifier}", folder.display())),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tables_file_has_its_number() {
        let of = |name: &str| filenode(Path::new(name));
        assert_eq!(of("base/5/16412.1"), Some(16412));
        assert_eq!(of("base/5/16412_fsm"), Some(16412));
        assert_eq!(of("pg_wal/000000010000000000000005"), None);
        assert_eq!(of("pg_wal/00000001000000000000000A"), None);
    }
}
