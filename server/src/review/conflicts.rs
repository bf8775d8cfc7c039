//! The inbox of conflicts, choosing, and undoing a choice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::{Json, extract::State};
use lianka_sync_core::{
    codec::change::{self, Action, Change, OpId, Scalar},
    crdt::{
        conflict::{self, HarmlessClass},
        merge::{Provenance, RegisterState},
    },
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    kinds::{self, Class, Field, Kind},
    lang::Lang,
    time::{DeviceTime, ServerTime},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use lianka_office_core::{
    acts::{
        Refused,
        resolve::{BulkItem, Choose, Undo, UndoItem, parse_op},
    },
    follow::op_text,
};
use utoipa_axum::routes;

use crate::auth::{
    access::{
        Time::{Long, Quick},
        Who,
    },
    route::{Route, route},
};
use crate::{
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    review::store::{
        self as conflicts, ConflictFilter, Disputed, Person, ReplacedValue, Resolution,
        ResolutionFilter, Restored,
    },
    state::App,
    street::{history as past, store::streets, transaction},
};
use crate::{
    http::extract::{Body, Page, PageQuery, Paging, Path, Query},
    review::{
        acts::{self, Harmless},
        edits::remark,
    },
    roll::records::RecordPath,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(choose), Who::REVIEWER, Quick),
        route(routes!(list), Who::REVIEWER, Quick),
        route(routes!(choose_in_bulk), Who::REVIEWER, Long),
        route(routes!(undo_bulk), Who::REVIEWER, Quick),
        route(routes!(resolutions), Who::REVIEWER, Quick),
        route(routes!(undo), Who::REVIEWER, Quick),
    ]
}

/// Most values that a choice may name.
const SEEN_MAX: usize = 64;

/// Which conflicts to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ConflictsQuery {
    /// Only this grid.
    grid: Option<String>,
    /// Only this key, or this field of any entry.
    #[param(example = "sign_name")]
    field: Option<String>,
    /// Only harmless conflicts of this class: `spelling`, `phone_format` or `more_complete`.
    class: Option<String>,
    /// Only this record.
    record: Option<Uuid>,
    page: Option<u32>,
    page_size: Option<u32>,
}

fn class(name: &str) -> Result<HarmlessClass, ApiError> {
    name.parse()
        .map_err(|_| ApiError::invalid_field("class", "harmless_class"))
}

/// A shop with values in conflict.
#[derive(Serialize, ToSchema)]
pub struct DisputedView {
    record: Uuid,
    kind: String,
    grid: String,
    sign_name: Option<String>,
    /// As typed, or put together from road and numbers.
    address: Option<String>,
    seq: i64,
    fields: Vec<DisputedFieldView>,
}

/// A field whose values differ.
#[derive(Serialize, ToSchema)]
pub struct DisputedFieldView {
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    /// P0 public, P1 internal, P2 personal, P3 sensitive.
    class: String,
    /// The values are sensitive and left out here.
    masked: bool,
    /// Present where the conflict may be settled in bulk.
    #[serde(skip_serializing_if = "Option::is_none")]
    harmless: Option<HarmlessView>,
    /// Every concurrent value, the one that the roll shows last.
    values: Vec<DisputedValueView>,
}

/// How the values differ, and the one that loses nothing.
#[derive(Serialize, ToSchema)]
pub struct HarmlessView {
    class: &'static str,
    label_zh: &'static str,
    label_en: &'static str,
    #[schema(value_type = serde_json::Value)]
    suggestion: Scalar,
}

/// One of the values, and what its author had seen.
#[derive(Clone, Serialize, ToSchema)]
pub struct DisputedValueView {
    /// What a choice names in `seen`.
    op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    value: Option<Scalar>,
    /// The change that wrote it.
    #[schema(value_type = String)]
    change: ChangeHash,
    #[serde(flatten)]
    author: ValueAuthorView,
    /// An undo put it back: author and times are those of its first writing.
    restored: bool,
    /// The values that its author saw and replaced; empty where the field was empty, absent where the log does not tell any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Vec<SeenView>>,
}

/// A value that an author had in front of them.
#[derive(Clone, Serialize, ToSchema)]
pub struct SeenView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    value: Option<Scalar>,
    #[serde(flatten)]
    author: ValueAuthorView,
}

/// Who wrote a value, and when.
#[derive(Clone, Serialize, ToSchema)]
pub struct ValueAuthorView {
    username: Option<String>,
    display_name: Option<String>,
    device: Uuid,
    device_name: Option<String>,
    /// The device's clock: shown, never trusted.
    #[schema(value_type = Option<String>, format = DateTime)]
    device_time: Option<DeviceTime>,
    /// The server's clock.
    #[schema(value_type = String, format = DateTime)]
    received_at: ServerTime,
}

/// List conflicts by shop
///
/// Every concurrent value with its author, device, both clocks and what the author had seen. Equal values are no conflict.
#[utoipa::path(get, path = "/v1/streets/{street}/conflicts", tag = "Review", params(("street" = String, Path), ConflictsQuery),
    responses((status = OK, body = Page<DisputedView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<ConflictsQuery>,
) -> Result<Json<Page<DisputedView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    let class = query.class.as_deref().map(class).transpose()?;
    let filter = ConflictFilter {
        grid: query.grid,
        field: query.field,
        class: class.map(HarmlessClass::as_str),
        record: query.record,
    };
    let mut conn = app.pool.acquire().await?;
    streets::find_street(&mut conn, scope.street())
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let (rows, total) = conflicts::disputed(
        &mut conn,
        scope.street(),
        &filter,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    let items = Inbox::load(&mut conn, scope.street(), rows)
        .await?
        .views(filter.field.as_deref(), class);
    Ok(Json(paging.of(items, total)))
}

/// A page of disputed records with all that their values refer to.
struct Inbox {
    rows: Vec<(Disputed, RegisterState)>,
    changes: HashMap<(RecordId, ChangeHash), Change>,
    writers: BTreeMap<DeviceId, Person>,
    restored: BTreeMap<RecordId, Vec<Restored>>,
}

impl Inbox {
    async fn load(
        conn: &mut PgConnection,
        street: &StreetCode,
        rows: Vec<Disputed>,
    ) -> Result<Self, ApiError> {
        let rows = rows
            .into_iter()
            .map(|row| crate::store::registers(&row.state).map(|state| (row, state)))
            .collect::<sqlx::Result<Vec<_>>>()?;
        let records: Vec<_> = rows.iter().map(|(row, _)| row.record).collect();
        let mut inbox = Self {
            rows,
            changes: HashMap::new(),
            writers: BTreeMap::new(),
            restored: BTreeMap::new(),
        };
        inbox.restored = conflicts::restored(conn, street, &records).await?;
        // First the changes that wrote the values, then those that wrote what the values replaced.
        let wrote = inbox.changes_of(|_, _, op| vec![op]);
        inbox.load_changes(conn, street, wrote).await?;
        let wrote_before =
            inbox.changes_of(|record, state, op| inbox.seen(record, state, op).unwrap_or_default());
        inbox.load_changes(conn, street, wrote_before).await?;
        let devices: BTreeSet<_> = inbox
            .changes
            .values()
            .map(|change| change.actor.device().0)
            .collect();
        inbox.writers = conflicts::writers(conn, &devices.into_iter().collect::<Vec<_>>()).await?;
        Ok(inbox)
    }

    /// The changes that made the operations which `select` names for each one in conflict.
    fn changes_of(
        &self,
        select: impl Fn(RecordId, &RegisterState, OpId) -> Vec<OpId>,
    ) -> BTreeSet<(RecordId, ChangeHash)> {
        let mut changes = BTreeSet::new();
        for (row, state) in &self.rows {
            let record = RecordId(row.record);
            for value in kinds::conflicts(&state.view()).flat_map(|(_, values)| values) {
                let selected = select(record, state, value.op);
                changes.extend(
                    selected
                        .into_iter()
                        .filter_map(|op| Some((record, state.provenance(op)?.hash))),
                );
            }
        }
        changes
    }

    /// What an operation replaced, if its change is loaded.
    fn seen(&self, record: RecordId, state: &RegisterState, op: OpId) -> Option<Vec<OpId>> {
        let change = self.changes.get(&(record, state.provenance(op)?.hash))?;
        Some(
            change
                .ops
                .get((op.counter - change.start_op) as usize)?
                .pred
                .clone(),
        )
    }

    async fn load_changes(
        &mut self,
        conn: &mut PgConnection,
        street: &StreetCode,
        wanted: BTreeSet<(RecordId, ChangeHash)>,
    ) -> sqlx::Result<()> {
        let missing = wanted
            .into_iter()
            .filter(|of| !self.changes.contains_key(of));
        let (records, hashes): (Vec<_>, Vec<_>) = missing
            .map(|(record, hash)| (record.0, hash.0.to_vec()))
            .unzip();
        for (of, bytes) in past::bytes(conn, street, &records, &hashes).await? {
            // What the gate passed before it passes again; were it not so, the value would be shown without its past.
            if let Ok(change) = change::decode(&bytes) {
                self.changes.insert(of, change);
            }
        }
        Ok(())
    }

    fn views(&self, field: Option<&str>, class: Option<HarmlessClass>) -> Vec<DisputedView> {
        let named = |key: &str| {
            field.is_none_or(|field| {
                key == field
                    || key
                        .strip_suffix(field)
                        .is_some_and(|rest| rest.ends_with('/'))
            })
        };
        let view = |(row, state): &(Disputed, RegisterState)| {
            let view = state.view();
            let fields = kinds::conflicts(&view)
                .filter(|(key, _)| named(key))
                .filter_map(|(key, values)| {
                    let (field, _) = state.kind().field(key)?;
                    let values: Vec<_> = values
                        .iter()
                        .map(|value| (value.op, &value.value))
                        .collect();
                    Some(self.field_view(RecordId(row.record), state, field, key, &values))
                });
            let fields = fields.filter(|field| {
                class.is_none_or(|class| {
                    field
                        .harmless
                        .as_ref()
                        .is_some_and(|h| h.class == class.as_str())
                })
            });
            DisputedView {
                record: row.record,
                kind: row.kind.clone(),
                grid: row.grid.clone(),
                sign_name: row.sign_name.clone(),
                address: address(row),
                seq: row.seq,
                fields: fields.collect(),
            }
        };
        self.rows.iter().map(view).collect()
    }

    fn field_view(
        &self,
        record: RecordId,
        state: &RegisterState,
        field: &'static Field,
        key: &str,
        values: &[(OpId, &Scalar)],
    ) -> DisputedFieldView {
        let masked = field.class == Class::P3;
        let all: Vec<_> = values.iter().map(|(_, value)| *value).collect();
        let harmless = conflict::harmless(field, &all).map(|harmless| HarmlessView {
            class: harmless.class.as_str(),
            label_zh: harmless.class.label(Lang::Zh),
            label_en: harmless.class.label(Lang::En),
            suggestion: harmless.suggestion,
        });
        let values = values
            .iter()
            .flat_map(|(op, value)| self.value_views(record, state, key, *op, value, masked));
        DisputedFieldView {
            key: key.to_owned(),
            label_zh: field.label_zh,
            label_en: field.label_en,
            class: format!("{:?}", field.class),
            masked,
            harmless,
            values: values.collect(),
        }
    }

    /// One value; as many as there were authors where an undo put it back.
    fn value_views(
        &self,
        record: RecordId,
        state: &RegisterState,
        key: &str,
        op: OpId,
        value: &Scalar,
        masked: bool,
    ) -> Vec<DisputedValueView> {
        let Some(from) = state.provenance(op) else {
            return Vec::new();
        };
        let text = op_text(op);
        let shown = |value: &Scalar| (!masked).then(|| value.clone());
        let view = DisputedValueView {
            op: text.clone(),
            value: shown(value),
            change: from.hash,
            author: self.author(&from),
            restored: false,
            seen: None,
        };
        let originals: Vec<_> = self
            .restored
            .get(&record)
            .into_iter()
            .flatten()
            .filter(|one| one.field == key && one.value.restored_as.as_ref() == Some(&text))
            .map(|one| DisputedValueView {
                author: (&one.value).into(),
                restored: true,
                ..view.clone()
            })
            .collect();
        if !originals.is_empty() {
            return originals;
        }
        let seen = self.seen(record, state, op).map(|seen| {
            let seen = seen.into_iter().filter_map(|op| {
                let from = state.provenance(op)?;
                let change = self.changes.get(&(record, from.hash))?;
                let value = match &change
                    .ops
                    .get((op.counter - change.start_op) as usize)?
                    .action
                {
                    Action::Put { value, .. } => shown(value),
                    _ => None,
                };
                Some(SeenView {
                    value,
                    author: self.author(&from),
                })
            });
            seen.collect()
        });
        vec![DisputedValueView { seen, ..view }]
    }

    fn author(&self, from: &Provenance) -> ValueAuthorView {
        let writer = self.writers.get(&from.device);
        ValueAuthorView {
            username: writer.map(|writer| writer.username.clone()),
            display_name: writer.map(|writer| writer.display_name.clone()),
            device: from.device.0,
            device_name: writer.map(|writer| writer.device_name.clone()),
            device_time: from.device_time,
            received_at: from.received_at,
        }
    }
}

impl From<&ReplacedValue> for ValueAuthorView {
    fn from(value: &ReplacedValue) -> Self {
        Self {
            username: value.username.clone(),
            display_name: value.display_name.clone(),
            device: value.device,
            device_name: value.device_name.clone(),
            device_time: value.device_time,
            received_at: value.received_at,
        }
    }
}

fn address(row: &Disputed) -> Option<String> {
    let lane = row.lane.as_deref().map(|lane| {
        if lane.ends_with('弄') {
            lane.to_owned()
        } else {
            format!("{lane}弄")
        }
    });
    let number = row.number.as_deref().map(|number| format!("{number}号"));
    let parts = [
        row.road.clone(),
        lane,
        number,
        row.number_suffix.clone(),
        row.unit.clone(),
    ];
    row.address_raw.clone().or_else(|| {
        Some(parts.into_iter().flatten().collect::<String>()).filter(|text| !text.is_empty())
    })
}

/// A choice between the values of a field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolutionRequest {
    /// The key.
    #[schema(example = "sign_name")]
    field: String,
    /// One of the values or another one; `null` clears the field.
    #[schema(value_type = serde_json::Value)]
    value: serde_json::Value,
    /// Why, for the history and for the workers whose value was not chosen; no personal data.
    note: Option<String>,
    /// The values looked at, by `op`. What is not named stays in conflict. Without it, whatever stands there was looked at.
    seen: Option<Vec<String>>,
}

/// What a choice came to.
#[derive(Serialize, ToSchema)]
pub struct ChosenView {
    /// To undo it by.
    resolution: Uuid,
    #[schema(value_type = String)]
    change: ChangeHash,
    seq: i64,
    #[schema(value_type = Vec<String>)]
    heads: Vec<ChangeHash>,
    /// Values, by `op`, that stand beside the chosen one because they had not been looked at.
    remaining: Vec<String>,
}

/// Choose between values
///
/// Replaces the values named in `seen` by `value`, and no other. `conflict_changed` where they are not in conflict any more.
#[utoipa::path(post, path = "/v1/streets/{street}/records/{record}/resolutions", tag = "Review",
    params(("street" = String, Path), ("record" = Uuid, Path)), request_body = ResolutionRequest,
    responses((status = OK, body = ChosenView)))]
pub async fn choose(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
    Body(request): Body<ResolutionRequest>,
) -> Result<Json<ChosenView>, ApiError> {
    if request
        .seen
        .as_ref()
        .is_some_and(|seen| seen.len() > SEEN_MAX)
    {
        return Err(ApiError::invalid_field("seen", "items_max_64"));
    }
    let op = |(at, text): (usize, &String)| {
        parse_op(text).ok_or_else(|| ApiError::invalid_field(format!("seen[{at}]"), "shape"))
    };
    let seen = request
        .seen
        .map(|seen| seen.iter().enumerate().map(op).collect::<Result<_, _>>())
        .transpose()?;
    let value = match request.value {
        serde_json::Value::Null => None,
        value => Some(
            serde_json::from_value(value).map_err(|_| ApiError::invalid_field("value", "shape"))?,
        ),
    };
    let choose = Choose {
        by: principal.desk(),
        record: path.record,
        field: request.field,
        value,
        note: remark(request.note.as_deref())?,
        seen,
    };
    let chosen = transaction::act(&app.pool, scope.street(), app.clock.now(), choose).await?;
    Ok(Json(ChosenView {
        resolution: chosen.resolution,
        change: chosen.change,
        seq: chosen.seq,
        heads: chosen.heads,
        remaining: chosen
            .remaining
            .into_iter()
            .map(|(op, _)| op_text(op))
            .collect(),
    }))
}

/// Which harmless conflicts to settle.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// `spelling`, `phone_format` or `more_complete`.
    #[schema(example = "spelling")]
    class: String,
    /// Only this key, or this field of any entry.
    field: Option<String>,
    /// Only this grid.
    grid: Option<String>,
    note: Option<String>,
    /// Only tell what would be settled.
    #[serde(default)]
    dry_run: bool,
}

/// What a bulk came to.
#[derive(Serialize, ToSchema)]
pub struct BulkView {
    /// To undo it by; absent where nothing was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    bulk: Option<Uuid>,
    dry_run: bool,
    /// How many conflicts were settled, or would be.
    settled: usize,
    /// There are more than one request settles: send it again.
    more: bool,
    items: Vec<BulkItemView>,
}

/// One conflict of a bulk.
#[derive(Serialize, ToSchema)]
pub struct BulkItemView {
    #[schema(value_type = Uuid)]
    record: RecordId,
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    #[schema(value_type = Vec<serde_json::Value>)]
    values: Vec<Scalar>,
    #[schema(value_type = serde_json::Value)]
    chosen: Scalar,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Uuid>,
    /// Why it could not be written: a code as in the verdicts of a phone's changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
}

impl From<BulkItem> for BulkItemView {
    fn from(item: BulkItem) -> Self {
        let BulkItem {
            record,
            kind,
            field: key,
            values,
            chosen,
            resolution,
            refused,
        } = item;
        let (label_zh, label_en) = kind
            .field(&key)
            .map(|(field, _)| (field.label_zh, field.label_en))
            .unwrap_or_default();
        Self {
            record,
            key,
            label_zh,
            label_en,
            values,
            chosen,
            resolution,
            refused,
        }
    }
}

/// Settle harmless conflicts
///
/// Gives every harmless conflict of a class its suggested value, at most 500 at once, as one act that can be undone whole or one by one. The
/// workers concerned are told.
#[utoipa::path(post, path = "/v1/streets/{street}/conflicts/resolutions", tag = "Review", params(("street" = String, Path)),
    request_body = BulkRequest, responses((status = OK, body = BulkView)))]
pub async fn choose_in_bulk(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Body(request): Body<BulkRequest>,
) -> Result<Json<BulkView>, ApiError> {
    let BulkRequest {
        field,
        grid,
        note,
        dry_run,
        ..
    } = request;
    let class = class(&request.class)?;
    let now = app.clock.now();
    let wanted = Harmless {
        by: principal.desk(),
        class,
        field,
        grid,
        note: remark(note.as_deref())?,
        dry_run,
        bulk: RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()).0,
    };
    let (done, more) = acts::choose_harmless(&app.pool, scope.street(), now, wanted).await?;
    let settled = done
        .items
        .iter()
        .filter(|item| dry_run || item.resolution.is_some())
        .count();
    let items = done.items.into_iter().map(Into::into).collect();
    Ok(Json(BulkView {
        bulk: done.bulk,
        dry_run,
        settled,
        more,
        items,
    }))
}

/// Which resolutions to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ResolutionsQuery {
    record: Option<Uuid>,
    /// Only this key.
    field: Option<String>,
    bulk: Option<Uuid>,
    /// Only those that were (`true`) or were not (`false`) undone.
    undone: Option<bool>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// A settled conflict.
#[derive(Serialize, ToSchema)]
pub struct ResolutionView {
    resolution: Uuid,
    #[schema(value_type = Uuid)]
    record: RecordId,
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    /// The values are sensitive and left out.
    masked: bool,
    seq: i64,
    #[schema(value_type = String)]
    change: ChangeHash,
    /// `null`: the field was cleared.
    #[schema(value_type = serde_json::Value)]
    chosen: Option<Scalar>,
    /// Every value that was replaced.
    replaced: Vec<ReplacedView>,
    note: String,
    /// `phone`, `desk` or `server`.
    source: String,
    username: Option<String>,
    display_name: Option<String>,
    device: Uuid,
    #[schema(value_type = String, format = DateTime)]
    at: ServerTime,
    bulk: Option<Uuid>,
    /// The class of the conflict, where it was harmless.
    class: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    undone_at: Option<ServerTime>,
    undone_by: Option<String>,
}

/// A value that was replaced.
#[derive(Serialize, ToSchema)]
pub struct ReplacedView {
    op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    value: Option<Scalar>,
    #[serde(flatten)]
    author: ValueAuthorView,
}

impl From<Resolution> for ResolutionView {
    fn from(row: Resolution) -> Self {
        let field = Kind::ALL
            .into_iter()
            .find_map(|kind| kind.field(&row.field))
            .map(|(field, _)| field);
        let masked = field.is_none_or(|field| field.class == Class::P3);
        let shown = |value: &Scalar| (!masked).then(|| value.clone());
        let replaced = row.replaced.iter();
        let replaced = replaced.map(|value| ReplacedView {
            op: value.op.clone(),
            value: shown(&value.value),
            author: value.into(),
        });
        Self {
            replaced: replaced.collect(),
            chosen: row.chosen.as_ref().and_then(shown),
            resolution: row.resolution,
            record: row.record,
            label_zh: field.map(|field| field.label_zh).unwrap_or_default(),
            label_en: field.map(|field| field.label_en).unwrap_or_default(),
            masked,
            key: row.field,
            seq: row.seq,
            change: row.hash,
            note: row.note,
            source: row.source,
            username: row.username,
            display_name: row.display_name,
            device: row.device,
            at: row.at,
            bulk: row.bulk,
            class: row.class,
            undone_at: row.undone_at,
            undone_by: row.undone_by,
        }
    }
}

/// List settled conflicts
///
/// Newest first, whoever settled them: at a desk or on a phone.
#[utoipa::path(get, path = "/v1/streets/{street}/resolutions", tag = "Review", params(("street" = String, Path), ResolutionsQuery),
    responses((status = OK, body = Page<ResolutionView>)))]
pub async fn resolutions(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<ResolutionsQuery>,
) -> Result<Json<Page<ResolutionView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    let ResolutionsQuery {
        record,
        bulk,
        undone,
        ..
    } = query;
    let filter = ResolutionFilter {
        resolution: None,
        record,
        field: query.field.as_deref(),
        bulk,
        undone,
    };
    let mut conn = app.pool.acquire().await?;
    let (rows, total) = conflicts::resolutions(
        &mut conn,
        scope.street(),
        &filter,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(
        paging.of(rows.into_iter().map(Into::into).collect(), total),
    ))
}

#[derive(Deserialize)]
pub struct ResolutionPath {
    resolution: Uuid,
}

#[derive(Deserialize)]
pub struct BulkPath {
    bulk: Uuid,
}

/// How to undo.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    /// Even where the field was edited since: what stands there now stays beside the values put back.
    #[serde(default)]
    force: bool,
}

/// What an undo came to.
#[derive(Serialize, ToSchema)]
pub struct UndoView {
    undone: usize,
    items: Vec<UndoItemView>,
}

/// One resolution of an undo.
#[derive(Serialize, ToSchema)]
pub struct UndoItemView {
    resolution: Uuid,
    #[schema(value_type = Uuid)]
    record: RecordId,
    key: String,
    /// Why it was not undone, such as `edited_since` or `already_undone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
}

/// The code of a refusal, as a problem or a verdict would name it.
fn code(refused: Refused) -> &'static str {
    match refused {
        Refused::Rule(refusal) => refusal.code(),
        refused => ApiError::from(refused).code().as_str(),
    }
}

fn undo_view(items: Vec<UndoItem>) -> UndoView {
    let view = |item: UndoItem| UndoItemView {
        resolution: item.resolution,
        record: item.record,
        key: item.field,
        refused: item.refused.map(code),
    };
    UndoView {
        undone: items.iter().filter(|item| item.refused.is_none()).count(),
        items: items.into_iter().map(view).collect(),
    }
}

/// Undo a resolution
///
/// The conflict is back with all its values and shows their first authors. `edited_since` where somebody wrote the field since.
#[utoipa::path(post, path = "/v1/streets/{street}/resolutions/{resolution}/undo", tag = "Review",
    params(("street" = String, Path), ("resolution" = Uuid, Path)), request_body = UndoRequest, responses((status = OK, body = UndoView)))]
pub async fn undo(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<ResolutionPath>,
    Body(request): Body<UndoRequest>,
) -> Result<Json<UndoView>, ApiError> {
    let undo = Undo {
        by: principal.desk(),
        resolutions: vec![path.resolution],
        bulk: None,
        force: request.force,
    };
    let items = transaction::act(&app.pool, scope.street(), app.clock.now(), undo).await?;
    Ok(Json(undo_view(items)))
}

/// Undo a bulk
///
/// Undoes every resolution of it; those whose field was edited since, or that were undone before, are named and left as they are.
#[utoipa::path(post, path = "/v1/streets/{street}/conflicts/resolutions/{bulk}/undo", tag = "Review",
    params(("street" = String, Path), ("bulk" = Uuid, Path)), request_body = UndoRequest, responses((status = OK, body = UndoView)))]
pub async fn undo_bulk(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<BulkPath>,
    Body(request): Body<UndoRequest>,
) -> Result<Json<UndoView>, ApiError> {
    let (street, now, by) = (scope.street(), app.clock.now(), principal.desk());
    let items = acts::undo_bulk(&app.pool, street, now, by, path.bulk, request.force).await?;
    Ok(Json(undo_view(items)))
}
