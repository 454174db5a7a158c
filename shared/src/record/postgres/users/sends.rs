//! Forgetting who sent something, and under which key.

use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{column, limit};
use crate::record::postgres::timeout::{Db, Run};
use crate::users::erasures::{MAX_SENDS, Reached};

/// Takes the sender from sends that others need, and deletes the others.
pub(super) async fn forget(db: &mut Db<'_>, user: &UserId) -> Result<Reached, Failure> {
    let query = sqlx::query("SELECT id FROM sends WHERE sender = $1 ORDER BY created_at, id LIMIT $2");
    let found = query.bind(user.as_str()).bind(limit(MAX_SENDS)).all(db).await?;
    let sends = ids(&found)?;
    // A chunk that is being materialised is waited for, so that its rows are seen below; no other is materialised meanwhile.
    let chunks = sqlx::query("SELECT FROM send_chunks WHERE send_id = ANY ($1) ORDER BY send_id, n FOR UPDATE");
    chunks.bind(sends.clone()).run(db).await?;
    let locked = sqlx::query("SELECT FROM sends WHERE id = ANY ($1) ORDER BY id FOR UPDATE");
    locked.bind(sends.clone()).run(db).await?;
    let unneeded = unneeded(db, &sends).await?;
    // With their chunks and dead letters, by foreign keys.
    sqlx::query("DELETE FROM sends WHERE id = ANY ($1)").bind(unneeded).run(db).await?;
    // No request has this fingerprint, so one with the same key is refused.
    let kept = sqlx::query(
        "UPDATE sends SET sender = '', fingerprint = $2, answer = '{}', traceparent = NULL WHERE id = ANY ($1)",
    );
    kept.bind(sends).bind([0_u8; 32].to_vec()).run(db).await?;
    Ok(if found.len() < MAX_SENDS { Reached::End } else { Reached::Part })
}

/// Empties those of these sends that no one needs any more. They stay, for their keys.
pub(super) async fn empty(db: &mut Db<'_>, mut sends: Vec<Uuid>) -> Result<(), Failure> {
    sends.sort_unstable();
    sends.dedup();
    // In the order of the ids, as everything locks sends.
    let locked = sqlx::query("SELECT FROM sends WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE");
    locked.bind(sends.clone()).run(db).await?;
    let unneeded = unneeded(db, &sends).await?;
    let emptied = sqlx::query(
        "UPDATE sends SET title = '', body = NULL, data = '{}', action_url = NULL, collapse_key = NULL WHERE id = ANY ($1)",
    );
    emptied.bind(unneeded).run(db).await?;
    Ok(())
}

/// Those of these sends, which the caller has locked, that no one needs any more.
async fn unneeded(db: &mut Db<'_>, sends: &[Uuid]) -> Result<Vec<Uuid>, Failure> {
    ids(&sqlx::query(include_str!("unneeded_sends.sql")).bind(sends.to_vec()).all(db).await?)
}

fn ids(rows: &[PgRow]) -> Result<Vec<Uuid>, Failure> {
    let ids = rows.iter().map(|row| column(row, "id")).collect::<Result<_, StoreError>>();
    Ok(ids?)
}
