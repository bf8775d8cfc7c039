//! Held changes: what waits for a reviewer, and the reviewer's word.

use std::collections::{BTreeMap, HashMap};

use axum::{Json, extract::State};
use lianka_office_core::acts::held::{Accept, Refuse, needed};
use lianka_sync_core::{
    codec::change::{self, Action, Change, Scalar},
    crdt::merge::RegisterState,
    key::NOTE,
    kinds::{Class, Kind},
    time::{DeviceTime, ServerTime},
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
    http::{error::ApiError, fields},
    state::App,
    street::store::{
        held_changes::{self as store, HeldFilter, HeldRow},
        records,
    },
    street::transaction,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::OFFICE, Quick),
        route(routes!(accept), Who::OFFICE, Quick),
        route(routes!(refuse), Who::OFFICE, Quick),
    ]
}

const NOTE_CHARS_MAX: usize = 200;

/// A held change and what it says.
struct Held {
    row: HeldRow,
    /// `None` where the bytes are gone, because it was accepted.
    change: Option<Change>,
}

impl Held {
    fn read(row: HeldRow) -> Self {
        let change = change::decode(&row.bytes).ok();
        Self { row, change }
    }
}

/// Which held changes to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HeldQuery {
    /// Only of this record.
    record: Option<Uuid>,
    /// Only by this user.
    username: Option<String>,
    /// Only for this reason: `grid_lost` or `device_wiped`.
    reason: Option<String>,
    /// `held` (default), `accepted` or `refused`.
    status: Option<String>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// What a held change does to one key.
#[derive(Serialize, ToSchema)]
pub struct HeldFieldView {
    key: String,
    label_zh: String,
    label_en: String,
    /// Every value that the record has now.
    #[schema(value_type = Vec<serde_json::Value>)]
    old: Vec<Scalar>,
    /// What the author wrote; `null`: deleted. Of the note: how many characters come and go.
    #[schema(value_type = serde_json::Value)]
    new: Option<Scalar>,
    /// A sensitive value (P3), which is not shown here.
    hidden: bool,
}

/// A held change.
#[derive(Serialize, ToSchema)]
pub struct HeldView {
    held: Uuid,
    record: Uuid,
    kind: String,
    /// What people call the record.
    title: Option<String>,
    /// The grid that the record stands in now; `null` where it does not exist.
    grid: Option<String>,
    /// Why it is held: `grid_lost` or `device_wiped`.
    reason: String,
    /// `held`, `accepted` or `refused`.
    status: String,
    /// Whether it creates the record.
    creates: bool,
    fields: Vec<HeldFieldView>,
    username: String,
    device: Uuid,
    device_name: Option<String>,
    /// The device's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    made_at: Option<DeviceTime>,
    #[schema(value_type = String, format = DateTime)]
    received_at: ServerTime,
    /// Held changes that it builds on: they come first, or with it (`with_needed`).
    needs: Vec<Uuid>,
    /// The record was rebuilt since: it can only be accepted `as_edit`.
    stale: bool,
    decided_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<ServerTime>,
    note: Option<String>,
}

/// List held changes
///
/// Edits that arrived after their author lost the grid, or from a device that is to be wiped, with what each says beside what the record
/// says now, in the order in which they arrived.
#[utoipa::path(get, path = "/v1/streets/{street}/held", tag = "Held changes", params(("street" = String, Path), HeldQuery),
    responses((status = OK, body = Page<HeldView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<HeldQuery>,
) -> Result<Json<Page<HeldView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    let status = query.status.as_deref().unwrap_or("held");
    if !["held", "accepted", "refused"].contains(&status) {
        return Err(ApiError::invalid_field(
            "status",
            "one_of_held_accepted_refused",
        ));
    }
    crate::admin::acts::street(&app, &scope).await?;
    let street = scope.street();
    let mut conn = app.pool.acquire().await?;
    let filter = HeldFilter {
        held: None,
        record: query.record,
        username: query.username.as_deref(),
        reason: query.reason.as_deref(),
        status: Some(status),
    };
    let (rows, total) =
        store::page(&mut conn, street, filter, paging.limit(), paging.offset()).await?;
    let page: Vec<_> = rows.into_iter().map(Held::read).collect();
    let of: Vec<Uuid> = page.iter().map(|held| held.row.record).collect();
    let stored = records::load(&mut conn, street, &of).await?;
    let mut records: HashMap<Uuid, (String, RegisterState)> = HashMap::new();
    for (record, stored) in stored {
        records.insert(
            record.0,
            (stored.grid, crate::store::registers(&stored.state)?),
        );
    }
    // What one builds on may stand on another page.
    let waiting: Vec<_> = store::open_rows(&mut conn, street, &of)
        .await?
        .into_iter()
        .map(Held::read)
        .collect();
    let views = page
        .into_iter()
        .map(|held| view(held, &records, &waiting))
        .collect();
    Ok(Json(paging.of(views, total)))
}

fn view(
    held: Held,
    records: &HashMap<Uuid, (String, RegisterState)>,
    waiting: &[Held],
) -> HeldView {
    let known = records.get(&held.row.record);
    let state = known.map(|(_, state)| state);
    let kind = held.row.kind.parse::<Kind>().ok();
    let change = held.change.as_ref();
    let says = |change: &Change, key: &str| {
        let value = written(change).remove(key)??;
        value.as_str().map(str::to_owned)
    };
    let title = kind.and_then(|kind| match state {
        Some(state) => kind.title(|key| state.text(key).map(str::to_owned)),
        None => kind.title(|key| says(change?, key)),
    });
    let fields = change
        .zip(kind)
        .map(|(change, kind)| fields_of(change, kind, state))
        .unwrap_or_default();
    HeldView {
        held: held.row.held,
        record: held.row.record,
        kind: held.row.kind,
        title,
        grid: known.map(|(grid, _)| grid.clone()),
        reason: held.row.reason,
        status: held.row.status,
        creates: change.is_some_and(|change| change.deps.is_empty()),
        fields,
        username: held.row.username,
        device: held.row.device,
        device_name: held.row.device_name,
        made_at: change.and_then(|change| change.time),
        received_at: held.row.received_at.into(),
        needs: change
            .map(|change| needed(change, &of(waiting, held.row.record), state))
            .unwrap_or_default(),
        stale: state.is_some_and(|state| state.generation() as i32 != held.row.generation),
        decided_by: held.row.decided_by,
        decided_at: held.row.decided_at.map(Into::into),
        note: held.row.note,
    }
}

/// Those of one record: they stand together.
fn of(waiting: &[Held], record: Uuid) -> Vec<(Uuid, &Change)> {
    let first = waiting.partition_point(|held| held.row.record < record);
    let last = waiting.partition_point(|held| held.row.record <= record);
    waiting[first..last]
        .iter()
        .filter_map(|held| Some((held.row.held, held.change.as_ref()?)))
        .collect()
}

/// The last write of each key.
fn written(change: &Change) -> BTreeMap<&str, Option<Scalar>> {
    let mut writes = BTreeMap::new();
    let (mut inserted, mut removed) = (0, 0);
    for op in &change.ops {
        match &op.action {
            Action::Put { key, value } => drop(writes.insert(key.as_str(), Some(value.clone()))),
            Action::Delete { key } => drop(writes.insert(key.as_str(), None)),
            Action::MakeText { .. } => {}
            Action::Insert { text, .. } => inserted += text.chars().count(),
            Action::Remove { .. } => removed += 1,
        }
    }
    if inserted + removed > 0 {
        writes.insert(NOTE, Some(Scalar::Str(format!("+{inserted} −{removed}"))));
    }
    writes
}

fn fields_of(change: &Change, kind: Kind, state: Option<&RegisterState>) -> Vec<HeldFieldView> {
    let now = state.map(RegisterState::view).unwrap_or_default();
    let field = |(key, new): (&str, Option<Scalar>)| {
        let (field, _) = kind.field(key)?;
        let hidden = field.class == Class::P3;
        let old = now
            .values
            .get(key)
            .into_iter()
            .flatten()
            .map(|value| value.value.clone())
            .collect();
        Some(HeldFieldView {
            key: key.to_owned(),
            label_zh: field.label_zh.to_owned(),
            label_en: field.label_en.to_owned(),
            old: if hidden { Vec::new() } else { old },
            new: if hidden { None } else { new },
            hidden,
        })
    };
    written(change).into_iter().filter_map(field).collect()
}

#[derive(Deserialize)]
pub struct HeldPath {
    held: Uuid,
}

/// How to accept it.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct NewAcceptance {
    /// A word to the author.
    note: Option<String>,
    /// Accept what it builds on with it.
    #[serde(default)]
    with_needed: bool,
    /// Write what it says as the desk's own edit, where it cannot be merged as it is. Edits of the note are not carried over.
    #[serde(default)]
    as_edit: bool,
}

/// What was accepted.
#[derive(Serialize, ToSchema)]
pub struct AcceptedView {
    /// In the order in which they were merged; the one asked for last.
    accepted: Vec<Uuid>,
}

/// Why it is refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefusal {
    /// Shown to the author.
    reason: String,
}

/// A refused change.
#[derive(Serialize, ToSchema)]
pub struct RefusedView {
    held: Uuid,
    reason: String,
}

/// Accept a held change
///
/// It becomes part of the record as if it had come in time, in its author's name. `edit_refused` or `invalid_field`: it cannot be merged as it is,
/// `rule` says why, and it stays held.
#[utoipa::path(post, path = "/v1/streets/{street}/held/{held}/accept", tag = "Held changes", request_body = NewAcceptance,
    params(("street" = String, Path), ("held" = Uuid, Path)), responses((status = OK, body = AcceptedView)))]
pub async fn accept(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<HeldPath>,
    Body(new): Body<NewAcceptance>,
) -> Result<Json<AcceptedView>, ApiError> {
    let note = new
        .note
        .map(|note| fields::text("note", &note, NOTE_CHARS_MAX))
        .transpose()?;
    let act = Accept {
        by: principal.desk(),
        held: path.held,
        note,
        with_needed: new.with_needed,
        as_edit: new.as_edit,
    };
    let accepted = transaction::act(&app.pool, scope.street(), app.clock.now(), act).await?;
    Ok(Json(AcceptedView { accepted }))
}

/// Refuse a held change
///
/// Final: the author's phone gets the reason at its next sync and keeps the edit as a draft.
#[utoipa::path(post, path = "/v1/streets/{street}/held/{held}/refuse", tag = "Held changes", request_body = NewRefusal,
    params(("street" = String, Path), ("held" = Uuid, Path)), responses((status = OK, body = RefusedView)))]
pub async fn refuse(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<HeldPath>,
    Body(new): Body<NewRefusal>,
) -> Result<Json<RefusedView>, ApiError> {
    let reason = fields::text("reason", &new.reason, NOTE_CHARS_MAX)?;
    let act = Refuse {
        by: principal.desk(),
        held: path.held,
        reason: reason.clone(),
    };
    transaction::act(&app.pool, scope.street(), app.clock.now(), act).await?;
    Ok(Json(RefusedView {
        held: path.held,
        reason,
    }))
}
