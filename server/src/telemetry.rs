//! What the server tells its operator, on standard error.
//!
//! Never logged: query strings, tokens, bodies, raw paths (they name records and people), client addresses.

use tracing::{Level, error};
use tracing_subscriber::{
    filter::{FilterExt, LevelFilter, Targets, filter_fn},
    fmt,
    layer::{Layer, SubscriberExt},
    registry,
    util::SubscriberInitExt,
};

use crate::config::{LogConfig, LogFormat};

/// Sends log lines to standard error from now on. Only the first call of a process has an effect.
///
/// A panic is told by its place alone: its message may hold what a person wrote.
pub fn init(config: &LogConfig) {
    // The directives were checked with the configuration.
    let wanted: Targets = config
        .filter
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // Whatever is wanted: Automerge tells its steps with the remarks that people wrote, the numbering plans with the numbers.
    let harmless = filter_fn(|event| {
        let tells_all = ["automerge", "rlibphonenumber"]
            .iter()
            .any(|of| event.target().starts_with(of));
        !tells_all || *event.level() <= Level::WARN
    });
    let (filter, lines) = (
        wanted.and(harmless),
        fmt::layer().with_writer(std::io::stderr),
    );
    let started = match config.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            registry().with(lines.with_filter(filter)).try_init()
        }
        LogFormat::Json => registry()
            .with(lines.json().flatten_event(true).with_filter(filter))
            .try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            error!(%place, "a panic, which is a mistake in the program");
        }));
    }
}
