//! Chats in Postgres.

mod change;
mod chats;
mod create;
mod history;
mod messages;
pub(crate) mod rows;

use crate::ids::ChatId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::connection;
use crate::record::postgres::sql::sql;
use crate::record::postgres::timeout::{Db, Run};
use crate::sockets::connections::Connection;

use crate::clock::At;
use crate::record::postgres::rows::at_ms;

/// The live connections of all members.
async fn connections(db: &mut Db<'_>, chat: ChatId, at: At) -> Result<Vec<Connection>, Failure> {
    let query = sqlx::query(sql!(
        (" SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
             FROM clock, chat_members m JOIN connections c ON c.user_id = m.user_id
            WHERE m.chat_id = $2 AND c.token_expires_at > clock.now_ms
            ORDER BY m.member, c.connected_at, c.id")
    ));
    let found = query.bind(at_ms(at)).bind(chat.as_uuid()).read_all(db).await?;
    let found: Result<Vec<Option<Connection>>, _> = found.iter().map(|row| connection(row, "id")).collect();
    Ok(found?.into_iter().flatten().collect())
}
