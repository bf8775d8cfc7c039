//! Accounts: who may sign in, as what, and in which street.
//!
//! Functions that list or find for an admin take `within`: the admin's own street, or `None` for the whole deployment.

use lianka_sync_core::{authority::Role, id::StreetCode, time::ServerTime};
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
            role: super::decoded(&row.role)?,
            street: row.street.as_deref().map(super::decoded).transpose()?,
            created_at: row.created_at.into(),
            disabled_at: row.disabled_at.map(Into::into),
        })
    }
}

/// Adds the account; false when the username is taken, whatever by.
pub async fn insert(conn: &mut PgConnection, account: &NewAccount<'_>, now: ServerTime) -> sqlx::Result<bool> {
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

/// The argon2id hash to hold a password against, unless the account is unknown, disabled, or has none.
pub async fn password_hash(conn: &mut PgConnection, username: &str) -> sqlx::Result<Option<String>> {
    let row = sqlx::query_scalar!("select password_hash from account where username = $1 and disabled_at is null", username)
        .fetch_optional(conn)
        .await?;
    Ok(row.flatten())
}

/// One page of accounts by username, and how many there are.
pub async fn page(conn: &mut PgConnection, within: Option<&StreetCode>, limit: i64, offset: i64) -> sqlx::Result<(Vec<Account>, i64)> {
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
    let total = sqlx::query_scalar!(r#"select count(*) as "count!" from account where $1::text is null or street = $1"#, street)
        .fetch_one(conn)
        .await?;
    Ok((rows.into_iter().map(TryInto::try_into).collect::<sqlx::Result<_>>()?, total))
}
