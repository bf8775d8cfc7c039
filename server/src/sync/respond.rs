//! RESPOND, the IO half: verdicts, then what the phone lacks, as a stream that is made while it is sent.
//!
//! Reads run outside the write transaction and in pages, so a slow phone holds no connection. The head is read first: everything up to it is
//! committed, and whatever is committed meanwhile has a higher sequence and comes with the next request, harmlessly twice where a snapshot
//! already held it.

use std::{collections::HashSet, io::Write};

use axum::body::Body;
use bytes::Bytes;
use lianka_sync_core::{
    codec::{
        cursor::{self, Cursor, Position, Pull, Received, WHOLE_STREET},
        wire::{Encoding, Notice, ResponseItem, Verdict, VerdictStatus},
    },
    id::{DeviceId, RecordId, StreetCode},
    lang::Lang,
    limits,
    time::ServerTime,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    audit::{self, Action, Event, store as audit_store},
    http::error::{ApiError, ErrorCode},
    pipeline_point::{PipelinePoint, reached},
    review::store as conflicts,
    state::App,
    store::waits::within,
    street::{
        merge::{Author, Outcome},
        store::{
            erasures,
            records::{self, Document, DocumentPage},
            streets::{self, Scope},
        },
    },
    sync::ingest::Packing,
};

/// Bytes gathered before a chunk is handed to the connection.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that may wait for a slow phone.
const CHUNKS_WAITING: usize = 4;
/// Documents read at once.
const PAGE: i64 = 400;
/// Log entries read at once: most are a field or two.
const LOG_PAGE: i64 = 1_000;
/// Notices in one answer: the newest ones. A phone keeps no more.
const NOTICES_MAX: i64 = 500;
/// Days of notices that a download brings: a user who enrols again misses nothing recent, and a resumed download nothing at all.
const NOTICE_DAYS: i64 = 30;
/// Level 3 is where a roll of cards stops shrinking for its price.
const ZSTD_LEVEL: i32 = 3;
/// Window of 512 KiB, as a power of two: cards resemble their neighbours, and forty downloads at once must not cost the megabytes of a wider one.
const ZSTD_WINDOW_LOG: u32 = 19;

/// How the response is written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub encoding: Encoding,
    pub packing: Packing,
    pub lang: Lang,
}

/// What is asked for, checked.
pub struct Response {
    pub street: StreetCode,
    pub author: Author,
    pub outcomes: Vec<Outcome>,
    pub cursor: Option<String>,
    pub pull: bool,
    /// The device told of changes that are still to come: one to be wiped is told so once they are here.
    pub more_to_come: bool,
    pub form: Form,
}

/// Why a stream ends without its `end`.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error("the phone went away")]
    Gone,
    #[error("compression failed")]
    Pack(#[from] std::io::Error),
    #[error("the store holds an unknown kind of record")]
    Kind(#[from] lianka_sync_core::kinds::UnknownKind),
}

/// What must be known before the first byte is sent: a refusal still has its status.
struct Plan {
    pull: Pull,
    epoch: Uuid,
    head: i64,
    scope: Scope,
}

/// Starts the response. Fails only where nothing has been sent yet.
pub async fn start(app: App, response: Response) -> Result<Body, ApiError> {
    let plan = plan(&app, &response).await?;
    reached(PipelinePoint::PullPlanned);
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(CHUNKS_WAITING);
    tokio::spawn(async move {
        let sink = match Sink::new(response.form, sender.clone()) {
            Ok(sink) => sink,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        match stream(&app, response, plan, sink).await {
            Ok(()) | Err(StreamError::Gone) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a response stream was cut"
                );
                // An error closes the connection, so the phone sees a broken download and resumes from its checkpoint.
                let _ = sender.send(Err(std::io::Error::other("stream cut"))).await;
            }
        }
    });
    Ok(Body::from_stream(futures::stream::poll_fn(
        move |context| receiver.poll_recv(context),
    )))
}

async fn plan(app: &App, response: &Response) -> Result<Plan, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let head = records::head(&mut conn, &response.street)
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let mut scope = streets::scope(&mut conn, &response.street, &response.author.username).await?;
    let role = response.author.role;
    scope.epoch = cursor::scope_epoch(role, scope.epoch);
    if !role.receives_records() {
        scope.grids.clear();
    }
    let (epoch, head) = (head.store_epoch, head.seq);
    let pull = if response.pull {
        let position = Position {
            store_epoch: epoch,
            street: &response.street,
            head: head as u64,
            scope_epoch: scope.epoch,
        };
        cursor::plan(response.cursor.as_deref(), &position)
    } else {
        Pull::Nothing
    };
    Ok(Plan {
        pull,
        epoch,
        head,
        scope,
    })
}

async fn stream(
    app: &App,
    response: Response,
    plan: Plan,
    mut sink: Sink,
) -> Result<(), StreamError> {
    let Response {
        street,
        author,
        outcomes,
        pull,
        more_to_come,
        form,
        ..
    } = response;
    let refused: HashSet<Uuid> = outcomes
        .iter()
        .filter(|outcome| needs_rebase(outcome))
        .map(|outcome| outcome.record.0)
        .collect();
    let brought = outcomes.iter().filter_map(|outcome| outcome.seq).collect();
    let had: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.status == VerdictStatus::Duplicate)
        .map(|outcome| outcome.record.0)
        .collect();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        sink.send(&ResponseItem::Verdict(verdict(index, &outcome, form.lang)))
            .await?;
    }
    reached(PipelinePoint::VerdictsSent);
    let lease_seconds = (!author.wiped).then_some(app.config.lease.as_secs());
    let end = |cursor| ResponseItem::End {
        cursor,
        head: plan.head as u64,
        server_time: app.clock.now(),
        lease_seconds,
    };
    if author.wiped {
        if !more_to_come {
            sink.send(&ResponseItem::Wipe).await?;
        }
        sink.send(&end(None)).await?;
        return sink.finish().await;
    }
    let mut answer = Answer {
        app,
        street: &street,
        device: author.device,
        brought,
        epoch: plan.epoch,
        head: plan.head,
        grids: (plan.scope.epoch != WHOLE_STREET).then_some(plan.scope.grids),
        scope_epoch: plan.scope.epoch,
        cursor_epoch: plan.scope.epoch,
        sent: HashSet::new(),
        sink: &mut sink,
    };
    if pull && !matches!(plan.pull, Pull::Reset) {
        // A phone rebases what was refused on the server's copy, in the same round trip.
        answer
            .snapshots(&refused.into_iter().collect::<Vec<_>>())
            .await?;
        answer.out_of_sight(&had).await?;
    }
    match plan.pull {
        Pull::Reset => {
            sink.send(&ResponseItem::Reset { epoch: plan.epoch })
                .await?;
            sink.send(&end(None)).await?;
            return sink.finish().await;
        }
        Pull::Nothing => {}
        Pull::Download { after, received } => {
            answer
                .notices(0, Some(NOTICE_DAYS), &author.username)
                .await?;
            answer
                .download(after as i64, received, &author.username)
                .await?;
        }
        Pull::Delta { after, scope_epoch } => {
            answer.notices(after as i64, None, &author.username).await?;
            answer
                .delta(after as i64, scope_epoch, &author.username)
                .await?;
        }
    }
    answer.tell_reading(&author).await?;
    reached(PipelinePoint::ReadingTold);
    let cursor = pull.then(|| answer.cursor(answer.head, false));
    sink.send(&end(cursor)).await?;
    reached(PipelinePoint::EndSent);
    sink.finish().await
}

fn needs_rebase(outcome: &Outcome) -> bool {
    outcome
        .refusal
        .as_ref()
        .is_some_and(|refusal| !refusal.retryable())
}

fn verdict(index: usize, outcome: &Outcome, lang: Lang) -> Verdict {
    let refusal = outcome.refusal.as_ref();
    Verdict {
        index: index as u32,
        hash: outcome.hash,
        record: outcome.record,
        status: outcome.status,
        seq: outcome.seq.map(|seq| seq as u64),
        code: refusal
            .map(|refusal| refusal.code().to_owned())
            .or(outcome.held.map(str::to_owned)),
        field: refusal.and_then(|refusal| refusal.key()).map(str::to_owned),
        message: match outcome.status {
            VerdictStatus::Held => Some(held_message(lang).to_owned()),
            _ => refusal.map(|refusal| refusal.message(lang)),
        },
        retryable: refusal.is_some_and(lianka_sync_core::crdt::merge::Refusal::retryable),
    }
}

fn held_message(lang: Lang) -> &'static str {
    match lang {
        Lang::Zh => "已暂存，等待街道审核",
        Lang::En => "kept for a reviewer to decide",
    }
}

/// The user's grids, then and now; `None` is the whole street.
struct ScopeMoved {
    /// Then or now.
    seen: Option<Vec<String>>,
    /// Then and now.
    kept: Option<Vec<String>>,
    gained: Vec<String>,
    lost: Vec<String>,
}

/// One answer under way.
struct Answer<'a> {
    app: &'a App,
    street: &'a StreetCode,
    device: DeviceId,
    /// Entries of the log that the phone brought in this very request.
    brought: Vec<i64>,
    epoch: Uuid,
    head: i64,
    /// The user's grids; `None` is the whole street.
    grids: Option<Vec<String>>,
    scope_epoch: i64,
    /// The scope under which a cursor that is issued now stands.
    cursor_epoch: i64,
    /// Records of which something was sent.
    sent: HashSet<Uuid>,
    sink: &'a mut Sink,
}

impl Answer<'_> {
    fn cursor(&self, sequence: i64, downloading: bool) -> String {
        let street = self.street.as_str().to_owned();
        Cursor {
            store_epoch: self.epoch,
            street,
            sequence: sequence as u64,
            scope_epoch: self.cursor_epoch,
            downloading,
        }
        .encode()
    }

    async fn checkpoint(&mut self, sequence: i64, downloading: bool) -> Result<(), StreamError> {
        if self.sink.since_checkpoint < limits::CHECKPOINT_BYTES {
            return Ok(());
        }
        let cursor = self.cursor(sequence, downloading);
        self.sink.send(&ResponseItem::Checkpoint { cursor }).await?;
        self.sink.flush().await?;
        reached(PipelinePoint::CheckpointSent);
        Ok(())
    }

    async fn conn(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, StreamError> {
        Ok(self.app.pool.acquire().await?)
    }

    /// One look at the store, which may not keep the phone waiting for ever.
    async fn within<T>(
        &self,
        look: impl Future<Output = Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        within(self.app.config.store.waits.request, look).await
    }

    async fn documents(&self, page: DocumentPage<'_>) -> Result<Vec<Document>, StreamError> {
        self.within(async {
            Ok(records::documents(&mut *self.conn().await?, self.street, page).await?)
        })
        .await
    }

    /// A read of sensitive fields, for the audit trail, before the phone may count the answer as whole.
    async fn tell_reading(&mut self, author: &Author) -> Result<(), StreamError> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let sent: Vec<_> = self.sent.drain().collect();
        let told = async {
            let records =
                audit_store::holding_p3(&mut *self.conn().await?, self.street.as_str(), &sent)
                    .await?;
            if records > 0 {
                let event = Event::by(&author.username, author.device, Action::ReadP3)
                    .with("via", "sync")
                    .with("records", records);
                let mut tx = self.app.pool.begin().await?;
                audit::append(&mut tx, self.street.into(), self.app.clock.now(), &[event]).await?;
                tx.commit().await?;
            }
            Ok(())
        };
        self.within(told).await
    }

    async fn snapshot(&mut self, document: Document) -> Result<(), StreamError> {
        self.sent.insert(document.record.0);
        let item = ResponseItem::Snapshot {
            record: document.record,
            kind: document.kind.parse()?,
            grid: document.grid,
            generation: document.generation as u32,
            seq: document.seq as u64,
            bytes: document.bytes,
        };
        reached(PipelinePoint::ItemSent);
        self.sink.send(&item).await
    }

    /// What the user is to know of the log beyond `after`. Before everything else, so that a checkpoint never stands before a notice that it
    /// has passed.
    async fn notices(
        &mut self,
        after: i64,
        days: Option<i64>,
        username: &str,
    ) -> Result<(), StreamError> {
        let now = self.app.clock.now().unix_ms();
        let since = days.map(|days| ServerTime::from_unix_ms(now - days * 24 * 60 * 60 * 1000));
        let look = async {
            Ok(conflicts::notices(
                &mut *self.conn().await?,
                self.street,
                username,
                after,
                self.head,
                since,
                NOTICES_MAX,
            )
            .await?)
        };
        let notices = self.within(look).await?;
        for notice in notices {
            let item = Notice {
                id: notice.notice,
                seq: notice.seq as u64,
                kind: notice.kind,
                record: RecordId(notice.record),
                field: notice.field,
                hash: notice.detail.hash,
                by: notice.detail.by,
                at: notice.created_at,
                note: notice.detail.note,
            };
            self.sink.send(&ResponseItem::Notice(item)).await?;
        }
        Ok(())
    }

    /// Everything of the scope beyond `after`, by sequence.
    async fn download(
        &mut self,
        after: i64,
        received: Option<Received>,
        username: &str,
    ) -> Result<(), StreamError> {
        let mut after = after;
        if let Some(received) = received {
            let moved = self.scope_moved(received.scope_epoch, username).await?;
            self.departures(&moved, received.sequence as i64).await?;
        } else {
            // A phone that starts over may hold drafts about whatever was erased since it last heard.
            let look = async {
                Ok(erasures::forgotten(&mut *self.conn().await?, self.street, self.head).await?)
            };
            for (record, entries) in self.within(look).await? {
                let item = entries.map_or(ResponseItem::Erase { record }, |entries| {
                    ResponseItem::Redact { record, entries }
                });
                self.sink.send(&item).await?;
            }
        }
        loop {
            let page = DocumentPage {
                grids: self.grids.as_deref(),
                records: None,
                after,
                limit: PAGE,
            };
            let documents = self.documents(page).await?;
            let full = documents.len() as i64 == PAGE;
            for document in documents {
                after = document.seq;
                self.snapshot(document).await?;
                // Never beyond the head: what leaves while this download runs has a sequence above it, and a resumed one must see that.
                self.checkpoint(after.min(self.head), true).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Snapshots of these records, as far as they are in scope.
    async fn snapshots(&mut self, records: &[Uuid]) -> Result<(), StreamError> {
        for records in records.chunks(PAGE as usize) {
            let page = DocumentPage {
                grids: self.grids.as_deref(),
                records: Some(records),
                after: 0,
                limit: PAGE,
            };
            for document in self.documents(page).await? {
                self.snapshot(document).await?;
            }
        }
        Ok(())
    }

    /// Records that the phone made and the user may not see: accepted by a reviewer after their grid was taken away, so that no departure names them.
    async fn out_of_sight(&mut self, records: &[Uuid]) -> Result<(), StreamError> {
        let Some(grids) = self.grids.as_deref().filter(|_| !records.is_empty()) else {
            return Ok(());
        };
        let look = async {
            Ok(records::outside(&mut *self.conn().await?, self.street, grids, records).await?)
        };
        for record in self.within(look).await? {
            self.sink.send(&ResponseItem::Leave { record }).await?;
        }
        Ok(())
    }

    /// How the user's grids differ from those of an earlier scope epoch.
    async fn scope_moved(
        &self,
        scope_epoch: i64,
        username: &str,
    ) -> Result<ScopeMoved, StreamError> {
        match &self.grids {
            Some(now) if scope_epoch != self.scope_epoch => {
                let look = async {
                    Ok(streets::grids_at(
                        &mut *self.conn().await?,
                        self.street,
                        username,
                        scope_epoch,
                    )
                    .await?)
                };
                let before = self.within(look).await?;
                let (kept, gained) = now.iter().cloned().partition(|grid| before.contains(grid));
                let lost = before
                    .iter()
                    .filter(|grid| !now.contains(grid))
                    .cloned()
                    .collect();
                let seen = before.into_iter().chain(now.iter().cloned()).collect();
                Ok(ScopeMoved {
                    seen: Some(seen),
                    kept: Some(kept),
                    gained,
                    lost,
                })
            }
            same => Ok(ScopeMoved {
                seen: same.clone(),
                kept: same.clone(),
                gained: Vec::new(),
                lost: Vec::new(),
            }),
        }
    }

    async fn departures(&mut self, moved: &ScopeMoved, after: i64) -> Result<(), StreamError> {
        let seen = moved.seen.as_deref();
        let look = async {
            let mut conn = self.conn().await?;
            let departures = records::departures(
                &mut conn,
                self.street,
                seen,
                self.grids.as_deref(),
                &moved.lost,
                after,
                self.head,
            )
            .await?;
            Ok((
                departures,
                erasures::redactions(&mut conn, self.street, after, self.head).await?,
            ))
        };
        // The connection is given back before anything is sent: a slow phone holds none.
        let (departures, redactions) = self.within(look).await?;
        for departure in departures {
            let record = departure.record;
            self.sink
                .send(&if departure.erased {
                    ResponseItem::Erase { record }
                } else {
                    ResponseItem::Leave { record }
                })
                .await?;
        }
        self.redact(redactions).await
    }

    /// Whatever grid the record stands in: a phone that lost it may still hold a draft.
    async fn redact(&mut self, redactions: Vec<erasures::Redaction>) -> Result<(), StreamError> {
        for erasures::Redaction { record, entries } in redactions {
            self.sink
                .send(&ResponseItem::Redact { record, entries })
                .await?;
        }
        Ok(())
    }

    /// The log beyond `after`, for a phone whose scope was that of `scope_epoch`.
    async fn delta(
        &mut self,
        after: i64,
        scope_epoch: i64,
        username: &str,
    ) -> Result<(), StreamError> {
        let moved = self.scope_moved(scope_epoch, username).await?;
        self.departures(&moved, after).await?;
        let kept = moved.kept.as_deref();
        let look = async {
            Ok(records::advances(
                &mut *self.conn().await?,
                self.street,
                kept,
                self.device,
                &self.brought,
                after,
                self.head,
            )
            .await?)
        };
        let advances = self.within(look).await?;
        // Until the gained grids have come, a checkpoint stands under the scope that the phone knew.
        let now = std::mem::replace(&mut self.cursor_epoch, scope_epoch);
        let (whole, tail): (Vec<_>, Vec<_>) = advances.into_iter().partition(|advance| {
            advance.arrived || advance.foreign > limits::TAIL_CHANGES_MAX as i64
        });
        let ids = |advances: Vec<records::Advance>| {
            advances
                .into_iter()
                .map(|advance| advance.record.0)
                .collect::<Vec<_>>()
        };
        self.snapshots(&ids(whole)).await?;
        self.log(&ids(tail).into_iter().collect(), after).await?;
        self.cursor_epoch = now;
        self.gained(&moved.gained).await
    }

    /// What a gained grid holds is sent whole, whether or not it moved since; last, so that a broken answer goes on as a download does.
    async fn gained(&mut self, grids: &[String]) -> Result<(), StreamError> {
        let mut after = 0;
        loop {
            let page = DocumentPage {
                grids: Some(grids),
                records: None,
                after,
                limit: PAGE,
            };
            let documents = if grids.is_empty() {
                Vec::new()
            } else {
                self.documents(page).await?
            };
            let full = documents.len() as i64 == PAGE;
            for document in documents {
                after = document.seq;
                self.snapshot(document).await?;
                self.checkpoint(after.min(self.head), true).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Changes of these records in log order, so that a checkpoint between them is true.
    async fn log(&mut self, records: &HashSet<Uuid>, after: i64) -> Result<(), StreamError> {
        let mut after = after;
        while !records.is_empty() {
            let grids = self.grids.as_deref();
            let look = async {
                Ok(records::changes(
                    &mut *self.conn().await?,
                    self.street,
                    grids,
                    self.device,
                    &self.brought,
                    after,
                    self.head,
                    LOG_PAGE,
                )
                .await?)
            };
            let changes = self.within(look).await?;
            let full = changes.len() as i64 == LOG_PAGE;
            for change in changes {
                after = change.seq;
                let (record, generation) = (change.record, change.generation as u32);
                if !records.contains(&record.0) {
                    continue;
                }
                let Some(bytes) = change.bytes else {
                    // Trimmed since it was asked what moved: what is missing before this entry comes whole, ahead of any later checkpoint.
                    self.snapshots(&[record.0]).await?;
                    continue;
                };
                self.sent.insert(record.0);
                reached(PipelinePoint::ItemSent);
                self.sink
                    .send(&ResponseItem::Change {
                        record,
                        generation,
                        seq: change.seq as u64,
                        bytes,
                    })
                    .await?;
                self.checkpoint(after, false).await?;
            }
            if !full {
                break;
            }
        }
        Ok(())
    }
}

/// Items → encoded, packed chunks for the connection.
struct Sink {
    encoding: Encoding,
    packer: Packer,
    scratch: Vec<u8>,
    since_checkpoint: usize,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

enum Packer {
    Identity(Vec<u8>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
}

impl Packer {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Identity(out) => out,
            Self::Zstd(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn packed(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Identity(out) => out,
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }
}

impl Sink {
    fn new(
        form: Form,
        sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    ) -> std::io::Result<Self> {
        let packer = match form.packing {
            Packing::Identity => Packer::Identity(Vec::new()),
            Packing::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW_LOG)?;
                Packer::Zstd(Box::new(encoder))
            }
            Packing::Gzip => Packer::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            ))),
        };
        Ok(Self {
            encoding: form.encoding,
            packer,
            scratch: Vec::new(),
            since_checkpoint: 0,
            sender,
        })
    }

    async fn send(&mut self, item: &ResponseItem) -> Result<(), StreamError> {
        self.scratch.clear();
        self.encoding.write(item, &mut self.scratch);
        self.since_checkpoint = if matches!(item, ResponseItem::Checkpoint { .. }) {
            0
        } else {
            self.since_checkpoint + self.scratch.len()
        };
        self.packer.writer().write_all(&self.scratch)?;
        if self.packer.packed().len() >= CHUNK_BYTES {
            self.hand_over().await
        } else {
            Ok(())
        }
    }

    /// Everything so far goes out, so that a phone can act on a checkpoint as soon as it is sent.
    async fn flush(&mut self) -> Result<(), StreamError> {
        self.packer.writer().flush()?;
        self.hand_over().await
    }

    async fn hand_over(&mut self) -> Result<(), StreamError> {
        let chunk = std::mem::take(self.packer.packed());
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender
            .send(Ok(chunk.into()))
            .await
            .map_err(|_| StreamError::Gone)
    }

    async fn finish(self) -> Result<(), StreamError> {
        let rest = match self.packer {
            Packer::Identity(out) => out,
            Packer::Zstd(encoder) => encoder.finish()?,
            Packer::Gzip(encoder) => encoder.finish()?,
        };
        self.sender
            .send(Ok(rest.into()))
            .await
            .map_err(|_| StreamError::Gone)
    }
}
