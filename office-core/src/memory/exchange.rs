//! One synchronisation in process: what a device brought is merged, and what it lacks is answered.

use lianka_sync_core::{
    codec::{
        block,
        wire::{Hello, ResponseItem, Verdict},
    },
    lang::Lang,
    time::ServerTime,
};

use super::MemoryStore;
use crate::{
    audit::{Action, Event},
    ids::Ids,
    pull::{Next, Pages, Pull, Question, verdict},
    push::{Author, Push, Pushes, Resent},
};

/// How a device is answered.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// How long it may work without another answer.
    pub lease_seconds: u64,
    pub pages: Pages,
}

impl MemoryStore {
    /// Merges what a device brought. What became of each change.
    pub fn push(&mut self, now: ServerTime, push: &Push, ids: Ids, lang: Lang) -> Vec<Verdict> {
        let known = Resent::of(push).and_then(|resent| {
            let Ok(outcome) = self.run(now, resent);
            outcome
        });
        let outcomes = known.map_or_else(
            || {
                let pushes = Pushes {
                    pushes: std::slice::from_ref(push),
                    ids,
                };
                let Ok(outcomes) = self.run(now, pushes);
                outcomes.into_iter().flatten().collect()
            },
            |outcome| vec![outcome],
        );
        outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| verdict(index, outcome, lang))
            .collect()
    }

    /// The whole answer to a request, of which `verdicts` were given. `is_due` says after each item whether the next place from which a broken
    /// answer may go on is to be named.
    pub fn pull(
        &mut self,
        now: ServerTime,
        author: &Author,
        hello: Hello,
        verdicts: Vec<Verdict>,
        answering: Answering,
        mut is_due: impl FnMut(&ResponseItem) -> bool,
    ) -> Vec<ResponseItem> {
        self.follow_tail();
        let mut pull = Pull::new(Question {
            street: self.street.clone(),
            store_epoch: self.epoch,
            head: self.head,
            scope: self.scope(&author.username),
            device: author.device,
            wiped: author.wiped,
            // A pull comes last of all.
            more_to_come: !hello.pull
                && hello
                    .report
                    .unsent
                    .is_some_and(|unsent| unsent > verdicts.len() as u64),
            verdicts,
            pull: hello.pull,
            kinds: hello.known_kinds(),
            blocks: hello.blocks >= block::VERSION.into(),
            cursor: hello.cursor,
            lease_seconds: answering.lease_seconds,
            pages: answering.pages,
        });
        let (mut items, mut due) = (Vec::new(), false);
        loop {
            match pull.next(now, due) {
                Next::Item(item) => {
                    due = is_due(&item);
                    items.push(item);
                }
                Next::Page(part) => {
                    for document in part.documents() {
                        let item = document.item();
                        due = is_due(&item);
                        items.push(item);
                    }
                }
                Next::Run(run) => {
                    for item in run.items() {
                        due = is_due(&item);
                        items.push(item);
                    }
                }
                Next::Read(read) => pull.answer(self.read(&author.username, read)),
                Next::Tell { records } => self.events.push(
                    Event::by(&author.username, author.device, Action::ReadP3)
                        .with("via", "sync")
                        .with("records", records),
                ),
                Next::Done => return items,
            }
        }
    }
}
