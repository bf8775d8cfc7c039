//! RESPOND, the IO half: [`lianka_office_core::pull`] says what comes next; here it is read, encoded, packed and sent while it is made.
//!
//! Reads run outside the write transaction and in pages, so a slow phone holds no connection.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use lianka_office_core::pull::{
    self, Answer, Document, Next, Page, Part, Pull, Question, Read, Run, Scope,
};
use lianka_sync_core::{
    codec::wire::{Encoding, ResponseItem},
    id::{RecordId, StreetCode},
    kinds::Kind,
    lang::Lang,
    limits,
};
use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    audit::{self, Action, Event},
    pipeline_point::{PipelinePoint, reached},
    review::store as conflicts,
    state::App,
    store::{decoded, waits::within},
    street::{
        merge::{Author, Outcome},
        store::{
            erasures,
            records::{self, DocumentPage},
            streets,
        },
    },
    sync::{
        Shared,
        blocks::Blocks,
        error::SyncError,
        ingest::Packing,
        pages::{PageKey, Pages},
    },
};

/// Bytes gathered before a chunk is handed to the connection.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that may wait for a slow phone.
const CHUNKS_WAITING: usize = 4;
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
    /// The kinds of record that the phone knows.
    pub kinds: Vec<Kind>,
    /// It reads blocks of changes.
    pub blocks: bool,
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
}

/// Starts the response. Fails only where nothing has been sent yet: a refusal still has its status.
pub async fn start(
    app: App,
    shared: Shared,
    mut conn: PoolConnection<Postgres>,
    response: Response,
) -> Result<Body, SyncError> {
    let form = response.form;
    let (street, author) = (response.street.clone(), response.author.clone());
    let question = question(&app, &shared, &mut conn, response).await?;
    drop(conn);
    let reader = Reader {
        app,
        shared,
        street,
        author,
        store_epoch: question.store_epoch,
        head: question.head,
    };
    let pull = Pull::new(question);
    reached(PipelinePoint::PullPlanned);
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(CHUNKS_WAITING);
    tokio::spawn(async move {
        let sink = Sink::new(form, sender.clone());
        match stream(&reader, pull, sink).await {
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

/// The head first, then the scope: whatever is committed meanwhile comes with the next request.
async fn question(
    app: &App,
    shared: &Shared,
    conn: &mut PgConnection,
    response: Response,
) -> Result<Question, SyncError> {
    let Response {
        street,
        author,
        outcomes,
        kinds,
        blocks,
        cursor,
        pull,
        more_to_come,
        form,
    } = response;
    let tail = shared.tails.of(&street);
    let newest = tail.follow(conn).await?.ok_or(SyncError::NoStreet)?;
    shared.blocks.purge();
    let scope = streets::scope(conn, &street, &author.username).await?;
    Ok(Question {
        store_epoch: newest.store_epoch,
        head: newest.head,
        scope: Scope::of(author.role, scope.epoch, scope.grids),
        device: author.device,
        wiped: author.wiped,
        more_to_come,
        verdicts: outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| pull::verdict(index, outcome, form.lang))
            .collect(),
        pull,
        kinds,
        blocks,
        cursor,
        lease_seconds: app.config.lease.as_secs(),
        pages: pull::PAGES,
        street,
    })
}

async fn stream(reader: &Reader, mut pull: Pull, mut sink: Sink) -> Result<(), StreamError> {
    let mut verdicts_sent = false;
    loop {
        let due = sink.since_checkpoint >= limits::CHECKPOINT_BYTES;
        let next = pull.next(reader.app.clock.now(), due);
        if !verdicts_sent && !matches!(next, Next::Item(ResponseItem::Verdict(_))) {
            reached(PipelinePoint::VerdictsSent);
            verdicts_sent = true;
        }
        match next {
            Next::Item(item) => send(&mut sink, &item).await?,
            Next::Page(part) => {
                reached(PipelinePoint::ItemSent);
                sink.send_page(&reader.shared.pages, &part).await?;
            }
            Next::Run(run) => {
                reached(PipelinePoint::ItemSent);
                sink.send_run(&reader.shared.blocks, &run).await?;
            }
            Next::Read(read) => pull.answer(reader.within(Box::pin(reader.read(read))).await?),
            Next::Tell { records } => reader.within(reader.tell(records)).await?,
            Next::Done => return sink.finish().await,
        }
    }
}

async fn send(sink: &mut Sink, item: &ResponseItem) -> Result<(), StreamError> {
    match item {
        ResponseItem::Snapshot { .. } | ResponseItem::Change { .. } => {
            reached(PipelinePoint::ItemSent);
            sink.send(item).await
        }
        ResponseItem::Checkpoint { .. } => {
            sink.send(item).await?;
            sink.flush().await?;
            reached(PipelinePoint::CheckpointSent);
            Ok(())
        }
        ResponseItem::End { .. } => {
            reached(PipelinePoint::ReadingAnswered);
            sink.send(item).await?;
            reached(PipelinePoint::EndSent);
            Ok(())
        }
        _ => sink.send(item).await,
    }
}

/// What one answer reads of the store.
struct Reader {
    app: App,
    shared: Shared,
    street: StreetCode,
    author: Author,
    store_epoch: Uuid,
    head: i64,
}

impl Reader {
    async fn conn(&self) -> Result<PoolConnection<Postgres>, StreamError> {
        Ok(self.app.pool.acquire().await?)
    }

    /// One look at the store, which may not keep the phone waiting for ever.
    async fn within<T>(
        &self,
        look: impl Future<Output = Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        within(self.app.config.store.waits.request, look).await
    }

    /// From memory where that is kept there.
    async fn read(&self, read: Read) -> Result<Answer, StreamError> {
        let (pool, tail) = (&self.app.pool, self.shared.tails.of(&self.street));
        let told = match &read {
            Read::Advances(slice) => tail
                .ask(pool, (slice.after, slice.upto), |tail| tail.advances(slice))
                .await?
                .map(Answer::Advances),
            Read::Changes { slice, limit } => tail
                .ask(pool, (slice.after, slice.upto), |tail| {
                    tail.changes(slice, *limit)
                })
                .await?
                .map(Answer::Changes),
            Read::Documents(page) if page.records.is_none() => {
                let key = PageKey {
                    street: self.street.clone(),
                    store_epoch: self.store_epoch,
                    head: self.head,
                    grids: page.grids.clone(),
                    after: page.after,
                    limit: page.limit,
                };
                let documents = Box::pin(self.shared.pages.page(key, self.documents(page))).await?;
                Some(Answer::Documents(documents))
            }
            _ => None,
        };
        match told {
            Some(answer) => Ok(answer),
            None => self.read_store(read).await,
        }
    }

    async fn documents(&self, page: &Page) -> Result<Vec<Document>, StreamError> {
        let mut conn = self.conn().await?;
        Ok(documents(&mut conn, &self.street, page).await?)
    }

    /// The connection is given back before anything is sent: a slow phone holds none.
    async fn read_store(&self, read: Read) -> Result<Answer, StreamError> {
        let departures = match &read {
            Read::Gone(gone) if gone.lost.is_empty() => {
                let tail = self.shared.tails.of(&self.street);
                tail.ask(&self.app.pool, (gone.after, gone.upto), |tail| {
                    tail.departures(gone)
                })
                .await?
            }
            _ => None,
        };
        let mut conn = self.conn().await?;
        let (conn, street, username) = (&mut *conn, &self.street, &self.author.username);
        Ok(match read {
            Read::Notices {
                after,
                upto,
                since,
                limit,
            } => Answer::Notices(
                conflicts::notices(conn, street, username, after, upto, since, limit).await?,
            ),
            Read::Forgotten { upto } => {
                Answer::Forgotten(erasures::forgotten(conn, street, upto).await?)
            }
            Read::GridsAt { epoch } => {
                Answer::GridsAt(streets::grids_at(conn, street, username, epoch).await?)
            }
            Read::Gone(gone) => Answer::Gone {
                departures: match departures {
                    Some(departures) => departures,
                    None => records::departures(conn, street, &gone).await?,
                },
                redactions: erasures::redactions(conn, street, gone.after, gone.upto).await?,
            },
            Read::Outside { grids, records } => {
                Answer::Outside(records::outside(conn, street, &grids, &ids(&records)).await?)
            }
            Read::Documents(page) => {
                Answer::Documents(documents(conn, street, &page).await?.into())
            }
            Read::Advances(slice) => {
                Answer::Advances(records::advances(conn, street, &slice).await?)
            }
            Read::Changes { slice, limit } => {
                Answer::Changes(records::changes(conn, street, &slice, limit).await?)
            }
        })
    }

    /// A read of sensitive fields, for the audit trail.
    async fn tell(&self, records: i64) -> Result<(), StreamError> {
        let Author {
            username, device, ..
        } = &self.author;
        let event = Event::by(username, *device, Action::ReadP3)
            .with("via", "sync")
            .with("records", records);
        let (chain, now) = ((&self.street).into(), self.app.clock.now());
        Ok(audit::tell(&mut *self.conn().await?, chain, now, &[event]).await?)
    }
}

fn ids(records: &[RecordId]) -> Vec<Uuid> {
    records.iter().map(|record| record.0).collect()
}

async fn documents(
    conn: &mut PgConnection,
    street: &StreetCode,
    page: &Page,
) -> sqlx::Result<Vec<Document>> {
    let records = page.records.as_deref().map(ids);
    let of = DocumentPage {
        grids: page.grids.as_deref(),
        records: records.as_deref(),
        after: page.after,
        limit: page.limit as i64,
    };
    let documents = records::documents(conn, street, of).await?.into_iter();
    documents.map(document).collect()
}

fn document(document: records::Document) -> sqlx::Result<Document> {
    Ok(Document {
        record: document.record,
        kind: decoded(&document.kind)?,
        grid: document.grid,
        generation: document.generation as u32,
        seq: document.seq,
        bytes: document.bytes,
        holds_p3: document.holds_p3,
    })
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
    /// One frame after another: one that is under way, and what is ready to be handed over.
    Zstd(Option<Box<Zstd>>, Vec<u8>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
}

type Zstd = zstd::stream::write::Encoder<'static, Vec<u8>>;

fn zstd_frame() -> std::io::Result<Zstd> {
    let mut frame = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    frame.window_log(ZSTD_WINDOW_LOG)?;
    Ok(frame)
}

/// Items in a frame of their own.
fn frame_of(items: impl Iterator<Item = ResponseItem>) -> std::io::Result<Bytes> {
    let mut content = Vec::new();
    items.for_each(|item| Encoding::CborSeq.write(&item, &mut content));
    let mut frame = zstd_frame()?;
    frame.write_all(&content)?;
    Ok(frame.finish()?.into())
}

impl Packer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Identity(out) => out.write_all(bytes),
            Self::Zstd(Some(frame), _) => frame.write_all(bytes),
            Self::Zstd(frame, _) => frame.insert(Box::new(zstd_frame()?)).write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Everything so far can be read by whoever has it.
    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Identity(_) | Self::Zstd(None, _) => Ok(()),
            Self::Zstd(Some(frame), _) => frame.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    /// Ends what is under way.
    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Identity(_) => Ok(()),
            Self::Zstd(frame, out) => {
                if let Some(frame) = frame.take() {
                    out.extend(frame.finish()?);
                }
                Ok(())
            }
            Self::Gzip(encoder) => encoder.try_finish(),
        }
    }

    /// What is packed so far, and is handed over with this.
    fn packed(&mut self) -> Vec<u8> {
        match self {
            Self::Identity(out) => std::mem::take(out),
            Self::Zstd(frame, out) => {
                let under_way = frame.as_mut().map(|frame| std::mem::take(frame.get_mut()));
                out.extend(under_way.unwrap_or_default());
                std::mem::take(out)
            }
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
        }
    }

    fn packed_bytes(&self) -> usize {
        match self {
            Self::Identity(out) => out.len(),
            Self::Zstd(frame, out) => {
                out.len() + frame.as_ref().map_or(0, |frame| frame.get_ref().len())
            }
            Self::Gzip(encoder) => encoder.get_ref().len(),
        }
    }
}

impl Sink {
    fn new(form: Form, sender: mpsc::Sender<Result<Bytes, std::io::Error>>) -> Self {
        let packer = match form.packing {
            Packing::Identity => Packer::Identity(Vec::new()),
            Packing::Zstd => Packer::Zstd(None, Vec::new()),
            Packing::Gzip => Packer::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            ))),
        };
        Self {
            encoding: form.encoding,
            packer,
            scratch: Vec::new(),
            since_checkpoint: 0,
            sender,
        }
    }

    async fn send(&mut self, item: &ResponseItem) -> Result<(), StreamError> {
        self.scratch.clear();
        self.encoding.write(item, &mut self.scratch);
        self.since_checkpoint = if matches!(item, ResponseItem::Checkpoint { .. }) {
            0
        } else {
            self.since_checkpoint + self.scratch.len()
        };
        self.packer.write(&self.scratch)?;
        if self.packer.packed_bytes() >= CHUNK_BYTES {
            self.hand_over().await
        } else {
            Ok(())
        }
    }

    /// Part of a page, packed once for all that are sent it. It is a frame of its own between others.
    async fn send_page(&mut self, pages: &Pages, part: &Part) -> Result<(), StreamError> {
        if !self.is_shared() {
            for document in part.documents() {
                self.send(&document.item()).await?;
            }
            return Ok(());
        }
        let frame = pages.packed(part, || -> std::io::Result<Bytes> {
            frame_of(part.documents().iter().map(Document::item))
        })?;
        let content = part.documents().iter().map(|document| document.bytes.len());
        self.send_frame(frame, content.sum()).await
    }

    /// Changes that are sent together, packed once for all that are sent the same.
    async fn send_run(&mut self, blocks: &Blocks, run: &Run) -> Result<(), StreamError> {
        if !self.is_shared() {
            for item in run.items() {
                self.send(&item).await?;
            }
            return Ok(());
        }
        let frame = blocks.packed(run, || frame_of(run.items().into_iter()))?;
        let content = run.0.iter().map(|change| change.bytes.len());
        self.send_frame(frame, content.sum()).await
    }

    /// Whether everybody who is answered so is sent the same bytes.
    fn is_shared(&self) -> bool {
        matches!(
            (self.encoding, &self.packer),
            (Encoding::CborSeq, Packer::Zstd(..))
        )
    }

    /// A frame of its own between others, of so many bytes of content.
    async fn send_frame(&mut self, frame: Bytes, content_bytes: usize) -> Result<(), StreamError> {
        self.packer.finish()?;
        self.hand_over().await?;
        self.since_checkpoint += content_bytes;
        self.hand(frame).await
    }

    /// Everything so far goes out, so that a phone can act on a checkpoint as soon as it is sent.
    async fn flush(&mut self) -> Result<(), StreamError> {
        self.packer.flush()?;
        self.hand_over().await
    }

    async fn hand_over(&mut self) -> Result<(), StreamError> {
        let chunk = self.packer.packed();
        self.hand(chunk.into()).await
    }

    async fn hand(&self, chunk: Bytes) -> Result<(), StreamError> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender
            .send(Ok(chunk))
            .await
            .map_err(|_| StreamError::Gone)
    }

    async fn finish(mut self) -> Result<(), StreamError> {
        self.packer.finish()?;
        self.hand_over().await
    }
}
