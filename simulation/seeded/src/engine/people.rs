//! What users do with their phones, and what befalls the phones in their hands.

use lianka_client::{
    Phone, PhoneError,
    local_store::LocalStore,
    phone::{EditReceipt, EnrolOptions, NewVisit},
};
use lianka_client_core::{
    Filing, document,
    store::{RecordStore, Records},
};
use lianka_sync_core::{
    codec::{
        change::Scalar,
        wire::{Encoding, Hello, PushedChange, Report, RequestItem},
    },
    crdt::{record::Edit, view::View},
    id::{Actor, DeviceId, RecordId},
    kinds::{Kind, transfer::Step},
    lang::Lang,
    time::DeviceTime,
};

use super::Simulation;
use crate::{
    draw::Draw,
    journal::{Did, Event, PhoneNo, Saw},
    network::Signal,
    office::{Act, Acted, Call, Office},
    phones::{Files, Rig},
    reading,
    script::{MadeBy, Set},
};

/// How often a user asks for another code where enrolling failed.
const CODES_MAX: u32 = 3;
/// Epochs that no phone comes to.
const FORGED_EPOCH: u32 = 1 << 30;

/// The script's keys and values as edits.
fn edits_of(set: &Set) -> Vec<Edit> {
    set.iter()
        .map(|(key, value)| match value {
            None => Edit::Delete { key: key.clone() },
            Some(value) => Edit::Put {
                key: key.clone(),
                value: scalar(key, value),
            },
        })
        .collect()
}

fn scalar(key: &str, value: &str) -> Scalar {
    if key.starts_with("tags/") || key.starts_with("confirmations/") {
        Scalar::Bool(true)
    } else {
        value.into()
    }
}

/// Edits as the journal tells them.
pub(super) fn did(edits: &[Edit]) -> Vec<Did> {
    edits
        .iter()
        .map(|edit| match edit {
            Edit::Put { key, value } => Did::Put {
                key: key.clone(),
                value: reading::text(value),
            },
            Edit::Delete { key } => Did::Delete { key: key.clone() },
            Edit::Note { text } => Did::Note { text: text.clone() },
        })
        .collect()
}

/// What a view shows of the keys that are edited.
fn saw(view: &View, edits: &[Edit]) -> Vec<Saw> {
    let mut saw = Vec::new();
    for edit in edits {
        match edit {
            Edit::Put { key, .. } | Edit::Delete { key } => {
                let shown = view.values.get(key).into_iter().flatten();
                saw.extend(shown.map(|value| Saw {
                    key: key.clone(),
                    op: (
                        u64::from(value.op.counter),
                        value.op.actor.as_bytes().to_vec(),
                    ),
                    value: reading::text(&value.value),
                }));
            }
            Edit::Note { .. } => {
                saw.extend(view.note.clone().map(|value| Saw {
                    key: "note".into(),
                    op: (0, Vec::new()),
                    value,
                }));
            }
        }
    }
    saw
}

/// A word put somewhere between the words that are there; now and then one of those goes.
fn with_word(draw: &mut Draw, note: &str, word: &str) -> String {
    let mut words: Vec<_> = note.split_whitespace().collect();
    if words.len() > 1 && draw.one_in(4) {
        words.remove(draw.below(words.len()));
    }
    words.insert(draw.below(words.len() + 1), word);
    words.join(" ")
}

impl<O: Office> Simulation<'_, O> {
    /// Writes down what became of an edit.
    fn told(
        &mut self,
        phone: usize,
        record: Option<RecordId>,
        kind: &'static str,
        creating: bool,
        (did, saw): (Vec<Did>, Vec<Saw>),
        done: &Result<EditReceipt, PhoneError>,
    ) {
        let event = match done {
            Ok(receipt) => {
                self.coverage.count(if creating {
                    "edit: created"
                } else {
                    "edit: saved"
                });
                let hash = receipt.hash.map(|hash| hash.to_string());
                Event::Saved {
                    phone: PhoneNo(phone),
                    record: receipt.record.0,
                    creating,
                    kind: kind.into(),
                    did,
                    saw,
                    hash,
                }
            }
            Err(error) => {
                if matches!(error, PhoneError::Store(_) | PhoneError::Protocol(_))
                    && error.code() != "wiped"
                {
                    self.alarm(format!("phone {phone} at {}: {error}", self.now_ms));
                }
                self.coverage.count(if matches!(error, PhoneError::Locked) {
                    "edit: refused by a locked phone"
                } else {
                    "edit: refused at once"
                });
                Event::NotSaved {
                    phone: PhoneNo(phone),
                    record: record.map(|record| record.0),
                    code: error.code().to_owned(),
                }
            }
        };
        self.tell(event);
    }

    /// The phone and the record, where both are there.
    fn at_hand(&mut self, phone: usize, record: MadeBy) -> Option<(Phone, RecordId, &'static str)> {
        let (record, kind) = *self.made.get(&record)?;
        let phone = self.rig(phone)?.phone.clone()?;
        Some((phone, record, kind))
    }

    pub(super) fn create(&mut self, no: u32, phone: usize, grid: &str, set: &Set, note: String) {
        let Some(handle) = self.rig(phone).and_then(|rig| rig.phone.clone()) else {
            return;
        };
        let mut edits = edits_of(set);
        edits.push(Edit::Note { text: note });
        let done = handle.create_card(grid, &edits, handle.now());
        if let Ok(receipt) = &done {
            self.made.insert(MadeBy(no), (receipt.record, "shop_card"));
        }
        let mut did = did(&edits);
        did.push(Did::Put {
            key: "grid".into(),
            value: grid.into(),
        });
        self.told(phone, None, "shop_card", true, (did, Vec::new()), &done);
    }

    pub(super) fn edit(
        &mut self,
        no: u32,
        phone: usize,
        record: MadeBy,
        set: &Set,
        note: Option<String>,
    ) {
        let Some((handle, record, kind)) = self.at_hand(phone, record) else {
            return;
        };
        let view = handle.view(record).unwrap_or_default();
        let mut edits = edits_of(set);
        // What the phone does not show cannot be deleted on it.
        edits
            .retain(|edit| !matches!(edit, Edit::Delete { key } if !view.values.contains_key(key)));
        if let Some(word) = note {
            let before = view.note.as_deref().unwrap_or_default();
            edits.push(Edit::Note {
                text: with_word(&mut self.step_draw("note", no), before, &word),
            });
        }
        let saw = saw(&view, &edits);
        let done = handle.edit(record, &edits, handle.now());
        self.told(phone, Some(record), kind, false, (did(&edits), saw), &done);
    }

    /// Somebody's own program signs with the phone's device, under an epoch of its own, what the phone may never have held, and sends it with the
    /// phone's token: on top of what another one shows, or, `from` itself, of what it sent before. Where the token is over, or the other phone does not hold the record, nothing happens.
    pub(super) async fn forge(
        &mut self,
        no: u32,
        phone: usize,
        from: usize,
        record: MadeBy,
        set: &Set,
    ) {
        let Some((record, kind)) = self.made.get(&record).copied() else {
            return;
        };
        let (now, street) = (self.true_unix_ms(), self.script.setup.street.clone());
        let Some(by) = self.phones.get(&phone) else {
            return;
        };
        let token =
            LocalStore::open(&by.path).and_then(|mut store| store.read(|tx| tx.credentials()));
        let copy_of = |rig: &Rig| {
            let mut store = LocalStore::open(&rig.path).ok()?;
            let copy = store.read(|tx| tx.record_state(record)).ok()?;
            copy.stored.is_some().then_some(copy)
        };
        let mut others = self
            .phones
            .values()
            .filter(|rig| rig.no != phone && !rig.gone);
        let copy = match self.phones.get(&from) {
            Some(other) if from != phone => copy_of(other),
            // What it sent itself may have left it.
            _ => others.find_map(copy_of),
        };
        let (Ok(token), Some(mut copy)) = (token, copy) else {
            return;
        };
        copy.outbox.clear();
        let generation = copy.stored.as_ref().map_or(1, |stored| stored.generation);
        let Ok(Some(mut opened)) = document::open(&copy) else {
            return;
        };
        let (device, kind) = (by.device, kind.parse().unwrap_or(Kind::ShopCard));
        if from == phone {
            let before = self
                .journal
                .lines
                .iter()
                .filter_map(|line| match &line.event {
                    Event::Arrived {
                        device: by,
                        record: of,
                        bytes,
                        ..
                    } if (*by, *of) == (device, record.0) => Some(bytes.as_slice()),
                    _ => None,
                });
            if opened.document.apply_unconfirmed(before).is_err() {
                return;
            }
        }
        let actor = Actor::new(DeviceId(device), FORGED_EPOCH + no);
        let at = DeviceTime::from_unix_ms(now);
        let Ok(Some(change)) = opened.document.edit(actor, at, &edits_of(set), "") else {
            return;
        };
        let hello = Hello {
            blocks: 0,
            cursor: None,
            client: "forged".into(),
            pull: true,
            report: Report::default(),
            kinds: Vec::new(),
        };
        let pushed = PushedChange {
            record,
            kind,
            generation,
            bytes: change.bytes,
        };
        let (encoding, mut body) = (Encoding::CborSeq, Vec::new());
        encoding.write(&RequestItem::Hello(hello), &mut body);
        encoding.write(&RequestItem::Change(pushed), &mut body);
        let call = Call {
            method: "POST".into(),
            path: format!("/v1/streets/{street}/sync"),
            headers: vec![
                (
                    "authorization".into(),
                    format!("Bearer {}", token.access_token),
                ),
                ("content-type".into(), encoding.media_type().into()),
            ],
            body,
        };
        self.coverage.count("forged edit");
        self.exchange(&call, device).await;
    }

    #[expect(clippy::too_many_arguments, reason = "as the step has them")]
    pub(super) fn file(
        &mut self,
        no: u32,
        phone: usize,
        grid: &str,
        kind: String,
        alias: String,
        fields: Vec<(String, String)>,
        submit: bool,
    ) {
        let Some(handle) = self.rig(phone).and_then(|rig| rig.phone.clone()) else {
            return;
        };
        let channel = Some("当面".to_owned());
        let filing = Filing {
            transfer_kind: kind,
            member_alias: alias,
            fields,
            consent_channel: channel,
            consent_wording: None,
            submit,
        };
        let done = handle.file_transfer(grid, &filing, handle.now());
        let mut did = Vec::new();
        if let Ok(receipt) = &done {
            self.made
                .insert(MadeBy(no), (receipt.record, Kind::TransferRequest.as_str()));
            did = written(&handle, receipt);
        }
        self.told(
            phone,
            None,
            Kind::TransferRequest.as_str(),
            true,
            (did, Vec::new()),
            &done,
        );
    }

    pub(super) fn event(
        &mut self,
        phone: usize,
        record: MadeBy,
        step: &str,
        fields: &[(String, String)],
    ) {
        let (Some((handle, record, kind)), Ok(step)) =
            (self.at_hand(phone, record), step.parse::<Step>())
        else {
            return;
        };
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let done = handle.transfer_event(record, step, &fields, handle.now());
        let did = done
            .as_ref()
            .map(|receipt| written(&handle, receipt))
            .unwrap_or_default();
        self.told(phone, Some(record), kind, false, (did, Vec::new()), &done);
    }

    pub(super) fn visit(&mut self, no: u32, phone: usize, shop: MadeBy, new: &NewVisit) {
        let Some((handle, shop, _)) = self.at_hand(phone, shop) else {
            return;
        };
        let done = handle.visit(shop, new, handle.now());
        let mut did = Vec::new();
        if let Ok(receipt) = &done {
            self.coverage.count("visit: noted");
            self.made
                .insert(MadeBy(no), (receipt.record, Kind::Visit.as_str()));
            self.companions.extend(
                new.companions
                    .first()
                    .map(|name| (MadeBy(no), name.clone())),
            );
            did = written(&handle, receipt);
        }
        let told = (did, Vec::new());
        self.told(phone, None, Kind::Visit.as_str(), true, told, &done);
    }

    pub(super) fn void(&mut self, phone: usize, visit: MadeBy, reason: &str) {
        let Some((handle, visit, kind)) = self.at_hand(phone, visit) else {
            return;
        };
        let done = handle.void_visit(visit, reason, handle.now());
        let did = done
            .as_ref()
            .map(|receipt| written(&handle, receipt))
            .unwrap_or_default();
        self.told(phone, Some(visit), kind, false, (did, Vec::new()), &done);
    }

    pub(super) fn retry_draft(&mut self, phone: usize, nth: usize) {
        let Some(handle) = self.rig(phone).and_then(|rig| rig.phone.clone()) else {
            return;
        };
        let Some(kept) = handle
            .drafts()
            .ok()
            .and_then(|drafts| drafts.into_iter().nth(nth))
        else {
            return;
        };
        let saw = saw(
            &handle.view(kept.draft.record).unwrap_or_default(),
            &kept.draft.edits,
        );
        let done = handle.retry_draft(kept.id, handle.now());
        self.coverage.count("draft: tried again");
        let draft = kept.draft;
        if done
            .as_ref()
            .is_ok_and(|receipt| receipt.record != draft.record)
        {
            self.tell(Event::DraftDropped {
                phone: PhoneNo(phone),
                record: draft.record.0,
                did: did(&draft.edits),
            });
        }
        self.told(
            phone,
            Some(draft.record),
            draft.kind.as_str(),
            draft.creating,
            (did(&draft.edits), saw),
            &done,
        );
    }

    pub(super) fn drop_draft(&mut self, phone: usize, nth: usize) {
        let Some(handle) = self.rig(phone).and_then(|rig| rig.phone.clone()) else {
            return;
        };
        let Some(kept) = handle
            .drafts()
            .ok()
            .and_then(|drafts| drafts.into_iter().nth(nth))
        else {
            return;
        };
        if handle.drop_draft(kept.id).is_ok() {
            self.coverage.count("draft: dropped");
            let (record, did) = (kept.draft.record.0, did(&kept.draft.edits));
            self.tell(Event::DraftDropped {
                phone: PhoneNo(phone),
                record,
                did,
            });
        }
    }

    /// A new phone, or the file of one enrols again. A code whose answer is lost is spent: the user asks for another.
    pub(super) async fn enrol(&mut self, phone: usize, username: &str, no: u32) {
        if self
            .phones
            .get(&phone)
            .is_some_and(|rig| rig.gone || rig.running.is_some())
        {
            return;
        }
        if !self.phones.contains_key(&phone) {
            self.new_rig(phone, username);
        }
        let mut draw = self.step_draw("enrol", no);
        for attempt in 0..CODES_MAX {
            let Acted::Code(code) = self
                .act(Act::Enrol {
                    username: username.to_owned(),
                })
                .await
            else {
                return;
            };
            if self
                .enrol_with(phone, &code, attempt == 0 && draw.one_in(8))
                .await
            {
                return;
            }
        }
    }

    /// One attempt, over a network that is fine but for the answer's being `lost`.
    pub(super) async fn enrol_with(&mut self, phone: usize, code: &str, lost: bool) -> bool {
        let now = self.true_unix_ms();
        let Some(rig) = self.phones.get_mut(&phone) else {
            return false;
        };
        let again = rig.phone.is_some();
        rig.stop();
        rig.set_time(now);
        let options = EnrolOptions {
            lang: Lang::Zh,
            clock: rig.clock(),
            entropy: rig.entropy(),
            ..EnrolOptions::default()
        };
        let (transport, path, code) = (rig.transport(), rig.path.clone(), code.to_owned());
        let enrolling = async move { Phone::enrol_over(transport, &path, &code, options).await };
        let done = self.served_while(phone, Box::pin(enrolling), lost).await;
        let Some(rig) = self.phones.get_mut(&phone) else {
            return false;
        };
        match done {
            Ok(handle) => {
                let (identity, username) = (handle.identity(), rig.username.clone());
                rig.take(handle);
                if let Ok(identity) = identity {
                    rig.device = identity.device.0;
                    self.coverage.count(if again {
                        "phone: enrolled again"
                    } else {
                        "phone: enrolled"
                    });
                    self.tell(Event::Enrolled {
                        phone: PhoneNo(phone),
                        username,
                        device: identity.device.0,
                    });
                }
                true
            }
            Err(PhoneError::Store(lianka_client::local_store::StoreError::Wiped(_))) => {
                self.wiped(phone);
                true
            }
            Err(error) => {
                if again && rig.open().is_err() {
                    self.alarm(format!(
                        "phone {phone} does not open after enrolling failed"
                    ));
                }
                self.coverage.count("phone: enrolling failed");
                if !lost {
                    self.alarm(format!(
                        "phone {phone} at {} cannot enrol: {error}",
                        self.now_ms
                    ));
                }
                false
            }
        }
    }

    /// Lets a phone's work run to its end over a network on which every answer comes at once.
    pub(super) async fn served_while<T>(
        &mut self,
        phone: usize,
        mut work: std::pin::Pin<Box<dyn Future<Output = Result<T, PhoneError>> + Send + '_>>,
        lost: bool,
    ) -> Result<T, PhoneError> {
        loop {
            let Some(rig) = self.phones.get_mut(&phone) else {
                return Err(PhoneError::Cut);
            };
            let signal = tokio::select! {
                biased;
                done = &mut work => return done,
                Some(signal) = rig.signals.recv() => signal,
            };
            match signal {
                Signal::Call(request, waiting) => self.served(phone, request, waiting, lost).await,
                Signal::Chunk(call, chunk) => {
                    let piece = self
                        .bodies
                        .get_mut(&call)
                        .map_or(Ok(None), crate::network::Body::read);
                    // A phone that no longer waits has crashed.
                    let _ = chunk.send(piece);
                }
                Signal::BackOff(_, over) => drop(over.send(())),
            }
        }
    }

    pub(super) fn crash(&mut self, phone: usize, no: u32) {
        let mut draw = self.step_draw("crash", no);
        let Some(rig) = self.rig(phone) else { return };
        let busy = rig.running.is_some();
        let crashed = rig.crash(&mut draw);
        self.coverage.count(if busy {
            "phone: crashed while synchronising"
        } else {
            "phone: crashed"
        });
        self.tell(Event::PhoneCrashed {
            phone: PhoneNo(phone),
        });
        self.reopened(phone, crashed);
    }

    /// A file that was closed is opened again.
    fn reopened(&mut self, phone: usize, opened: Result<(), PhoneError>) {
        match opened {
            Ok(()) => {}
            Err(PhoneError::Store(lianka_client::local_store::StoreError::Wiped(_))) => {
                self.wiped(phone);
            }
            Err(error) => self.alarm(format!(
                "phone {phone} at {} does not open: {error}",
                self.now_ms
            )),
        }
    }

    pub(super) fn clone_phone(&mut self, phone: usize, to: usize) {
        if self.phones.contains_key(&to) {
            return;
        }
        let Some(rig) = self.rig(phone) else { return };
        let (files, username, device) = (Files::read(&rig.path), rig.username.clone(), rig.device);
        let was_older = rig.was_older;
        self.new_rig(to, &username);
        let now = self.true_unix_ms();
        let (Some(copy), Ok(files)) = (self.phones.get_mut(&to), files) else {
            return;
        };
        copy.set_time(now);
        copy.was_older = was_older;
        let copied = copy.open_copy(&files, device);
        self.coverage.count("phone: cloned");
        self.tell(Event::Cloned {
            phone: PhoneNo(to),
            from: PhoneNo(phone),
        });
        self.reopened(to, copied);
    }

    pub(super) fn older(&mut self, phone: usize, older: bool) {
        let Some(rig) = self.rig(phone) else { return };
        if older == rig.older {
            return;
        }
        let done = if older {
            rig.age()
        } else {
            rig.stop();
            rig.older = false;
            rig.open()
        };
        self.coverage.count(if older {
            "phone: runs an older version"
        } else {
            "phone: upgraded"
        });
        self.reopened(phone, done);
    }
}

/// What the phone wrote for the user, entry ids of its own included.
fn written(phone: &Phone, receipt: &EditReceipt) -> Vec<Did> {
    let entries = phone.outbox_of(receipt.record).unwrap_or_default();
    entries
        .iter()
        .find(|entry| Some(entry.hash) == receipt.hash)
        .map(|entry| did(&entry.edits))
        .unwrap_or_default()
}
