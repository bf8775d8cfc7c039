//! `/v1/streets/{street}/audit` and `/v1/audit`: the trail, and its proof.

use axum::{Json, extract::State};
use lianka_sync_core::{
    id::{DeviceId, RecordId},
    time::ServerTime,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use utoipa_axum::routes;

use crate::auth::{
    access::{
        Time::{Long, Quick},
        Who,
    },
    route::{Route, route},
};
use crate::http::extract::{Page, PageQuery, Paging, Query};
use crate::{
    admin::audit_proof::{self as verify, Anchor, Proof},
    audit::{
        Action, Chain,
        store::{self as store, EventFilter, EventRow},
    },
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    http::fields,
    state::App,
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::AUDITORS, Quick),
        route(routes!(verify), Who::AUDITORS, Long),
        route(routes!(list_deployment), Who::AUDITORS, Quick),
        route(routes!(verify_deployment), Who::AUDITORS, Long),
    ]
}

/// Which events to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only this action.
    #[param(example = "content")]
    action: Option<String>,
    /// Only what this account did.
    username: Option<String>,
    /// Only what concerns this record.
    #[param(value_type = Option<uuid::Uuid>)]
    record: Option<RecordId>,
    /// Only from this time on.
    #[param(value_type = Option<String>, example = "2026-11-01T00:00:00Z")]
    from: Option<ServerTime>,
    /// Only before this time.
    #[param(value_type = Option<String>)]
    to: Option<ServerTime>,
    page: Option<u32>,
    page_size: Option<u32>,
}

impl AuditQuery {
    fn filter(&self) -> Result<(EventFilter, Paging), ApiError> {
        if self
            .action
            .as_ref()
            .is_some_and(|action| !Action::ALL.iter().any(|known| known.as_str() == action))
        {
            return Err(ApiError::invalid_field("action", "known_action")
                .detail("没有这种操作。", "There is no such action."));
        }
        if let Some(username) = &self.username {
            fields::username("username", username)?;
        }
        let paging = Paging::try_from(PageQuery::new(self.page, self.page_size))?;
        let filter = EventFilter {
            action: self.action.clone(),
            username: self.username.clone(),
            record: self.record.map(|record| record.0),
            from: self.from,
            to: self.to,
        };
        Ok((filter, paging))
    }
}

/// One act.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    /// Number in the chain, from 1.
    no: i64,
    #[schema(value_type = String, format = DateTime)]
    at: ServerTime,
    /// Null: the server itself.
    username: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    device: Option<DeviceId>,
    /// Stable word.
    action: String,
    /// The same for people.
    title: &'static str,
    #[schema(value_type = Option<uuid::Uuid>)]
    record: Option<RecordId>,
    /// Ids, codes and counts; `changes` lists entries of the log as `[sequence, record, hash]`.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    hash: String,
}

impl From<EventRow> for EventView {
    fn from(row: EventRow) -> Self {
        let title = Action::ALL
            .iter()
            .find(|action| action.as_str() == row.action)
            .map_or("", |action| action.title());
        Self {
            no: row.no,
            at: row.at.into(),
            username: row.username,
            device: row.device.map(DeviceId),
            action: row.action,
            title,
            record: row.record.map(RecordId),
            // Kept as it is where somebody spoilt it: the proof says so.
            detail: serde_json::from_str(&row.detail).unwrap_or_else(|_| row.detail.into()),
            hash: hex::encode(row.hash),
        }
    }
}

async fn page(
    app: &App,
    chain: Chain<'_>,
    query: &AuditQuery,
) -> Result<Json<Page<EventView>>, ApiError> {
    let (filter, paging) = query.filter()?;
    let mut conn = app.pool.acquire().await?;
    let (events, total) = store::page(
        &mut conn,
        chain.as_str(),
        &filter,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(
        paging.of(events.into_iter().map(Into::into).collect(), total),
    ))
}

/// What to hold the chain to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuery {
    /// `last` and `hash` of an earlier proof, kept elsewhere: `4711:9f…`.
    anchor: Option<String>,
}

async fn proof(app: &App, chain: Chain<'_>, query: &VerifyQuery) -> Result<Json<Proof>, ApiError> {
    let anchor = query
        .anchor
        .as_deref()
        .map(str::parse::<Anchor>)
        .transpose();
    let anchor = anchor.map_err(|_| ApiError::invalid_field("anchor", "number_and_hash"))?;
    Ok(Json(
        verify::verify(&app.pool, chain, anchor.as_ref()).await?,
    ))
}

/// List a street's audit trail
///
/// The newest first. No event holds values of fields or personal data beyond the usernames of accounts.
#[utoipa::path(get, path = "/v1/streets/{street}/audit", tag = "Audit", params(("street" = String, Path), AuditQuery),
    responses((status = OK, body = Page<EventView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<EventView>>, ApiError> {
    crate::admin::acts::street(&app, &scope).await?;
    page(&app, scope.street().into(), &query).await
}

/// Prove a street's audit trail
///
/// Reads the whole chain and the log that it tells of. Answers 200 with `ok` false and the places that do not fit, where there are any.
#[utoipa::path(get, path = "/v1/streets/{street}/audit/verify", tag = "Audit", params(("street" = String, Path), VerifyQuery),
    responses((status = OK, body = Proof)))]
pub async fn verify(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<VerifyQuery>,
) -> Result<Json<Proof>, ApiError> {
    crate::admin::acts::street(&app, &scope).await?;
    proof(&app, scope.street().into(), &query).await
}

/// Only for accounts of the whole deployment.
fn of_deployment(principal: &Principal) -> Result<(), ApiError> {
    if principal.home_street().is_some() {
        Err(ApiError::new(ErrorCode::WrongStreet))
    } else {
        Ok(())
    }
}

/// List the deployment's audit trail
///
/// What belongs to no street: streets made, accounts and devices of the deployment. For accounts of the whole deployment.
#[utoipa::path(get, path = "/v1/audit", tag = "Audit", params(AuditQuery), responses((status = OK, body = Page<EventView>)))]
pub async fn list_deployment(
    State(app): State<App>,
    principal: Principal,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<EventView>>, ApiError> {
    of_deployment(&principal)?;
    page(&app, Chain::DEPLOYMENT, &query).await
}

/// Prove the deployment's audit trail
#[utoipa::path(get, path = "/v1/audit/verify", tag = "Audit", params(VerifyQuery), responses((status = OK, body = Proof)))]
pub async fn verify_deployment(
    State(app): State<App>,
    principal: Principal,
    Query(query): Query<VerifyQuery>,
) -> Result<Json<Proof>, ApiError> {
    of_deployment(&principal)?;
    proof(&app, Chain::DEPLOYMENT, &query).await
}
