//! Histories in SQLite.

use rusqlite::{Connection, params};

use super::messages::state;
use super::rows;
use crate::chat::message::Message;
use crate::chat::messages::{History, Range};
use crate::chat::window::{Place, Window};
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::{Bounds, Item};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::limit;
use crate::record::sqlite::statement::{one, value};
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
        let window = Window::new(range, bounds);
        let erased = known.iter().filter(|message| message.is_erased).count();
        let (member, last_known) = (member.clone(), known.last().cloned());
        let known_seqs = known.first().zip(known.last()).map_or(NOTHING, |(first, last)| (first.seq, last.seq));
        let read = self.read(move |db| {
            let Some(own) = state(db, chat, &member)? else { return Ok(None) };
            let has_confirmed = match last_known {
                None => true,
                Some(last) => is_stored(db, chat, &last)? && count_erased(db, chat, known_seqs)? == limit(erased),
            };
            let known_seqs = if has_confirmed { known_seqs } else { NOTHING };
            let place = window.place(own.cleared_seq, own.last_seq);
            let read = missing(db, chat, place, window.is_forward, bounds.bytes, known_seqs)?;
            Ok(Some((own.last_seq, has_confirmed, place, read)))
        });
        let Some((last_seq, has_confirmed, place, read)) = read.await? else { return Ok(None) };
        let known = if has_confirmed { known } else { &[] };
        let (messages, complete) = window.page(place, bounds, known, read);
        Ok(Some(History { messages, complete, last_seq, has_confirmed }))
    }
}

/// The first and the last `seq` of no messages. No message has this one.
const NOTHING: (i64, i64) = (0, 0);

/// Whether a message is stored with its `seq`, id and time. Only then are those before it stored as well.
fn is_stored(db: &Connection, chat: ChatId, message: &Message) -> Result<bool, Failure> {
    let (chat, id) = (chat.as_bytes().as_slice(), message.id.as_bytes().as_slice());
    let sql = "SELECT EXISTS (SELECT 1 FROM messages WHERE chat_id = ?1 AND seq = ?2 AND id = ?3 AND created_at = ?4)";
    one(db, sql, params![chat, message.seq, id, message.created_at.0], value)
}

/// How many messages of a range are erased. Erased messages stay so: a caller that knows as many has the same.
fn count_erased(db: &Connection, chat: ChatId, (first, last): (i64, i64)) -> Result<i64, Failure> {
    let sql = "SELECT count(*) FROM messages WHERE chat_id = ?1 AND seq BETWEEN ?2 AND ?3 AND erased_at IS NOT NULL";
    one(db, sql, params![chat.as_bytes().as_slice(), first, last], value)
}

/// The messages of a page that are not known, in the direction of the page. They end with the one that exceeds the bytes, but
/// not with the first, so that there is a further one if some were left out.
fn missing(
    db: &Connection,
    chat: ChatId,
    place: Place,
    is_forward: bool,
    max_bytes: usize,
    (first_known, last_known): (i64, i64),
) -> Result<Vec<Message>, Failure> {
    let mut statement = db.prepare_cached(if is_forward { missing!("seq") } else { missing!("seq DESC") })?;
    let id = chat.as_bytes().as_slice();
    let mut found = statement.query(params![id, place.first, place.last, first_known, last_known])?;
    let (mut read, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = found.next()? {
        let message = rows::message(row, chat, "created_at")?;
        bytes = bytes.saturating_add(message.json_bytes());
        read.push(message);
        if bytes > max_bytes && read.len() > 1 {
            break;
        }
    }
    Ok(read)
}
