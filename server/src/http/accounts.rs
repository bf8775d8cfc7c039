//! `/v1/users`, `/v1/streets/{street}/assignments/{username}`.
//!
//! An admin of one street sees and makes accounts of that street only; accounts elsewhere are not found, as if they were not there.

use axum::{Json, extract::State, http::StatusCode};
use lianka_sync_core::{authority::Role, id::StreetCode, time::ServerTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Body, Page, Paging, Path};
use crate::{
    app::App,
    auth::{self, Principal, StreetScope},
    error::{ApiError, ErrorCode},
    fields, store,
    store::accounts::{Account, NewAccount},
};

/// An account to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// 1 to 64 of `a-z 0-9 . _ -`.
    username: String,
    display_name: String,
    /// secretary, reviewer, officer, admin or auditor.
    #[schema(value_type = String)]
    role: Role,
    /// Null: every street of the deployment.
    street: Option<String>,
    /// At least 10 characters; without one the account can only enrol devices.
    password: Option<String>,
}

/// An account.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    username: String,
    display_name: String,
    #[schema(value_type = String)]
    role: Role,
    #[schema(value_type = Option<String>)]
    street: Option<StreetCode>,
    #[schema(value_type = String, format = DateTime)]
    created_at: ServerTime,
    #[schema(value_type = Option<String>, format = DateTime)]
    disabled_at: Option<ServerTime>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            username: account.username,
            display_name: account.display_name,
            role: account.role,
            street: account.street,
            created_at: account.created_at,
            disabled_at: account.disabled_at,
        }
    }
}

/// Create a user
///
/// Repeating it with the same values answers 200 with the account; with others 409.
#[utoipa::path(post, path = "/v1/users", tag = "Users", request_body = NewUser,
    responses((status = CREATED, body = AccountView), (status = OK, description = "It was there already", body = AccountView)))]
pub async fn create(
    State(app): State<App>,
    admin: Principal,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<AccountView>), ApiError> {
    let username = fields::username("username", &new.username)?;
    let display_name = fields::text("display_name", &new.display_name, fields::NAME_CHARS_MAX)?;
    let street = new.street.as_deref().map(|street| fields::street("street", street)).transpose()?;
    if let Some(password) = &new.password {
        fields::password("password", password)?;
    }
    match &street {
        Some(street) => {
            admin.in_street(street)?;
        }
        // Only an admin of the deployment makes accounts of the deployment.
        None if admin.home_street().is_some() => return Err(ApiError::new(ErrorCode::WrongStreet)),
        None => {}
    }
    let password_hash = match &new.password {
        Some(password) => Some(auth::hash_password(&app, password).await?),
        None => None,
    };
    let account = NewAccount {
        username: &username,
        display_name: &display_name,
        role: new.role,
        street: street.as_ref(),
        password_hash: password_hash.as_deref(),
    };
    let mut conn = app.pool.acquire().await?;
    let created = store::accounts::insert(&mut conn, &account, app.clock.now()).await?;
    let stored = store::accounts::find(&mut conn, &username).await?;
    let stored = stored.ok_or_else(|| ApiError::internal("an account that was just there is gone"))?;
    if created {
        return Ok((StatusCode::CREATED, Json(stored.into())));
    }
    let stored_hash = store::accounts::password_hash(&mut conn, &username).await?;
    drop(conn);
    let same_password = match new.password {
        Some(password) => auth::password_matches(&app, &password, stored_hash).await?,
        None => stored_hash.is_none(),
    };
    if same_password && (&stored.display_name, stored.role, &stored.street) == (&display_name, new.role, &street) {
        Ok((StatusCode::OK, Json(stored.into())))
    } else {
        Err(ApiError::new(ErrorCode::AlreadyExists))
    }
}

/// List users
#[utoipa::path(get, path = "/v1/users", tag = "Users", params(super::extract::PageQuery), responses((status = OK, body = Page<AccountView>)))]
pub async fn list(State(app): State<App>, admin: Principal, paging: Paging) -> Result<Json<Page<AccountView>>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let (accounts, total) = store::accounts::page(&mut conn, admin.home_street(), paging.limit(), paging.offset()).await?;
    Ok(Json(paging.of(accounts.into_iter().map(Into::into).collect(), total)))
}

/// The account, if an admin of `within` (`None`: of the deployment) may know of it.
pub(super) async fn find_within(app: &App, within: Option<&StreetCode>, username: &str) -> Result<Account, ApiError> {
    let unknown = || ApiError::new(ErrorCode::NotFound).detail("没有这个用户。", "There is no such user.");
    let username = fields::username("username", username).map_err(|_| unknown())?;
    let account = store::accounts::find(&mut *app.pool.acquire().await?, &username).await?.ok_or_else(unknown)?;
    if within.is_some() && within != account.street.as_ref() {
        return Err(unknown());
    }
    Ok(account)
}

/// The grids of a user in a street.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAssignment {
    grids: Vec<String>,
}

/// What a user works on in a street.
#[derive(Serialize, ToSchema)]
pub struct AssignmentView {
    #[schema(value_type = String, example = "310104003")]
    street: StreetCode,
    username: String,
    /// Changes of the grids so far.
    epoch: i64,
    grids: Vec<String>,
}

/// Assign grids
///
/// Replaces the user's grids in this street from now on. The same grids again change nothing.
#[utoipa::path(put, path = "/v1/streets/{street}/assignments/{username}", tag = "Users", request_body = NewAssignment,
    params(("street" = String, Path), ("username" = String, Path)), responses((status = OK, body = AssignmentView)))]
pub async fn assign(
    State(app): State<App>,
    scope: StreetScope,
    Path((_, username)): Path<(String, String)>,
    Body(new): Body<NewAssignment>,
) -> Result<Json<AssignmentView>, ApiError> {
    fields::list("grids", &new.grids)?;
    let account = find_in_street(&app, &scope, &username).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(unknown) = store::streets::first_unknown_grid(&mut tx, scope.street(), &new.grids).await? {
        return Err(ApiError::invalid_field(format!("grids[{unknown}]"), "exists")
            .detail("没有这个网格。", "There is no such grid in this street."));
    }
    let now = store::streets::assign(&mut tx, scope.street(), &account.username, &new.grids, app.clock.now()).await?;
    tx.commit().await?;
    Ok(Json(assignment(&scope, account.username, now)))
}

/// Show assigned grids
#[utoipa::path(get, path = "/v1/streets/{street}/assignments/{username}", tag = "Users",
    params(("street" = String, Path), ("username" = String, Path)), responses((status = OK, body = AssignmentView)))]
pub async fn assigned(
    State(app): State<App>,
    scope: StreetScope,
    Path((_, username)): Path<(String, String)>,
) -> Result<Json<AssignmentView>, ApiError> {
    let account = find_in_street(&app, &scope, &username).await?;
    let now = store::streets::scope(&mut *app.pool.acquire().await?, scope.street(), &account.username).await?;
    Ok(Json(assignment(&scope, account.username, now)))
}

/// The user, if there is the street and the user may work in it.
async fn find_in_street(app: &App, scope: &StreetScope, username: &str) -> Result<Account, ApiError> {
    super::streets::find(app, scope).await?;
    let account = find_within(app, None, username).await?;
    if account.street.as_ref().is_some_and(|home| home != scope.street()) {
        return Err(ApiError::new(ErrorCode::NotFound).detail("没有这个用户。", "There is no such user."));
    }
    Ok(account)
}

fn assignment(scope: &StreetScope, username: String, now: store::streets::Scope) -> AssignmentView {
    AssignmentView { street: scope.street().clone(), username, epoch: now.epoch, grids: now.grids }
}
