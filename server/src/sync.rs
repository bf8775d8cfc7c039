//! The pipeline, a line per stage: AUTH (before the handler) → INGEST → MERGE → PROJECT (inside the commit) → RESPOND.

pub mod admission;
pub mod blocks;
pub mod error;
pub mod ingest;
pub mod pages;
pub mod respond;
pub mod routes;
pub mod tails;

use std::{ops::Deref, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use lianka_office_core::pull::tail::Bounds;
use lianka_sync_core::{
    codec::{
        block,
        wire::{Encoding, Hello, VerdictStatus},
    },
    crdt::merge::Refusal,
    id::StreetCode,
    time::DeviceTime,
};

use sqlx::{Connection, PgConnection};

use crate::{
    audit::{self, Action, Event},
    auth::{
        Principal,
        store::{
            devices::{self, SyncReport},
            tokens,
        },
    },
    pipeline_point::{PipelinePoint, reached},
    state::App,
    store::waits::within,
    street::merge::{Author, Outcome, Push},
    sync::{
        admission::Admission,
        blocks::Blocks,
        error::SyncError,
        ingest::{Packing, SyncRequest},
        pages::Pages,
        respond::{Form, Response},
        tails::Tails,
    },
};

/// What a synchronisation needs beside the [`App`] that it dereferences to. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    app: App,
    pub admission: Arc<Admission>,
    shared: Shared,
}

/// What is read and packed once for several answers.
#[derive(Clone)]
pub struct Shared {
    pub tails: Arc<Tails>,
    pub pages: Arc<Pages>,
    pub blocks: Arc<Blocks>,
}

impl Deref for Pipeline {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Pipeline {
    pub fn new(app: App) -> Self {
        Self {
            shared: Shared {
                tails: Arc::new(Tails::new(Bounds {
                    entries: app.config.tail_entries,
                    bytes: app.config.tail_bytes,
                })),
                pages: Arc::default(),
                blocks: Arc::default(),
            },
            app,
            admission: Arc::default(),
        }
    }
}

/// One round trip, as it came.
pub struct RoundTrip {
    pub street: StreetCode,
    pub principal: Principal,
    pub body: Bytes,
    pub packing: Packing,
    pub encoding: Encoding,
    pub form: Form,
}

/// Stores what the phone brings and starts to send what it lacks.
pub async fn run(app: Pipeline, trip: RoundTrip) -> Result<Body, SyncError> {
    let RoundTrip {
        street,
        principal,
        body,
        packing,
        encoding,
        form,
    } = trip;
    let now = app.clock.now();
    // The room is held until everything is merged.
    let (request, _room) = app
        .admission
        .read(principal.device(), now, body, packing, encoding)
        .await?;
    reached(PipelinePoint::Ingested);
    let limit = app.config.store.waits.request;
    within(limit, settle(app, street, &principal, request, form)).await
}

/// What the store has to do with it, up to the first byte of the answer.
async fn settle(
    app: Pipeline,
    street: StreetCode,
    principal: &Principal,
    request: SyncRequest,
    form: Form,
) -> Result<Body, SyncError> {
    let author = Author {
        username: principal.username().to_owned(),
        role: principal.role(),
        device: principal.device(),
        wiped: principal.wipe(),
    };
    let gives_way = app.admission.gives_way(author.device);
    let outcomes = app
        .queues
        .push(
            &street,
            Push {
                author: author.clone(),
                changes: request.changes,
            },
            gives_way,
        )
        .await?;
    let hello = request.hello;
    // One connection for all that comes before the first byte.
    let mut conn = app.pool.acquire().await?;
    note_sync(&app, &mut conn, &street, &author, &hello, &outcomes).await?;
    reached(PipelinePoint::SyncNoted);
    // A pull comes last of all.
    let more_to_come = !hello.pull
        && hello
            .report
            .unsent
            .is_some_and(|unsent| unsent > outcomes.len() as u64);
    respond::start(
        app.app,
        app.shared,
        conn,
        Response {
            street,
            author,
            outcomes,
            kinds: hello.known_kinds(),
            blocks: hello.blocks >= block::VERSION.into(),
            cursor: hello.cursor,
            pull: hello.pull,
            more_to_come,
            form,
        },
    )
    .await
}

/// What the synchronisation tells of the device, for the office's list; and to the audit trail what an office must know.
async fn note_sync(
    app: &Pipeline,
    conn: &mut PgConnection,
    street: &StreetCode,
    author: &Author,
    hello: &Hello,
    outcomes: &[Outcome],
) -> sqlx::Result<()> {
    let now = app.clock.now();
    app.admission.note(author.device, now, outcomes);
    let settled = outcomes
        .iter()
        .filter(|outcome| outcome.status != VerdictStatus::Rejected)
        .count() as u64;
    let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let skew_ms = |at: DeviceTime| at.unix_ms().saturating_sub(now.unix_ms());
    let report = SyncReport {
        client_version: &hello.client,
        unsent: hello
            .report
            .unsent
            .map(|unsent| count(unsent.saturating_sub(settled))),
        held: hello.report.held.map(count),
        clock_skew_ms: hello.report.device_time.map(skew_ms),
        // The gate lets only the device itself use its name: so there are two of it.
        forked: outcomes
            .iter()
            .any(|outcome| outcome.refusal == Some(Refusal::ActorForked)),
    };
    if !report.forked && !author.wiped {
        return devices::note_sync(conn, author.device, report, now, false).await;
    }
    let mut tx = conn.begin().await?;
    devices::note_sync(&mut tx, author.device, report, now, true).await?;
    let mut events = Vec::new();
    if report.forked {
        events.push(Event::by(
            &author.username,
            author.device,
            Action::CloneSuspected,
        ));
    }
    if author.wiped
        && hello.report.wiped
        && devices::note_wiped(&mut tx, author.device, now).await?
    {
        tokens::spend_refresh_tokens(&mut tx, author.device, None, now, now).await?;
        events.push(Event::by(
            &author.username,
            author.device,
            Action::DeviceWiped,
        ));
    }
    audit::append(&mut tx, street.into(), now, &events).await?;
    tx.commit().await
}
