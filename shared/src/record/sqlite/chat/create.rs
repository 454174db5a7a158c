//! Creating chats in SQLite.

use rusqlite::{Connection, params};

use super::chats::find;
use super::{change, connections};
use crate::chat::chats::{Change, Changed, Created, NewChat};
use crate::chat::{Kind, Status};
use crate::clock::At;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::json_list;
use crate::record::sqlite::statement::{execute, one, value};
use crate::record::sqlite::store::SqliteRecord;

impl SqliteRecord {
    pub(super) async fn try_create(&self, new: &NewChat<'_>, at: At) -> Result<Created, Failure> {
        let new = Owned::from(new);
        self.write(move |db| {
            let now_ms = at.process_ms();
            if !insert(db, &new, now_ms)? {
                return meet(db, &new, now_ms);
            }
            let chat = find(db, new.id, &new.creator)?;
            let connections = connections(db, new.id, now_ms)?;
            Ok(Created::New(Changed { chat, has_effect: true, connections, removed: Vec::new() }))
        })
        .await
    }
}

/// A [`NewChat`] that an act owns.
struct Owned {
    id: ChatId,
    kind: Kind,
    title: Option<String>,
    creator: UserId,
    /// All members as a JSON list, the creator first.
    members: String,
    fingerprint: [u8; 32],
}

impl From<&NewChat<'_>> for Owned {
    fn from(new: &NewChat<'_>) -> Self {
        let mut members = vec![new.creator];
        members.extend(new.others);
        Self {
            id: new.id,
            kind: new.kind,
            title: new.title.map(str::to_owned),
            creator: new.creator.clone(),
            members: json_list(&members),
            fingerprint: new.fingerprint,
        }
    }
}

/// Stores a chat and its members, unless there is one with its id. Members get their numbers in the order of the list, the
/// creator's first.
fn insert(db: &Connection, new: &Owned, now_ms: i64) -> Result<bool, Failure> {
    let status = if new.kind == Kind::Direct { Status::Pending } else { Status::Accepted };
    let id = new.id.as_bytes().as_slice();
    let inserted = execute(
        db,
        "INSERT INTO chats (id, kind, status, title, created_by, owner, fingerprint, created_at, active_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (id) DO NOTHING",
        params![
            id,
            new.kind.name(),
            status.name(),
            new.title,
            new.creator.as_str(),
            (new.kind == Kind::Group).then_some(new.creator.as_str()),
            new.fingerprint.as_slice(),
            now_ms
        ],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    execute(
        db,
        "INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
         SELECT ?1, value, ?2, key = 0 FROM json_each(?3) ORDER BY key",
        params![id, now_ms, new.members],
    )?;
    Ok(true)
}

/// What is there already under the id of a chat to be created.
fn meet(db: &Connection, new: &Owned, now_ms: i64) -> Result<Created, Failure> {
    let sql = "SELECT fingerprint FROM chats WHERE id = ?1";
    let fingerprint = one(db, sql, params![new.id.as_bytes().as_slice()], value::<Vec<u8>>)?;
    if new.kind == Kind::Group && fingerprint != new.fingerprint {
        return Ok(Created::Reused);
    }
    let Some(known) = find(db, new.id, &new.creator)? else { return Ok(Created::Left) };
    if new.kind == Kind::Direct && known.chat.status != Status::Accepted {
        // Asking back accepts, for the member who may; for the other it changes nothing.
        if let Ok(changed) = change::perform(db, new.id, &new.creator, &Change::Accept, now_ms)? {
            return Ok(if changed.has_effect {
                Created::Accepted(changed)
            } else {
                Created::Known(changed.chat.ok_or_else(|| broken("chat_members"))?)
            });
        }
    }
    Ok(Created::Known(known))
}
