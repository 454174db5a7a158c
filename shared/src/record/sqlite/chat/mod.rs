//! Chats in SQLite.

mod change;
mod chats;
mod create;
mod history;
pub(crate) mod messages;
pub(crate) mod push;
mod rows;

use rusqlite::{Connection as Db, params};

use crate::ids::ChatId;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::connection;
use crate::record::sqlite::statement::all;
use crate::sockets::connections::Connection;

/// The live connections of all members.
fn connections(db: &Db, chat: ChatId, now_ms: i64) -> Result<Vec<Connection>, Failure> {
    let sql = "SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
                 FROM chat_members m JOIN connections c ON c.user_id = m.user_id
                WHERE m.chat_id = ?1 AND c.token_expires_at > ?2
                ORDER BY m.member, c.connected_at, c.id";
    all(db, sql, params![chat.as_bytes().as_slice(), now_ms], connection)
}
