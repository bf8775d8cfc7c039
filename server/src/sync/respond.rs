//! RESPOND, the IO half: [`lianka_office_core::pull`] says what comes next; here it is read, encoded, packed and sent while it is made.
//!
//! Reads run outside the write transaction and in pages, so a slow phone holds no connection.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use lianka_office_core::pull::{self, Answer, Next, Page, Pull, Question, Read, Scope};
use lianka_sync_core::{
    codec::wire::{Encoding, ResponseItem},
    id::{RecordId, StreetCode},
    kinds::Kind,
    lang::Lang,
    limits,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    audit::{self, Action, Event, store as audit_store},
    pipeline_point::{PipelinePoint, reached},
    review::store as conflicts,
    state::App,
    store::{decoded, waits::within},
    street::{
        merge::{Author, Outcome},
        store::{
            erasures,
            records::{self, Document, DocumentPage},
            streets,
        },
    },
    sync::{error::SyncError, ingest::Packing},
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
pub async fn start(app: App, response: Response) -> Result<Body, SyncError> {
    let form = response.form;
    let reader = Reader {
        app: app.clone(),
        street: response.street.clone(),
        author: response.author.clone(),
    };
    let pull = Pull::new(question(&app, response).await?);
    reached(PipelinePoint::PullPlanned);
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(CHUNKS_WAITING);
    tokio::spawn(async move {
        let sink = match Sink::new(form, sender.clone()) {
            Ok(sink) => sink,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
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
async fn question(app: &App, response: Response) -> Result<Question, SyncError> {
    let Response {
        street,
        author,
        outcomes,
        kinds,
        cursor,
        pull,
        more_to_come,
        form,
    } = response;
    let mut conn = app.pool.acquire().await?;
    let head = records::head(&mut conn, &street)
        .await?
        .ok_or(SyncError::NoStreet)?;
    let scope = streets::scope(&mut conn, &street, &author.username).await?;
    Ok(Question {
        store_epoch: head.store_epoch,
        head: head.seq,
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
            Next::Read(read) => pull.answer(reader.within(reader.read(read)).await?),
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
    street: StreetCode,
    author: Author,
}

impl Reader {
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

    /// The connection is given back before anything is sent: a slow phone holds none.
    async fn read(&self, read: Read) -> Result<Answer, StreamError> {
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
                departures: records::departures(conn, street, &gone).await?,
                redactions: erasures::redactions(conn, street, gone.after, gone.upto).await?,
            },
            Read::Outside { grids, records } => {
                Answer::Outside(records::outside(conn, street, &grids, &ids(records)).await?)
            }
            Read::Documents(page) => {
                let Page {
                    grids,
                    records,
                    after,
                    limit,
                } = page;
                let records = records.map(ids);
                let page = DocumentPage {
                    grids: grids.as_deref(),
                    records: records.as_deref(),
                    after,
                    limit: limit as i64,
                };
                let documents = records::documents(conn, street, page).await?;
                Answer::Documents(
                    documents
                        .into_iter()
                        .map(document)
                        .collect::<Result<_, _>>()?,
                )
            }
            Read::Advances(slice) => {
                Answer::Advances(records::advances(conn, street, &slice).await?)
            }
            Read::Changes { slice, limit } => {
                Answer::Changes(records::changes(conn, street, &slice, limit).await?)
            }
            Read::HoldingP3 { records } => Answer::HoldingP3(
                audit_store::holding_p3(conn, street.as_str(), &ids(records)).await?,
            ),
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

fn ids(records: Vec<RecordId>) -> Vec<Uuid> {
    records.into_iter().map(|record| record.0).collect()
}

fn document(document: Document) -> sqlx::Result<pull::Document> {
    Ok(pull::Document {
        record: document.record,
        kind: decoded(&document.kind)?,
        grid: document.grid,
        generation: document.generation as u32,
        seq: document.seq,
        bytes: document.bytes,
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
