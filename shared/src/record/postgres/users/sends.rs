//! Forgetting who sent something, and under which key.

use uuid::Uuid;

use crate::ids::{SendId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{column, limit};
use crate::record::postgres::timeout::{Db, Run};
use crate::users::erasures::{MAX_CHANGED, MAX_GROUPS, Reached};

/// Moves sends of the user that others need to ids that follow from nothing, and deletes the others.
pub(super) async fn forget(db: &mut Db<'_>, user: &UserId) -> Result<Reached, Failure> {
    let query = sqlx::query(
        "SELECT s.id, (SELECT count(*) FROM notifications n WHERE n.send_id = s.id) AS notifications
           FROM sends s WHERE s.sender = $1 ORDER BY s.created_at, s.id LIMIT $2",
    );
    let found = query.bind(user.as_str()).bind(limit(MAX_GROUPS)).all(db).await?;
    let (mut old, mut notifications) = (Vec::<Uuid>::new(), 0);
    for row in &found {
        if notifications >= limit(MAX_CHANGED) {
            break;
        }
        old.push(column(row, "id")?);
        notifications += column::<i64>(row, "notifications")?;
    }
    if old.is_empty() {
        return Ok(Reached::End);
    }
    // A chunk that is being materialised is waited for, so that its rows are seen below; no other is materialised meanwhile.
    let chunks = sqlx::query("SELECT FROM send_chunks WHERE send_id = ANY ($1) ORDER BY send_id, n FOR UPDATE");
    chunks.bind(old.clone()).run(db).await?;
    let sends = sqlx::query("SELECT FROM sends WHERE id = ANY ($1) ORDER BY id FOR UPDATE");
    sends.bind(old.clone()).run(db).await?;
    let query = sqlx::query(
        "SELECT s.id FROM unnest($1::uuid[]) AS s (id)
          WHERE EXISTS (SELECT FROM notifications n WHERE n.send_id = s.id)
             OR EXISTS (SELECT FROM send_chunks c WHERE c.send_id = s.id AND c.state = 'waiting')
             OR EXISTS (SELECT FROM dead_letters d WHERE d.send_id = s.id AND d.recipients > 0)",
    );
    let needed = query.bind(old.clone()).all(db).await?;
    let needed = needed.iter().map(|row| column(row, "id")).collect::<Result<Vec<Uuid>, _>>()?;
    move_to_new_ids(db, needed).await?;
    // With their chunks and dead letters, by foreign keys.
    let is_last = found.len() < MAX_GROUPS && old.len() == found.len();
    sqlx::query("DELETE FROM sends WHERE id = ANY ($1)").bind(old).run(db).await?;
    Ok(if is_last { Reached::End } else { Reached::PART })
}

/// Copies sends, and gives what refers to them to the copies.
async fn move_to_new_ids(db: &mut Db<'_>, old: Vec<Uuid>) -> Result<(), Failure> {
    let new: Vec<Uuid> = old.iter().map(|_| SendId::random().as_uuid()).collect();
    let copy = sqlx::query(include_str!("copy_sends.sql")).bind(old.clone()).bind(new.clone());
    copy.bind([0_u8; 32].to_vec()).run(db).await?;
    sqlx::query(include_str!("move_rows.sql")).bind(old.clone()).bind(new.clone()).run(db).await?;
    let chunks = sqlx::query(
        "UPDATE send_chunks AS c SET send_id = moved.new_id
           FROM unnest($1::uuid[], $2::uuid[]) AS moved (old_id, new_id) WHERE c.send_id = moved.old_id",
    );
    chunks.bind(old.clone()).bind(new.clone()).run(db).await?;
    let letters = sqlx::query(
        "UPDATE dead_letters AS d SET send_id = moved.new_id
           FROM unnest($1::uuid[], $2::uuid[]) AS moved (old_id, new_id) WHERE d.send_id = moved.old_id",
    );
    letters.bind(old).bind(new).run(db).await?;
    Ok(())
}
