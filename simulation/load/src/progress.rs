//! What a person sees while long work goes on: a bar on standard error, which is drawn on a terminal only. Standard output belongs to the result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lianka_sync_core::lang::Lang;

/// The text in the language asked for.
pub fn say<'t>(lang: Lang, zh: &'t str, en: &'t str) -> &'t str {
    match lang {
        Lang::Zh => zh,
        Lang::En => en,
    }
}

/// A bar for so many steps.
pub fn bar(label: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_message(label.to_owned());
    // A template that does not parse would merely look plain.
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}") {
        bar.set_style(style.progress_chars("█▉ "));
    }
    bar
}

/// For work whose length nobody knows.
pub fn spinner(label: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(label.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
