//! `/v1/users`, `/v1/streets/{street}/assignments/{username}`.
//!
//! An admin of one street sees and makes accounts of that street only; accounts elsewhere are not found, as if they were not there.

use axum::{Json, extract::State, http::StatusCode};
use lianka_sync_core::{access::Role, id::StreetCode, time::ServerTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use utoipa_axum::routes;

use crate::auth::{
    Auth,
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Body, Page, Paging, Path};
use crate::{
    admin::acts::{self, Made},
    auth::{
        self, Principal, StreetScope,
        store::accounts::{Account, AccountChange, NewAccount},
    },
    http::error::ApiError,
    http::fields,
};

/// The routes of this file.
pub fn table() -> Vec<Route<Auth>> {
    vec![
        route(routes!(create), Who::ADMIN, Quick),
        route(routes!(list), Who::ADMIN, Quick),
        route(routes!(change), Who::ADMIN, Quick),
        // Their own; an admin's also those of others.
        route(routes!(set_password), Who::EVERY_ROLE, Quick),
        route(routes!(assign), Who::ADMIN, Quick),
        route(routes!(assigned), Who::ADMIN, Quick),
    ]
}

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
    /// At least 8 characters of three classes, or a phrase of 15, unless configured otherwise; without one the account can only enrol devices.
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
    State(auth): State<Auth>,
    admin: Principal,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<AccountView>), ApiError> {
    let username = fields::username("username", &new.username)?;
    let display_name = fields::text("display_name", &new.display_name, fields::NAME_CHARS_MAX)?;
    let street = new
        .street
        .as_deref()
        .map(|street| fields::street("street", street))
        .transpose()?;
    if let Some(password) = &new.password {
        fields::password("password", password, &username, &auth.config.passwords)?;
    }
    let account = NewAccount {
        username: &username,
        display_name: &display_name,
        role: new.role,
        street: street.as_ref(),
        password_hash: None,
    };
    let password = new.password.as_deref();
    let (status, account) = made(acts::create_account(&auth, &admin, account, password).await?);
    Ok((status, Json(account.into())))
}

/// 201 for what was just made, 200 for what was there with the same values.
pub(super) fn made<T>(made: Made<T>) -> (StatusCode, T) {
    match made {
        Made::New(new) => (StatusCode::CREATED, new),
        Made::Same(same) => (StatusCode::OK, same),
    }
}

/// What to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    display_name: Option<String>,
    /// secretary, reviewer, officer, admin or auditor.
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    /// A disabled account is out at once, on every device; its edits stay.
    disabled: Option<bool>,
}

/// Change a user
///
/// Takes effect at the user's next request. Nobody disables themselves or changes their own role.
#[utoipa::path(patch, path = "/v1/users/{username}", tag = "Users", request_body = UserChange, params(("username" = String, Path)),
    responses((status = OK, body = AccountView)))]
pub async fn change(
    State(app): State<Auth>,
    admin: Principal,
    Path(username): Path<String>,
    Body(change): Body<UserChange>,
) -> Result<Json<AccountView>, ApiError> {
    let display_name = change
        .display_name
        .as_deref()
        .map(|name| fields::text("display_name", name, fields::NAME_CHARS_MAX))
        .transpose()?;
    let change = AccountChange {
        display_name: display_name.as_deref(),
        role: change.role,
        disabled: change.disabled,
    };
    let account = acts::change_account(&app, &admin, &username, change).await?;
    Ok(Json(account.into()))
}

/// A password to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// One's own, to change it; an admin leaves it out to reset somebody else's.
    old_password: Option<String>,
    new_password: String,
}

/// Set a password
///
/// One's own with the old one: other desks of the account are signed out. An admin sets that of others: every desk of theirs is signed out, a
/// lock is lifted, and they must change it when they sign in next. An account without a password can sign in at a desk from then on.
#[utoipa::path(put, path = "/v1/users/{username}/password", tag = "Users", request_body = NewPassword, params(("username" = String, Path)),
    responses((status = NO_CONTENT, description = "Set")))]
pub async fn set_password(
    State(auth): State<Auth>,
    principal: Principal,
    Path(username): Path<String>,
    Body(new): Body<NewPassword>,
) -> Result<StatusCode, ApiError> {
    let (old, new) = (new.old_password.as_deref(), &new.new_password);
    acts::set_password(&auth, &principal, &username, old, new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List users
#[utoipa::path(get, path = "/v1/users", tag = "Users", params(crate::http::extract::PageQuery), responses((status = OK, body = Page<AccountView>)))]
pub async fn list(
    State(app): State<Auth>,
    admin: Principal,
    paging: Paging,
) -> Result<Json<Page<AccountView>>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let (accounts, total) = auth::store::accounts::page(
        &mut conn,
        admin.home_street(),
        paging.limit(),
        paging.offset(),
    )
    .await?;
    Ok(Json(
        paging.of(accounts.into_iter().map(Into::into).collect(), total),
    ))
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
    State(app): State<Auth>,
    admin: Principal,
    scope: StreetScope,
    Path((_, username)): Path<(String, String)>,
    Body(new): Body<NewAssignment>,
) -> Result<Json<AssignmentView>, ApiError> {
    fields::list("grids", &new.grids)?;
    let (account, now) = acts::assign(&app, &admin, &scope, &username, &new.grids).await?;
    Ok(Json(assignment(&scope, account.username, now)))
}

/// Show assigned grids
#[utoipa::path(get, path = "/v1/streets/{street}/assignments/{username}", tag = "Users",
    params(("street" = String, Path), ("username" = String, Path)), responses((status = OK, body = AssignmentView)))]
pub async fn assigned(
    State(app): State<Auth>,
    scope: StreetScope,
    Path((_, username)): Path<(String, String)>,
) -> Result<Json<AssignmentView>, ApiError> {
    let account = acts::account_in(&app, &scope, &username).await?;
    let now = crate::street::store::streets::scope(
        &mut *app.pool.acquire().await?,
        scope.street(),
        &account.username,
    )
    .await?;
    Ok(Json(assignment(&scope, account.username, now)))
}

fn assignment(
    scope: &StreetScope,
    username: String,
    now: crate::street::store::streets::Scope,
) -> AssignmentView {
    AssignmentView {
        street: scope.street().clone(),
        username,
        epoch: now.epoch,
        grids: now.grids,
    }
}
