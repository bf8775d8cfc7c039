//! The merged roll, one record with every concurrent value, and its history.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::{Json, extract::State};
use lianka_sync_core::{
    access::Role,
    codec::change::{self, Action, OpId, Scalar},
    crdt::merge::RegisterState,
    id::{ChangeHash, DeviceId, RecordId, StreetCode},
    key,
    kinds::{self, Class, Kind, projection::CardRow, transfer::calendar::day_of},
    search,
    time::{DeviceTime, ServerTime},
    values::date,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Page, PageQuery, Paging, Path, Query};
use crate::{
    audit,
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    roll::{
        import::store as imports,
        masks::masked_personal,
        store::{self as roll, CardFilter, CardOrder, LastVisit, ListedCard},
    },
    state::App,
    street::{
        history as past,
        store::{records, streets},
    },
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(cards), Who::ROLL_READERS, Quick),
        route(routes!(show), Who::ROLL_READERS, Quick),
        route(routes!(history), Who::ROLL_READERS, Quick),
    ]
}

/// Which cards to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CardsQuery {
    /// Only this grid.
    pub(crate) grid: Option<String>,
    /// Only this road.
    pub(crate) road: Option<String>,
    /// Sign name, registered name, address or category; Chinese in either script, full pinyin, or initials.
    #[param(example = "tplbzp")]
    pub(crate) q: Option<String>,
    /// Only cards with (`true`) or without (`false`) values in conflict.
    pub(crate) conflict: Option<bool>,
    /// Only cards never confirmed, or last confirmed before this day.
    #[param(example = "2026-09-01")]
    pub(crate) confirmed_before: Option<String>,
    /// Only cards that are due: never confirmed, or last more than so many days before today by the office's clock.
    #[param(example = 90, maximum = 36500)]
    pub(crate) unconfirmed_days: Option<u16>,
    /// Only cards that were merged into another (`true`), or only those that were not (`false`, default).
    pub(crate) merged: Option<bool>,
    /// `walk` (default), `sign_name`, `confirmed` (longest ago first) or `changed` (last first).
    pub(crate) sort: Option<String>,
    pub(crate) page: Option<u32>,
    pub(crate) page_size: Option<u32>,
}

impl CardsQuery {
    pub(crate) fn order(&self) -> Result<CardOrder, ApiError> {
        match self.sort.as_deref() {
            None | Some("walk") => Ok(CardOrder::Walk),
            Some(name) if name == CardOrder::SignName.as_str() => Ok(CardOrder::SignName),
            Some("confirmed") => Ok(CardOrder::Confirmed),
            Some("changed") => Ok(CardOrder::Changed),
            Some(_) => Err(ApiError::invalid_field(
                "sort",
                "one_of_walk_sign_name_confirmed_changed",
            )),
        }
    }

    pub(crate) fn filter(&self, scope: Option<Vec<String>>) -> Result<CardFilter, ApiError> {
        let day = |text: &String| {
            date::parse(text)
                .ok_or_else(|| ApiError::invalid_field("confirmed_before", "date_yyyy_mm_dd"))
        };
        if self
            .q
            .as_ref()
            .is_some_and(|q| q.chars().count() > QUERY_CHARS_MAX)
        {
            return Err(ApiError::invalid_field("q", "length_0_100"));
        }
        Ok(CardFilter {
            scope,
            grid: self.grid.clone(),
            road: self.road.clone(),
            terms: self.q.as_deref().map(search::query),
            conflict: self.conflict,
            confirmed_before: self.confirmed_before.as_ref().map(day).transpose()?,
            merged: Some(self.merged.unwrap_or(false)),
        })
    }
}

const QUERY_CHARS_MAX: usize = 100;

/// A card of the merged roll.
#[derive(Serialize, ToSchema)]
pub struct CardView {
    /// The winning values, and every value in conflict.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    row: CardRow,
    /// Sequence of the card's newest log entry.
    seq: i64,
    /// The last visit that counts: neither void nor replaced.
    last_visit: Option<LastVisitView>,
}

/// The last visit to a shop.
#[derive(Serialize, ToSchema)]
pub struct LastVisitView {
    /// The visit.
    #[schema(value_type = Uuid)]
    record: RecordId,
    /// Day and time in China, `YYYY-MM-DDTHH:MM`, by the device's clock.
    at: String,
    channel: Option<String>,
    outcome: Option<String>,
    /// By whom.
    username: Option<String>,
}

impl From<LastVisit> for LastVisitView {
    fn from(visit: LastVisit) -> Self {
        Self {
            record: visit.record,
            at: visit.at,
            channel: visit.channel,
            outcome: visit.outcome,
            username: visit.username,
        }
    }
}

/// The grids that the reader may see; `None` is the whole street.
pub(crate) async fn readable(
    conn: &mut PgConnection,
    street: &StreetCode,
    principal: &Principal,
) -> Result<Option<Vec<String>>, ApiError> {
    if principal.role().sees_whole_street() {
        Ok(None)
    } else {
        Ok(Some(
            streets::scope(conn, street, principal.username())
                .await?
                .grids,
        ))
    }
}

/// List the merged roll
///
/// Winning values, with every value in conflict beside them. Secretaries see their own grids. Sensitive fields (P3) are not listed, values of
/// the street's own fields of class P2 are masked.
#[utoipa::path(get, path = "/v1/streets/{street}/cards", tag = "Roll", params(("street" = String, Path), CardsQuery),
    responses((status = OK, body = Page<CardView>)))]
pub async fn cards(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Query(query): Query<CardsQuery>,
) -> Result<Json<Page<CardView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    let mut conn = app.pool.acquire().await?;
    streets::find_street(&mut conn, scope.street())
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let mut filter = query.filter(readable(&mut conn, scope.street(), &principal).await?)?;
    if let Some(days) = query.unconfirmed_days {
        let today = day_of(app.clock.now());
        let due = today.saturating_sub(time::Duration::days(days.into()));
        filter.confirmed_before = Some(filter.confirmed_before.map_or(due, |day| day.min(due)));
    }
    let (ids, total) = roll::page(
        &mut conn,
        scope.street(),
        &filter,
        query.order()?,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    let cards = roll::cards(&mut conn, scope.street(), &ids).await?;
    let personal = roll::personal_fields(&mut conn, scope.street()).await?;
    let view = |card: ListedCard| CardView {
        last_visit: card.visit.map(Into::into),
        row: without_personal(card.row, &personal),
        seq: card.seq,
    };
    Ok(Json(
        paging.of(cards.into_iter().map(view).collect(), total),
    ))
}

/// The card with the values of the street's own personal fields masked, as an export has them.
fn without_personal(mut card: CardRow, personal: &BTreeSet<String>) -> CardRow {
    for (name, value) in &mut card.custom {
        if personal.contains(name) {
            *value = masked_personal(value);
        }
    }
    for conflict in &mut card.conflicts {
        if let (Some(name), Scalar::Str(text)) = (own_field(&conflict.field), &mut conflict.value)
            && personal.contains(name)
        {
            *text = masked_personal(text);
        }
    }
    card
}

/// The name of a field of the street's own in its key.
fn own_field(key: &str) -> Option<&str> {
    key.strip_prefix(key::CUSTOM)?.strip_prefix('/')
}

/// Where a value or a change comes from.
#[derive(Clone, Serialize, ToSchema)]
pub struct AuthorView {
    #[schema(value_type = Uuid)]
    device: DeviceId,
    device_name: Option<String>,
    username: Option<String>,
    /// The device's clock: shown, never trusted.
    #[schema(value_type = Option<String>, format = DateTime)]
    device_time: Option<DeviceTime>,
    /// The server's clock.
    #[schema(value_type = String, format = DateTime)]
    received_at: ServerTime,
}

/// One value of a field.
#[derive(Serialize, ToSchema)]
pub struct ValueView {
    #[schema(value_type = serde_json::Value)]
    value: Scalar,
    /// The change that wrote it.
    #[schema(value_type = String)]
    change: ChangeHash,
    #[serde(flatten)]
    author: AuthorView,
}

/// One key of a record.
#[derive(Serialize, ToSchema)]
pub struct FieldView {
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    /// P0 public, P1 internal, P2 personal, P3 sensitive.
    class: String,
    /// How concurrent values merge: MV, LW, SET, TEXT, LOG or ONCE.
    merge: String,
    /// Several values that differ: somebody must choose.
    conflict: bool,
    /// Every concurrent value, the winning one last.
    values: Vec<ValueView>,
}

/// One record.
#[derive(Serialize, ToSchema)]
pub struct RecordView {
    #[schema(value_type = Uuid)]
    record: RecordId,
    kind: String,
    grid: String,
    generation: i32,
    seq: i64,
    /// The changes that nothing depends on yet.
    #[schema(value_type = Vec<String>)]
    heads: Vec<ChangeHash>,
    fields: Vec<FieldView>,
    note: String,
    /// The card that this one was found to be: it goes on there.
    #[schema(value_type = Option<Uuid>)]
    merged_into: Option<RecordId>,
}

#[derive(Deserialize)]
pub struct RecordPath {
    pub(crate) record: RecordId,
}

/// Show one record
///
/// Every field with every concurrent value, its author, device, and both clocks. Sensitive values (P3) are shown to the secretary of the grid, which
/// the audit trail tells of; to others only that there is one.
#[utoipa::path(get, path = "/v1/streets/{street}/records/{record}", tag = "Roll", params(("street" = String, Path), ("record" = Uuid, Path)),
    responses((status = OK, body = RecordView)))]
pub async fn show(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
) -> Result<Json<RecordView>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let row = find(&mut conn, &scope, &principal, path.record).await?;
    let state = crate::store::registers(&row.state)?;
    let view = state.view();
    let devices: Vec<Uuid> = view
        .values
        .values()
        .flatten()
        .map(|value| value.op.actor.device().0)
        .collect();
    let names = Names::load(&mut conn, &devices).await?;
    let kind = state.kind();
    // Who walks the grid asked for it and has it on the phone; at the desk it is enough that it was answered.
    let reads_p3 = principal.role() == Role::Secretary;
    let masked = Scalar::Str(MASKED.into());
    let holds_p3 = view
        .values
        .iter()
        .any(|(key, values)| !values.is_empty() && is_p3(kind, key));
    if reads_p3 && holds_p3 {
        let event = principal.did(audit::Action::ReadP3).on(path.record);
        audit::tell(&mut conn, scope.street().into(), app.clock.now(), &[event]).await?;
    }
    let conflicts: BTreeSet<_> = kinds::conflicts(&view).map(|(key, _)| key).collect();
    let personal = roll::personal_fields(&mut conn, scope.street()).await?;
    let fields = view
        .values
        .iter()
        .filter_map(|(key, values)| {
            let (field, _) = kind.field(key)?;
            let is_masked = field.class == Class::P3 && !reads_p3;
            let shown = |value| if is_masked { &masked } else { value };
            let values: Vec<_> = values
                .iter()
                .filter_map(|value| value_view(&state, &names, value.op, shown(&value.value)))
                .collect();
            Some(FieldView {
                key: key.clone(),
                label_zh: field.label_zh,
                label_en: field.label_en,
                class: match own_field(key) {
                    Some(name) if personal.contains(name) => format!("{:?}", Class::P2),
                    _ => format!("{:?}", field.class),
                },
                merge: serde_json::to_value(field.merge).ok()?.as_str()?.to_owned(),
                conflict: conflicts.contains(key.as_str()),
                values,
            })
        })
        .collect();
    Ok(Json(RecordView {
        record: path.record,
        kind: row.kind,
        grid: row.grid,
        generation: row.generation,
        seq: row.seq,
        heads: state.heads(),
        fields,
        merged_into: kinds::successor(&view),
        note: view.note.unwrap_or_default(),
    }))
}

/// Stands for a sensitive value that its reader has no need of.
/// What is shown in place of a sensitive value.
pub const MASKED: &str = "●●●";

fn is_p3(kind: Kind, key: &str) -> bool {
    kind.field(key)
        .is_some_and(|(field, _)| field.class == Class::P3)
}

fn value_view(state: &RegisterState, names: &Names, op: OpId, value: &Scalar) -> Option<ValueView> {
    let from = state.provenance(op)?;
    let author = names.author(from.device, from.device_time, from.received_at);
    Some(ValueView {
        value: value.clone(),
        change: from.hash,
        author,
    })
}

async fn find(
    conn: &mut PgConnection,
    scope: &StreetScope,
    principal: &Principal,
    record: RecordId,
) -> Result<records::RecordRow, ApiError> {
    let grids = readable(conn, scope.street(), principal).await?;
    let row = records::find(conn, scope.street(), record, grids.as_deref()).await?;
    row.ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// Who devices are.
struct Names(HashMap<Uuid, (String, String)>);

impl Names {
    async fn load(conn: &mut PgConnection, devices: &[Uuid]) -> Result<Self, ApiError> {
        let names = roll::device_names(conn, devices).await?;
        Ok(Self(
            names
                .into_iter()
                .map(|name| (name.device, (name.name, name.username)))
                .collect(),
        ))
    }

    fn author(
        &self,
        device: DeviceId,
        device_time: Option<DeviceTime>,
        received_at: ServerTime,
    ) -> AuthorView {
        let (device_name, username) = self.0.get(&device.0).cloned().unzip();
        AuthorView {
            device,
            device_name,
            username,
            device_time,
            received_at,
        }
    }
}

/// What a change did to one key.
#[derive(Serialize, ToSchema)]
pub struct WriteView {
    key: String,
    /// `null`: the key was deleted; for the note, how many characters came and went.
    #[schema(value_type = serde_json::Value)]
    value: Option<Scalar>,
}

/// One accepted change.
#[derive(Serialize, ToSchema)]
pub struct HistoryView {
    seq: i64,
    #[schema(value_type = String)]
    change: ChangeHash,
    #[serde(flatten)]
    author: AuthorView,
    /// The author's remark.
    message: String,
    /// The row of a sheet that wrote it.
    import: Option<FromRow>,
    writes: Vec<WriteView>,
}

/// A row of an imported sheet.
#[derive(Serialize, ToSchema)]
pub struct FromRow {
    import: Uuid,
    file_name: String,
    sheet: Option<String>,
    /// As the spreadsheet counts.
    row: i32,
}

/// Show a record's history
///
/// Who changed what, newest first. Of sensitive values (P3) only that they were written.
#[utoipa::path(get, path = "/v1/streets/{street}/records/{record}/history", tag = "Roll",
    params(("street" = String, Path), ("record" = Uuid, Path), PageQuery), responses((status = OK, body = Page<HistoryView>)))]
pub async fn history(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<RecordPath>,
    paging: Paging,
) -> Result<Json<Page<HistoryView>>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let kind = find(&mut conn, &scope, &principal, path.record)
        .await?
        .kind
        .parse()
        .map_err(ApiError::internal)?;
    let (rows, total) = past::history(
        &mut conn,
        scope.street(),
        path.record,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    let imports = imports::written_by(&mut conn, scope.street(), path.record).await?;
    let items = rows
        .into_iter()
        .map(|row| {
            let mut view = history_view(row, kind)?;
            // A change that was written anew when the history was made shorter stands where it stood.
            let is_its = |row: &&imports::WrittenBy| {
                row.seq == view.seq
                    || row.hash == view.change.0
                    || row.note_change == Some(view.change.to_string())
            };
            view.import = imports.iter().find(is_its).map(|row| FromRow {
                import: row.import,
                file_name: row.file_name.clone(),
                sheet: row.sheet.clone(),
                row: row.row,
            });
            Ok(view)
        })
        .collect::<Result<_, ApiError>>()?;
    Ok(Json(paging.of(items, total)))
}

/// Sensitive values are in no history: what matters there is that they were written.
fn masked(kind: Kind, key: &str, value: Option<Scalar>) -> Option<Scalar> {
    value.map(|value| {
        if is_p3(kind, key) {
            Scalar::Str(MASKED.into())
        } else {
            value
        }
    })
}

fn history_view(row: records::HistoryRow, kind: Kind) -> Result<HistoryView, ApiError> {
    let change = change::decode(&row.bytes).map_err(ApiError::internal)?;
    let mut writes: BTreeMap<&str, Option<Scalar>> = BTreeMap::new();
    let (mut inserted, mut removed) = (0, 0);
    for op in &change.ops {
        match &op.action {
            Action::Put { key, value } => drop(writes.insert(key, Some(value.clone()))),
            Action::Delete { key } => drop(writes.insert(key, None)),
            Action::MakeText { .. } => {}
            Action::Insert { text, .. } => inserted += text.chars().count(),
            Action::Remove { .. } => removed += 1,
        }
    }
    if inserted + removed > 0 {
        writes.insert(
            key::NOTE,
            Some(Scalar::Str(format!("+{inserted} −{removed}"))),
        );
    }
    Ok(HistoryView {
        seq: row.seq,
        change: change.hash,
        author: AuthorView {
            device: DeviceId(row.device),
            device_name: row.device_name,
            username: row.username,
            device_time: change.time,
            received_at: row.received_at.into(),
        },
        message: change.message.clone(),
        import: None,
        writes: writes
            .into_iter()
            .map(|(key, value)| WriteView {
                key: key.to_owned(),
                value: masked(kind, key, value),
            })
            .collect(),
    })
}
