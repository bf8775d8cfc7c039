//! A visit on the phone: what it is written as.

use lianka_sync_core::{crdt::record::Edit, id::RecordId, kinds::visit};

/// What is written of a visit.
#[derive(Clone, Debug, Default)]
pub struct NewVisit {
    /// When, as [`lianka_sync_core::values::date::minute`] reads it.
    pub at: String,
    /// One of [`visit::CHANNELS`].
    pub channel: String,
    /// One of [`visit::OUTCOMES`].
    pub outcome: String,
    /// Who went along.
    pub companions: Vec<String>,
    /// Words of the checklist.
    pub topics: Vec<String>,
    /// One line.
    pub remark: Option<String>,
    /// Version of the card that was left.
    pub card_version: Option<String>,
    /// The visit that this one puts right.
    pub replaces: Option<RecordId>,
}

impl NewVisit {
    /// As edits of a new record; `shop` is the card.
    pub fn edits(&self, shop: RecordId) -> Vec<Edit> {
        let texts = [
            (visit::SHOP, Some(shop.to_string())),
            (visit::AT, Some(self.at.clone())),
            (visit::CHANNEL, Some(self.channel.clone())),
            (visit::OUTCOME, Some(self.outcome.clone())),
            (visit::REMARK, self.remark.clone()),
            (visit::CARD_VERSION, self.card_version.clone()),
            (visit::REPLACES, self.replaces.map(|id| id.to_string())),
        ];
        let members = [
            (visit::COMPANIONS, &self.companions),
            (visit::TOPICS, &self.topics),
        ];
        let members = members.into_iter().flat_map(|(set, members)| {
            let add = move |member| Edit::add(format!("{set}/{member}"));
            members.iter().map(add)
        });
        texts
            .into_iter()
            .filter_map(|(key, text)| Some(Edit::set(key, &text?)))
            .chain(members)
            .collect()
    }
}
