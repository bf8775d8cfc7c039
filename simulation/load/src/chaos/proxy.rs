//! A TCP proxy that misbehaves: between phones and their server it delays, cuts, half-opens and reorders connections.
//!
//! Input: where the server listens, and a seed. Output: the address to talk to. Which fault a connection gets is drawn when it is accepted;
//! every wait has a bound, so that a client which gives up too late cannot hold a run for ever. Calm, it only copies bytes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::draw::Draw;

const CHUNK_BYTES: usize = 4 * 1024;
/// Longest delay of one chunk.
const DELAY_MS_MAX: usize = 150;
/// Bytes of a direction after which it may be cut: within the head of a request up to the middle of a download.
const CUT_BYTES_MAX: usize = 12 * 1024;
/// How long a half-open connection stays silent before it goes.
const SILENCE: Duration = Duration::from_secs(4);
/// How long a connection waits to be overtaken by another one.
const OVERTAKEN_WITHIN: Duration = Duration::from_millis(700);

/// What happens to one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// Closed before a byte is read.
    Refused,
    /// Every chunk is late.
    Delayed,
    /// Gone after so many bytes of the way up, or down.
    Cut {
        up: bool,
        after: usize,
    },
    /// After so many bytes down nothing comes any more, and nothing says so.
    HalfOpen {
        after: usize,
    },
    /// Reaches the server after a connection that came later.
    Overtaken,
}

/// How often each fault happened.
#[derive(Default, Debug)]
pub struct Faults {
    pub connections: AtomicU64,
    pub refused: AtomicU64,
    pub delayed: AtomicU64,
    pub cut: AtomicU64,
    pub half_open: AtomicU64,
    pub overtaken: AtomicU64,
}

struct Shared {
    server: SocketAddr,
    calm: AtomicBool,
    draw: Mutex<Draw>,
    /// Wakes a connection that waits to be overtaken.
    passed: Notify,
    faults: Faults,
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of this machine. It is calm at first.
    pub async fn start(server: SocketAddr, seed: u32) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            calm: AtomicBool::new(true),
            draw: Mutex::new(Draw::new(seed)),
            passed: Notify::new(),
            faults: Faults::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether connections from now on are left alone.
    pub fn set_calm(&self, calm: bool) {
        self.shared.calm.store(calm, Ordering::SeqCst);
    }

    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error of one accept (no descriptor left) is one lost connection more.
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, Arc::clone(&shared)));
    }
}

impl Shared {
    fn draw_fault(&self) -> Fault {
        if self.calm.load(Ordering::SeqCst) {
            return Fault::None;
        }
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        let after = draw.int(CUT_BYTES_MAX);
        match draw.int(100) {
            0..45 => Fault::None,
            45..50 => Fault::Refused,
            50..65 => Fault::Delayed,
            65..75 => Fault::Cut { up: true, after },
            75..85 => Fault::Cut { up: false, after },
            85..92 => Fault::HalfOpen { after },
            _ => Fault::Overtaken,
        }
    }

    fn delay(&self) -> Duration {
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_millis(draw.int(DELAY_MS_MAX) as u64)
    }
}

/// One connection from its beginning to its end. Errors of either side are what the proxy is there for.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let fault = shared.draw_fault();
    let faults = &shared.faults;
    faults.connections.fetch_add(1, Ordering::Relaxed);
    let counter = match fault {
        Fault::None => None,
        Fault::Refused => Some(&faults.refused),
        Fault::Delayed => Some(&faults.delayed),
        Fault::Cut { .. } => Some(&faults.cut),
        Fault::HalfOpen { .. } => Some(&faults.half_open),
        Fault::Overtaken => Some(&faults.overtaken),
    };
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    match fault {
        Fault::Refused => return,
        Fault::Overtaken => {
            // Nobody may come: then it was only late.
            let _ = timeout(OVERTAKEN_WITHIN, shared.passed.notified()).await;
        }
        _ => shared.passed.notify_waiters(),
    }
    let Ok(server) = TcpStream::connect(shared.server).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, Direction::Up, fault, &shared);
    let down = pump(from_server, to_client, Direction::Down, fault, &shared);
    // Whichever direction breaks takes the other along; one that merely ended (half-close) does not.
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => if ended == Ended::Closed { down.await; },
        ended = &mut down => if ended == Ended::Closed { up.await; },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The sender closed its half.
    Closed,
    Broken,
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    direction: Direction,
    fault: Fault,
    shared: &Shared,
) -> Ended {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut carried = 0;
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                return Ended::Closed;
            }
            Ok(read) => read,
            Err(_) => return Ended::Broken,
        };
        let mut passes = read;
        match fault {
            Fault::Delayed => sleep(shared.delay()).await,
            Fault::Cut { up, after } if up == (direction == Direction::Up) => {
                passes = passes.min(after.saturating_sub(carried));
            }
            Fault::HalfOpen { after } if direction == Direction::Down => {
                passes = passes.min(after.saturating_sub(carried));
            }
            _ => {}
        }
        carried += passes;
        if to.write_all(&chunk[..passes]).await.is_err() {
            return Ended::Broken;
        }
        if passes < read {
            if matches!(fault, Fault::HalfOpen { .. }) {
                sleep(SILENCE).await;
            }
            return Ended::Broken;
        }
    }
}
