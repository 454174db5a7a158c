//! Creating chats in SQLite.

use sqlx::{Row, SqliteConnection};

use super::chats::find;
use super::{change, connections};
use crate::chat::chats::{Change, Changed, Created, NewChat};
use crate::chat::{Kind, Status};
use crate::clock::At;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::json_list;
use crate::record::sqlite::store::{SqliteRecord, commit};

impl SqliteRecord {
    pub(super) async fn try_create(&self, new: &NewChat<'_>, at: At) -> Result<Created, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let created = if insert(&mut db, new, now_ms).await? {
            let chat = find(&mut db, new.id, new.creator).await?;
            let connections = connections(&mut db, new.id, now_ms).await?;
            Created::New(Changed { chat, has_effect: true, connections, removed: Vec::new() })
        } else {
            meet(&mut db, new, now_ms).await?
        };
        commit(db).await?;
        Ok(created)
    }
}

/// Stores a chat and its members, unless there is one with its id. Members get their numbers in the order of the list, the
/// creator's first.
async fn insert(db: &mut SqliteConnection, new: &NewChat<'_>, now_ms: i64) -> Result<bool, Failure> {
    let status = if new.kind == Kind::Direct { Status::Pending } else { Status::Accepted };
    let inserted = sqlx::query(
        "INSERT INTO chats (id, kind, status, title, created_by, owner, fingerprint, created_at, active_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(new.kind.name())
    .bind(status.name())
    .bind(new.title)
    .bind(new.creator.as_str())
    .bind((new.kind == Kind::Group).then_some(new.creator.as_str()))
    .bind(new.fingerprint.as_slice())
    .bind(now_ms)
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let mut members = vec![new.creator];
    members.extend(new.others);
    sqlx::query(
        "INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
         SELECT ?1, value, ?2, key = 0 FROM json_each(?3) ORDER BY key",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(now_ms)
    .bind(json_list(&members))
    .execute(db)
    .await?;
    Ok(true)
}

/// What is there already under the id of a chat to be created.
async fn meet(db: &mut SqliteConnection, new: &NewChat<'_>, now_ms: i64) -> Result<Created, Failure> {
    let fingerprint = sqlx::query("SELECT fingerprint FROM chats WHERE id = ?1").bind(new.id.as_bytes().as_slice());
    let fingerprint = fingerprint.fetch_one(&mut *db).await?;
    if new.kind == Kind::Group && fingerprint.try_get::<&[u8], _>("fingerprint")? != new.fingerprint {
        return Ok(Created::Reused);
    }
    let Some(known) = find(db, new.id, new.creator).await? else { return Ok(Created::Left) };
    if new.kind == Kind::Direct && known.chat.status != Status::Accepted {
        // Asking back accepts, for the member who may; for the other it changes nothing.
        if let Ok(changed) = change::perform(db, new.id, new.creator, &Change::Accept, now_ms).await? {
            return Ok(if changed.has_effect {
                Created::Accepted(changed)
            } else {
                Created::Known(changed.chat.ok_or_else(|| broken("chat_members"))?)
            });
        }
    }
    Ok(Created::Known(known))
}
