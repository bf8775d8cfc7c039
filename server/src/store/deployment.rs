//! Which history this database holds.
//!
//! A phone's cursor names the store epoch. When a database comes back from a backup its epoch is a new one, and phones heal it: they pull
//! from the start and send again what it lacks. A dump that was restored on another cluster is noticed by the cluster's identifier; a
//! copy put back under the same cluster (a file-level restore) is not, hence `lianka migrate --restored`.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// What [`note_cluster`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterNote {
    /// The first start on this database: its cluster is remembered, the epoch stays.
    First,
    /// The cluster that is remembered.
    Same,
    /// Another cluster than the one remembered: the database was restored, the epoch is new.
    Moved,
    /// Postgres does not tell its identifier to this role; nothing was changed.
    Unknown,
}

/// The epoch that cursors of this store carry.
pub async fn store_epoch(pool: &PgPool) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar!("select store_epoch from deployment")
        .fetch_one(pool)
        .await
}

/// The same, on a connection beside the pool.
pub async fn epoch_of(conn: &mut PgConnection) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar!("select store_epoch from deployment")
        .fetch_one(conn)
        .await
}

/// Remembers the cluster that holds this database, and takes a new epoch when it is another one than last time.
pub async fn note_cluster(pool: &PgPool) -> Result<ClusterNote, sqlx::Error> {
    let Some(cluster) = cluster_id(pool).await? else {
        return Ok(ClusterNote::Unknown);
    };
    // One statement, so that of many servers that start at once after a restore only one takes a new epoch.
    let moved = sqlx::query_scalar!(
        r#"update deployment d
           set store_epoch = case when d.cluster_id is null then d.store_epoch else gen_random_uuid() end, cluster_id = $1
           from (select cluster_id from deployment for update) before
           where before.cluster_id is distinct from $1
           returning before.cluster_id is not null as "moved!""#,
        cluster
    )
    .fetch_optional(pool)
    .await?;
    Ok(match moved {
        None => ClusterNote::Same,
        Some(false) => ClusterNote::First,
        Some(true) => ClusterNote::Moved,
    })
}

/// Takes a new epoch: the operator says that this database came back from a backup.
pub async fn new_epoch(pool: &PgPool) -> Result<Uuid, sqlx::Error> {
    let cluster = cluster_id(pool).await?;
    sqlx::query_scalar!(
        "update deployment set store_epoch = gen_random_uuid(), cluster_id = coalesce($1, cluster_id) returning store_epoch",
        cluster
    )
    .fetch_one(pool)
    .await
}

/// The cluster's own identifier, made by initdb; a standby that takes over keeps it.
async fn cluster_id(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    match sqlx::query_scalar!("select system_identifier::text from pg_control_system()")
        .fetch_one(pool)
        .await
    {
        Ok(id) => Ok(id),
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
