//! Edits made at a desk.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use lianka_office_core::acts::edit::{Create, Edit, Written};
use lianka_sync_core::{
    authority,
    codec::change::Scalar,
    id::{ChangeHash, RecordId},
    kinds::Kind,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::{
    auth::{Principal, StreetScope},
    http::{
        error::ApiError,
        extract::{Body, Path},
        fields,
    },
    review::acts,
    roll::records::RecordPath,
    state::App,
    street::transaction,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(create), Who::OFFICE, Quick),
        route(routes!(edit), Who::OFFICE, Quick),
    ]
}

/// Longest remark, in characters: as many as fit the message of a change whatever they are.
const NOTE_CHARS_MAX: usize = 150;
/// Most keys in one edit.
const KEYS_MAX: usize = 200;

/// A remark, where there is one.
pub(crate) fn remark(note: Option<&str>) -> Result<String, ApiError> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    Ok(note
        .map(|note| fields::text("note", note, NOTE_CHARS_MAX))
        .transpose()?
        .unwrap_or_default())
}

fn checked(set: &BTreeMap<String, Option<Scalar>>) -> Result<(), ApiError> {
    if set.is_empty() {
        return Err(ApiError::invalid_field("set", "not_empty"));
    }
    if set.len() > KEYS_MAX {
        return Err(ApiError::invalid_field("set", "items_max_200"));
    }
    let typed = set.iter().filter_map(|(key, value)| match value {
        Some(Scalar::Str(text)) => Some((key, text)),
        _ => None,
    });
    for (key, text) in typed {
        // Before any other check, and whatever kind the record is of.
        if authority::holds_persons_number(Kind::ShopCard, key, text) {
            return Err(ApiError::invalid_field(key.clone(), "personal_number"));
        }
    }
    Ok(())
}

/// What to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// By key: a text, `true` for a member of a set, or `null` to clear. The key `note` is the record's note.
    #[schema(value_type = Object, example = json!({ "sign_name": "王记包子", "tags/late_night": true, "opening_hours": null }))]
    set: BTreeMap<String, Option<Scalar>>,
    /// A remark for the history; no personal data.
    note: Option<String>,
    /// The heads that the record must still have, as `GET …/records/{record}` showed them.
    #[schema(value_type = Option<Vec<String>>)]
    expected_heads: Option<Vec<ChangeHash>>,
}

/// What to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// `shop_card` unless said otherwise.
    #[schema(example = "shop_card")]
    kind: Option<String>,
    /// By key, `grid` among them.
    #[schema(value_type = Object, example = json!({ "grid": "康平01", "sign_name": "王记包子", "road": "天平路", "number": "378" }))]
    set: BTreeMap<String, Option<Scalar>>,
    /// An id of the caller's making, of version 7 by custom: sending the same again, where the answer was lost, creates nothing more.
    #[schema(value_type = Option<Uuid>)]
    record: Option<RecordId>,
}

/// What an edit came to.
#[derive(Serialize, ToSchema)]
pub struct WrittenView {
    #[schema(value_type = Uuid)]
    record: RecordId,
    /// The change; absent where the record said so already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    change: Option<ChangeHash>,
    /// Its entry in the street's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[schema(value_type = Vec<String>)]
    heads: Vec<ChangeHash>,
    /// The keys whose conflict the edit settled.
    settled: Vec<String>,
}

impl From<Written> for WrittenView {
    fn from(written: Written) -> Self {
        let (change, seq) = written.change.unzip();
        Self {
            record: written.record,
            change,
            seq,
            heads: written.heads,
            settled: written.settled,
        }
    }
}

/// Edit a record
///
/// One change by the desk, all or nothing, under the rules that hold for phones: a refusal names the field and, as `rule`, the code that a phone's
/// verdict would carry. A number of a person (an identity number, a bank card, a passport) is refused in whatever field, as `personal_number`. Writing a field that is in conflict settles it with every value that stands there now; to settle only what was looked at,
/// use `…/resolutions`.
#[utoipa::path(post, path = "/v1/streets/{street}/records/{record}/edits", tag = "Review",
    params(("street" = String, Path), ("record" = Uuid, Path)), request_body = EditRequest,
    responses((status = OK, body = WrittenView)))]
pub async fn edit(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
    Body(request): Body<EditRequest>,
) -> Result<Json<WrittenView>, ApiError> {
    checked(&request.set)?;
    let note = remark(request.note.as_deref())?;
    let edit = Edit {
        by: principal.desk(),
        record: path.record,
        set: request.set,
        note,
        expected_heads: request.expected_heads,
    };
    let written = acts::edit(&app.pool, scope.street(), app.clock.now(), edit).await?;
    Ok(Json(written.into()))
}

/// Create a record
///
/// A new card of one of the street's grids, by the desk. With `record`, sending it again answers 200 and creates nothing; another content under that
/// id is 409 `already_exists`.
#[utoipa::path(post, path = "/v1/streets/{street}/records", tag = "Review", params(("street" = String, Path)), request_body = CreateRequest,
    responses((status = CREATED, body = WrittenView), (status = OK, description = "It was there already", body = WrittenView)))]
pub async fn create(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Body(request): Body<CreateRequest>,
) -> Result<(StatusCode, Json<WrittenView>), ApiError> {
    checked(&request.set)?;
    let kind = request.kind.as_deref().unwrap_or(Kind::ShopCard.as_str());
    let kind: Kind = kind
        .parse()
        .map_err(|_| ApiError::invalid_field("kind", "exists"))?;
    let now = app.clock.now();
    let record = request
        .record
        .unwrap_or_else(|| RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()));
    let create = Create {
        by: principal.desk(),
        record,
        kind,
        set: request.set,
    };
    let written = transaction::act(&app.pool, scope.street(), now, create).await?;
    let status = if written.change.is_some() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(written.into())))
}
