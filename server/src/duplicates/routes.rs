//! Likely duplicates, merging and undoing.

use std::collections::{BTreeSet, HashMap};

use axum::{Json, extract::State};
use lianka_office_core::{
    acts::merge_cards::{Dismiss, Merge, UndoMerge, epoch},
    store::CardMerge,
};
use lianka_sync_core::{
    id::{RecordId, StreetCode},
    kinds::duplicate::{self, Reason},
    lang::Lang,
    time::ServerTime,
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
use crate::http::extract::{Body, Page, PageQuery, Paging, Path, Query};
use crate::{
    auth::{Principal, StreetScope},
    duplicates::{
        self, Pair,
        store::{self as store, ComparedCard},
    },
    http::error::{ApiError, ErrorCode},
    http::fields,
    state::App,
    street::transaction,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::DUPLICATE_READERS, Quick),
        route(routes!(merge), Who::REVIEWER, Quick),
        route(routes!(dismiss), Who::REVIEWER, Quick),
        route(routes!(merges), Who::DUPLICATE_READERS, Quick),
        route(routes!(undo), Who::REVIEWER, Quick),
    ]
}

const NOTE_CHARS_MAX: usize = 200;

/// Which pairs to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DuplicatesQuery {
    /// Only pairs with a card of this grid.
    grid: Option<String>,
    /// Only pairs that share this: `same_door`, `same_name`, `similar_name`, `same_phone` or `same_credit_code`.
    reason: Option<String>,
    /// Only pairs with this card.
    #[param(value_type = Option<Uuid>)]
    record: Option<RecordId>,
    /// `true`: the pairs that were found to be two shops, instead.
    #[serde(default)]
    dismissed: bool,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// What two cards, or two contacts of one card, share.
#[derive(Serialize, ToSchema)]
pub struct ReasonView {
    /// Stable word.
    reason: &'static str,
    zh: &'static str,
    en: &'static str,
}

impl ReasonView {
    pub(super) fn new(reason: &'static str, zh: &'static str, en: &'static str) -> Self {
        Self { reason, zh, en }
    }
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        Self::new(
            reason.as_str(),
            reason.label(Lang::Zh),
            reason.label(Lang::En),
        )
    }
}

/// One of two cards side by side.
#[derive(Serialize, ToSchema)]
pub struct ComparedCardView {
    record: Uuid,
    grid: String,
    sign_name: Option<String>,
    legal_name: Option<String>,
    credit_code: Option<String>,
    category: Option<String>,
    road: Option<String>,
    lane: Option<String>,
    number: Option<String>,
    number_suffix: Option<String>,
    unit: Option<String>,
    address_raw: Option<String>,
    occupancy: Option<String>,
    note: Option<String>,
    phones: Vec<String>,
    last_confirmed_on: Option<String>,
    /// Fields in conflict.
    conflict_count: i32,
    seq: i64,
}

impl From<ComparedCard> for ComparedCardView {
    fn from(card: ComparedCard) -> Self {
        Self {
            record: card.record,
            grid: card.grid,
            sign_name: card.sign_name,
            legal_name: card.legal_name,
            credit_code: card.credit_code,
            category: card.category,
            road: card.road,
            lane: card.lane,
            number: card.number,
            number_suffix: card.number_suffix,
            unit: card.unit,
            address_raw: card.address_raw,
            occupancy: card.occupancy,
            note: card.note,
            phones: card.phones,
            last_confirmed_on: card.last_confirmed_on.map(|day| day.to_string()),
            conflict_count: card.conflict_count,
            seq: card.seq,
        }
    }
}

/// Two cards that are likely one shop.
#[derive(Serialize, ToSchema)]
pub struct PairView {
    /// Names the pair in the routes that decide on it.
    pair: Uuid,
    reasons: Vec<ReasonView>,
    /// Both doors are known and differ: a corner shop, a mistyped number, or two shops.
    other_door: bool,
    /// Two, by id.
    cards: Vec<ComparedCardView>,
}

/// List likely duplicates
///
/// Pairs of cards that share two of door, sign name, phone and credit code, the newest first. Nothing is merged by itself.
#[utoipa::path(get, path = "/v1/streets/{street}/duplicates", tag = "Duplicates", params(("street" = String, Path), DuplicatesQuery),
    responses((status = OK, body = Page<PairView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<DuplicatesQuery>,
) -> Result<Json<Page<PairView>>, ApiError> {
    let paging: Paging = PageQuery::new(query.page, query.page_size).try_into()?;
    let reason = query
        .reason
        .as_deref()
        .map(str::parse::<Reason>)
        .transpose();
    let reason = reason.map_err(|_| ApiError::invalid_field("reason", "known_reason"))?;
    let mut conn = app.pool.acquire().await?;
    let mut pairs = duplicates::likely(&mut conn, scope.street()).await?;
    pairs.retain(|pair| {
        pair.dismissed == query.dismissed
            && reason.is_none_or(|reason| pair.reasons.contains(&reason))
            && query
                .record
                .is_none_or(|record| pair.records.0 == record || pair.records.1 == record)
    });
    if let Some(grid) = &query.grid {
        let in_grid = in_grid(&mut conn, scope.street(), &pairs, grid).await?;
        pairs.retain(|pair| {
            in_grid.contains(&pair.records.0.0) || in_grid.contains(&pair.records.1.0)
        });
    }
    let total = pairs.len() as i64;
    let from = usize::try_from(paging.offset())
        .unwrap_or(usize::MAX)
        .min(pairs.len());
    let upto = from
        .saturating_add(paging.limit() as usize)
        .min(pairs.len());
    Ok(Json(paging.of(
        views(&mut conn, scope.street(), &pairs[from..upto]).await?,
        total,
    )))
}

async fn in_grid(
    conn: &mut PgConnection,
    street: &StreetCode,
    pairs: &[Pair],
    grid: &str,
) -> sqlx::Result<BTreeSet<Uuid>> {
    let records: BTreeSet<Uuid> = pairs
        .iter()
        .flat_map(|pair| [pair.records.0.0, pair.records.1.0])
        .collect();
    let grids = store::grids(conn, street, &records.into_iter().collect::<Vec<_>>()).await?;
    Ok(grids
        .into_iter()
        .filter(|(_, of)| of == grid)
        .map(|(record, _)| record)
        .collect())
}

async fn views(
    conn: &mut PgConnection,
    street: &StreetCode,
    pairs: &[Pair],
) -> sqlx::Result<Vec<PairView>> {
    let records: BTreeSet<Uuid> = pairs
        .iter()
        .flat_map(|pair| [pair.records.0.0, pair.records.1.0])
        .collect();
    let cards = store::compared(conn, street, &records.into_iter().collect::<Vec<_>>()).await?;
    let cards: HashMap<Uuid, ComparedCard> =
        cards.into_iter().map(|card| (card.record, card)).collect();
    let side = |record: RecordId| {
        cards
            .get(&record.0)
            .map(|card| ComparedCardView::from(card.clone()))
    };
    Ok(pairs
        .iter()
        .map(|pair| PairView {
            pair: pair.pair,
            reasons: pair.reasons.iter().copied().map(Into::into).collect(),
            other_door: pair.other_door,
            cards: [pair.records.0, pair.records.1]
                .into_iter()
                .filter_map(side)
                .collect(),
        })
        .collect())
}

#[derive(Deserialize)]
pub struct PairPath {
    pub(super) pair: Uuid,
}

/// Which card goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeBody {
    /// The card that goes on. Where its fields and the other card's differ, both values stay and are listed as a conflict.
    #[schema(value_type = Uuid)]
    winner: RecordId,
    /// The other card of the pair; needed only where the pair is not proposed.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    loser: Option<RecordId>,
    /// Why, at most 200 characters.
    #[serde(default)]
    note: String,
}

/// A decision with a remark.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteBody {
    /// Why, at most 200 characters.
    #[serde(default)]
    pub(super) note: String,
}

pub(super) fn note(text: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() {
        Ok(String::new())
    } else {
        Ok(fields::text("note", text, NOTE_CHARS_MAX)?)
    }
}

/// A merge.
#[derive(Serialize, ToSchema)]
pub struct MergeView {
    merge: Uuid,
    winner: Uuid,
    loser: Uuid,
    winner_sign_name: Option<String>,
    loser_sign_name: Option<String>,
    /// What the cards shared when they were merged.
    reasons: Vec<ReasonView>,
    note: String,
    username: String,
    #[schema(value_type = String, format = DateTime)]
    merged_at: ServerTime,
    /// Who undid it; `null`: it stands.
    undone_by: Option<String>,
    undone_note: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    undone_at: Option<ServerTime>,
}

async fn merge_views(
    conn: &mut PgConnection,
    street: &StreetCode,
    rows: Vec<CardMerge>,
) -> sqlx::Result<Vec<MergeView>> {
    let records: Vec<Uuid> = rows
        .iter()
        .flat_map(|row| [row.winner.0, row.loser.0])
        .collect();
    let names: HashMap<Uuid, Option<String>> = store::compared(conn, street, &records)
        .await?
        .into_iter()
        .map(|card| (card.record, card.sign_name))
        .collect();
    let name = |record: &Uuid| names.get(record).cloned().flatten();
    Ok(rows
        .into_iter()
        .map(|row| MergeView {
            winner_sign_name: name(&row.winner.0),
            loser_sign_name: name(&row.loser.0),
            merge: row.merge,
            winner: row.winner.0,
            loser: row.loser.0,
            reasons: row
                .reasons
                .iter()
                .filter_map(|reason| reason.parse::<Reason>().ok())
                .map(Into::into)
                .collect(),
            note: row.note,
            username: row.username,
            merged_at: row.merged_at,
            undone_at: row.undone.as_ref().map(|undone| undone.at),
            undone_by: row.undone.as_ref().map(|undone| undone.by.clone()),
            undone_note: row.undone.map(|undone| undone.note),
        })
        .collect())
}

async fn merge_view(
    app: &App,
    street: &StreetCode,
    row: CardMerge,
) -> Result<Json<MergeView>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    merge_views(&mut conn, street, vec![row])
        .await?
        .pop()
        .map(Json)
        .ok_or_else(|| ApiError::internal("a merge has no view"))
}

/// Merge two cards of one shop
///
/// The other card of the pair is pointed at `winner` and leaves the roll; what the winner lacks is filled in, what differs becomes a conflict.
/// Later edits of the other card follow. Can be undone.
#[utoipa::path(post, path = "/v1/streets/{street}/duplicates/{pair}/merge", tag = "Duplicates",
    params(("street" = String, Path), ("pair" = Uuid, Path)), request_body = MergeBody, responses((status = OK, body = MergeView)))]
pub async fn merge(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<PairPath>,
    Body(body): Body<MergeBody>,
) -> Result<Json<MergeView>, ApiError> {
    let note = note(&body.note)?;
    let loser = match body.loser {
        Some(loser) if duplicate::pair_id(body.winner, loser) == path.pair => loser,
        Some(_) => return Err(ApiError::invalid_field("loser", "one_of_the_pair")),
        None => {
            let (a, b) = proposed(&app, scope.street(), path.pair).await?.records;
            match (a == body.winner, b == body.winner) {
                (true, _) => b,
                (_, true) => a,
                _ => return Err(ApiError::invalid_field("winner", "one_of_the_pair")),
            }
        }
    };
    let now = app.clock.now();
    let merge = Merge {
        by: principal.desk(),
        winner: body.winner,
        loser,
        note,
        merge: RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()).0,
        epoch: epoch(app.entropy.bytes()),
    };
    let row = transaction::act(&app.pool, scope.street(), now, merge).await?;
    merge_view(&app, scope.street(), row).await
}

/// A pair that is, or was and then dismissed, in the list.
async fn proposed(app: &App, street: &StreetCode, pair: Uuid) -> Result<Pair, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let pairs = duplicates::likely(&mut conn, street).await?;
    pairs
        .into_iter()
        .find(|known| known.pair == pair)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// Say that two cards are two shops
///
/// The pair leaves the list, until the two share something more.
#[utoipa::path(post, path = "/v1/streets/{street}/duplicates/{pair}/dismiss", tag = "Duplicates",
    params(("street" = String, Path), ("pair" = Uuid, Path)), request_body = NoteBody, responses((status = OK, body = PairView)))]
pub async fn dismiss(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<PairPath>,
    Body(body): Body<NoteBody>,
) -> Result<Json<PairView>, ApiError> {
    let note = note(&body.note)?;
    let pair = proposed(&app, scope.street(), path.pair).await?;
    let dismiss = Dismiss {
        by: principal.desk(),
        records: pair.records,
        reasons: pair.reasons.iter().map(ToString::to_string).collect(),
        note,
    };
    transaction::act(&app.pool, scope.street(), app.clock.now(), dismiss).await?;
    let mut conn = app.pool.acquire().await?;
    views(&mut conn, scope.street(), &[pair])
        .await?
        .pop()
        .map(Json)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// Which merges to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MergesQuery {
    /// Only merges that this card went on or went away by.
    #[param(value_type = Option<Uuid>)]
    record: Option<RecordId>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// List merges
///
/// Newest first, undone ones included.
#[utoipa::path(get, path = "/v1/streets/{street}/merges", tag = "Duplicates", params(("street" = String, Path), MergesQuery),
    responses((status = OK, body = Page<MergeView>)))]
pub async fn merges(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<MergesQuery>,
) -> Result<Json<Page<MergeView>>, ApiError> {
    let paging: Paging = PageQuery::new(query.page, query.page_size).try_into()?;
    let mut conn = app.pool.acquire().await?;
    let record = query.record.map(|record| record.0);
    let (rows, total) = store::merges(
        &mut conn,
        scope.street(),
        record,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(paging.of(
        merge_views(&mut conn, scope.street(), rows).await?,
        total,
    )))
}

#[derive(Deserialize)]
pub struct MergePath {
    merge: Uuid,
}

/// Undo a merge
///
/// Both cards are back. What the merge wrote on the card that went on, and nobody edited since, is taken from it again.
#[utoipa::path(post, path = "/v1/streets/{street}/merges/{merge}/undo", tag = "Duplicates",
    params(("street" = String, Path), ("merge" = Uuid, Path)), request_body = NoteBody, responses((status = OK, body = MergeView)))]
pub async fn undo(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<MergePath>,
    Body(body): Body<NoteBody>,
) -> Result<Json<MergeView>, ApiError> {
    let note = note(&body.note)?;
    let undo = UndoMerge {
        by: principal.desk(),
        merge: path.merge,
        note,
    };
    let row = transaction::act(&app.pool, scope.street(), app.clock.now(), undo).await?;
    merge_view(&app, scope.street(), row).await
}
