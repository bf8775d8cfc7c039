//! What one hostile device sends, made before the hostile load so that making it costs the attacked machine nothing.

use lianka_sync_core::{
    codec::wire::Encoding,
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, RecordId, StreetCode},
    limits,
    time::DeviceTime,
};
use uuid::Uuid;

use super::{
    costly::CostlyRequests,
    garbage::{self, Garbage},
    office::HOSTILE_GRID,
    sending::{Attack, Manner, items, packed, sync},
};
use crate::{
    draw::Draw,
    mutate::{mutant, scramble},
    scene::{Office, SECRETARY, Scene},
};

/// The device's own record, and what it knows of others.
pub struct Generator {
    street: StreetCode,
    device: DeviceId,
    token: String,
    record: RecordId,
    held: Record,
    office: Office,
    scene: Scene,
    targets: Vec<RecordId>,
    draw: Draw,
    garbage: Garbage,
    costly: CostlyRequests,
    seconds: i64,
}

impl Generator {
    /// With the request that makes the record, for the server to accept.
    pub fn new(
        street: &StreetCode,
        device: DeviceId,
        token: &str,
        seed: u64,
        targets: Vec<RecordId>,
    ) -> Option<(Self, Attack)> {
        let mut draw = Draw::new(seed);
        let seconds = 1_795_000_000;
        let put = |key: &str, value: &str| Edit::Put {
            key: key.into(),
            value: value.into(),
        };
        let edits = [
            put("kind", "shop_card"),
            put("street", street.as_str()),
            put("grid", HOSTILE_GRID),
            Edit::Note {
                text: "门口积水".into(),
            },
        ];
        let (held, change) = Record::create(
            Actor::new(device, 1),
            DeviceTime::from_unix_seconds(seconds),
            &edits,
        )
        .ok()?;
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&draw.bytes(10));
        let record = RecordId::new_v7(seconds.unsigned_abs() * 1_000, entropy);
        let mut office = Office::default();
        office.take(&change, SECRETARY).ok()?;
        let bytes = change.bytes;
        let garbage = Garbage::new(seed ^ 0x51E6E);
        let scene = Scene::new(seed);
        let costly = CostlyRequests::new(street, device, token, &mut Draw::new(seed ^ 0xB0DE));
        let generator = Self {
            street: street.clone(),
            device,
            token: token.to_owned(),
            record,
            held,
            office,
            scene,
            targets,
            draw,
            garbage,
            costly,
            seconds,
        };
        let first = sync(Encoding::CborSeq, &[(record, bytes)]);
        Some((generator, first))
    }

    /// The next thing to send.
    pub fn next(&mut self) -> Attack {
        match self.draw.below(24) {
            0..=7 => self.mutants(),
            8 => self.others_records(),
            9 => self.honest_looking(),
            10..=12 => self.garbage(),
            13 => self.bomb(),
            14 => self.run_length_bomb(),
            15 | 16 => self.call(),
            17 => self.greedy(),
            18..=21 => self.costly.next(&mut self.draw),
            _ => self.raw(),
        }
    }

    fn form(&mut self) -> (Encoding, Option<&'static str>) {
        let encoding = if self.draw.one_in(2) {
            Encoding::CborSeq
        } else {
            Encoding::Ndjson
        };
        (
            encoding,
            *self.draw.pick(&[None, Some("zstd"), Some("gzip")]),
        )
    }

    /// Mutants of the next honest change of the device's own record; most of a request is one of them.
    fn mutants(&mut self) -> Attack {
        self.seconds += 1;
        let edits: Vec<_> = (0..=self.draw.below(3))
            .map(|_| self.scene.edit())
            .collect();
        let (at, actor) = (
            DeviceTime::from_unix_seconds(self.seconds),
            Actor::new(self.device, 1),
        );
        let mut held = Record::load(&self.office.document).unwrap_or_else(|_| self.held.clone());
        let Ok(Some(change)) = held.edit(actor, at, &edits, "") else {
            return self.garbage();
        };
        let count = 1 + self.draw.below(80);
        let mut changes: Vec<_> = (0..count)
            .map(|_| (self.record, mutant(&change, &self.office, &mut self.draw).1))
            .collect();
        if self.draw.one_in(3) {
            // Now and then the change itself is among them, so that later ones stand on it.
            if self.office.take(&change, SECRETARY).is_ok() {
                changes.push((self.record, change.bytes));
            }
        }
        let (encoding, packing) = self.form();
        let body = items(encoding, self.draw.clone().one_in(4), &changes);
        packed(encoding, packing, &body)
    }

    /// Changes of records that are none of its business, or of nobody.
    fn others_records(&mut self) -> Attack {
        self.seconds += 1;
        let at = DeviceTime::from_unix_seconds(self.seconds);
        let edits = [Edit::Put {
            key: "sign_name".into(),
            value: "被篡改".into(),
        }];
        let Ok((_, change)) = Record::create(Actor::new(self.device, 2), at, &edits) else {
            return self.garbage();
        };
        let mut changes = Vec::new();
        for _ in 0..20 {
            let stranger = RecordId(Uuid::from_u128(self.draw.number().into()));
            let record = if self.draw.one_in(4) || self.targets.is_empty() {
                stranger
            } else {
                *self.draw.pick(&self.targets)
            };
            changes.push((record, mutant(&change, &self.office, &mut self.draw).1));
        }
        let (encoding, packing) = self.form();
        let body = items(encoding, true, &changes);
        packed(encoding, packing, &body)
    }

    /// Honest bytes, damaged somewhere between here and there.
    fn honest_looking(&mut self) -> Attack {
        let (encoding, packing) = self.form();
        let changes: Vec<_> = self
            .office
            .changes
            .iter()
            .map(|change| (self.record, change.bytes.clone()))
            .collect();
        let body = items(encoding, true, &changes);
        let Attack::Sync { mut body, .. } = packed(encoding, packing, &body) else {
            return self.garbage();
        };
        scramble(&mut body, &mut self.draw);
        Attack::Sync {
            encoding,
            packing,
            body,
        }
    }

    fn garbage(&mut self) -> Attack {
        let (encoding, packing) = self.form();
        let body = match encoding {
            Encoding::Ndjson => self.garbage.ndjson(self.record, self.device),
            Encoding::CborSeq => self.garbage.cbor(self.record, self.device),
        };
        if packing.is_some() && self.draw.one_in(3) {
            return Attack::Sync {
                encoding,
                packing,
                body: garbage::wrapped(&mut self.garbage, packing, &body),
            };
        }
        packed(encoding, packing, &body)
    }

    /// A few kilobytes that want to be many megabytes, within the limit or beyond it.
    fn bomb(&mut self) -> Attack {
        let (encoding, _) = self.form();
        let packing = Some(*self.draw.pick(&["zstd", "gzip"]));
        let mut body = items(encoding, false, &[]);
        let length = *self.draw.pick(&[
            limits::SYNC_INFLATED_BYTES_MAX - body.len(),
            limits::SYNC_INFLATED_BYTES_MAX + 1,
            64 << 20,
        ]);
        let filler = *self.draw.pick(b"\n \0{\x60\xa0");
        body.resize(length, filler);
        packed(encoding, packing, &body)
    }

    /// As many operations as pass the gate, in as few bytes: each change is small, and large once it is read.
    fn run_length_bomb(&mut self) -> Attack {
        self.seconds += 1;
        let text: String = "长".repeat(limits::NOTE_CHARS_MAX);
        let at = DeviceTime::from_unix_seconds(self.seconds);
        let Ok((_, change)) =
            Record::create(Actor::new(self.device, 3), at, &[Edit::Note { text }])
        else {
            return self.garbage();
        };
        let count = 1 + self
            .draw
            .below(limits::SYNC_OPS_MAX / limits::NOTE_CHARS_MAX);
        let changes: Vec<_> = (0..count)
            .map(|_| {
                (
                    RecordId(Uuid::from_u128(self.draw.number().into())),
                    change.bytes.clone(),
                )
            })
            .collect();
        let (encoding, _) = self.form();
        let body = items(encoding, false, &changes);
        packed(encoding, Some("zstd"), &body)
    }

    /// The whole street, again and again.
    fn greedy(&mut self) -> Attack {
        let encoding = Encoding::Ndjson;
        let body = items(encoding, true, &[]);
        let manner = *self
            .draw
            .pick(&[Manner::Ignores, Manner::Leaves, Manner::Reads]);
        let Self { street, token, .. } = self;
        let head = format!(
            "POST /v1/streets/{street}/sync HTTP/1.1\r\nhost: lianka\r\nauthorization: Bearer {token}\r\ncontent-type: {}\r\n\
             content-length: {}\r\n\r\n",
            encoding.media_type(),
            body.len()
        );
        Attack::Raw {
            bytes: [head.as_bytes(), &body].concat(),
            manner,
        }
    }

    /// Other routes, most of which are not its own to call.
    fn call(&mut self) -> Attack {
        let street = self.street.as_str().to_owned();
        let record = self.targets.first().copied().unwrap_or(self.record);
        let word = self.garbage.word();
        let (method, path) = match self.draw.below(9) {
            0 => (
                "GET",
                format!(
                    "/v1/streets/{street}/cards?q={word}&page={}",
                    self.draw.extreme(1)
                ),
            ),
            1 => (
                "GET",
                format!(
                    "/v1/streets/{street}/records/{record}/history?page_size={}",
                    self.draw.extreme(200)
                ),
            ),
            2 => (
                "POST",
                format!("/v1/streets/{street}/records/{record}/edits"),
            ),
            3 => ("POST", "/v1/tokens".to_owned()),
            4 => ("POST", "/v1/devices".to_owned()),
            5 => ("PUT", format!("/v1/streets/{street}/assignments/{word}")),
            6 => ("DELETE", format!("/v1/devices/{}", self.device)),
            7 => ("GET", format!("/v1/streets/{word}/cards.xlsx")),
            _ => (
                "POST",
                format!("/v1/streets/{street}/records/{record}/resolutions"),
            ),
        };
        let body = if method == "GET" {
            Vec::new()
        } else {
            self.garbage.json_body()
        };
        Attack::Call {
            method,
            path,
            json: !self.draw.one_in(5),
            body,
        }
    }

    fn raw(&mut self) -> Attack {
        let manner = *self.draw.pick(&[
            Manner::Reads,
            Manner::Reads,
            Manner::ClosesHalf,
            Manner::Leaves,
        ]);
        let body = items(Encoding::Ndjson, true, &[]);
        let bytes = self.garbage.http(self.street.as_str(), &self.token, &body);
        Attack::Raw { bytes, manner }
    }
}
