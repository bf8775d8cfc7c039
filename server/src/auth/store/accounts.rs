//! Accounts: who may sign in, as what, and in which street.
//!
//! Functions that list or find for an admin take `within`: the admin's own street, or `None` for the whole deployment.

use lianka_sync_core::{access::Role, id::StreetCode, time::ServerTime};
use sqlx::PgConnection;

/// An account without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub username: String,
    pub display_name: String,
    pub role: Role,
    /// `None`: every street of the deployment.
    pub street: Option<StreetCode>,
    pub created_at: ServerTime,
    pub disabled_at: Option<ServerTime>,
}

/// An account to be.
#[derive(Debug)]
pub struct NewAccount<'a> {
    pub username: &'a str,
    pub display_name: &'a str,
    pub role: Role,
    pub street: Option<&'a StreetCode>,
    /// argon2id in PHC form; `None` for accounts that only enrol phones.
    pub password_hash: Option<&'a str>,
}

struct AccountRow {
    username: String,
    display_name: String,
    role: String,
    street: Option<String>,
    created_at: time::OffsetDateTime,
    disabled_at: Option<time::OffsetDateTime>,
}

impl TryFrom<AccountRow> for Account {
    type Error = sqlx::Error;

    fn try_from(row: AccountRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            username: row.username,
            display_name: row.display_name,
            role: crate::store::decoded(&row.role)?,
            street: row
                .street
                .as_deref()
                .map(crate::store::decoded)
                .transpose()?,
            created_at: row.created_at.into(),
            disabled_at: row.disabled_at.map(Into::into),
        })
    }
}

/// Adds the account; false when the username is taken, whatever by.
pub async fn insert(
    conn: &mut PgConnection,
    account: &NewAccount<'_>,
    now: ServerTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account (username, display_name, role, street, password_hash, created_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (username) do nothing",
        account.username,
        account.display_name,
        account.role.as_str(),
        account.street.map(StreetCode::as_str),
        account.password_hash,
        time::OffsetDateTime::from(now),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The account, wherever it belongs.
pub async fn find(conn: &mut PgConnection, username: &str) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        AccountRow,
        "select username, display_name, role, street, created_at, disabled_at from account where username = $1",
        username
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// What a password is held against.
#[derive(Debug)]
pub struct Credentials {
    /// argon2id in PHC form.
    pub hash: String,
    pub home: Option<StreetCode>,
    /// When the password was last set.
    pub set_at: ServerTime,
    /// It was set by somebody else.
    pub must_change: bool,
}

/// The credentials of an account, unless it is unknown, disabled, or has no password.
pub async fn credentials(
    conn: &mut PgConnection,
    username: &str,
) -> sqlx::Result<Option<Credentials>> {
    let row = sqlx::query!(
        r#"select password_hash as "hash!", street, coalesce(password_changed_at, created_at) as "set_at!", password_must_change
           from account where username = $1 and disabled_at is null and password_hash is not null"#,
        username
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Credentials {
            hash: row.hash,
            home: row
                .street
                .as_deref()
                .map(crate::store::decoded)
                .transpose()?,
            set_at: row.set_at.into(),
            must_change: row.password_must_change,
        })
    })
    .transpose()
}

/// Sets a password.
pub async fn set_password(
    conn: &mut PgConnection,
    username: &str,
    hash: &str,
    must_change: bool,
    now: ServerTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account set password_hash = $2, password_changed_at = $3, password_must_change = $4 where username = $1",
        username,
        hash,
        time::OffsetDateTime::from(now),
        must_change,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What may be changed of an account; `None` stays.
#[derive(Debug, Default)]
pub struct AccountChange<'a> {
    pub display_name: Option<&'a str>,
    pub role: Option<Role>,
    pub disabled: Option<bool>,
}

/// Changes an account, and gives it as it is then. Disabling one that is disabled keeps the first time.
pub async fn change(
    conn: &mut PgConnection,
    username: &str,
    change: &AccountChange<'_>,
    now: ServerTime,
) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        AccountRow,
        "update account set display_name = coalesce($2, display_name), role = coalesce($3, role),
             former_roles = case when $3 <> role then array_append(array_remove(former_roles, role), role) else former_roles end,
             disabled_at = case when $4::boolean is null then disabled_at when $4 then coalesce(disabled_at, $5) end
         where username = $1 returning username, display_name, role, street, created_at, disabled_at",
        username,
        change.display_name,
        change.role.map(Role::as_str),
        change.disabled,
        time::OffsetDateTime::from(now),
    )
    .fetch_optional(conn)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// Keeps others from changing the account until the transaction ends.
pub async fn hold(conn: &mut PgConnection, username: &str, now: ServerTime) -> sqlx::Result<()> {
    // An update that changes nothing takes the lock that every other update waits for.
    change(conn, username, &AccountChange::default(), now)
        .await
        .map(drop)
}

/// One page of accounts by username, and how many there are.
pub async fn page(
    conn: &mut PgConnection,
    within: Option<&StreetCode>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Account>, i64)> {
    let street = within.map(StreetCode::as_str);
    let rows = sqlx::query_as!(
        AccountRow,
        "select username, display_name, role, street, created_at, disabled_at from account
         where $1::text is null or street = $1 order by username limit $2 offset $3",
        street,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from account where $1::text is null or street = $1"#,
        street
    )
    .fetch_one(conn)
    .await?;
    Ok((
        rows.into_iter()
            .map(TryInto::try_into)
            .collect::<sqlx::Result<_>>()?,
        total,
    ))
}
