//! Changes with two heads, which phones write seldom: somebody's own program writes two side by side and a third one on both, and the second of the two
//! comes late, is refused, or waits for a reviewer. Which one that is follows from the order in which the third names them.

use lianka_client::local_store::LocalStore;
use lianka_client_core::{
    document,
    store::{RecordStore, Records},
};
use lianka_sync_core::{
    codec::{
        change::{Change, Scalar},
        wire::{Encoding, Hello, PushedChange, Report, RequestItem},
    },
    crdt::record::{Edit, Record, RecordError},
    id::{Actor, DeviceId},
    kinds::Kind,
    time::DeviceTime,
};

use super::Simulation;
use crate::{
    office::{Act, Call, Office},
    script::{Heads, MadeBy, Set},
};

/// Epochs that neither a phone comes to nor a single forged edit.
const EPOCH: u32 = 1 << 31;
/// Moments at which the two are written, until the third names them in the order that is wanted.
const TRIES_MAX: i64 = 64;

/// The three changes, as the third one names the first two.
struct Written {
    first: Change,
    second: Change,
    third: Change,
}

impl<O: Office> Simulation<'_, O> {
    pub(super) async fn heads(
        &mut self,
        no: u32,
        phone: usize,
        record: MadeBy,
        set: &Set,
        how: &Heads,
    ) {
        let Some((record, kind)) = self.made.get(&record).copied() else {
            return;
        };
        let now = self.true_unix_ms();
        let Some(rig) = self.phones.get(&phone).filter(|rig| !rig.gone) else {
            return;
        };
        let (device, username) = (rig.device, rig.username.clone());
        let read = LocalStore::open(&rig.path).and_then(|mut store| {
            store.read(|tx| Ok((tx.credentials()?, tx.record_state(record)?)))
        });
        let Ok((token, mut copy)) = read else { return };
        let Some(generation) = copy.stored.as_ref().map(|stored| stored.generation) else {
            return;
        };
        copy.outbox.clear();
        let Ok(Some(mut opened)) = document::open(&copy) else {
            return;
        };
        let base = opened.document.save();
        let written = (0..TRIES_MAX).find_map(|later| {
            written(&base, device, no, now + later, set, how)
                .ok()
                .flatten()
        });
        let Some(Written {
            first,
            second,
            third,
        }) = written
        else {
            return;
        };
        let kind = kind.parse().unwrap_or(Kind::ShopCard);
        let push = |change: &Change| PushedChange {
            record,
            kind,
            generation,
            bytes: change.bytes.clone(),
        };
        let (first, second, third) = (push(&first), push(&second), push(&third));
        let requests = match how {
            Heads::Late => vec![vec![first, third.clone(), second], vec![third]],
            Heads::Refused { .. } => vec![vec![first, second, third]],
            Heads::Held { .. } => vec![vec![second], vec![first, third]],
        };
        self.coverage.count(match how {
            Heads::Late => "two heads: one comes late",
            Heads::Refused { .. } => "two heads: one is refused",
            Heads::Held { .. } => "two heads: one is held",
        });
        for (nth, changes) in requests.into_iter().enumerate() {
            if let Heads::Held { grids } = how {
                let grids = if nth == 0 { Vec::new() } else { grids.clone() };
                let username = username.clone();
                self.act(Act::Assign { username, grids }).await;
            }
            let call = self.request(&token.access_token, changes);
            self.exchange(&call, device).await;
        }
    }

    fn request(&self, access_token: &str, changes: Vec<PushedChange>) -> Call {
        let hello = Hello {
            blocks: 0,
            cursor: None,
            client: "forged".into(),
            pull: true,
            report: Report::default(),
            kinds: Vec::new(),
        };
        let (encoding, mut body) = (Encoding::CborSeq, Vec::new());
        encoding.write(&RequestItem::Hello(hello), &mut body);
        for change in changes {
            encoding.write(&RequestItem::Change(change), &mut body);
        }
        Call {
            method: "POST".into(),
            path: format!("/v1/streets/{}/sync", self.script.setup.street),
            headers: vec![
                ("authorization".into(), format!("Bearer {access_token}")),
                ("content-type".into(), encoding.media_type().into()),
            ],
            body,
        }
    }
}

/// The changes as they are written at this moment; `None` where one of them would say nothing, or the one to be refused is not the second.
fn written(
    base: &[u8],
    device: uuid::Uuid,
    no: u32,
    at_unix_ms: i64,
    set: &Set,
    how: &Heads,
) -> Result<Option<Written>, RecordError> {
    let [one, other, on_both] = set.as_slice() else {
        return Ok(None);
    };
    let at = DeviceTime::from_unix_ms(at_unix_ms);
    let put = |key: &str, value: &str| Edit::Put {
        key: key.to_owned(),
        value: Scalar::Str(value.to_owned()),
    };
    let edit =
        |(key, value): &(String, Option<String>)| put(key, value.as_deref().unwrap_or_default());
    let write = |document: &mut Record, nth: u32, edit: Edit| {
        let actor = Actor::new(DeviceId(device), EPOCH + 3 * no + nth);
        document.edit(actor, at, &[edit], "")
    };
    let bad = match how {
        Heads::Refused { grid } => put("grid", grid),
        Heads::Late | Heads::Held { .. } => edit(other),
    };
    let first = write(&mut Record::load(base)?, 0, edit(one))?;
    let second = write(&mut Record::load(base)?, 1, bad)?;
    let (Some(first), Some(second)) = (first, second) else {
        return Ok(None);
    };
    let mut both = Record::load(base)?;
    both.apply([first.bytes.as_slice(), second.bytes.as_slice()])?;
    let Some(third) = write(&mut both, 2, edit(on_both))? else {
        return Ok(None);
    };
    Ok(
        (third.deps == [first.hash, second.hash]).then_some(Written {
            first,
            second,
            third,
        }),
    )
}
