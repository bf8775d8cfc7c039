//! One person twice on one card: the likely pairs, joining two entries, telling them apart, and undoing.
//!
//! In: the read model `shop_contact`. Who may be the same person is `sync_core::duplicate::persons`' to say.

use std::collections::HashMap;

use axum::{Json, extract::State};
use lianka_office_core::{
    acts::{
        join_contacts::{Join, TellApart, UndoJoin},
        merge_cards::epoch,
    },
    store::ContactJoin,
};
use lianka_sync_core::{
    id::{EntryId, RecordId, StreetCode},
    kinds::duplicate::persons::{self, Alike, Contact, PersonReason, Same},
    lang::Lang,
    time::ServerTime,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

use super::routes::{NoteBody, PairPath, ReasonView, note};
use crate::{
    auth::{
        Principal, StreetScope,
        access::{Time::Quick, Who},
        route::{Route, route},
    },
    duplicates::store as cards,
    http::{
        error::{ApiError, ErrorCode},
        extract::{Body, Page, PageQuery, Paging, Path, Query},
    },
    state::App,
    street::{
        store::contact_joins::{self as store, ContactOfSeveral},
        transaction,
    },
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::DUPLICATE_READERS, Quick),
        route(routes!(join), Who::REVIEWER, Quick),
        route(routes!(dismiss), Who::REVIEWER, Quick),
        route(routes!(joins), Who::DUPLICATE_READERS, Quick),
        route(routes!(undo), Who::REVIEWER, Quick),
    ]
}

impl From<PersonReason> for ReasonView {
    fn from(reason: PersonReason) -> Self {
        Self::new(
            reason.as_str(),
            reason.label(Lang::Zh),
            reason.label(Lang::En),
        )
    }
}

/// Which pairs to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ContactPairsQuery {
    /// Only pairs on cards of this grid.
    grid: Option<String>,
    /// Only pairs that share this: `same_phone`, `same_person_name` or `same_role`.
    reason: Option<String>,
    /// Only pairs on this card.
    #[param(value_type = Option<Uuid>)]
    record: Option<RecordId>,
    /// `true`: the pairs that were found to be two people, instead.
    #[serde(default)]
    dismissed: bool,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// One of two contacts side by side.
#[derive(Serialize, ToSchema)]
pub struct ComparedContactView {
    entry: Uuid,
    name: Option<String>,
    phones: Option<String>,
    role: Option<String>,
    preferred_time: Option<String>,
}

impl From<&ContactOfSeveral> for ComparedContactView {
    fn from(contact: &ContactOfSeveral) -> Self {
        Self {
            entry: contact.entry,
            name: contact.name.clone(),
            phones: contact.phones.clone(),
            role: contact.role.clone(),
            preferred_time: contact.preferred_time.clone(),
        }
    }
}

/// Two contacts of one card who are likely one person.
#[derive(Serialize, ToSchema)]
pub struct ContactPairView {
    /// Names the pair in the routes that decide on it.
    pair: Uuid,
    /// The card.
    record: Uuid,
    grid: String,
    sign_name: Option<String>,
    reasons: Vec<ReasonView>,
    /// Both have a name, and they differ: a number that two people share, or a mistyped name.
    other_name: bool,
    /// Two, by id.
    contacts: Vec<ComparedContactView>,
}

/// A likely pair, and whether somebody found two people.
struct Pair {
    alike: Alike,
    record: RecordId,
    view: ContactPairView,
    dismissed: bool,
}

/// Every likely pair, the newest cards first.
async fn likely(
    conn: &mut PgConnection,
    street: &StreetCode,
    grid: Option<&str>,
    record: Option<RecordId>,
) -> sqlx::Result<Vec<Pair>> {
    let contacts = store::of_several(conn, street, grid, record.map(|record| record.0)).await?;
    let dismissals = cards::dismissals(conn, street).await?;
    let dismissed: HashMap<Uuid, Vec<String>> = dismissals.into_iter().collect();
    let of_cards = contacts.chunk_by(|a, b| a.record == b.record);
    Ok(of_cards
        .flat_map(|of_card| pairs(of_card, &dismissed))
        .collect())
}

/// The likely pairs of one card.
fn pairs(of_card: &[ContactOfSeveral], dismissed: &HashMap<Uuid, Vec<String>>) -> Vec<Pair> {
    let compared: Vec<_> = of_card
        .iter()
        .map(|contact| Contact {
            entry: EntryId(contact.entry),
            name: contact.name.as_deref(),
            phones: contact.phones.as_deref(),
            role: contact.role.as_deref(),
        })
        .collect();
    let Some(card) = of_card.first() else {
        return Vec::new();
    };
    let record = RecordId(card.record);
    let side = |entry: EntryId| of_card.iter().find(|contact| contact.entry == entry.0);
    let found = persons::alike(&compared).into_iter().map(|alike| {
        let (a, b) = alike.entries;
        let pair = persons::pair_id(record, a, b);
        let looked_at = |reason: &PersonReason| {
            let reasons = dismissed.get(&pair);
            reasons.is_some_and(|reasons| reasons.iter().any(|one| one == reason.as_str()))
        };
        Pair {
            dismissed: alike.reasons.iter().all(looked_at),
            view: ContactPairView {
                pair,
                record: card.record,
                grid: card.grid.clone(),
                sign_name: card.sign_name.clone(),
                reasons: alike.reasons.iter().copied().map(Into::into).collect(),
                other_name: alike.other_name,
                contacts: [a, b]
                    .into_iter()
                    .filter_map(side)
                    .map(Into::into)
                    .collect(),
            },
            record,
            alike,
        }
    });
    found.collect()
}

/// List likely doubles among the contacts of one card
///
/// Two entries of a card that share a telephone number, or the name and no differing role: one person whom two phones added, perhaps. The newest cards
/// first. Nothing is joined by itself.
#[utoipa::path(get, path = "/v1/streets/{street}/duplicates/contacts", tag = "Duplicates",
    params(("street" = String, Path), ContactPairsQuery), responses((status = OK, body = Page<ContactPairView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<ContactPairsQuery>,
) -> Result<Json<Page<ContactPairView>>, ApiError> {
    let paging: Paging = PageQuery::new(query.page, query.page_size).try_into()?;
    let reason = query.reason.as_deref().map(str::parse::<PersonReason>);
    let reason = reason.transpose();
    let reason = reason.map_err(|_| ApiError::invalid_field("reason", "known_reason"))?;
    let mut conn = app.pool.acquire().await?;
    let pairs = likely(
        &mut conn,
        scope.street(),
        query.grid.as_deref(),
        query.record,
    )
    .await?;
    let wanted = |pair: &Pair| {
        pair.dismissed == query.dismissed
            && reason.is_none_or(|reason| pair.alike.reasons.contains(&reason))
    };
    let found: Vec<_> = pairs.into_iter().filter(wanted).collect();
    let total = found.len() as i64;
    let from = usize::try_from(paging.offset()).unwrap_or(usize::MAX);
    let page = found.into_iter().skip(from).take(paging.limit() as usize);
    Ok(Json(paging.of(page.map(|pair| pair.view).collect(), total)))
}

/// Which entry goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinBody {
    /// The card.
    #[schema(value_type = Uuid)]
    record: RecordId,
    /// The entry that goes on. A field that it lacks is filled in; where the two differ, both values stay and are listed as a conflict.
    #[schema(value_type = Uuid)]
    kept: EntryId,
    /// The entry that goes.
    #[schema(value_type = Uuid)]
    gone: EntryId,
    /// Why, at most 200 characters.
    #[serde(default)]
    note: String,
}

/// A joining of two contacts.
#[derive(Serialize, ToSchema)]
pub struct JoinView {
    join: Uuid,
    /// The card.
    record: Uuid,
    kept: Uuid,
    gone: Uuid,
    /// What they shared when they were joined.
    reasons: Vec<ReasonView>,
    note: String,
    username: String,
    #[schema(value_type = String, format = DateTime)]
    joined_at: ServerTime,
    /// Who undid it; `null`: it stands.
    undone_by: Option<String>,
    undone_note: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    undone_at: Option<ServerTime>,
}

impl From<ContactJoin> for JoinView {
    fn from(row: ContactJoin) -> Self {
        let known = row.reasons.iter();
        let known = known.filter_map(|reason| reason.parse::<PersonReason>().ok());
        Self {
            join: row.join,
            record: row.record.0,
            kept: row.same.kept.0,
            gone: row.same.gone.0,
            reasons: known.map(Into::into).collect(),
            note: row.note,
            username: row.username,
            joined_at: row.joined_at,
            undone_at: row.undone.as_ref().map(|undone| undone.at),
            undone_by: row.undone.as_ref().map(|undone| undone.by.clone()),
            undone_note: row.undone.map(|undone| undone.note),
        }
    }
}

/// Join two contacts of one card
///
/// `gone` leaves the card; what `kept` lacks is filled in, what differs becomes a conflict, and consents are copied. Later edits of `gone` follow. The pair
/// need not be proposed. Can be undone.
#[utoipa::path(post, path = "/v1/streets/{street}/duplicates/contacts/{pair}/join", tag = "Duplicates",
    params(("street" = String, Path), ("pair" = Uuid, Path)), request_body = JoinBody, responses((status = OK, body = JoinView)))]
pub async fn join(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<PairPath>,
    Body(body): Body<JoinBody>,
) -> Result<Json<JoinView>, ApiError> {
    let note = note(&body.note)?;
    if body.kept == body.gone || persons::pair_id(body.record, body.kept, body.gone) != path.pair {
        return Err(ApiError::invalid_field("gone", "one_of_the_pair"));
    }
    let now = app.clock.now();
    let join = Join {
        by: principal.desk(),
        record: body.record,
        same: Same {
            kept: body.kept,
            gone: body.gone,
        },
        note,
        join: RecordId::new_v7(now.unix_ms().unsigned_abs(), app.entropy.bytes()).0,
        epoch: epoch(app.entropy.bytes()),
    };
    let row = transaction::act(&app.pool, scope.street(), now, join).await?;
    Ok(Json(row.into()))
}

/// Say that two contacts are two people
///
/// The pair leaves the list, until the two share something more.
#[utoipa::path(post, path = "/v1/streets/{street}/duplicates/contacts/{pair}/dismiss", tag = "Duplicates",
    params(("street" = String, Path), ("pair" = Uuid, Path)), request_body = NoteBody, responses((status = OK, body = ContactPairView)))]
pub async fn dismiss(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<PairPath>,
    Body(body): Body<NoteBody>,
) -> Result<Json<ContactPairView>, ApiError> {
    let note = note(&body.note)?;
    let mut conn = app.pool.acquire().await?;
    let pairs = likely(&mut conn, scope.street(), None, None).await?;
    drop(conn);
    let pair = pairs.into_iter().find(|pair| pair.view.pair == path.pair);
    let pair = pair.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let apart = TellApart {
        by: principal.desk(),
        record: pair.record,
        entries: pair.alike.entries,
        reasons: pair.alike.reasons.iter().map(ToString::to_string).collect(),
        note,
    };
    transaction::act(&app.pool, scope.street(), app.clock.now(), apart).await?;
    Ok(Json(pair.view))
}

/// Which joinings to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct JoinsQuery {
    /// Only those of this card.
    #[param(value_type = Option<Uuid>)]
    record: Option<RecordId>,
    page: Option<u32>,
    page_size: Option<u32>,
}

/// List joinings of contacts
///
/// Newest first, undone ones included.
#[utoipa::path(get, path = "/v1/streets/{street}/contact-joins", tag = "Duplicates",
    params(("street" = String, Path), JoinsQuery), responses((status = OK, body = Page<JoinView>)))]
pub async fn joins(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<JoinsQuery>,
) -> Result<Json<Page<JoinView>>, ApiError> {
    let paging: Paging = PageQuery::new(query.page, query.page_size).try_into()?;
    let mut conn = app.pool.acquire().await?;
    let record = query.record.map(|record| record.0);
    let (limit, offset) = (paging.limit(), paging.offset());
    let (rows, total) = store::page(&mut conn, scope.street(), record, limit, offset).await?;
    let rows = rows.into_iter().map(Into::into).collect();
    Ok(Json(paging.of(rows, total)))
}

#[derive(Deserialize)]
pub struct JoinPath {
    join: Uuid,
}

/// Undo a joining of contacts
///
/// Both entries are back. What joining wrote on the one that went on, and nobody edited since, is taken from it again; copied consents stay.
#[utoipa::path(post, path = "/v1/streets/{street}/contact-joins/{join}/undo", tag = "Duplicates",
    params(("street" = String, Path), ("join" = Uuid, Path)), request_body = NoteBody, responses((status = OK, body = JoinView)))]
pub async fn undo(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<JoinPath>,
    Body(body): Body<NoteBody>,
) -> Result<Json<JoinView>, ApiError> {
    let undo = UndoJoin {
        by: principal.desk(),
        join: path.join,
        note: note(&body.note)?,
    };
    let row = transaction::act(&app.pool, scope.street(), app.clock.now(), undo).await?;
    Ok(Json(row.into()))
}
