//! The visits to a shop, as a page lists them.

use lianka_client_core::store::Records;
use lianka_client_local::local_store::Tx;
use lianka_sync_core::{
    id::RecordId,
    kinds::{Kind, projection::Projected, visit},
};
use serde_json::json;

use super::Answered;
use crate::shown::Reader;

/// The newest first.
pub(super) fn of(tx: &Tx<'_>, shop: RecordId, reader: Reader) -> Answered {
    let mut rows = Vec::new();
    for (record, _) in tx.records_of(Kind::Visit)? {
        if let Some(Projected::Visit(row)) = tx.project(record)?
            && row
                .shop
                .is_some_and(|of| of.to_string() == shop.to_string())
        {
            rows.push(*row);
        }
    }
    rows.sort_by(|a, b| (&b.at, b.record).cmp(&(&a.at, a.record)));
    let replaced: Vec<_> = rows.iter().filter_map(|row| row.replaces).collect();
    let word = |word: &Option<String>| {
        word.as_deref()
            .map(|word| visit::words(word, reader.lang).to_owned())
    };
    let mut lines = Vec::new();
    for row in &rows {
        let waiting = tx.outbox_of(row.record)?;
        lines.push(json!({
            "record": row.record,
            "at": row.at,
            "channel": word(&row.channel),
            "outcome": word(&row.outcome),
            "topics": row.topics,
            "remark": row.remark,
            (visit::CARD_VERSION): row.card_version,
            "own": row.device == reader.device,
            "void": row.void_reason,
            "replaced": replaced.iter().any(|of| of.to_string() == row.record.to_string()),
            "state": if waiting.is_empty() { "office" } else { "phone" },
        }));
    }
    Ok(json!(lines))
}
