//! Members of a chat who are not connected, and are told of its messages by Web Push.

use rusqlite::{Connection, params};

use crate::chat::message::Message;
use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::statement::{all, first, value};
use crate::web_push::pushes::{CHAT_DIGEST_MS, DigestTag};

/// Counts a message for the digest of each member who is not connected and has a subscription; in a group only of those who
/// are involved. Closes that of the sender, who has read everything. Returns whether there are any.
pub(crate) fn tell(db: &Connection, chat: ChatId, sender: &UserId, now_ms: i64) -> Result<bool, Failure> {
    let sql = "SELECT m.user_id FROM chat_members m JOIN chats c ON c.id = m.chat_id
                WHERE m.chat_id = ?1 AND m.user_id <> ?2 AND (m.involved OR c.kind = 'direct')
                  AND EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.user_id = m.user_id)
                  AND NOT EXISTS (SELECT 1 FROM connections o WHERE o.user_id = m.user_id AND o.token_expires_at > ?3)";
    let absent = all(db, sql, params![chat.as_bytes().as_slice(), sender.as_str(), now_ms], value::<String>)?;
    let has_absent = !absent.is_empty();
    for user in absent {
        open(db, &UserId::stored(user), chat, now_ms)?;
    }
    Ok(close(db, chat, sender, now_ms)? || has_absent)
}

/// Members up to a number, after another one.
pub(crate) struct Span {
    /// Only those after this one.
    pub(crate) after: i64,
    /// Only those up to this one.
    pub(crate) through: Option<i64>,
}

/// Opens the digests of members who were connected when a message came and are not now, so that nothing has reached them, unless
/// one waits already or was shown since.
pub(crate) fn tell_missed(db: &Connection, message: &Message, span: &Span, now_ms: i64) -> Result<(), Failure> {
    let sql = "SELECT m.user_id FROM chat_members m JOIN chats c ON c.id = m.chat_id
                WHERE m.chat_id = ?1 AND m.member > ?2 AND m.member <= coalesce(?3, m.member)
                  AND max(m.read_seq, m.cleared_seq) < ?4 AND (m.involved OR c.kind = 'direct')
                  AND EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.user_id = m.user_id)
                  AND NOT EXISTS (SELECT 1 FROM connections o WHERE o.user_id = m.user_id AND o.token_expires_at > ?5)
                  AND NOT EXISTS (SELECT 1 FROM push_digests d WHERE d.user_id = m.user_id AND d.tag = ?6
                                     AND (d.due_at IS NOT NULL AND d.attempts = 0 OR d.pushed_at >= ?7))";
    let (chat, created_at) = (message.chat, message.created_at.0);
    let tag = DigestTag::Chat(chat).to_string();
    let params = params![chat.as_bytes().as_slice(), span.after, span.through, message.seq, now_ms, tag, created_at];
    for user in all(db, sql, params, value::<String>)? {
        open(db, &UserId::stored(user), chat, created_at)?;
    }
    Ok(())
}

/// Counts a message that came then.
fn open(db: &Connection, user: &UserId, chat: ChatId, came_ms: i64) -> Result<(), Failure> {
    super::digests::open(db, user, &DigestTag::Chat(chat).to_string(), came_ms + CHAT_DIGEST_MS, CHAT_DIGEST_MS)
}

/// Lets what Web Push has shown of a chat be closed, for a member who has read everything or is none any longer. Returns
/// whether there is any.
pub(crate) fn close(db: &Connection, chat: ChatId, member: &UserId, now_ms: i64) -> Result<bool, Failure> {
    // One that is being sent, or will be sent again, comes back for that after its end: it counts as an arrival.
    let sql = "UPDATE push_digests
                  SET due_at = CASE attempts WHEN 0 THEN ?3 ELSE due_at END, arrivals = arrivals + 1
                WHERE user_id = ?1 AND tag = ?2
                RETURNING pushed_at IS NOT NULL OR attempts > 0";
    let params = params![member.as_str(), DigestTag::Chat(chat).to_string(), now_ms];
    Ok(first(db, sql, params, value::<bool>)?.unwrap_or(false))
}
