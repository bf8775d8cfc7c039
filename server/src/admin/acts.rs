//! What an admin does: accounts, passwords, grids of a user, devices, streets with their grids and roads.
//!
//! Each is one transaction that ends with what the audit trail is told. What is there already with the same values is no refusal, and
//! changes nothing.

use lianka_sync_core::{
    access::Role,
    id::{DeviceId, StreetCode},
};

use crate::{
    audit::{self, Action, Chain, Event},
    auth::{
        self, Auth, Enrolment, Principal, StreetScope,
        error::AuthError,
        store::{
            accounts::{self, Account, AccountChange, NewAccount},
            devices::{self, Device, DevicePage, Thresholds},
        },
    },
    http::fields::{self, Broken},
    state::App,
    street::store::streets::{self, Grid, Scope, Street},
};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the store refused")]
    Store(#[from] sqlx::Error),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("there is no such street")]
    NoStreet,
    #[error("there is no such user")]
    NoUser,
    #[error("there is no such device")]
    NoDevice,
    /// By its place among those that were named.
    #[error("there is no such grid")]
    NoGrid(usize),
    #[error("the account is disabled")]
    Disabled,
    #[error("only an admin of the deployment does it")]
    OfTheDeployment,
    #[error("only an admin sets the password of somebody else")]
    OthersPassword,
    #[error("one's own password needs the old one")]
    OldPasswordNeeded,
    /// By the field that would say so.
    #[error("nobody disables themselves or changes their own role")]
    Yourself(&'static str),
    #[error("it is there with other values")]
    AlreadyExists,
}

impl From<Broken> for AdminError {
    fn from(broken: Broken) -> Self {
        Self::Auth(broken.into())
    }
}

/// What was to be made.
#[derive(Debug)]
pub enum Made<T> {
    New(T),
    /// It was there with the same values.
    Same(T),
}

impl<T: PartialEq> Made<T> {
    /// `stored`: what was there already.
    fn of(wanted: T, stored: Option<&T>) -> Result<Self, AdminError> {
        match stored {
            None => Ok(Self::New(wanted)),
            Some(stored) if *stored == wanted => Ok(Self::Same(wanted)),
            Some(_) => Err(AdminError::AlreadyExists),
        }
    }
}

/// The account, if an admin of `within` (`None`: of the deployment) may know of it.
pub async fn account(
    app: &App,
    within: Option<&StreetCode>,
    username: &str,
) -> Result<Account, AdminError> {
    let username = fields::username("username", username).map_err(|_| AdminError::NoUser)?;
    accounts::find(&mut *app.pool.acquire().await?, &username)
        .await?
        .filter(|account| within.is_none() || within == account.street.as_ref())
        .ok_or(AdminError::NoUser)
}

/// The user, if there is the street and the user may work in it.
pub async fn account_in(
    app: &App,
    scope: &StreetScope,
    username: &str,
) -> Result<Account, AdminError> {
    street(app, scope).await?;
    let account = account(app, None, username).await?;
    match &account.street {
        Some(home) if home != scope.street() => Err(AdminError::NoUser),
        _ => Ok(account),
    }
}

/// The street of the scope; a principal of the deployment may ask for one that is not there.
pub async fn street(app: &App, scope: &StreetScope) -> Result<Street, AdminError> {
    streets::find_street(&mut *app.pool.acquire().await?, scope.street())
        .await?
        .ok_or(AdminError::NoStreet)
}

/// Makes an account.
pub async fn create_account(
    auth: &Auth,
    admin: &Principal,
    new: NewAccount<'_>,
    password: Option<&str>,
) -> Result<Made<Account>, AdminError> {
    match new.street {
        Some(street) => drop(admin.in_street(street)?),
        None if admin.home_street().is_some() => return Err(AdminError::OfTheDeployment),
        None => {}
    }
    let hash = match password {
        Some(password) => Some(auth.hash_password(password).await?),
        None => None,
    };
    let new = NewAccount {
        password_hash: hash.as_deref(),
        ..new
    };
    let now = auth.clock.now();
    let mut tx = auth.pool.begin().await?;
    let created = accounts::insert(&mut tx, &new, now).await?;
    let stored = accounts::find(&mut tx, new.username).await?;
    let stored = stored.ok_or(AuthError::AccountMissing)?;
    if created {
        let event = admin
            .did(Action::UserCreated)
            .with("user", new.username)
            .with("role", new.role.as_str());
        audit::append(&mut tx, Chain::of(new.street), now, &[event]).await?;
        tx.commit().await?;
        return Ok(Made::New(stored));
    }
    let stored_hash = accounts::credentials(&mut tx, new.username)
        .await?
        .map(|credentials| credentials.hash);
    drop(tx);
    let same_password = match password {
        Some(password) => auth.password_matches(password, stored_hash).await?,
        None => stored_hash.is_none(),
    };
    let same = (&*stored.display_name, stored.role, stored.street.as_ref())
        == (new.display_name, new.role, new.street);
    if same_password && same {
        Ok(Made::Same(stored))
    } else {
        Err(AdminError::AlreadyExists)
    }
}

/// Changes an account.
pub async fn change_account(
    app: &App,
    admin: &Principal,
    username: &str,
    change: AccountChange<'_>,
) -> Result<Account, AdminError> {
    let before = account(app, admin.home_street(), username).await?;
    if before.username == admin.username() {
        if change.disabled == Some(true) {
            return Err(AdminError::Yourself("disabled"));
        }
        if change.role.is_some_and(|role| role != before.role) {
            return Err(AdminError::Yourself("role"));
        }
    }
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    // Of two admins who change it at once, each tells the trail what they changed themselves.
    accounts::hold(&mut tx, &before.username, now).await?;
    let before = accounts::find(&mut tx, &before.username).await?;
    let before = before.ok_or(AdminError::NoUser)?;
    let after = accounts::change(&mut tx, &before.username, &change, now).await?;
    let after = after.ok_or(AdminError::NoUser)?;
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
    Ok(after)
}

/// Sets a password: one's own with the old one, or an admin that of somebody else.
pub async fn set_password(
    auth: &Auth,
    principal: &Principal,
    username: &str,
    old: Option<&str>,
    new: &str,
) -> Result<(), AdminError> {
    if username == principal.username() {
        let old = old.ok_or(AdminError::OldPasswordNeeded)?;
        return Ok(auth::change_own_password(auth, principal, old, new).await?);
    }
    if principal.role() != Role::Admin {
        return Err(AdminError::OthersPassword);
    }
    let account = account(auth, principal.home_street(), username).await?;
    let rules = &auth.config.passwords;
    fields::password("new_password", new, &account.username, rules)?;
    Ok(auth::reset_password(auth, principal, &account, new).await?)
}

/// Replaces the grids of a user in a street.
pub async fn assign(
    app: &App,
    admin: &Principal,
    scope: &StreetScope,
    username: &str,
    grids: &[String],
) -> Result<(Account, Scope), AdminError> {
    let account = account_in(app, scope, username).await?;
    let (street, at) = (scope.street(), app.clock.now());
    let mut tx = app.pool.begin().await?;
    if let Some(unknown) = streets::first_unknown_grid(&mut tx, street, grids).await? {
        return Err(AdminError::NoGrid(unknown));
    }
    let before = streets::scope(&mut tx, street, &account.username).await?;
    let now = streets::assign(&mut tx, street, &account.username, grids, at).await?;
    if now.epoch != before.epoch {
        let event = admin
            .did(Action::Assignment)
            .with("user", account.username.clone())
            .with("grids", now.grids.clone())
            .with("grids_before", before.grids)
            .with("epoch", now.epoch);
        audit::append(&mut tx, street.into(), at, &[event]).await?;
    }
    tx.commit().await?;
    Ok((account, now))
}

/// Makes an enrolment code for a user.
pub async fn enrolment(
    app: &App,
    admin: &Principal,
    username: &str,
) -> Result<Enrolment, AdminError> {
    let account = account(app, admin.home_street(), username).await?;
    if account.disabled_at.is_some() {
        return Err(AdminError::Disabled);
    }
    Ok(auth::create_enrolment_by(app, admin, &account.username).await?)
}

/// Revokes a device, and orders it wiped if so wanted.
pub async fn revoke_device(
    app: &App,
    admin: &Principal,
    device: DeviceId,
    wipe: bool,
    thresholds: Thresholds,
) -> Result<Device, AdminError> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let revoked = devices::revoke(&mut tx, admin.home_street(), device, wipe, now).await?;
    let revoked = revoked.ok_or(AdminError::NoDevice)?;
    let page = DevicePage {
        within: admin.home_street(),
        device: Some(device),
        thresholds,
        limit: 1,
        offset: 0,
    };
    let (found, _) = devices::page(&mut tx, page).await?;
    let about = |action| admin.did(action).with("device", device.to_string());
    let revoking = revoked.revoked.then(|| about(Action::DeviceRevoked));
    let wiping = revoked.wipe.then(|| about(Action::WipeOrdered));
    let events: Vec<Event> = revoking.into_iter().chain(wiping).collect();
    audit::append(&mut tx, Chain::of(revoked.home.as_ref()), now, &events).await?;
    tx.commit().await?;
    found.into_iter().next().ok_or(AdminError::NoDevice)
}

/// Makes a street.
pub async fn create_street(
    app: &App,
    admin: &Principal,
    street: Street,
) -> Result<Made<Street>, AdminError> {
    // Even its own: a street's admin came after the street.
    if admin.home_street().is_some() {
        return Err(AdminError::OfTheDeployment);
    }
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if !streets::insert_street(&mut tx, &street, now).await? {
        let stored = streets::find_street(&mut tx, &street.street).await?;
        return Made::of(street, stored.as_ref());
    }
    let event = admin
        .did(Action::Street)
        .with("street", street.street.as_str());
    audit::append(&mut tx, Chain::DEPLOYMENT, now, &[event]).await?;
    tx.commit().await?;
    Ok(Made::New(street))
}

/// Makes a grid of a street.
pub async fn create_grid(
    app: &App,
    admin: &Principal,
    scope: &StreetScope,
    grid: Grid,
) -> Result<Made<Grid>, AdminError> {
    street(app, scope).await?;
    let mut tx = app.pool.begin().await?;
    if !streets::insert_grid(&mut tx, scope.street(), &grid).await? {
        let stored = streets::find_grid(&mut tx, scope.street(), &grid.grid).await?;
        return Made::of(grid, stored.as_ref());
    }
    let event = admin.did(Action::Grid).with("grid", grid.grid.clone());
    audit::append(&mut tx, scope.street().into(), app.clock.now(), &[event]).await?;
    tx.commit().await?;
    Ok(Made::New(grid))
}

/// Adds roads to a street; how many were not there.
pub async fn add_roads(
    app: &App,
    admin: &Principal,
    scope: &StreetScope,
    roads: &[String],
) -> Result<u64, AdminError> {
    street(app, scope).await?;
    let mut tx = app.pool.begin().await?;
    let added = streets::insert_roads(&mut tx, scope.street(), roads).await?;
    if added > 0 {
        let event = admin.did(Action::Road).with("added", added);
        audit::append(&mut tx, scope.street().into(), app.clock.now(), &[event]).await?;
    }
    tx.commit().await?;
    Ok(added)
}
