//! Finds the installed Postgres programs.
//!
//! Input: the machine's folders and the version that an existing cluster needs. Output: `postgres` and `initdb` of one version.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest major version the schema is tested on.
pub const MAJOR_MIN: u32 = 15;

/// Folders in which distributions put the server's programs, which are seldom on the PATH; `*` stands for any rest of a name.
const FOLDERS: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
];

/// The programs of one installed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub postgres: PathBuf,
    pub initdb: PathBuf,
    /// As the program tells it, such as `15.18`.
    pub version: String,
    pub major: u32,
}

/// Why there are no programs to run. The message says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinariesError {
    #[error(
        "no Postgres server is installed here: run `scripts/setup.sh` (or `apt-get install postgresql`), or give --database-url \
         (DATABASE_URL) the address of a Postgres 15 or newer"
    )]
    None,
    #[error(
        "{0} holds no usable `postgres` and `initdb`; correct --postgres-bin-dir, or leave it out to search the usual folders"
    )]
    NotThere(PathBuf),
    #[error(
        "the installed Postgres {0} is too old: install version {MAJOR_MIN} or newer (`apt-get install postgresql`), or give \
         --database-url (DATABASE_URL) the address of one"
    )]
    TooOld(String),
    #[error(
        "the data folder was made by Postgres {needed}, and only {installed} is installed: install postgresql-{needed}, or move the data \
         with pg_dump and psql"
    )]
    OtherVersion { needed: u32, installed: String },
}

impl Binaries {
    /// The programs in `given`, or the newest installed ones that fit; an existing cluster of `needed` wants exactly that version.
    pub fn find(given: Option<&Path>, needed: Option<u32>) -> Result<Self, BinariesError> {
        let installed: Vec<_> = match given {
            Some(folder) => vec![
                Self::look_in(folder).ok_or_else(|| BinariesError::NotThere(folder.to_owned()))?,
            ],
            None => candidates()
                .iter()
                .filter_map(|folder| Self::look_in(folder))
                .collect(),
        };
        choose(installed, needed)
    }

    fn look_in(folder: &Path) -> Option<Self> {
        // Debian links `postgres` into nothing, others into /usr/local/bin: `initdb` lies beside the real one.
        let postgres = folder.join("postgres").canonicalize().ok()?;
        let initdb = postgres.with_file_name("initdb");
        if !initdb.is_file() {
            return None;
        }
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let output = String::from_utf8(output.stdout).ok()?;
        let version = output
            .split_once("(PostgreSQL) ")?
            .1
            .split_whitespace()
            .next()?
            .to_owned();
        let major = major(&version)?;
        Some(Self {
            postgres,
            initdb,
            version,
            major,
        })
    }
}

/// `15.18` and `16beta1` alike.
fn major(version: &str) -> Option<u32> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn choose(mut installed: Vec<Binaries>, needed: Option<u32>) -> Result<Binaries, BinariesError> {
    // Stable, so that of two folders with one version the one found first wins.
    installed.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    let newest = installed
        .first()
        .ok_or(BinariesError::None)?
        .version
        .clone();
    match needed {
        Some(needed) => installed
            .into_iter()
            .find(|binaries| binaries.major == needed)
            .ok_or(BinariesError::OtherVersion {
                needed,
                installed: newest,
            }),
        None => installed
            .into_iter()
            .next()
            .filter(|binaries| binaries.major >= MAJOR_MIN)
            .ok_or(BinariesError::TooOld(newest)),
    }
}

/// Every folder worth a look, each once: the PATH, what `pg_config` says, then the distributions' places.
fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let output = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let output = output.map(|folder| PathBuf::from(folder.trim()));
    let mut seen = BTreeSet::new();
    env::split_paths(&path)
        .chain(output)
        .chain(FOLDERS.iter().flat_map(|pattern| matching(pattern)))
        .filter(|folder| {
            folder
                .join("postgres")
                .canonicalize()
                .is_ok_and(|program| seen.insert(program))
        })
        .collect()
}

/// The folders that a pattern with at most one `*` in one of its names stands for.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(version: &str) -> Binaries {
        Binaries {
            postgres: version.into(),
            initdb: version.into(),
            version: version.into(),
            major: major(version).expect("a version"),
        }
    }

    #[test]
    fn the_newest_version_serves_a_new_cluster_and_the_same_one_an_old_cluster() {
        let machine = || vec![installed("15.18"), installed("17.2"), installed("14.9")];
        assert_eq!(
            choose(machine(), None).map(|found| found.version),
            Ok("17.2".into())
        );
        assert_eq!(
            choose(machine(), Some(15)).map(|found| found.version),
            Ok("15.18".into())
        );
        assert_eq!(
            choose(machine(), Some(16)),
            Err(BinariesError::OtherVersion {
                needed: 16,
                installed: "17.2".into()
            })
        );
    }

    #[test]
    fn nothing_installed_and_too_old_are_told_apart() {
        assert_eq!(choose(vec![], None), Err(BinariesError::None));
        assert_eq!(
            choose(vec![installed("13.4")], None),
            Err(BinariesError::TooOld("13.4".into()))
        );
        assert_eq!(
            choose(vec![installed("19beta1")], None).map(|found| found.major),
            Ok(19)
        );
    }

    #[test]
    fn a_folder_without_programs_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let message = Binaries::find(Some(folder.path()), None)
            .expect_err("it is empty")
            .to_string();
        assert!(
            message.contains(&folder.path().display().to_string())
                && message.contains("--postgres-bin-dir"),
            "{message}"
        );
    }

    #[test]
    fn a_pattern_finds_versions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for version in ["pg-15", "pg-16", "other"] {
            fs::create_dir_all(folder.path().join(version)).expect("a folder");
        }
        let mut found = matching(&format!("{}/pg-*/bin", folder.path().display()));
        found.sort();
        assert_eq!(
            found,
            [
                folder.path().join("pg-15/bin"),
                folder.path().join("pg-16/bin")
            ]
        );
    }
}
