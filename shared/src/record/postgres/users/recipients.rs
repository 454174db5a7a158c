//! Taking a user out of the lists of recipients who have no row.

use uuid::Uuid;

use super::sends;
use crate::ids::UserId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{column, limit};
use crate::record::postgres::timeout::{Db, Run};
use crate::users::erasures::{
    Left, MAX_CHANGED_TEXTS, MAX_EXAMINED_TEXTS, Reached, in_json, left_of_letter, reach, without,
};

/// In chunks. Those that a drain is materialising are waited for, and have put their row into the inbox then.
pub(super) async fn in_chunks(
    db: &mut Db<'_>,
    user: &UserId,
    (after, after_n): (Uuid, i64),
) -> Result<Reached, Failure> {
    let query = sqlx::query(
        "SELECT send_id, n, strpos(recipients, $1) > 0 AS names_user FROM send_chunks
          WHERE (send_id, n) > ($2, $3::bigint) ORDER BY send_id, n LIMIT $4",
    );
    let query = query.bind(in_json(user)).bind(after).bind(after_n).bind(limit(MAX_EXAMINED_TEXTS));
    let mut page = Vec::new();
    for row in &query.all(db).await? {
        let key: (Uuid, i32) = (column(row, "send_id")?, column(row, "n")?);
        page.push((key, column::<bool>(row, "names_user")?));
    }
    let (named, last) = reach(page, MAX_EXAMINED_TEXTS, MAX_CHANGED_TEXTS);
    let (sends, numbers): (Vec<Uuid>, Vec<i32>) = named.into_iter().unzip();
    // As they are once they are locked.
    let query = sqlx::query(
        "SELECT c.send_id, c.n, c.recipients
           FROM send_chunks c JOIN unnest($1::uuid[], $2::integer[]) AS named (send_id, n)
             ON c.send_id = named.send_id AND c.n = named.n
          ORDER BY c.send_id, c.n
            FOR UPDATE OF c",
    );
    let locked = query.bind(sends).bind(numbers).all(db).await?;
    let (mut sends, mut numbers, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for row in &locked {
        if let Some(left) = without(column(row, "recipients")?, user) {
            sends.push(column::<Uuid>(row, "send_id")?);
            numbers.push(column::<i32>(row, "n")?);
            lists.push(left.into_text());
        }
    }
    let query = sqlx::query(
        "UPDATE send_chunks AS c SET recipients = changed.recipients
           FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS changed (send_id, n, recipients)
          WHERE c.send_id = changed.send_id AND c.n = changed.n",
    );
    query.bind(sends.clone()).bind(numbers).bind(lists).run(db).await?;
    sends::empty(db, sends).await?;
    Ok(last.map_or(Reached::End, |(send, n)| Reached::Row(send, n.into())))
}

/// In dead letters. Those about the user alone are deleted, and so is what was held of it.
pub(super) async fn in_dead_letters(db: &mut Db<'_>, user: &UserId, after: Uuid) -> Result<Reached, Failure> {
    let query = sqlx::query(
        "SELECT id, coalesce(user_id = $1, false) OR coalesce(strpos(payload, $2) > 0, false) AS names_user
           FROM dead_letters WHERE id > $3 ORDER BY id LIMIT $4",
    );
    let query = query.bind(user.as_str()).bind(in_json(user)).bind(after).bind(limit(MAX_EXAMINED_TEXTS));
    let mut page = Vec::new();
    for row in &query.all(db).await? {
        page.push((column::<Uuid>(row, "id")?, column::<bool>(row, "names_user")?));
    }
    let (named, last) = reach(page, MAX_EXAMINED_TEXTS, MAX_CHANGED_TEXTS);
    let query = sqlx::query(
        "SELECT id, send_id, coalesce(user_id = $2, false) AS is_own, recipients, payload FROM dead_letters
          WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
    );
    let locked = query.bind(named).bind(user.as_str()).all(db).await?;
    let (mut deleted, mut sends) = (Vec::<Uuid>::new(), Vec::<Uuid>::new());
    let (mut ids, mut counts, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for row in &locked {
        let payload = column::<Option<&str>>(row, "payload")?.unwrap_or_default();
        let (is_own, recipients): (bool, i64) = (column(row, "is_own")?, column(row, "recipients")?);
        let Some(left) = left_of_letter(is_own, recipients, payload, user) else { continue };
        sends.extend(column::<Option<Uuid>>(row, "send_id")?);
        let id: Uuid = column(row, "id")?;
        if left == Left::NOTHING {
            deleted.push(id);
        } else {
            ids.push(id);
            counts.push(left.count(recipients));
            lists.push(left.into_text());
        }
    }
    sqlx::query("DELETE FROM dead_letters WHERE id = ANY ($1)").bind(deleted).run(db).await?;
    let query = sqlx::query(
        "UPDATE dead_letters AS d SET recipients = changed.recipients, payload = changed.payload
           FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS changed (id, recipients, payload)
          WHERE d.id = changed.id",
    );
    query.bind(ids).bind(counts).bind(lists).run(db).await?;
    sends::empty(db, sends).await?;
    Ok(last.map_or(Reached::End, |id| Reached::Row(id, 0)))
}
