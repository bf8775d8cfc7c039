//! Streets, their grids and roads, and who works which grid.
//!
//! Assignments are a history: every change of one user's grids in one street raises that user's **scope epoch** there, and each assignment
//! holds from `since_epoch` until just before `until_epoch`. So what a user saw under any earlier epoch can be told exactly.

use std::collections::HashMap;

use lianka_sync_core::{access::Role, id::StreetCode, time::ServerTime};
use sqlx::PgConnection;

/// A street office: the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Street {
    pub street: StreetCode,
    pub name: String,
    pub district: String,
}

/// A grid of a street, in an area of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    pub grid: String,
    pub name: String,
    pub area: String,
}

/// What a user may see in a street now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope {
    /// Changes of the user's grids so far; 0 before the first.
    pub epoch: i64,
    /// Grids in the order of their codes.
    pub grids: Vec<String>,
}

/// Adds a street; false when its code is taken, whatever by.
pub async fn insert_street(
    conn: &mut PgConnection,
    street: &Street,
    now: ServerTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into street (street, name, district, created_at) values ($1, $2, $3, $4) on conflict (street) do nothing",
        street.street.as_str(),
        street.name,
        street.district,
        time::OffsetDateTime::from(now),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The street of that code.
pub async fn find_street(
    conn: &mut PgConnection,
    street: &StreetCode,
) -> sqlx::Result<Option<Street>> {
    let row = sqlx::query!(
        "select name, district from street where street = $1",
        street.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Street {
        street: street.clone(),
        name: row.name,
        district: row.district,
    }))
}

/// One page of the streets of `within` (`None`: of the deployment), and how many there are.
pub async fn street_page(
    conn: &mut PgConnection,
    within: Option<&StreetCode>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Street>, i64)> {
    let only = within.map(StreetCode::as_str);
    let rows = sqlx::query!(
        "select street, name, district from street where $1::text is null or street = $1 order by street limit $2 offset $3",
        only,
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from street where $1::text is null or street = $1"#,
        only
    )
    .fetch_one(conn)
    .await?;
    let streets = rows
        .into_iter()
        .map(|row| {
            Ok(Street {
                street: crate::store::decoded(&row.street)?,
                name: row.name,
                district: row.district,
            })
        })
        .collect::<sqlx::Result<_>>()?;
    Ok((streets, total))
}

/// Adds a grid; false when its code is taken in this street, whatever by.
pub async fn insert_grid(
    conn: &mut PgConnection,
    street: &StreetCode,
    grid: &Grid,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into grid (street, grid, name, area) values ($1, $2, $3, $4) on conflict (street, grid) do nothing",
        street.as_str(),
        grid.grid,
        grid.name,
        grid.area,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The grid of that code.
pub async fn find_grid(
    conn: &mut PgConnection,
    street: &StreetCode,
    grid: &str,
) -> sqlx::Result<Option<Grid>> {
    sqlx::query_as!(
        Grid,
        "select grid, name, area from grid where street = $1 and grid = $2",
        street.as_str(),
        grid
    )
    .fetch_optional(conn)
    .await
}

/// One page of the street's grids, and how many there are.
pub async fn grid_page(
    conn: &mut PgConnection,
    street: &StreetCode,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<Grid>, i64)> {
    let grids = sqlx::query_as!(
        Grid,
        "select grid, name, area from grid where street = $1 order by grid limit $2 offset $3",
        street.as_str(),
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from grid where street = $1"#,
        street.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok((grids, total))
}

/// Adds those roads that the street does not have yet; the number added.
pub async fn insert_roads(
    conn: &mut PgConnection,
    street: &StreetCode,
    roads: &[String],
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "insert into road (street, road) select $1, road from unnest($2::text[]) as road on conflict (street, road) do nothing",
        street.as_str(),
        roads,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// One page of the street's roads, and how many there are.
pub async fn road_page(
    conn: &mut PgConnection,
    street: &StreetCode,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(Vec<String>, i64)> {
    let roads = sqlx::query_scalar!(
        "select road from road where street = $1 order by road limit $2 offset $3",
        street.as_str(),
        limit,
        offset,
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from road where street = $1"#,
        street.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok((roads, total))
}

/// What the user may see in the street now.
pub async fn scope(
    conn: &mut PgConnection,
    street: &StreetCode,
    username: &str,
) -> sqlx::Result<Scope> {
    // One statement, so that epoch and grids are of the same moment even outside a transaction.
    let row = sqlx::query!(
        r#"select s.epoch,
                  array(select a.grid from assignment a
                        where a.street = s.street and a.username = s.username and a.until_epoch is null order by a.grid) as "grids!"
           from scope s where s.street = $1 and s.username = $2"#,
        street.as_str(),
        username,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row
        .map(|row| Scope {
            epoch: row.epoch,
            grids: row.grids,
        })
        .unwrap_or_default())
}

/// The grids that the user had under an earlier scope epoch.
pub async fn grids_at(
    conn: &mut PgConnection,
    street: &StreetCode,
    username: &str,
    epoch: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select grid from assignment
         where street = $1 and username = $2 and since_epoch <= $3 and (until_epoch is null or until_epoch > $3) order by grid",
        street.as_str(),
        username,
        epoch,
    )
    .fetch_all(conn)
    .await
}

/// Position of the first of `grids` that the street does not have.
pub async fn first_unknown_grid(
    conn: &mut PgConnection,
    street: &StreetCode,
    grids: &[String],
) -> sqlx::Result<Option<usize>> {
    let position = sqlx::query_scalar!(
        r#"select position as "position!" from unnest($2::text[]) with ordinality as wanted (grid, position)
           where not exists (select 1 from grid g where g.street = $1 and g.grid = wanted.grid) order by position limit 1"#,
        street.as_str(),
        grids,
    )
    .fetch_optional(conn)
    .await?;
    Ok(position.map(|position| position as usize - 1))
}

/// Makes `grids` the user's grids from now on. The same set as before changes nothing and raises no epoch.
///
/// Must run in a transaction: the scope row is locked first, so that two admins follow each other.
pub async fn assign(
    conn: &mut PgConnection,
    street: &StreetCode,
    username: &str,
    grids: &[String],
    now: ServerTime,
) -> sqlx::Result<Scope> {
    let before = sqlx::query_scalar!(
        "insert into scope (street, username, epoch) values ($1, $2, 0)
         on conflict (street, username) do update set epoch = scope.epoch returning epoch",
        street.as_str(),
        username,
    )
    .fetch_one(&mut *conn)
    .await?;
    let now = time::OffsetDateTime::from(now);
    let epoch = before + 1;
    let lost = sqlx::query!(
        "update assignment set until_epoch = $4, until = $5
         where street = $1 and username = $2 and until_epoch is null and grid <> all ($3::text[])",
        street.as_str(),
        username,
        grids,
        epoch,
        now,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let gained = sqlx::query!(
        "insert into assignment (street, username, grid, since_epoch, since)
         select $1, $2, wanted, $4, $5 from (select distinct unnest($3::text[]) as wanted) w
         where not exists (select 1 from assignment a where a.street = $1 and a.username = $2 and a.grid = wanted and a.until_epoch is null)",
        street.as_str(),
        username,
        grids,
        epoch,
        now,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if lost + gained > 0 {
        sqlx::query!(
            "update scope set epoch = $3 where street = $1 and username = $2",
            street.as_str(),
            username,
            epoch
        )
        .execute(&mut *conn)
        .await?;
    }
    scope(conn, street, username).await
}

/// A street and the grids in it that somebody works or oversees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreetGrids {
    pub street: Street,
    pub grids: Vec<Grid>,
}

/// The streets of a deployment-wide account are listed up to this number; the rest is behind `GET /v1/streets`.
const STREETS_OF_MAX: i64 = 200;

/// What a user is shown after signing in: the home street (or every street, without one) and those where grids are assigned. A user who
/// `oversees` gets all grids of each, others those assigned.
pub async fn streets_of(
    conn: &mut PgConnection,
    username: &str,
    home: Option<&StreetCode>,
    oversees: bool,
) -> sqlx::Result<Vec<StreetGrids>> {
    let home = home.map(StreetCode::as_str);
    let rows = sqlx::query!(
        r#"with shown as (
               select street, name, district from street s
               where s.street = $2 or ($3 and $2::text is null)
                  or ($2 is null and exists (select 1 from assignment a where a.street = s.street and a.username = $1 and a.until_epoch is null))
               order by street limit $4
           )
           select s.street, s.name as "street_name", s.district, g.grid as "grid?", g.name as "grid_name?", g.area as "area?"
           from shown s
           left join grid g on g.street = s.street and ($3 or exists (
               select 1 from assignment a where a.street = g.street and a.grid = g.grid and a.username = $1 and a.until_epoch is null))
           order by s.street, g.grid"#,
        username,
        home,
        oversees,
        STREETS_OF_MAX,
    )
    .fetch_all(conn)
    .await?;
    let mut streets: Vec<StreetGrids> = Vec::new();
    for row in rows {
        let street: StreetCode = crate::store::decoded(&row.street)?;
        if streets
            .last()
            .is_none_or(|last| last.street.street != street)
        {
            streets.push(StreetGrids {
                street: Street {
                    street,
                    name: row.street_name,
                    district: row.district,
                },
                grids: Vec::new(),
            });
        }
        if let (Some(last), Some(grid), Some(name), Some(area)) =
            (streets.last_mut(), row.grid, row.grid_name, row.area)
        {
            last.grids.push(Grid { grid, name, area });
        }
    }
    Ok(streets)
}

/// A grid that a user works, or worked.
#[derive(Debug)]
pub struct Assignment {
    pub username: String,
    pub grid: String,
    pub current: bool,
}

/// Every assignment that the users have, or ever had, in the street.
pub async fn assignments_of(
    conn: &mut PgConnection,
    street: &StreetCode,
    users: &[String],
) -> sqlx::Result<Vec<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"select username, grid, until_epoch is null as "current!" from assignment where street = $1 and username = any($2)"#,
        street.as_str(),
        users,
    )
    .fetch_all(conn)
    .await
}

/// The codes of every grid of the street.
pub async fn all_grids(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select grid from grid where street = $1", street.as_str())
        .fetch_all(conn)
        .await
}

/// The names of every road of the street.
pub async fn all_roads(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select road from road where street = $1", street.as_str())
        .fetch_all(conn)
        .await
}

/// Every grid of the street.
pub async fn grids_of(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Vec<Grid>> {
    sqlx::query_as!(
        Grid,
        "select grid, name, area from grid where street = $1 order by grid",
        street.as_str()
    )
    .fetch_all(conn)
    .await
}

/// The codes of every street.
pub async fn all_streets(conn: &mut PgConnection) -> sqlx::Result<Vec<StreetCode>> {
    let codes = sqlx::query_scalar!("select street from street order by street")
        .fetch_all(conn)
        .await?;
    codes
        .iter()
        .map(|code| crate::store::decoded(code))
        .collect()
}

/// The role of each account now, and those it had before, the newest first. Accounts that are gone are left out.
pub async fn roles_of(
    conn: &mut PgConnection,
    usernames: &[String],
) -> sqlx::Result<HashMap<String, Vec<Role>>> {
    let rows = sqlx::query!(
        "select username, role, former_roles from account where username = any($1)",
        usernames
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let newest_first = std::iter::once(&row.role).chain(row.former_roles.iter().rev());
            let roles = newest_first
                .map(|role| crate::store::decoded(role))
                .collect::<sqlx::Result<_>>()?;
            Ok((row.username, roles))
        })
        .collect()
}
