//! Every setting of the server: a flag, or an environment variable of the same name, or a documented default.
//!
//! Input: what clap read, as text. Output: [`ServeConfig`] and [`StoreConfig`], whose values need no second look, or *all* problems
//! together, so that nobody mends a configuration one line a start. Nothing here touches a socket or a clock, and no file but the one that
//! `--key-file` names.

mod keep;
mod key_lock;

pub use lianka_sync_core::lang::Lang;
use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use sqlx::postgres::PgConnectOptions;

use crate::{
    edge::{self, Network, Pace},
    store::waits::Waits,
};

pub use keep::Keep;
pub use key_lock::{KeyLock, SEED_BYTES};

/// Most connections one server may hold; a Postgres of 2 cores is slower with more.
const CONNECTIONS_MAX: u32 = 200;

/// Where the store is: shared by every subcommand.
#[expect(
    clippy::doc_markdown,
    reason = "these lines are printed by --help as they are"
)]
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Folder of everything the server keeps; the private Postgres lives in it when there is no DATABASE_URL.
    #[arg(
        long,
        env = "LIANKA_DATA_DIR",
        default_value = "./data",
        value_name = "DIR"
    )]
    pub data_dir: String,

    /// Postgres 15 or newer to use, as postgres://user:password@host/database. Absent: a private one is run in the data folder. Several
    /// addresses, with spaces between them, are those of a primary and its standbys: the one that takes writes is used.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "",
        value_name = "URL",
        hide_default_value = true
    )]
    pub database_url: String,

    /// Most connections to Postgres at once.
    #[arg(
        long,
        env = "LIANKA_DATABASE_CONNECTIONS",
        default_value = "16",
        value_name = "N"
    )]
    pub database_connections: String,

    /// Seconds that one statement may take (1 to 600); the other waits for Postgres are in proportion: a connection 1/6, a row 1/3, a request 3/2.
    #[arg(
        long,
        env = "LIANKA_DATABASE_SECONDS",
        default_value = "30",
        value_name = "N"
    )]
    pub database_seconds: String,

    /// Folder of the programs `postgres` and `initdb` for the private Postgres. Absent: the newest installed version that fits.
    #[arg(
        long,
        env = "LIANKA_POSTGRES_BIN_DIR",
        default_value = "",
        value_name = "DIR",
        hide_default_value = true
    )]
    pub postgres_bin_dir: String,
}

/// How the server tells what it does: shared by every subcommand.
#[expect(
    clippy::doc_markdown,
    reason = "these lines are printed by --help as they are"
)]
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Form of the log lines on standard error: text or json.
    #[arg(
        long,
        env = "LIANKA_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: String,

    /// What is logged: a level (error, warn, info, debug, trace) or `tracing` directives such as info,lianka_server::sync=debug.
    #[arg(
        long,
        env = "LIANKA_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
}

/// The settings of `lianka serve`, as they were given.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address and port for phones and desks; port 0 takes a free one.
    #[arg(
        long,
        env = "LIANKA_LISTEN",
        default_value = "127.0.0.1:8787",
        value_name = "HOST:PORT"
    )]
    pub listen: String,

    /// Address and port for operators (health); keep it off the public network. Port 0 takes a free one.
    #[arg(
        long,
        env = "LIANKA_OPS_LISTEN",
        default_value = "127.0.0.1:8788",
        value_name = "HOST:PORT"
    )]
    pub ops_listen: String,

    /// File to write the bound addresses to once the server answers: the public one on line 1, the operators' on line 2.
    #[arg(
        long,
        env = "LIANKA_ADDRESS_FILE",
        default_value = "",
        value_name = "FILE",
        hide_default_value = true
    )]
    pub address_file: String,

    /// Minutes an access token lives (1 to 1440). A revoked device is refused at once all the same.
    #[arg(
        long,
        env = "LIANKA_TOKEN_MINUTES",
        default_value = "15",
        value_name = "N"
    )]
    pub token_minutes: String,

    /// Days a refresh token lives (1 to 730): how long a phone may stay away without a new enrolment.
    #[arg(
        long,
        env = "LIANKA_REFRESH_DAYS",
        default_value = "180",
        value_name = "N"
    )]
    pub refresh_days: String,

    /// Minutes an enrolment code may be spent (1 to 10080).
    #[arg(
        long,
        env = "LIANKA_ENROLMENT_MINUTES",
        default_value = "10",
        value_name = "N"
    )]
    pub enrolment_minutes: String,

    /// Days that a phone may stay without a synchronisation before it locks its data (1 to 90).
    #[arg(long, env = "LIANKA_LEASE_DAYS", default_value = "7", value_name = "N")]
    pub lease_days: String,

    /// Minutes without a request after which a desk has to sign in again (1 to 1440).
    #[arg(
        long,
        env = "LIANKA_DESK_IDLE_MINUTES",
        default_value = "30",
        value_name = "N"
    )]
    pub desk_idle_minutes: String,

    /// Fewest characters of a password (8 to 64).
    #[arg(
        long,
        env = "LIANKA_PASSWORD_LENGTH",
        default_value = "8",
        value_name = "N"
    )]
    pub password_length: String,

    /// How many of the four classes of characters (a-z, A-Z, 0-9, others) a password has at least (1 to 4).
    #[arg(
        long,
        env = "LIANKA_PASSWORD_CLASSES",
        default_value = "3",
        value_name = "N"
    )]
    pub password_classes: String,

    /// Characters from which a password may be of any classes (8 to 64; 0: none may).
    #[arg(
        long,
        env = "LIANKA_PASSPHRASE_LENGTH",
        default_value = "15",
        value_name = "N"
    )]
    pub passphrase_length: String,

    /// Days after which a password must be changed (1 to 3650; 0: never).
    #[arg(
        long,
        env = "LIANKA_PASSWORD_DAYS",
        default_value = "90",
        value_name = "N"
    )]
    pub password_days: String,

    /// Tries of a password after which an account is locked for a while (3 to 20).
    #[arg(
        long,
        env = "LIANKA_LOCKOUT_TRIES",
        default_value = "5",
        value_name = "N"
    )]
    pub lockout_tries: String,

    /// File with 64 hexadecimal digits under which signing keys are locked in the database; absent: they stand there as they are. The same for
    /// every server of a deployment.
    #[arg(
        long,
        env = "LIANKA_KEY_FILE",
        default_value = "",
        value_name = "FILE",
        hide_default_value = true
    )]
    pub key_file: String,

    /// Days that the audit trail is kept (180 to 36500).
    #[arg(
        long,
        env = "LIANKA_AUDIT_DAYS",
        default_value = "365",
        value_name = "N"
    )]
    pub audit_days: String,

    /// Days that a change stays in the log after its record's document has taken it in (1 to 3650): the time in which phones that come back get
    /// changes and not whole records. Nothing is lost with it. Notices are kept as long, and 30 days at least.
    #[arg(long, env = "LIANKA_LOG_DAYS", default_value = "30", value_name = "N")]
    pub log_days: String,

    /// Instead of --log-days, for trials: seconds that stand for a month (1 to 86400).
    #[arg(
        long,
        env = "LIANKA_LOG_SECONDS",
        default_value = "",
        value_name = "N",
        hide_default_value = true
    )]
    pub log_seconds: String,

    /// How full a record may get of what it may hold, in percent, before what was overwritten longer than --log-days ago is compacted away
    /// (1 to 90).
    #[arg(
        long,
        env = "LIANKA_COMPACT_PERCENT",
        default_value = "50",
        value_name = "N"
    )]
    pub compact_percent: String,

    /// Seconds that requests under way may take to finish after SIGTERM (0 to 600).
    #[arg(
        long,
        env = "LIANKA_SHUTDOWN_SECONDS",
        default_value = "20",
        value_name = "N"
    )]
    pub shutdown_seconds: String,

    /// Language of messages to people who state none: zh or en.
    #[arg(long, env = "LIANKA_LANG", default_value = "zh", value_name = "LANG")]
    pub lang: String,

    #[command(flatten)]
    pub edge: EdgeArgs,

    #[command(flatten)]
    pub store: StoreArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// What a peer may take of connections and time.
#[derive(Args, Clone, Debug)]
pub struct EdgeArgs {
    /// Most connections at once (8 to 65536); when they are all taken, who is waited for longest makes room.
    #[arg(
        long,
        env = "LIANKA_CONNECTIONS",
        default_value = "2048",
        value_name = "N"
    )]
    pub connections: String,

    /// Most connections at once of one address, of one /64 with IPv6 (1 to 65536).
    #[arg(
        long,
        env = "LIANKA_CONNECTIONS_PER_PEER",
        default_value = "256",
        value_name = "N"
    )]
    pub connections_per_peer: String,

    /// Proxies in front, whose connections are only held to --connections: addresses and networks with commas between.
    #[arg(
        long,
        env = "LIANKA_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1",
        value_name = "LIST"
    )]
    pub trusted_proxies: String,

    /// Seconds in which the head of a request must have come (1 to 120).
    #[arg(
        long,
        env = "LIANKA_HEAD_SECONDS",
        default_value = "10",
        value_name = "N"
    )]
    pub head_seconds: String,

    /// Seconds that a connection may rest between requests (1 to 3600).
    #[arg(
        long,
        env = "LIANKA_IDLE_SECONDS",
        default_value = "75",
        value_name = "N"
    )]
    pub idle_seconds: String,

    /// Seconds that a body or an answer may stand still because of the peer (1 to 600).
    #[arg(
        long,
        env = "LIANKA_STALL_SECONDS",
        default_value = "30",
        value_name = "N"
    )]
    pub stall_seconds: String,

    /// Bytes a second at which a body must come and an answer be taken, on average and beyond --stall-seconds (1 to 1048576).
    #[arg(
        long,
        env = "LIANKA_RATE_MIN",
        default_value = "2048",
        value_name = "N"
    )]
    pub rate_min: String,
}

/// Where the store is, checked.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub data_dir: PathBuf,
    /// `None`: run a private Postgres in `data_dir`.
    pub database: Option<PgConnectOptions>,
    /// Where the same database may be found when it is not there any more.
    pub other_databases: Vec<PgConnectOptions>,
    pub connections_max: u32,
    pub waits: Waits,
    pub postgres_bin_dir: Option<PathBuf>,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How the server logs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Directives that `tracing_subscriber::EnvFilter` accepts.
    pub filter: String,
}

/// What a password must be. GB/T 22239-2019 (MLPS), 7.1.4.1, asks that passwords are complex and changed from time to time and gives no
/// numbers; eight characters, three classes of four and ninety days are what assessors commonly expect *(check)*. From
/// `phrase_chars` on length stands for complexity, as in NIST SP 800-63B-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    pub chars_min: usize,
    pub classes_min: usize,
    /// `None`: classes are always asked for.
    pub phrase_chars: Option<usize>,
    /// `None`: a password is good for ever.
    pub age_max: Option<Duration>,
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

/// The settings of `lianka serve`, checked.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    pub listen: SocketAddr,
    pub ops_listen: SocketAddr,
    pub address_file: Option<PathBuf>,
    pub access_token_lifetime: Duration,
    pub refresh_token_lifetime: Duration,
    pub enrolment_lifetime: Duration,
    pub lease: Duration,
    pub desk_idle: Duration,
    pub passwords: PasswordRules,
    pub lockout_tries: u32,
    /// `None`: signing keys stand in the database as they are.
    pub key_lock: Option<Arc<KeyLock>>,
    pub audit_retention: Duration,
    pub keep: Keep,
    pub compact_percent: u32,
    pub shutdown_grace: Duration,
    pub lang: Lang,
    pub edge: edge::Limits,
    pub store: StoreConfig,
    pub log: LogConfig,
}

impl ServeConfig {
    /// The documented defaults, on free ports: for commands that serve nobody.
    pub fn with_defaults(store: StoreConfig, log: LogConfig) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ops_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            address_file: None,
            access_token_lifetime: Duration::from_mins(15),
            refresh_token_lifetime: Duration::from_hours(180 * 24),
            enrolment_lifetime: Duration::from_mins(10),
            lease: Duration::from_hours(7 * 24),
            desk_idle: Duration::from_mins(30),
            passwords: PasswordRules::default(),
            lockout_tries: 5,
            key_lock: None,
            audit_retention: Duration::from_hours(365 * 24),
            keep: Keep::days(30),
            compact_percent: 50,
            shutdown_grace: Duration::from_secs(20),
            lang: Lang::Zh,
            edge: edge::Limits::default(),
            store,
            log,
        }
    }

    /// What in-process tests run with; the store part is not used there.
    pub fn for_tests() -> Self {
        Self::with_defaults(
            StoreConfig {
                data_dir: PathBuf::new(),
                database: None,
                other_databases: Vec::new(),
                connections_max: 4,
                waits: Waits::default(),
                postgres_bin_dir: None,
            },
            LogConfig {
                format: LogFormat::Text,
                filter: "warn".into(),
            },
        )
    }
}

/// Everything that is wrong with the settings, one line each. Never empty, and never holds the value of a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the settings cannot be used:", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl StoreArgs {
    pub fn check(&self) -> Result<StoreConfig, ConfigErrors> {
        let mut problems = Problems::default();
        let config = self.collect(&mut problems);
        problems.or(config)
    }

    fn collect(&self, problems: &mut Problems) -> Option<StoreConfig> {
        let data_dir = problems.path("--data-dir", &self.data_dir);
        if data_dir.is_none() {
            problems.add("--data-dir", "is empty; name a folder, such as ./data");
        }
        let addresses: Vec<_> = self
            .database_url
            .split_whitespace()
            .map(|url| Self::database(url, problems))
            .collect();
        let addresses: Option<Vec<_>> = addresses.into_iter().collect();
        let connections_max = problems.number(
            "--database-connections",
            &self.database_connections,
            2,
            u64::from(CONNECTIONS_MAX),
        );
        let seconds = problems.number("--database-seconds", &self.database_seconds, 1, 600);
        let postgres_bin_dir = problems.path("--postgres-bin-dir", &self.postgres_bin_dir);
        let mut addresses = addresses?.into_iter();
        Some(StoreConfig {
            data_dir: data_dir?,
            database: addresses.next(),
            other_databases: addresses.collect(),
            connections_max: connections_max? as u32,
            waits: Waits::of_statement(Duration::from_secs(seconds?)),
            postgres_bin_dir,
        })
    }

    fn database(url: &str, problems: &mut Problems) -> Option<PgConnectOptions> {
        match url {
            // The URL may hold a password, so the problem does not repeat it; nor does the parser's message.
            url if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
                problems.add(
                    "--database-url (DATABASE_URL)",
                    "must start with postgres://",
                );
                None
            }
            url => {
                let options = url.parse::<PgConnectOptions>().ok();
                if options.is_none() {
                    problems.add(
                        "--database-url (DATABASE_URL)",
                        "is not a URL of the form postgres://user:password@host:5432/database (percent-encode special characters)",
                    );
                }
                options
            }
        }
    }
}

impl LogArgs {
    pub fn check(&self) -> Result<LogConfig, ConfigErrors> {
        let mut problems = Problems::default();
        let config = self.collect(&mut problems);
        problems.or(config)
    }

    fn collect(&self, problems: &mut Problems) -> Option<LogConfig> {
        let format = problems.choice(
            "--log-format",
            &self.log_format,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        );
        let filter = match tracing_subscriber::EnvFilter::try_new(&self.log) {
            Ok(_) => Some(self.log.clone()),
            Err(error) => {
                problems.add("--log", format!("`{}`: {error}", self.log));
                None
            }
        };
        Some(LogConfig {
            format: format?,
            filter: filter?,
        })
    }
}

impl ServeArgs {
    pub fn check(&self) -> Result<ServeConfig, ConfigErrors> {
        let mut problems = Problems::default();
        let config = self.collect(&mut problems);
        problems.or(config)
    }

    fn collect(&self, problems: &mut Problems) -> Option<ServeConfig> {
        let listen = problems.address("--listen", &self.listen);
        let ops_listen = problems.address("--ops-listen", &self.ops_listen);
        if let (Some(public), Some(ops)) = (listen, ops_listen)
            && public == ops
            && public.port() != 0
        {
            problems.add("--ops-listen", format!("is the same as --listen ({public}); choose another port, or port 0 for a free one"));
        }
        let token_minutes = problems.number("--token-minutes", &self.token_minutes, 1, 1_440);
        let refresh_days = problems.number("--refresh-days", &self.refresh_days, 1, 730);
        let enrolment_minutes =
            problems.number("--enrolment-minutes", &self.enrolment_minutes, 1, 10_080);
        let lease_days = problems.number("--lease-days", &self.lease_days, 1, 90);
        let desk_idle_minutes =
            problems.number("--desk-idle-minutes", &self.desk_idle_minutes, 1, 1_440);
        let passwords = self.passwords(problems);
        let lockout_tries = problems.number("--lockout-tries", &self.lockout_tries, 3, 20);
        let key_lock = problems.key_lock("--key-file", &self.key_file);
        let audit_days = problems.number("--audit-days", &self.audit_days, 180, 36_500);
        let keep = self.keep(problems);
        let compact_percent = problems.number("--compact-percent", &self.compact_percent, 1, 90);
        let shutdown_seconds =
            problems.number("--shutdown-seconds", &self.shutdown_seconds, 0, 600);
        let lang = problems.choice("--lang", &self.lang, &[("zh", Lang::Zh), ("en", Lang::En)]);
        let edge = self.edge.collect(problems);
        let store = self.store.collect(problems);
        let log = self.log.collect(problems);
        Some(ServeConfig {
            listen: listen?,
            ops_listen: ops_listen?,
            address_file: problems.path("--address-file", &self.address_file),
            access_token_lifetime: Duration::from_secs(token_minutes? * 60),
            refresh_token_lifetime: Duration::from_secs(refresh_days? * 86_400),
            enrolment_lifetime: Duration::from_secs(enrolment_minutes? * 60),
            lease: Duration::from_secs(lease_days? * 86_400),
            desk_idle: Duration::from_secs(desk_idle_minutes? * 60),
            passwords: passwords?,
            lockout_tries: lockout_tries? as u32,
            key_lock,
            audit_retention: Duration::from_secs(audit_days? * 86_400),
            keep: keep?,
            compact_percent: compact_percent? as u32,
            shutdown_grace: Duration::from_secs(shutdown_seconds?),
            lang: lang?,
            edge: edge?,
            store: store?,
            log: log?,
        })
    }
}

impl EdgeArgs {
    fn collect(&self, problems: &mut Problems) -> Option<edge::Limits> {
        let connections_max = problems.number("--connections", &self.connections, 8, 65_536);
        let per_peer_max = problems.number(
            "--connections-per-peer",
            &self.connections_per_peer,
            1,
            65_536,
        );
        let trusted = Network::list(&self.trusted_proxies)
            .map_err(|error| problems.add("--trusted-proxies", error))
            .ok();
        let head = problems.number("--head-seconds", &self.head_seconds, 1, 120);
        let idle = problems.number("--idle-seconds", &self.idle_seconds, 1, 3_600);
        let stall = problems.number("--stall-seconds", &self.stall_seconds, 1, 600);
        let rate = problems.number("--rate-min", &self.rate_min, 1, 1 << 20);
        Some(edge::Limits {
            connections_max: connections_max? as usize,
            connections_per_peer_max: per_peer_max? as usize,
            trusted: trusted?,
            head: Duration::from_secs(head?),
            idle: Duration::from_secs(idle?),
            pace: Pace {
                stall: Duration::from_secs(stall?),
                bytes_per_second_min: rate?,
            },
        })
    }
}

impl ServeArgs {
    fn keep(&self, problems: &mut Problems) -> Option<Keep> {
        if self.log_seconds.trim().is_empty() {
            return Some(Keep::days(problems.number(
                "--log-days",
                &self.log_days,
                1,
                3_650,
            )?));
        }
        let age =
            Duration::from_secs(problems.number("--log-seconds", &self.log_seconds, 1, 86_400)?);
        Some(Keep::month_as(age))
    }

    fn passwords(&self, problems: &mut Problems) -> Option<PasswordRules> {
        let chars_min = problems.number("--password-length", &self.password_length, 8, 64);
        let classes_min = problems.number("--password-classes", &self.password_classes, 1, 4);
        let phrase_chars = match self.passphrase_length.trim() {
            "0" => Some(None),
            chars => problems
                .number("--passphrase-length", chars, 8, 64)
                .map(Some),
        };
        let age_days = problems.number("--password-days", &self.password_days, 0, 3_650);
        Some(PasswordRules {
            chars_min: chars_min? as usize,
            classes_min: classes_min? as usize,
            phrase_chars: phrase_chars?.map(|chars| chars as usize),
            age_max: Some(age_days?)
                .filter(|days| *days > 0)
                .map(|days| Duration::from_secs(days * 86_400)),
        })
    }
}

/// Gathers problems; every reader returns `None` after noting one, so that the next setting is looked at all the same.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, setting: &str, problem: impl fmt::Display) {
        self.0.push(format!("{setting} {problem}"));
    }

    fn or<T>(self, config: Option<T>) -> Result<T, ConfigErrors> {
        match config {
            Some(config) if self.0.is_empty() => Ok(config),
            _ => Err(ConfigErrors(self.0)),
        }
    }

    fn path(&mut self, setting: &str, value: &str) -> Option<PathBuf> {
        if value.contains('\0') {
            self.add(setting, "holds a NUL byte");
        }
        (!value.trim().is_empty()).then(|| PathBuf::from(value))
    }

    /// The lock that a file holds. What is wrong with it is told without what it says.
    fn key_lock(&mut self, setting: &str, value: &str) -> Option<Arc<KeyLock>> {
        let path = self.path(setting, value)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                self.add(
                    setting,
                    format!("`{}` cannot be read: {error}", path.display()),
                );
                return None;
            }
        };
        let lock = KeyLock::of_text(&text);
        if lock.is_none() {
            self.add(
                setting,
                format!(
                    "`{}` must hold 64 hexadecimal digits, as `openssl rand -hex 32` makes them",
                    path.display()
                ),
            );
        }
        lock.map(Arc::new)
    }

    fn number(&mut self, setting: &str, value: &str, min: u64, max: u64) -> Option<u64> {
        let number = value
            .trim()
            .parse()
            .ok()
            .filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.add(
                setting,
                format!("`{value}`: must be a whole number from {min} to {max}"),
            );
        }
        number
    }

    fn choice<T: Copy>(&mut self, setting: &str, value: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices
            .iter()
            .find(|(name, _)| *name == value.trim())
            .map(|(_, choice)| *choice);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.add(
                setting,
                format!("`{value}`: must be {}", names.join(" or ")),
            );
        }
        found
    }

    fn address(&mut self, setting: &str, value: &str) -> Option<SocketAddr> {
        let found = value
            .trim()
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next());
        if found.is_none() {
            self.add(setting, format!("`{value}`: must be HOST:PORT, such as 127.0.0.1:8787, [::1]:8787 or 0.0.0.0:8787"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn check(flags: &[&str]) -> Result<ServeConfig, ConfigErrors> {
        // Given, so that a DATABASE_URL of the shell the tests run in has no say.
        let none = ["--database-url="];
        let none = if flags.iter().any(|flag| flag.starts_with(none[0])) {
            &[][..]
        } else {
            &none[..]
        };
        Command::parse_from(["lianka"].iter().chain(none).chain(flags))
            .serve
            .check()
    }

    #[test]
    fn no_flag_is_needed() {
        let config = check(&[]).expect("the defaults are usable");
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 8787)));
        assert_eq!(config.access_token_lifetime, Duration::from_mins(15));
        assert!(config.store.database.is_none());
        let same = ServeConfig::with_defaults(config.store.clone(), config.log.clone());
        assert_eq!(
            (
                config.access_token_lifetime,
                config.refresh_token_lifetime,
                config.enrolment_lifetime,
                config.shutdown_grace,
                config.lang
            ),
            (
                same.access_token_lifetime,
                same.refresh_token_lifetime,
                same.enrolment_lifetime,
                same.shutdown_grace,
                same.lang
            )
        );
        assert_eq!(config.edge, same.edge);
        assert_eq!(
            (
                config.lease,
                config.desk_idle,
                config.passwords,
                config.lockout_tries,
                config.audit_retention
            ),
            (
                same.lease,
                same.desk_idle,
                same.passwords,
                same.lockout_tries,
                same.audit_retention
            )
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let errors = check(&[
            "--listen=nowhere",
            "--token-minutes=0",
            "--log-format=xml",
            "--lang=fr",
            "--database-connections=many",
        ])
        .expect_err("five settings are wrong");
        let text = errors.to_string();
        for setting in [
            "--listen",
            "--token-minutes",
            "--log-format",
            "--lang",
            "--database-connections",
            "5 of the settings",
        ] {
            assert!(text.contains(setting), "{setting} is missing in {text}");
        }
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
        assert!(edge.trusted[0].contains("10.1.2.3".parse().expect("an address")));
        assert!(
            check(&["--trusted-proxies="])
                .expect("none is trusted")
                .edge
                .trusted
                .is_empty()
        );
        for wrong in [
            "--trusted-proxies=proxy",
            "--connections=1",
            "--head-seconds=0",
            "--stall-seconds=601",
        ] {
            let flag = wrong.split('=').next().unwrap_or_default();
            assert!(
                check(&[wrong])
                    .expect_err("out of range")
                    .to_string()
                    .contains(flag),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_log_is_kept_for_a_while() {
        assert!(
            check(&["--log-days=0"])
                .expect_err("too short")
                .to_string()
                .contains("--log-days")
        );
        assert_eq!(check(&[]).expect("the defaults").keep, Keep::days(30));
        let day = Duration::from_hours(24);
        assert_eq!(
            check(&["--log-days=2"]).expect("short").keep,
            Keep {
                changes: 2 * day,
                notices: 30 * day,
                generations: 365 * day
            }
        );
        let short = Duration::from_secs(5);
        assert_eq!(
            check(&["--log-seconds=5"]).expect("for trials").keep,
            Keep {
                changes: short,
                notices: short,
                generations: 12 * short
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
        let errors = with("not-a-key-but-somebodys-password")
            .expect_err("not a key")
            .to_string();
        assert!(
            errors.contains("--key-file") && !errors.contains("somebody"),
            "{errors}"
        );
        assert!(
            check(&["--key-file=/no/such/file"])
                .expect_err("no file")
                .to_string()
                .contains("--key-file")
        );
        assert!(check(&[]).expect("none is needed").key_lock.is_none());
    }

    #[test]
    fn the_audit_trail_is_kept_for_half_a_year_at_least() {
        assert!(
            check(&["--audit-days=179"])
                .expect_err("too short")
                .to_string()
                .contains("--audit-days")
        );
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
        for url in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:notaport/d"] {
            let errors = check(&[&format!("--database-url={url}")])
                .expect_err("not a Postgres URL")
                .to_string();
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
            store.database.as_ref().map(PgConnectOptions::get_host),
            Some("a")
        );
        assert_eq!(
            store
                .other_databases
                .iter()
                .map(|other| (other.get_host(), other.get_port()))
                .collect::<Vec<_>>(),
            [("b", 6432)]
        );
        assert_eq!(
            (store.waits.acquire, store.waits.lock, store.waits.request),
            (
                Duration::from_secs(2),
                Duration::from_secs(4),
                Duration::from_secs(18)
            )
        );
        assert!(check(&["--database-url=postgres://u@a/d mysql://u@b/d"]).is_err());
    }

    #[test]
    fn the_two_listeners_may_share_a_port_only_when_it_is_free_to_choose() {
        assert!(check(&["--listen=127.0.0.1:9000", "--ops-listen=127.0.0.1:9000"]).is_err());
        assert!(check(&["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn every_setting_is_explained_and_has_an_environment_variable() {
        for argument in Command::command().get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} has no help",
                argument.get_id()
            );
            assert!(
                argument.get_env().is_some(),
                "{} has no environment variable",
                argument.get_id()
            );
        }
    }
}
