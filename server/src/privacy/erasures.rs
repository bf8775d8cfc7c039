//! Forgetting: a record, or one person on it; and the receipts.

use axum::{Json, extract::State};
use lianka_office_core::{
    acts::erase::{self, Erase, Erased, Person, Redact, Request},
    store::Receipt,
};
use lianka_sync_core::{
    id::{EntryId, RecordId},
    time::ServerTime,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Body, Page, PageQuery, Paging, Path, Query};
use crate::{
    auth::{Principal, StreetScope},
    http::error::ApiError,
    pipeline_point::{PipelinePoint, reached},
    roll,
    state::App,
    street::{store::erasures, transaction},
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::AUDITORS, Quick),
        route(routes!(erase), Who::ADMIN, Quick),
        route(routes!(redact), Who::ADMIN, Quick),
    ]
}

#[derive(Deserialize)]
pub struct RecordPath {
    record: RecordId,
}

/// Why a record is erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// `subject_request`, `consent_withdrawn`, `purpose_ended`, `entered_by_mistake`, `legal_duty` or `other`. Any other text counts as `other` and
    /// is not kept, so that no receipt quotes anybody.
    #[schema(example = "subject_request")]
    reason: String,
}

/// Whom to forget, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRedaction {
    /// The contact person: the entry of `contacts/<entry>/…`. Either this or `member`.
    #[schema(value_type = Option<Uuid>)]
    entry: Option<EntryId>,
    /// The key of somebody who is named by the key itself, `companions/<name>` of a visit, or a field of the street's own that holds a person's
    /// data, `custom/<name>`.
    member: Option<String>,
    /// As for `erase`.
    #[schema(example = "subject_request")]
    reason: String,
    /// Whether the note goes as well, with everything it ever said and the remarks of every change.
    #[serde(default)]
    note: bool,
}

/// Proof that something was erased, without it.
#[derive(Serialize, ToSchema)]
pub struct ReceiptView {
    erasure: Uuid,
    /// The log entry that tells phones.
    seq: i64,
    /// `erase` or `redact`.
    kind: String,
    record: Uuid,
    /// With `redact`: the contact person, if it was one.
    entry: Option<Uuid>,
    /// With `redact`: every entry that went, the consents of the person included.
    entries: Vec<Uuid>,
    /// Whether the note went as well.
    note: bool,
    reason: String,
    username: String,
    #[schema(value_type = String, format = DateTime)]
    at: ServerTime,
    generation_before: i32,
    /// With `redact`.
    generation_after: Option<i32>,
    /// How much was deleted, by table.
    #[schema(value_type = Object)]
    what: serde_json::Value,
    /// SHA-256 of the receipt, see the protocol's documentation; the audit trail holds it too.
    hash: String,
}

impl From<Receipt> for ReceiptView {
    fn from(row: Receipt) -> Self {
        Self {
            erasure: row.erasure,
            seq: row.seq,
            kind: row.kind.to_owned(),
            record: row.record.0,
            entry: row.entry.map(|entry| entry.0),
            entries: row.entries.into_iter().map(|entry| entry.0).collect(),
            note: row.note,
            reason: row.reason,
            username: row.username,
            at: row.at,
            generation_before: row.generation_before as i32,
            generation_after: row.generation_after.map(|after| after as i32),
            what: row.what,
            hash: hex::encode(row.hash),
        }
    }
}

/// What was erased, and where else to look.
#[derive(Serialize, ToSchema)]
pub struct ErasedView {
    receipt: ReceiptView,
    /// Keys of the record that still hold the person's name or telephone number, because somebody typed them there, and fields of the street's
    /// own that hold somebody's personal data (P2): look whether it is theirs.
    mentioned_in: Vec<String>,
    /// Other records about the same: merged with this one, or with the same contact person.
    also_on: Vec<Uuid>,
}

impl From<Erased> for ErasedView {
    fn from(erased: Erased) -> Self {
        Self {
            receipt: erased.receipt.into(),
            mentioned_in: erased.mentioned_in,
            also_on: erased.also_on.into_iter().map(|record| record.0).collect(),
        }
    }
}

fn request(
    app: &App,
    admin: &Principal,
    reason: &str,
    now: ServerTime,
) -> Result<Request, ApiError> {
    if reason.trim().is_empty() {
        return Err(ApiError::invalid_field("reason", "not_empty"));
    }
    Ok(Request {
        username: admin.username().to_owned(),
        device: admin.device(),
        reason: erase::reason(reason),
        erasure: RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()).0,
    })
}

/// Erase a record
///
/// Gone from the record, its log, the read models, held changes, imported rows and, at their next sync, the phones. Late edits are refused
/// with `erased`. Erasing again answers with the receipt that is there.
#[utoipa::path(post, path = "/v1/streets/{street}/records/{record}/erase", tag = "Erasure", request_body = NewErasure,
    params(("street" = String, Path), ("record" = Uuid, Path)), responses((status = OK, body = ErasedView)))]
pub async fn erase(
    State(app): State<App>,
    admin: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
    Body(new): Body<NewErasure>,
) -> Result<Json<ErasedView>, ApiError> {
    let now = app.clock.now();
    let request = request(&app, &admin, &new.reason, now)?;
    let act = Erase {
        record: path.record,
        request,
    };
    let erased = transaction::act(&app.pool, scope.street(), now, act).await?;
    reached(PipelinePoint::ErasureCommitted);
    Ok(Json(erased.into()))
}

/// Redact a person
///
/// Rebuilds the record without one contact person and their consents, or without somebody who went along on a visit, as its next generation:
/// values, authors and conflicts of everything else stay. Fields of the street's own that hold personal data (P2) and speak of the person go
/// as well. Late edits of the person are refused with `redacted`.
#[utoipa::path(post, path = "/v1/streets/{street}/records/{record}/redact", tag = "Erasure", request_body = NewRedaction,
    params(("street" = String, Path), ("record" = Uuid, Path)), responses((status = OK, body = ErasedView)))]
pub async fn redact(
    State(app): State<App>,
    admin: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
    Body(new): Body<NewRedaction>,
) -> Result<Json<ErasedView>, ApiError> {
    let now = app.clock.now();
    let person = match (new.entry, new.member) {
        (Some(entry), None) => Person::Entry(entry),
        (None, Some(key)) => Person::Member(key),
        _ => return Err(ApiError::invalid_field("entry", "entry_or_member")),
    };
    let request = request(&app, &admin, &new.reason, now)?;
    let mut conn = app.pool.acquire().await?;
    let personal = roll::store::personal_fields(&mut conn, scope.street()).await?;
    drop(conn);
    let act = Redact {
        record: path.record,
        person,
        personal,
        note: new.note,
        request,
    };
    let erased = transaction::act(&app.pool, scope.street(), now, act).await?;
    reached(PipelinePoint::ErasureCommitted);
    Ok(Json(erased.into()))
}

/// Which receipts to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ErasuresQuery {
    /// Only of this record.
    record: Option<Uuid>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// List receipts of erasures
///
/// What was erased when and by whom, newest first, without the data. Keep them beside the backups: after a restore they are applied again.
#[utoipa::path(get, path = "/v1/streets/{street}/erasures", tag = "Erasure", params(("street" = String, Path), ErasuresQuery),
    responses((status = OK, body = Page<ReceiptView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<ErasuresQuery>,
) -> Result<Json<Page<ReceiptView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    crate::admin::acts::street(&app, &scope).await?;
    let mut conn = app.pool.acquire().await?;
    let (rows, total) = erasures::page(
        &mut conn,
        scope.street(),
        query.record,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(
        paging.of(rows.into_iter().map(Into::into).collect(), total),
    ))
}
