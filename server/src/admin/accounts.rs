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
    audit::{self, Action, Chain},
    auth::{
        self, Principal, StreetScope,
        store::accounts::{Account, NewAccount},
    },
    http::error::{ApiError, ErrorCode},
    http::fields,
    state::App,
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
    match &street {
        Some(street) => {
            admin.in_street(street)?;
        }
        // Only an admin of the deployment makes accounts of the deployment.
        None if admin.home_street().is_some() => return Err(ApiError::new(ErrorCode::WrongStreet)),
        None => {}
    }
    let password_hash = match &new.password {
        Some(password) => Some(auth.hash_password(password).await?),
        None => None,
    };
    let account = NewAccount {
        username: &username,
        display_name: &display_name,
        role: new.role,
        street: street.as_ref(),
        password_hash: password_hash.as_deref(),
    };
    let mut tx = auth.pool.begin().await?;
    let created = auth::store::accounts::insert(&mut tx, &account, auth.clock.now()).await?;
    let stored = auth::store::accounts::find(&mut tx, &username).await?;
    let stored =
        stored.ok_or_else(|| ApiError::internal("an account that was just there is gone"))?;
    if created {
        let event = admin
            .did(Action::UserCreated)
            .with("user", username)
            .with("role", new.role.as_str());
        audit::append(
            &mut tx,
            Chain::of(street.as_ref()),
            auth.clock.now(),
            &[event],
        )
        .await?;
        tx.commit().await?;
        return Ok((StatusCode::CREATED, Json(stored.into())));
    }
    let stored_hash = auth::store::accounts::credentials(&mut tx, &username)
        .await?
        .map(|credentials| credentials.hash);
    drop(tx);
    let same_password = match new.password {
        Some(password) => auth.password_matches(&password, stored_hash).await?,
        None => stored_hash.is_none(),
    };
    if same_password
        && (&stored.display_name, stored.role, &stored.street) == (&display_name, new.role, &street)
    {
        Ok((StatusCode::OK, Json(stored.into())))
    } else {
        Err(ApiError::new(ErrorCode::AlreadyExists))
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
    let before = find_within(&app, admin.home_street(), &username).await?;
    if before.username == admin.username()
        && (change.disabled == Some(true) || change.role.is_some_and(|role| role != before.role))
    {
        let field = if change.disabled == Some(true) {
            "disabled"
        } else {
            "role"
        };
        return Err(ApiError::invalid_field(field, "not_yourself").detail(
            "不能停用自己或更改自己的角色，请另一位管理员操作。",
            "Another admin has to do that.",
        ));
    }
    let changed = auth::store::accounts::AccountChange {
        display_name: display_name.as_deref(),
        role: change.role,
        disabled: change.disabled,
    };
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    // Of two admins who change it at once, each tells the trail what they changed themselves.
    auth::store::accounts::hold(&mut tx, &before.username, now).await?;
    let before = auth::store::accounts::find(&mut tx, &before.username)
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let after = auth::store::accounts::change(&mut tx, &before.username, &changed, now).await?;
    let after = after.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let mut event = admin
        .did(Action::UserChanged)
        .with("user", after.username.clone());
    if after.role != before.role {
        event = event
            .with("role", after.role.as_str())
            .with("role_before", before.role.as_str());
    }
    if after.disabled_at.is_some() != before.disabled_at.is_some() {
        event = event.with("disabled", after.disabled_at.is_some());
    }
    if after.display_name != before.display_name {
        event = event.with("display_name", true);
    }
    audit::append(&mut tx, Chain::of(after.street.as_ref()), now, &[event]).await?;
    tx.commit().await?;
    Ok(Json(after.into()))
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
    if username == principal.username() {
        let old = new.old_password.as_deref().ok_or_else(|| {
            ApiError::invalid_field("old_password", "not_empty").detail(
                "修改自己的密码需要旧密码。",
                "Your own password needs the old one.",
            )
        })?;
        auth::change_own_password(&auth, &principal, old, &new.new_password).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    if principal.role() != Role::Admin {
        return Err(ApiError::new(ErrorCode::WrongRole));
    }
    let account = find_within(&auth, principal.home_street(), &username).await?;
    fields::password(
        "new_password",
        &new.new_password,
        &account.username,
        &auth.config.passwords,
    )?;
    auth::reset_password(&auth, &principal, &account, &new.new_password).await?;
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

/// The account, if an admin of `within` (`None`: of the deployment) may know of it.
pub(crate) async fn find_within(
    app: &App,
    within: Option<&StreetCode>,
    username: &str,
) -> Result<Account, ApiError> {
    let unknown =
        || ApiError::new(ErrorCode::NotFound).detail("没有这个用户。", "There is no such user.");
    let username = fields::username("username", username).map_err(|_| unknown())?;
    let account = auth::store::accounts::find(&mut *app.pool.acquire().await?, &username)
        .await?
        .ok_or_else(unknown)?;
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
    State(app): State<Auth>,
    admin: Principal,
    scope: StreetScope,
    Path((_, username)): Path<(String, String)>,
    Body(new): Body<NewAssignment>,
) -> Result<Json<AssignmentView>, ApiError> {
    fields::list("grids", &new.grids)?;
    let account = find_in_street(&app, &scope, &username).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(unknown) =
        crate::street::store::streets::first_unknown_grid(&mut tx, scope.street(), &new.grids)
            .await?
    {
        return Err(
            ApiError::invalid_field(format!("grids[{unknown}]"), "exists")
                .detail("没有这个网格。", "There is no such grid in this street."),
        );
    }
    let before =
        crate::street::store::streets::scope(&mut tx, scope.street(), &account.username).await?;
    let now = crate::street::store::streets::assign(
        &mut tx,
        scope.street(),
        &account.username,
        &new.grids,
        app.clock.now(),
    )
    .await?;
    if now.epoch != before.epoch {
        let event = admin
            .did(Action::Assignment)
            .with("user", account.username.clone())
            .with("grids", now.grids.clone());
        let event = event
            .with("grids_before", before.grids)
            .with("epoch", now.epoch);
        audit::append(&mut tx, scope.street().into(), app.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
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
    let account = find_in_street(&app, &scope, &username).await?;
    let now = crate::street::store::streets::scope(
        &mut *app.pool.acquire().await?,
        scope.street(),
        &account.username,
    )
    .await?;
    Ok(Json(assignment(&scope, account.username, now)))
}

/// The user, if there is the street and the user may work in it.
async fn find_in_street(
    app: &App,
    scope: &StreetScope,
    username: &str,
) -> Result<Account, ApiError> {
    crate::admin::streets::find(app, scope).await?;
    let account = find_within(app, None, username).await?;
    if account
        .street
        .as_ref()
        .is_some_and(|home| home != scope.street())
    {
        return Err(
            ApiError::new(ErrorCode::NotFound).detail("没有这个用户。", "There is no such user.")
        );
    }
    Ok(account)
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
