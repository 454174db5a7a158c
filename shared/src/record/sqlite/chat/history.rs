//! Histories in SQLite.

use futures_util::TryStreamExt;
use sqlx::SqliteConnection;

use super::messages::state;
use super::rows;
use crate::chat::message::Message;
use crate::chat::messages::{History, Range};
use crate::chat::window::{Place, Window};
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::{Bounds, Item};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::store::SqliteRecord;

/// The messages of a page that are not known, in this order.
macro_rules! missing {
    ($order:literal) => {
        concat!(
            "SELECT seq, id AS message_id, sender_id, client_id, body, data, created_at, erased_at FROM messages
              WHERE chat_id = ?1 AND seq BETWEEN ?2 AND ?3 AND seq NOT BETWEEN ?4 AND ?5 ORDER BY ",
            $order
        )
    };
}

impl SqliteRecord {
    pub(super) async fn try_history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, Failure> {
        let mut db = self.read().await?;
        let Some(own) = state(&mut db, chat, member).await? else { return Ok(None) };
        let has_confirmed = match known.last() {
            None => true,
            Some(last) => is_stored(&mut db, chat, last).await?,
        };
        let known = if has_confirmed { known } else { &[] };
        let window = Window::new(range, bounds);
        let place = window.place(own.cleared_seq, own.last_seq);
        let read = missing(&mut db, chat, place, window.is_forward, bounds.bytes, known).await?;
        let (messages, complete) = window.page(place, bounds, known, read);
        Ok(Some(History { messages, complete, last_seq: own.last_seq, has_confirmed }))
    }
}

/// Whether a message is stored with its `seq`, id and time. Only then are those before it stored as well.
async fn is_stored(db: &mut SqliteConnection, chat: ChatId, message: &Message) -> Result<bool, Failure> {
    let query = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM messages WHERE chat_id = ?1 AND seq = ?2 AND id = ?3 AND created_at = ?4)",
    );
    let query = query.bind(chat.as_bytes().as_slice()).bind(message.seq);
    Ok(query.bind(message.id.as_bytes().as_slice()).bind(message.created_at.0).fetch_one(db).await?)
}

/// The messages of a page that are not known, in the direction of the page. They end with the one that exceeds the bytes, but
/// not with the first, so that there is a further one if some were left out.
async fn missing(
    db: &mut SqliteConnection,
    chat: ChatId,
    place: Place,
    is_forward: bool,
    max_bytes: usize,
    known: &[Message],
) -> Result<Vec<Message>, Failure> {
    let query = sqlx::query(if is_forward { missing!("seq") } else { missing!("seq DESC") });
    let mut found = query
        .bind(chat.as_bytes().as_slice())
        .bind(place.first)
        .bind(place.last)
        .bind(known.first().map_or(0, |first| first.seq))
        .bind(known.last().map_or(0, |last| last.seq))
        .fetch(db);
    let (mut read, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = found.try_next().await? {
        let message = rows::message(&row, chat, "created_at")?;
        bytes = bytes.saturating_add(message.json_bytes());
        read.push(message);
        if bytes > max_bytes && read.len() > 1 {
            break;
        }
    }
    Ok(read)
}
