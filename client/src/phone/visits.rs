//! Visits on a phone: written with no network, once; replaced by a later one, or declared void.

pub use lianka_client_core::editing::NewVisit;
use lianka_client_core::{EditError, OutboxState, card::Place, store::Records};
use lianka_sync_core::{
    crdt::record::Edit,
    id::RecordId,
    kinds::{
        self, Kind,
        projection::{Projected, VisitRow},
        visit,
    },
    time::DeviceTime,
};
use serde::Serialize;

use super::{EditReceipt, Phone, PhoneError};

/// A visit in the list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VisitSummary {
    /// What it says.
    #[serde(flatten)]
    pub row: VisitRow,
    /// What the visited shop is called, where its card is on the phone.
    pub sign_name: Option<String>,
    /// Whether a later one replaces it.
    pub replaced: bool,
    /// Where its newest state is.
    pub place: Place,
}

impl Phone {
    /// Writes a visit to a shop, in the grid of its card.
    pub fn visit(
        &self,
        shop: RecordId,
        new: &NewVisit,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        let card = self.view(shop)?;
        if Kind::of(&card) != Some(Kind::ShopCard) {
            return Err(EditError::NoSuchRecord.into());
        }
        let grid = card.text(kinds::key::GRID).unwrap_or_default();
        self.create(Kind::Visit, grid, &new.edits(shop), now)
    }

    /// Declares a visit void.
    pub fn void_visit(
        &self,
        record: RecordId,
        reason: &str,
        now: DeviceTime,
    ) -> Result<EditReceipt, PhoneError> {
        if Kind::of(&self.view(record)?) != Some(Kind::Visit) {
            return Err(EditError::NoSuchRecord.into());
        }
        let entry = self.new_entry(now);
        let key = format!("{}/{entry}/{}", visit::VOIDS, visit::REASON);
        self.edit(record, &[Edit::set(key, reason)], now)
    }

    /// Every visit held, the newest first; of one shop, where asked for.
    pub fn visits(&self, shop: Option<RecordId>) -> Result<Vec<VisitSummary>, PhoneError> {
        let records = self.read(|tx| Ok(tx.records_of(Kind::Visit)?))?;
        let mut rows: Vec<VisitRow> = Vec::with_capacity(records.len());
        for (record, _) in records {
            if let Some(Projected::Visit(row)) = self.project(record)? {
                rows.push(*row);
            }
        }
        let replaced: Vec<_> = rows
            .iter()
            .filter(|row| row.void_reason.is_none())
            .filter_map(|row| row.replaces)
            .map(|id| RecordId(id.0))
            .collect();
        let of = |row: &VisitRow| Some(self.goes_on_as(RecordId(row.shop?.0)));
        let shop = shop.map(|shop| self.goes_on_as(shop));
        rows.retain(|row| shop.is_none() || of(row) == shop);
        rows.sort_by(|a, b| (&b.at, b.record).cmp(&(&a.at, a.record)));
        rows.into_iter()
            .map(|row| {
                let own = self.outbox_of(row.record)?;
                let place = if own.iter().any(|entry| entry.state != OutboxState::Held) {
                    Place::Phone
                } else if own.is_empty() {
                    Place::Office
                } else {
                    Place::Held
                };
                let sign_name = of(&row)
                    .and_then(|shop| self.view(shop).ok())
                    .and_then(|view| kinds::title(&view));
                Ok(VisitSummary {
                    sign_name,
                    replaced: replaced.contains(&row.record),
                    place,
                    row,
                })
            })
            .collect()
    }

    /// The card as which one goes on, as far as this phone holds it.
    fn goes_on_as(&self, card: RecordId) -> RecordId {
        let mut at = card;
        // Two cards never go on as each other; a bound all the same.
        for _ in 0..8 {
            match self.view(at).ok().and_then(|view| kinds::successor(&view)) {
                Some(into) => at = into,
                None => break,
            }
        }
        at
    }
}
