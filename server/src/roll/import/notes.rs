//! The documents of cards whose notes read otherwise by now than an export showed them, for
//! [`lianka_office_core::roll::notes`].

use lianka_office_core::roll::notes::Then;
use lianka_sync_core::id::StreetCode;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::street::store::{
    records::{self, DocumentPage},
    trimmed,
};

/// Of these cards.
pub async fn load(conn: &mut PgConnection, street: &StreetCode, of: &[Uuid]) -> sqlx::Result<Then> {
    let mut then = Then::default();
    if of.is_empty() {
        return Ok(then);
    }
    let page = DocumentPage {
        grids: None,
        records: Some(of),
        after: 0,
        limit: of.len() as i64,
    };
    for document in records::documents(conn, street, page).await? {
        then.document(document.record, &document.bytes);
    }
    let logged = records::places(conn, street, of).await?;
    let trimmed = trimmed::places(conn, street, of).await?;
    for (record, places) in logged.into_iter().chain(trimmed) {
        then.places(record, places);
    }
    Ok(then)
}
