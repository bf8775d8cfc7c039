//! Calls between phones and office: sent, carried as their fate says, written into the journal where they arrive.

use lianka_client::transport::{Broken, LineRequest, LineResponse};
use lianka_sync_core::codec::{
    block::Block,
    wire::{Encoding, ItemReader, RequestItem, ResponseItem, StreamItem, VerdictStatus},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Happening, Simulation};
use crate::{
    check::bytes,
    draw::Draw,
    journal::{Event, Item},
    network::{Answer, Body, Fate, SimulatedBody},
    office::{Act, Call, Office, Reply},
    script::{BEGIN_UNIX_MS, Weather},
};

/// A call on its way.
#[derive(Debug)]
pub(super) struct Transit {
    pub phone: usize,
    pub incarnation: u64,
    pub device: Uuid,
    pub older: bool,
    pub call: Call,
    pub fate: Fate,
    /// Who waits.
    pub waiting: Option<oneshot::Sender<Result<LineResponse, Broken>>>,
    /// What was answered.
    pub reply: Option<Reply>,
}

impl<O: Office> Simulation<'_, O> {
    /// A phone sends a request.
    pub(super) fn send(
        &mut self,
        phone: usize,
        request: LineRequest,
        waiting: oneshot::Sender<Result<LineResponse, Broken>>,
    ) {
        let Some(rig) = self.phones.get_mut(&phone) else {
            return;
        };
        rig.calls += 1;
        let mut draw = Draw::of(self.script.seed, "call", (rig.sync_step << 8) + rig.calls);
        let synchronises = request.path.ends_with("/sync");
        let weather = match rig.weather {
            Weather::Tunnel | Weather::Checkpoint if !synchronises => Weather::Fine,
            Weather::Tunnel if rig.in_tunnel => Weather::None,
            Weather::Checkpoint if rig.in_tunnel => Weather::Fine,
            weather => weather,
        };
        rig.in_tunnel |= synchronises;
        let fate = Fate::drawn(&mut draw, weather);
        let (incarnation, device, older) = (rig.incarnation, rig.device, rig.older);
        let transit = Transit {
            phone,
            incarnation,
            device,
            older,
            call: call_of(request),
            fate: fate.clone(),
            waiting: Some(waiting),
            reply: None,
        };
        self.calls += 1;
        let call = self.calls;
        self.transits.insert(call, transit);
        self.coverage.count(match fate.answer {
            Answer::Cut(_) => "network: answer cut",
            Answer::Checkpoint(_) => "network: answer cut behind a checkpoint",
            Answer::Gateway(_) => "network: answered by a gateway",
            Answer::None if fate.arrives_ms.is_none() => "network: request lost",
            Answer::None if fate.arrives_ms > Some(fate.timeout_ms) => "network: request late",
            Answer::None => "network: answer lost",
            Answer::Whole => "network: fine",
        });
        if let Some(arrives) = fate.arrives_ms {
            self.later(arrives, Happening::Arrival { call, again: false });
        }
        if let Some(again) = fate.again_ms {
            self.coverage.count("network: request repeated");
            self.later(
                fate.arrives_ms.unwrap_or_default() + again,
                Happening::Arrival { call, again: true },
            );
        }
        match fate.answer {
            Answer::None => self.later(fate.timeout_ms, Happening::Break { call }),
            Answer::Gateway(_) => self.later(
                fate.arrives_ms.unwrap_or_default() + fate.down_ms,
                Happening::Head { call },
            ),
            Answer::Whole | Answer::Cut(_) | Answer::Checkpoint(_) => {}
        }
    }

    /// A call is at the office's door.
    pub(super) async fn arrive(&mut self, number: u64, again: bool) {
        let Some(transit) = self.transits.get(&number) else {
            return;
        };
        let (call, device, older) = (transit.call.clone(), transit.device, transit.older);
        let (answer, down, timeout) = (
            transit.fate.answer,
            transit.fate.down_ms,
            transit.fate.timeout_ms,
        );
        let reply = self.exchange(&call, device).await;
        if again {
            return;
        }
        if std::mem::take(&mut self.die_before_reply) {
            self.coverage
                .count("office: died between commit and answer");
            self.act(Act::Restart).await;
            self.later(timeout, Happening::Break { call: number });
            return;
        }
        if matches!(
            answer,
            Answer::Whole | Answer::Cut(_) | Answer::Checkpoint(_)
        ) {
            let reply = if older { as_older(reply) } else { reply };
            if let Some(transit) = self.transits.get_mut(&number) {
                transit.reply = Some(match answer {
                    Answer::Checkpoint(nth) => up_to_checkpoint(reply, nth),
                    _ => reply,
                });
            }
            self.later(down, Happening::Head { call: number });
        }
    }

    /// An answer begins to arrive at the phone.
    pub(super) async fn head(&mut self, number: u64) {
        let Some(transit) = self.transits.get_mut(&number) else {
            return;
        };
        let Some(waiting) = transit.waiting.take() else {
            return;
        };
        let (phone, incarnation, fate) = (transit.phone, transit.incarnation, transit.fate.clone());
        let reply = match (fate.answer, transit.reply.take()) {
            (Answer::Gateway(status), _) => Reply {
                status,
                headers: gateway_headers(),
                body: b"<html>try again</html>".to_vec(),
            },
            (_, Some(reply)) => reply,
            (_, None) => return,
        };
        let Some(rig) = self.phones.get(&phone) else {
            return;
        };
        let body = SimulatedBody {
            line: rig.line(),
            call: number,
        };
        self.bodies.insert(number, Body::new(&reply.body, &fate));
        if waiting
            .send(Ok(LineResponse {
                status: reply.status,
                headers: reply.headers,
                body: Box::new(body),
            }))
            .is_ok()
        {
            self.drive(phone, incarnation).await;
        }
    }

    /// The phone gives up on an answer.
    pub(super) async fn break_off(&mut self, number: u64) {
        let Some(transit) = self.transits.get_mut(&number) else {
            return;
        };
        let (phone, incarnation) = (transit.phone, transit.incarnation);
        if transit
            .waiting
            .take()
            .is_some_and(|waiting| waiting.send(Err(Broken::Line)).is_ok())
        {
            self.drive(phone, incarnation).await;
        }
    }

    /// A call, answered at once and whole.
    pub(super) async fn served(
        &mut self,
        phone: usize,
        request: LineRequest,
        waiting: oneshot::Sender<Result<LineResponse, Broken>>,
        lost: bool,
    ) {
        let Some(rig) = self.phones.get(&phone) else {
            return;
        };
        let (device, line) = (rig.device, rig.line());
        let reply = self.exchange(&call_of(request), device).await;
        if lost {
            let _ = waiting.send(Err(Broken::Line));
            return;
        }
        self.calls += 1;
        self.bodies
            .insert(self.calls, Body::new(&reply.body, &Fate::fine()));
        let body = Box::new(SimulatedBody {
            line,
            call: self.calls,
        });
        // A phone that no longer waits has crashed.
        let _ = waiting.send(Ok(LineResponse {
            status: reply.status,
            headers: reply.headers,
            body,
        }));
    }

    /// The office answers, and the journal says what came and what was said.
    pub(super) async fn exchange(&mut self, call: &Call, device: Uuid) -> Reply {
        let sync = call.path.ends_with("/sync");
        let mut kinds = Vec::new();
        if sync {
            for item in items::<RequestItem>(&call.headers, &call.body) {
                if let RequestItem::Hello(hello) = &item {
                    let known = hello.known_kinds();
                    kinds = known.iter().map(|kind| kind.as_str().to_owned()).collect();
                }
                if let RequestItem::Change(change) = item {
                    let (record, generation, bytes) =
                        (change.record.0, change.generation, change.bytes);
                    self.tell(Event::Arrived {
                        device,
                        record,
                        generation,
                        bytes,
                    });
                }
            }
        }
        self.office
            .set_time(BEGIN_UNIX_MS + self.now_ms + self.office_skew_ms);
        let reply = self.office.exchange(call).await;
        if sync && reply.status == 200 {
            let mut told = Vec::new();
            for item in items::<ResponseItem>(&reply.headers, &reply.body) {
                told.extend(items_of(&item));
                self.answered(device, item);
            }
            self.tell(Event::Answered {
                device,
                kinds,
                items: told,
            });
        } else if reply.status >= 500 {
            self.alarm(format!(
                "{} answers {}: {}",
                call.path,
                reply.status,
                String::from_utf8_lossy(&reply.body)
            ));
        }
        reply
    }

    fn answered(&mut self, device: Uuid, item: ResponseItem) {
        let counted = match &item {
            ResponseItem::Verdict(verdict) => match verdict.status {
                VerdictStatus::Accepted => "verdict: accepted",
                VerdictStatus::Duplicate => "verdict: duplicate",
                VerdictStatus::Held => "verdict: held",
                VerdictStatus::Rejected if verdict.retryable => "verdict: retryable",
                VerdictStatus::Rejected => rejected(verdict.code.as_deref()),
            },
            ResponseItem::Snapshot { .. } => "item: snapshot",
            ResponseItem::Change { .. } => "item: change",
            ResponseItem::Block { .. } => "item: block",
            ResponseItem::Leave { .. } => "item: leave",
            ResponseItem::Erase { .. } => "item: erase",
            ResponseItem::Redact { .. } => "item: redact",
            ResponseItem::Notice(_) => "item: notice",
            ResponseItem::Wipe => "item: wipe",
            ResponseItem::Reset { .. } => "item: reset",
            ResponseItem::Checkpoint { .. } => "item: checkpoint",
            ResponseItem::End { .. } => "item: end",
        };
        self.coverage.count(counted);
        if counted == "item: reset" && !self.restored {
            self.alarm(format!(
                "at {}: device {device} is told to start over, and the store was never restored",
                self.now_ms
            ));
        }
        if let ResponseItem::Verdict(verdict) = item {
            let status = match verdict.status {
                VerdictStatus::Accepted => "accepted",
                VerdictStatus::Duplicate => "duplicate",
                VerdictStatus::Held => "held",
                VerdictStatus::Rejected => "rejected",
            };
            let hash = verdict
                .hash
                .map(|hash| hash.to_string())
                .unwrap_or_default();
            let (record, status) = (verdict.record.0, status.to_owned());
            self.tell(Event::Verdict {
                device,
                record,
                hash,
                status,
                code: verdict.code,
                seq: verdict.seq,
            });
        }
    }
}

/// What the journal tells of an item.
fn items_of(item: &ResponseItem) -> Vec<Item> {
    let ResponseItem::Block { bytes } = item else {
        return item_of(item).into_iter().collect();
    };
    let packed = Block::read(bytes).map(|block| block.names());
    let packed = packed.unwrap_or_default().into_iter();
    packed
        .map(|(record, hash)| Item::Packed { record, hash })
        .collect()
}

/// An item as the journal tells it, where it does.
fn item_of(item: &ResponseItem) -> Option<Item> {
    Some(match item {
        ResponseItem::Snapshot {
            record,
            kind,
            generation,
            ..
        } => Item::Snapshot {
            record: record.0,
            kind: kind.as_str().to_owned(),
            generation: *generation,
        },
        ResponseItem::Change { record, bytes, .. } => Item::Change {
            record: record.0,
            hash: bytes::change(bytes)?.hash,
        },
        ResponseItem::Leave { record } => Item::Leave { record: record.0 },
        ResponseItem::Erase { record } => Item::Erase { record: record.0 },
        ResponseItem::Reset { .. } => Item::Reset,
        ResponseItem::Wipe => Item::Wipe,
        ResponseItem::End { cursor, .. } => Item::End {
            pulled: cursor.is_some(),
        },
        ResponseItem::Verdict(_)
        | ResponseItem::Block { .. }
        | ResponseItem::Redact { .. }
        | ResponseItem::Notice(_)
        | ResponseItem::Checkpoint { .. } => return None,
    })
}

/// Refusals that the run must have seen.
fn rejected(code: Option<&str>) -> &'static str {
    match code.unwrap_or_default() {
        "stale_generation" => "refused: stale_generation",
        "actor_forked" => "refused: actor_forked",
        "actor_not_yours" => "refused: actor_not_yours",
        "depends_on_rejected" => "refused: depends_on_rejected",
        "erased" => "refused: erased",
        "redacted" => "refused: redacted",
        "refused_by_reviewer" | "held_refused" => "refused: by a reviewer",
        "not_your_grid" => "refused: not_your_grid",
        "unknown_record" => "refused: unknown_record",
        _ => "refused: other",
    }
}

fn call_of(request: LineRequest) -> Call {
    Call {
        method: "POST".into(),
        path: request.path,
        headers: request.headers,
        body: request.body,
    }
}

fn gateway_headers() -> Vec<(String, String)> {
    vec![
        ("content-type".into(), "text/html".into()),
        ("retry-after".into(), "2".into()),
    ]
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// The items of a body; none where it is of another kind.
fn items<T: StreamItem>(headers: &[(String, String)], body: &[u8]) -> Vec<T> {
    let Some(encoding) = header(headers, "content-type").and_then(Encoding::from_media_type) else {
        return Vec::new();
    };
    let mut reader = ItemReader::new(encoding);
    if header(headers, "content-encoding") == Some("zstd") {
        let Ok(bytes) = zstd::decode_all(body) else {
            return Vec::new();
        };
        reader.push(&bytes);
    } else {
        reader.push(body);
    }
    std::iter::from_fn(|| reader.next_item().ok().flatten()).collect()
}

/// What an older program makes of an answer: it skips items and fields that it does not know.
fn as_older(reply: Reply) -> Reply {
    if reply.status != 200 {
        return reply;
    }
    let Some(encoding) = header(&reply.headers, "content-type").and_then(Encoding::from_media_type)
    else {
        return reply;
    };
    let mut body = Vec::new();
    for item in items::<ResponseItem>(&reply.headers, &reply.body) {
        let known = match item {
            ResponseItem::Notice(_) => continue,
            ResponseItem::End {
                cursor,
                head,
                server_time,
                ..
            } => ResponseItem::End {
                cursor,
                head,
                server_time,
                lease_seconds: None,
            },
            known => known,
        };
        encoding.write(&known, &mut body);
    }
    unpacked(reply, body)
}

/// What of an answer has come when it breaks off right behind its checkpoint of this number, counted around; all of it where there is none.
fn up_to_checkpoint(reply: Reply, nth: usize) -> Reply {
    let Some(encoding) = header(&reply.headers, "content-type").and_then(Encoding::from_media_type)
    else {
        return reply;
    };
    let items = items::<ResponseItem>(&reply.headers, &reply.body);
    let is_checkpoint = |item: &&ResponseItem| matches!(item, ResponseItem::Checkpoint { .. });
    let checkpoints = items.iter().filter(is_checkpoint).count();
    if checkpoints == 0 {
        return reply;
    }
    let (mut body, mut left) = (Vec::new(), 1 + nth % checkpoints);
    for item in &items {
        encoding.write(item, &mut body);
        left -= usize::from(is_checkpoint(&item));
        if left == 0 {
            break;
        }
    }
    unpacked(reply, body)
}

/// The same answer with this body, which is not compressed.
fn unpacked(reply: Reply, body: Vec<u8>) -> Reply {
    let headers = reply
        .headers
        .into_iter()
        .filter(|(name, _)| name != "content-encoding" && name != "content-length")
        .collect();
    Reply {
        status: reply.status,
        headers,
        body,
    }
}
