//! The network: what a phone's line says to the engine, and what becomes of a call.
//!
//! A [`SimulatedLine`] decides nothing: it hands every call, and every wait for more of an answer, to the engine, which lets it go on when its time
//! has come. A [`Fate`] is drawn for each call: lost on the way up, lost on the way down, cut after any byte, repeated, delayed until long after
//! the phone gave up (so that it arrives behind later ones), or answered by something in between.

use std::time::Duration;

use lianka_client::transport::{Broken, Chunks, Line, LineRequest, LineResponse, Pending};
use tokio::sync::{mpsc, oneshot};

use crate::{draw::Draw, script::Weather};

/// What a phone waits for.
#[derive(Debug)]
pub enum Signal {
    /// The answer to a call.
    Call(LineRequest, oneshot::Sender<Result<LineResponse, Broken>>),
    /// The next bytes of an answer.
    Chunk(u64, oneshot::Sender<Result<Option<Vec<u8>>, Broken>>),
    /// The end of its back-off.
    BackOff(Duration, oneshot::Sender<()>),
}

/// A phone's end of the line.
#[derive(Clone, Debug)]
pub struct SimulatedLine(pub mpsc::UnboundedSender<Signal>);

impl Line for SimulatedLine {
    fn send(&self, request: LineRequest) -> Pending<'_, Result<LineResponse, Broken>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send(Signal::Call(request, answer));
        Box::pin(async move {
            sent.map_err(|_| Broken::Line)?;
            answered.await.unwrap_or(Err(Broken::Line))
        })
    }

    fn pause(&self, wait: Duration) -> Pending<'_, ()> {
        let (over, is_over) = oneshot::channel();
        let asked = self.0.send(Signal::BackOff(wait, over));
        Box::pin(async move {
            if asked.is_ok() {
                // Where nobody lets it go on, the phone crashed.
                let _ = is_over.await;
            }
        })
    }
}

/// The body of one answer, as the phone reads it.
#[derive(Debug)]
pub struct SimulatedBody {
    pub line: SimulatedLine,
    pub call: u64,
}

impl Chunks for SimulatedBody {
    fn next(&mut self) -> Pending<'_, Result<Option<Vec<u8>>, Broken>> {
        let (chunk, came) = oneshot::channel();
        let asked = self.line.0.send(Signal::Chunk(self.call, chunk));
        Box::pin(async move {
            asked.map_err(|_| Broken::Line)?;
            came.await.unwrap_or(Err(Broken::Line))
        })
    }
}

/// What becomes of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// When it arrives at the office, after it was sent; `None`: never.
    pub arrives_ms: Option<i64>,
    /// When it arrives once more.
    pub again_ms: Option<i64>,
    /// How long the answer's beginning takes.
    pub down_ms: i64,
    pub answer: Answer,
    /// Pieces of the answer, and the time between two of them.
    pub pieces: usize,
    pub gap_ms: i64,
    /// When the phone gives up on an answer that does not come.
    pub timeout_ms: i64,
}

/// What of an answer reaches the phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Whole,
    None,
    /// So many thousandths of its bytes, then the connection breaks.
    Cut(usize),
    /// Up to its checkpoint of this number, counted around; then the connection breaks.
    Checkpoint(usize),
    /// Not the office's but that of something in between.
    Gateway(u16),
}

impl Fate {
    /// Nothing goes wrong, at once.
    pub fn fine() -> Self {
        Self {
            arrives_ms: Some(0),
            again_ms: None,
            down_ms: 0,
            answer: Answer::Whole,
            pieces: 1,
            gap_ms: 0,
            timeout_ms: 60_000,
        }
    }

    pub fn drawn(draw: &mut Draw, weather: Weather) -> Self {
        let quick = |draw: &mut Draw| {
            if draw.one_in(8) {
                draw.between(2_000, 20_000)
            } else {
                draw.between(20, 1_500)
            }
        };
        let mut fate = Self {
            arrives_ms: Some(quick(draw)),
            again_ms: None,
            down_ms: quick(draw),
            answer: Answer::Whole,
            pieces: 1 + draw.below(4),
            gap_ms: draw.between(0, 1_200),
            timeout_ms: draw.between(5_000, 60_000),
        };
        let trouble = match weather {
            Weather::Fine => false,
            Weather::Fair => draw.one_in(4),
            Weather::Foul => !draw.one_in(3),
            // The first answer of a synchronisation; those after it are the engine's to take away.
            Weather::Tunnel => {
                return Self {
                    answer: Answer::Cut(draw.between(300, 1_000) as usize),
                    pieces: 4 + draw.below(5),
                    gap_ms: 800,
                    ..fate
                };
            }
            Weather::Checkpoint => {
                // Half of them behind the first.
                fate.answer = Answer::Checkpoint(draw.below(16).saturating_sub(8));
                return fate;
            }
            Weather::None => {
                fate.arrives_ms = None;
                return Self {
                    answer: Answer::None,
                    timeout_ms: draw.between(0, 10_000),
                    ..fate
                };
            }
        };
        if trouble {
            match draw.below(9) {
                0 => (fate.arrives_ms, fate.answer) = (None, Answer::None),
                1 | 2 => fate.answer = Answer::None,
                3..=5 => fate.answer = Answer::Cut(draw.below(1_000)),
                6 => fate.again_ms = Some(quick(draw)),
                7 => {
                    // Stuck somewhere for minutes or hours.
                    let late = fate.timeout_ms + draw.between(1_000, 6 * 3_600_000);
                    (fate.arrives_ms, fate.answer) = (Some(late), Answer::None);
                }
                _ => {
                    let lost = draw.one_in(2);
                    fate.answer = Answer::Gateway(*draw.pick(&[502, 503, 504, 429]));
                    fate.arrives_ms = fate.arrives_ms.filter(|_| !lost);
                }
            }
        }
        fate
    }
}

/// An answer's bytes on their way to the phone.
#[derive(Debug)]
pub struct Body {
    /// The last piece first.
    pub pieces: Vec<Vec<u8>>,
    /// Whether the end follows the last piece, or a break.
    pub whole: bool,
    pub gap_ms: i64,
}

impl Body {
    pub fn new(bytes: &[u8], fate: &Fate) -> Self {
        let kept = match fate.answer {
            Answer::Cut(thousandths) => bytes.len() * thousandths / 1_000,
            _ => bytes.len(),
        };
        let size = (kept / fate.pieces).max(1);
        let pieces = bytes[..kept]
            .chunks(size)
            .rev()
            .map(<[u8]>::to_vec)
            .collect();
        Self {
            pieces,
            whole: !matches!(fate.answer, Answer::Cut(_) | Answer::Checkpoint(_)),
            gap_ms: fate.gap_ms,
        }
    }

    /// What the phone reads next.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self.pieces.pop() {
            Some(piece) => Ok(Some(piece)),
            None if self.whole => Ok(None),
            None => Err(Broken::Line),
        }
    }
}
