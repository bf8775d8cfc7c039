//! The background passes: one row each.
//!
//! A row says how often a pass runs and what one run does, which stands in a file of its own; the [supervisor](crate::upkeep::supervisor) bounds
//! the run, catches what goes wrong, and sees to it that one server of a deployment runs it for all.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::Mutex;

use crate::{
    auth::Auth,
    state::App,
    upkeep::{
        compaction::{self, Tried},
        holidays, imports,
        leases::Leases,
        refresh, sealing,
        store_watch::Watch,
        supervisor::{Cause, Left, Pass, Reports, Supervised},
        transfer_clock, trimming,
    },
};

/// All of them, in no order.
pub fn all(auth: &Auth) -> Vec<Pass> {
    let app: &App = auth;
    // A log that is kept for less than days, as in a trial, is looked after more often.
    let often = |interval: Duration| {
        let tenth = app.config.keep().changes / 10;
        interval.min(tenth).max(Duration::from_secs(1))
    };
    let limit = app.config.store.waits.unhurried();
    let tried = Arc::new(Mutex::new(Tried::new()));
    let watch = Arc::new(Mutex::new(Watch::default()));
    vec![
        pass(
            "refresh",
            Duration::from_secs(5),
            limit,
            app,
            |app| async move {
                let done = refresh::pass(&app.pool, &app.clock).await?;
                Ok(more(done != refresh::Pass::default()))
            },
        ),
        pass(
            "trimming",
            often(Duration::from_hours(1)),
            limit,
            app,
            |app| async move {
                trimming::run(&app).await?;
                Ok(Left::Nothing)
            },
        ),
        pass(
            "compaction",
            often(Duration::from_mins(10)),
            limit,
            app,
            move |app| {
                let tried = Arc::clone(&tried);
                async move {
                    compaction::run(&app, &mut *tried.lock().await).await?;
                    Ok(Left::Nothing)
                }
            },
        ),
        pass(
            "transfer_clock",
            Duration::from_secs(30),
            limit,
            app,
            |app| async move {
                let done = transfer_clock::pass(&app.pool, &app.clock, &app.entropy).await?;
                Ok(more(done != transfer_clock::Pass::default()))
            },
        ),
        pass(
            "imports",
            often(Duration::from_hours(1)),
            limit,
            app,
            |app| async move {
                let done = imports::pass(&app.pool, &app.clock, app.config.keep()).await?;
                Ok(more(done != imports::Pass::default()))
            },
        ),
        pass(
            "holidays",
            Duration::from_hours(24),
            limit,
            app,
            |app| async move {
                holidays::pass(&app.pool, &app.clock).await?;
                Ok(Left::Nothing)
            },
        ),
        pass(
            "sealing",
            Duration::from_mins(5),
            limit,
            auth,
            |auth| async move {
                sealing::pass(&auth).await?;
                Ok(Left::Nothing)
            },
        ),
        // Every server has a pool of its own to look after.
        Pass {
            shared: false,
            busy: Duration::from_secs(1),
            ..pass(
                "store_watch",
                Duration::from_secs(5),
                limit,
                app,
                move |app| {
                    let watch = Arc::clone(&watch);
                    async move { Ok(more(!watch.lock().await.look(&app).await)) }
                },
            )
        },
    ]
}

/// Runs all passes until the server stops; what becomes of them is in the reports.
pub fn start(auth: &Auth) -> Reports {
    let (leases, reports) = (Leases::new(App::clone(auth)), Reports::default());
    for pass in all(auth) {
        let supervised = Supervised::new(pass, leases.clone(), reports.clone());
        tokio::spawn(supervised.run(auth.stopping.clone()));
    }
    reports
}

/// Runs one of them by itself, for a test that wants nothing else in the background.
pub async fn alone(auth: Auth, name: &str) {
    if let Some(pass) = all(&auth).into_iter().find(|pass| pass.name == name) {
        let supervised = Supervised::new(pass, Leases::nobodys(), Reports::default());
        supervised.run(auth.stopping.clone()).await;
    }
}

fn pass<S, F>(
    name: &'static str,
    interval: Duration,
    limit: Duration,
    state: &S,
    mut run: impl FnMut(S) -> F + Send + 'static,
) -> Pass
where
    S: Clone + Send + 'static,
    F: Future<Output = Result<Left, Cause>> + Send + 'static,
{
    let state = state.clone();
    Pass {
        name,
        interval,
        busy: Duration::from_millis(200),
        limit,
        shared: true,
        run: Box::new(move || run(state.clone()).boxed()),
    }
}

fn more(is_left: bool) -> Left {
    if is_left { Left::More } else { Left::Nothing }
}
