//! Every setting of the server: a flag, or an environment variable of the same name, or a documented default.
//!
//! clap reads, checks and converts them: what stands here needs no second look. An empty text is a setting that was not given, as an empty
//! variable in a service's file is. Nothing here touches a socket or a clock, and no file but the one that `--key-file` names.

mod keep;
mod key_lock;

pub use lianka_sync_core::lang::Lang;
use std::{
    ffi::OsStr,
    net::{SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::{
    Arg, Args, Command, FromArgMatches, ValueEnum,
    builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser},
    error::ErrorKind,
    value_parser,
};
use sqlx::postgres::PgConnectOptions;

use crate::{edge, store::waits::Waits};

pub use keep::Keep;
pub use key_lock::{KeyLock, SEED_BYTES};

/// A setting that an empty text leaves out. By this name, because clap gives `Option` and `Vec` a meaning of their own.
type Given<T> = Option<T>;
type Several<T> = Vec<T>;

/// Where the store is: shared by every subcommand.
#[expect(
    clippy::doc_markdown,
    reason = "these lines are printed by --help as they are"
)]
#[derive(Args, Clone, Debug)]
pub struct StoreConfig {
    /// Folder of everything the server keeps; the private Postgres lives in it when there is no DATABASE_URL.
    #[arg(
        long,
        env = "LIANKA_DATA_DIR",
        default_value = "./data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// Postgres 15 or newer to use, as postgres://user:password@host/database. Absent: a private one is run in the data folder. Several
    /// addresses, with spaces between them, are those of a primary and its standbys: the one that takes writes is used.
    #[arg(
        long = "database-url",
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "",
        value_name = "URL",
        hide_default_value = true,
        value_parser = DatabaseUrls
    )]
    pub databases: Several<PgConnectOptions>,

    /// Most connections to Postgres at once (2 to 200; a Postgres of 2 cores is slower with more).
    #[arg(
        long = "database-connections",
        env = "LIANKA_DATABASE_CONNECTIONS",
        default_value = "16",
        value_name = "N",
        value_parser = value_parser!(u32).range(2..=200)
    )]
    pub connections_max: u32,

    /// Seconds that one statement may take (1 to 600); the other waits for Postgres are in proportion: a connection 1/6, a row 1/3, a request 3/2.
    #[arg(
        long = "database-seconds",
        env = "LIANKA_DATABASE_SECONDS",
        default_value = "30",
        value_name = "N",
        value_parser = seconds(1..=600).map(Waits::of_statement)
    )]
    pub waits: Waits,

    /// Folder of the programs `postgres` and `initdb` for the private Postgres. Absent: the newest installed version that fits.
    #[arg(
        long,
        env = "LIANKA_POSTGRES_BIN_DIR",
        default_value = "",
        value_name = "DIR",
        hide_default_value = true,
        value_parser = path()
    )]
    pub postgres_bin_dir: Given<PathBuf>,
}

/// How much of an import is written before somebody else gets a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImportParts {
    /// Rows written in one transaction: phones' pushes get their turn between two.
    pub rows: i64,
    /// How long one call may write before it says how far it came. Absent: half the time of a request, the answer has the other.
    pub at_most: Option<Duration>,
}

impl ImportParts {
    /// As servers do it.
    pub const USUAL: Self = Self {
        rows: 500,
        at_most: None,
    };
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How the server tells what it does: shared by every subcommand.
#[expect(
    clippy::doc_markdown,
    reason = "these lines are printed by --help as they are"
)]
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Form of the log lines on standard error: text or json.
    #[arg(
        long = "log-format",
        env = "LIANKA_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub format: LogFormat,

    /// What is logged: a level (error, warn, info, debug, trace) or `tracing` directives such as info,lianka_server::sync=debug.
    #[arg(
        long = "log",
        env = "LIANKA_LOG",
        default_value = "info",
        value_name = "FILTER",
        value_parser = log_filter
    )]
    pub filter: String,
}

/// What a password must be. GB/T 22239-2019 (MLPS), 7.1.4.1, asks that passwords are complex and changed from time to time and gives no
/// numbers; eight characters, three classes of four and ninety days are what assessors commonly expect *(check)*. From
/// `phrase_chars` on length stands for complexity, as in NIST SP 800-63B-4.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// Fewest characters of a password (8 to 64).
    #[arg(
        long = "password-length",
        env = "LIANKA_PASSWORD_LENGTH",
        default_value = "8",
        value_name = "N",
        value_parser = number(8..=64).map(|chars| chars as usize)
    )]
    pub chars_min: usize,

    /// How many of the four classes of characters (a-z, A-Z, 0-9, others) a password has at least (1 to 4).
    #[arg(
        long = "password-classes",
        env = "LIANKA_PASSWORD_CLASSES",
        default_value = "3",
        value_name = "N",
        value_parser = number(1..=4).map(|classes| classes as usize)
    )]
    pub classes_min: usize,

    /// Characters from which a password may be of any classes (8 to 64; 0: none may).
    #[arg(
        long = "passphrase-length",
        env = "LIANKA_PASSPHRASE_LENGTH",
        default_value = "15",
        value_name = "N",
        value_parser = phrase_chars
    )]
    pub phrase_chars: Given<usize>,

    /// Days after which a password must be changed (1 to 3650; 0: never).
    #[arg(
        long = "password-days",
        env = "LIANKA_PASSWORD_DAYS",
        default_value = "90",
        value_name = "N",
        value_parser = days(0..=3_650).map(|age| Some(age).filter(|age| !age.is_zero()))
    )]
    pub age_max: Given<Duration>,
}

impl Default for PasswordRules {
    fn default() -> Self {
        Self {
            chars_min: 8,
            classes_min: 3,
            phrase_chars: Some(15),
            age_max: Some(Duration::from_hours(90 * 24)),
        }
    }
}

/// The settings of `lianka serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Address and port for phones and desks; port 0 takes a free one.
    #[arg(
        long,
        env = "LIANKA_LISTEN",
        default_value = "127.0.0.1:8787",
        value_name = "HOST:PORT",
        value_parser = address
    )]
    pub listen: SocketAddr,

    /// Address and port for operators (health); keep it off the public network. Port 0 takes a free one.
    #[arg(
        long,
        env = "LIANKA_OPS_LISTEN",
        default_value = "127.0.0.1:8788",
        value_name = "HOST:PORT",
        value_parser = address
    )]
    pub ops_listen: SocketAddr,

    /// File to write the bound addresses to once the server answers: the public one on line 1, the operators' on line 2.
    #[arg(
        long,
        env = "LIANKA_ADDRESS_FILE",
        default_value = "",
        value_name = "FILE",
        hide_default_value = true,
        value_parser = path()
    )]
    pub address_file: Given<PathBuf>,

    /// Minutes an access token lives (1 to 1440). A revoked device is refused at once all the same.
    #[arg(
        long = "token-minutes",
        env = "LIANKA_TOKEN_MINUTES",
        default_value = "15",
        value_name = "N",
        value_parser = minutes(1..=1_440)
    )]
    pub access_token_lifetime: Duration,

    /// Days a refresh token lives (1 to 730): how long a phone may stay away without a new enrolment.
    #[arg(
        long = "refresh-days",
        env = "LIANKA_REFRESH_DAYS",
        default_value = "180",
        value_name = "N",
        value_parser = days(1..=730)
    )]
    pub refresh_token_lifetime: Duration,

    /// Minutes an enrolment code may be spent (1 to 10080).
    #[arg(
        long = "enrolment-minutes",
        env = "LIANKA_ENROLMENT_MINUTES",
        default_value = "10",
        value_name = "N",
        value_parser = minutes(1..=10_080)
    )]
    pub enrolment_lifetime: Duration,

    /// Days that a phone may stay without a synchronisation before it locks its data (1 to 90).
    #[arg(
        long = "lease-days",
        env = "LIANKA_LEASE_DAYS",
        default_value = "7",
        value_name = "N",
        value_parser = days(1..=90)
    )]
    pub lease: Duration,

    /// Minutes without a request after which a desk has to sign in again (1 to 1440).
    #[arg(
        long = "desk-idle-minutes",
        env = "LIANKA_DESK_IDLE_MINUTES",
        default_value = "30",
        value_name = "N",
        value_parser = minutes(1..=1_440)
    )]
    pub desk_idle: Duration,

    #[command(flatten)]
    pub passwords: PasswordRules,

    /// Tries of a password after which an account is locked for a while (3 to 20).
    #[arg(
        long,
        env = "LIANKA_LOCKOUT_TRIES",
        default_value = "5",
        value_name = "N",
        value_parser = value_parser!(u32).range(3..=20)
    )]
    pub lockout_tries: u32,

    /// File with 64 hexadecimal digits under which signing keys are locked in the database; absent: they stand there as they are. The same for
    /// every server of a deployment.
    #[arg(
        long = "key-file",
        env = "LIANKA_KEY_FILE",
        default_value = "",
        value_name = "FILE",
        hide_default_value = true,
        value_parser = key_lock_of_file
    )]
    pub key_lock: Given<Arc<KeyLock>>,

    /// Days that the audit trail is kept (180 to 36500).
    #[arg(
        long = "audit-days",
        env = "LIANKA_AUDIT_DAYS",
        default_value = "365",
        value_name = "N",
        value_parser = days(180..=36_500)
    )]
    pub audit_retention: Duration,

    /// Days that a change stays in the log after its record's document has taken it in (1 to 3650): the time in which phones that come back get
    /// changes and not whole records. Nothing is lost with it. Notices are kept as long, and 30 days at least.
    #[arg(
        long,
        env = "LIANKA_LOG_DAYS",
        default_value = "30",
        value_name = "N",
        value_parser = number(1..=3_650).map(Keep::days)
    )]
    pub log_days: Keep,

    /// Newest entries of a street's log that are kept in memory (0 to 1000000): phones that lack no others cost Postgres next to nothing. 0: none.
    #[arg(
        long,
        env = "LIANKA_TAIL_ENTRIES",
        default_value = "32768",
        value_name = "N",
        value_parser = number(0..=1_000_000).map(|entries| entries as usize)
    )]
    pub tail_entries: usize,

    /// Bytes of memory for them; the simulation has fewer.
    #[arg(skip = 8_usize << 20)]
    pub tail_bytes: usize,

    /// Parts in which imports are written; tests and simulations have smaller ones.
    #[arg(skip = ImportParts::USUAL)]
    pub import_parts: ImportParts,

    /// Instead of --log-days, for trials: seconds that stand for a month (1 to 86400).
    #[arg(
        long,
        env = "LIANKA_LOG_SECONDS",
        default_value = "",
        value_name = "N",
        hide_default_value = true,
        value_parser = log_seconds
    )]
    pub log_seconds: Given<Keep>,

    /// How full a record may get of what it may hold, in percent, before what was overwritten longer than --log-days ago is compacted away
    /// (1 to 90).
    #[arg(
        long,
        env = "LIANKA_COMPACT_PERCENT",
        default_value = "50",
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=90)
    )]
    pub compact_percent: u32,

    /// Seconds that requests under way may take to finish after SIGTERM (0 to 600).
    #[arg(
        long = "shutdown-seconds",
        env = "LIANKA_SHUTDOWN_SECONDS",
        default_value = "20",
        value_name = "N",
        value_parser = seconds(0..=600)
    )]
    pub shutdown_grace: Duration,

    /// Language of messages to people who state none: zh or en.
    #[arg(
        long,
        env = "LIANKA_LANG",
        default_value = "zh",
        value_name = "LANG",
        value_parser = value_parser!(Lang)
    )]
    pub lang: Lang,

    #[command(flatten)]
    pub edge: edge::Limits,

    #[command(flatten)]
    pub store: StoreConfig,

    #[command(flatten)]
    pub log: LogConfig,
}

impl ServeConfig {
    /// What no setting shows alone: that the two listeners are not one.
    pub fn check(&self) -> Result<(), clap::Error> {
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            let problem = format!(
                "--ops-listen is the same as --listen ({}); choose another port, or port 0 for a free one\n",
                self.listen
            );
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, problem));
        }
        Ok(())
    }

    /// How long what is swept is kept.
    pub fn keep(&self) -> Keep {
        self.log_seconds.unwrap_or(self.log_days)
    }

    /// The documented defaults, whatever the environment says: what in-process tests run with.
    ///
    /// # Panics
    /// Where a default is not usable.
    pub fn for_tests() -> Self {
        Self::augment_args(Command::new("lianka"))
            .mut_args(|argument| argument.env(None::<&'static str>))
            .try_get_matches_from(["lianka"])
            .and_then(|matches| Self::from_arg_matches(&matches))
            .expect("the defaults are usable")
    }
}

fn number(range: RangeInclusive<u64>) -> RangedU64ValueParser<u64> {
    value_parser!(u64).range(range)
}

fn seconds(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    number(range).map(Duration::from_secs)
}

fn minutes(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    number(range).map(Duration::from_mins)
}

fn days(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    number(range).map(|days| Duration::from_hours(days * 24))
}

fn path() -> impl TypedValueParser<Value = Option<PathBuf>> {
    OsStringValueParser::new().map(|text| (!text.is_empty()).then(|| PathBuf::from(text)))
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let found = text.trim().to_socket_addrs().ok();
    found
        .and_then(|mut found| found.next())
        .ok_or("must be HOST:PORT, such as 127.0.0.1:8787, [::1]:8787 or 0.0.0.0:8787")
}

fn phrase_chars(text: &str) -> Result<Option<usize>, &'static str> {
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(chars @ 8..=64) => Ok(Some(chars)),
        _ => Err("must be a whole number from 8 to 64, or 0"),
    }
}

fn log_seconds(text: &str) -> Result<Option<Keep>, &'static str> {
    match text.parse() {
        _ if text.trim().is_empty() => Ok(None),
        Ok(seconds @ 1..=86_400) => Ok(Some(Keep::month_as(Duration::from_secs(seconds)))),
        _ => Err("must be a whole number from 1 to 86400"),
    }
}

fn log_filter(text: &str) -> Result<String, &'static str> {
    match text.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a level, or directives such as info,lianka_server::sync=debug"),
    }
}

/// The lock that a file holds. What is wrong with it is told without what it says.
fn key_lock_of_file(path: &str) -> Result<Option<Arc<KeyLock>>, String> {
    if path.trim().is_empty() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    KeyLock::of_text(&text)
        .map(|lock| Some(Arc::new(lock)))
        .ok_or_else(|| {
            "it must hold 64 hexadecimal digits, as `openssl rand -hex 32` makes them".to_owned()
        })
}

/// Reads addresses of Postgres. They may hold passwords, so what is wrong is told without them, unlike in clap's own words.
#[derive(Clone)]
struct DatabaseUrls;

impl TypedValueParser for DatabaseUrls {
    type Value = Vec<PgConnectOptions>;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let address = |url: &str| {
            (url.starts_with("postgres://") || url.starts_with("postgresql://"))
                .then(|| url.parse().ok())
                .flatten()
        };
        let addresses: Option<_> = value
            .to_str()
            .and_then(|text| text.split_whitespace().map(address).collect());
        addresses.ok_or_else(|| {
            let problem = "--database-url (DATABASE_URL) is not of the form postgres://user:password@host:5432/database (percent-encode special characters)\n";
            clap::Error::raw(ErrorKind::ValueValidation, problem).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    #[command(name = "lianka")]
    struct Program {
        #[command(flatten)]
        serve: ServeConfig,
    }

    fn check(flags: &[&str]) -> Result<ServeConfig, String> {
        // No variable of the shell that the tests run in has a say.
        let matches = Program::command()
            .mut_args(|argument| argument.env(None::<&'static str>))
            .try_get_matches_from(["lianka"].iter().chain(flags));
        let config = matches.and_then(|matches| ServeConfig::from_arg_matches(&matches));
        config
            .and_then(|config| config.check().map(|()| config))
            .map_err(|error| {
                assert_eq!(error.exit_code(), 2);
                error.to_string()
            })
    }

    #[test]
    fn no_flag_is_needed() {
        let config = check(&[]).expect("the defaults are usable");
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 8787)));
        assert_eq!(config.access_token_lifetime, Duration::from_mins(15));
        assert_eq!(config.keep(), Keep::days(30));
        assert_eq!(config.lang, Lang::Zh);
        assert_eq!(config.edge, edge::Limits::default());
        assert_eq!(config.passwords, PasswordRules::default());
        assert_eq!(config.store.waits, Waits::default());
        assert!(config.store.databases.is_empty() && config.key_lock.is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_setting_and_what_it_takes() {
        for (wrong, takes) in [
            ("--listen=nowhere", "HOST:PORT"),
            ("--token-minutes=0", "1..=1440"),
            ("--token-minutes=ten", "invalid digit"),
            ("--log-format=xml", "text, json"),
            ("--log=a=b=c", "directives"),
            ("--lang=fr", "zh or en"),
            ("--database-connections=many", "invalid digit"),
            ("--database-connections=201", "2..=200"),
            ("--trusted-proxies=proxy", "10.0.0.0/24"),
            ("--connections=1", "8..=65536"),
            ("--head-seconds=0", "1..=120"),
            ("--stall-seconds=601", "1..=600"),
            ("--log-days=0", "1..=3650"),
            ("--log-seconds=0", "1 to 86400"),
            ("--audit-days=179", "180..=36500"),
            ("--passphrase-length=7", "8 to 64"),
            ("--data-dir=", "value is required"),
        ] {
            let message = check(&[wrong]).expect_err(wrong);
            let flag = wrong.split('=').next().unwrap_or_default();
            assert!(
                message.contains(flag) && message.contains(takes),
                "{message}"
            );
        }
    }

    #[test]
    fn an_empty_setting_is_one_that_is_not_given() {
        let config = check(&[
            "--database-url=",
            "--address-file=",
            "--key-file=",
            "--log-seconds=",
            "--postgres-bin-dir=",
            "--trusted-proxies=",
        ])
        .expect("usable");
        assert!(config.store.databases.is_empty() && config.store.postgres_bin_dir.is_none());
        assert!(config.address_file.is_none() && config.key_lock.is_none());
        assert!(config.log_seconds.is_none() && config.edge.trusted.is_empty());
    }

    #[test]
    fn the_edge_is_told_in_flags() {
        let edge = check(&[
            "--connections=8",
            "--connections-per-peer=3",
            "--trusted-proxies=10.0.0.0/8",
            "--rate-min=100",
        ])
        .expect("usable")
        .edge;
        assert_eq!(
            (
                edge.connections_max,
                edge.connections_per_peer_max,
                edge.pace.bytes_per_second_min
            ),
            (8, 3, 100)
        );
        assert!(
            edge.trusted[0].contains(&"10.1.2.3".parse::<std::net::IpAddr>().expect("an address"))
        );
    }

    #[test]
    fn the_log_is_kept_for_a_while() {
        let day = Duration::from_hours(24);
        assert_eq!(
            check(&["--log-days=2"]).expect("short").keep(),
            Keep {
                changes: 2 * day,
                notices: 30 * day,
                generations: 365 * day,
                exports: 100 * day,
                proposals: 30 * day,
            }
        );
        let short = Duration::from_secs(5);
        assert_eq!(
            check(&["--log-seconds=5"]).expect("for trials").keep(),
            Keep {
                changes: short,
                notices: short,
                generations: 12 * short,
                exports: 3 * short,
                proposals: short,
            }
        );
    }

    #[test]
    fn a_key_file_that_is_none_is_told_without_what_it_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let with = |text: &str| {
            std::fs::write(&file, text).expect("written");
            check(&[&format!("--key-file={}", file.display())])
        };
        assert!(
            with(&format!("{}\n", "0f".repeat(32)))
                .expect("a key")
                .key_lock
                .is_some()
        );
        let errors = with("not-a-key-but-somebodys-password").expect_err("not a key");
        assert!(
            errors.contains("--key-file") && !errors.contains("somebody"),
            "{errors}"
        );
        assert!(
            check(&["--key-file=/no/such/file"])
                .expect_err("no file")
                .contains("--key-file")
        );
    }

    #[test]
    fn the_audit_trail_is_kept_for_half_a_year_at_least() {
        assert_eq!(
            check(&["--audit-days=180"])
                .expect("long enough")
                .audit_retention,
            Duration::from_hours(180 * 24)
        );
        assert_eq!(
            check(&["--passphrase-length=0", "--password-days=0"])
                .expect("both may be off")
                .passwords,
            PasswordRules {
                phrase_chars: None,
                age_max: None,
                ..PasswordRules::default()
            }
        );
    }

    #[test]
    fn a_wrong_database_url_is_refused_without_showing_its_password() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u@a/d mysql://u:hunter2@b/d",
        ] {
            let errors = check(&[&format!("--database-url={url}")]).expect_err(url);
            assert!(
                errors.contains("DATABASE_URL") && !errors.contains("hunter2"),
                "{errors}"
            );
        }
    }

    #[test]
    fn several_addresses_are_a_primary_and_its_standbys() {
        let store = check(&[
            "--database-url=postgres://u@a/d  postgres://u@b:6432/d",
            "--database-seconds=12",
        ])
        .expect("usable")
        .store;
        assert_eq!(
            store
                .databases
                .iter()
                .map(|address| (address.get_host(), address.get_port()))
                .collect::<Vec<_>>(),
            [("a", 5432), ("b", 6432)]
        );
        assert_eq!(
            (store.waits.acquire, store.waits.lock, store.waits.request),
            (
                Duration::from_secs(2),
                Duration::from_secs(4),
                Duration::from_secs(18)
            )
        );
    }

    #[test]
    fn the_two_listeners_may_share_a_port_only_when_it_is_free_to_choose() {
        let message = check(&["--listen=127.0.0.1:9000", "--ops-listen=127.0.0.1:9000"])
            .expect_err("one port for both");
        assert!(message.contains("--ops-listen"), "{message}");
        assert!(check(&["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn every_setting_is_explained_has_a_variable_and_stands_in_the_operators_manual() {
        let manual = include_str!("../../docs/operations.md");
        for argument in Program::command().get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{id} has no help");
            let variable = argument
                .get_env()
                .and_then(OsStr::to_str)
                .expect("a variable");
            let flag = argument.get_long().expect("a flag");
            assert!(
                manual.contains(&format!("`{variable}`"))
                    && manual.contains(&format!("`--{flag}`")),
                "docs/operations.md lacks --{flag} or {variable}"
            );
        }
    }
}
