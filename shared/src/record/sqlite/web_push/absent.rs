//! Members of a chat who are not connected, and are told of its messages by Web Push.

use rusqlite::{Connection, params};

use crate::ids::{ChatId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::statement::{all, first, value};
use crate::web_push::pushes::{CHAT_DIGEST_MS, DigestTag};

/// Counts a message for the digest of each member who is not connected and has a subscription; in a group only of those who
/// are involved. Returns whether there are any.
pub(crate) fn tell(db: &Connection, chat: ChatId, sender: &UserId, now_ms: i64) -> Result<bool, Failure> {
    let sql = "SELECT m.user_id FROM chat_members m JOIN chats c ON c.id = m.chat_id
                WHERE m.chat_id = ?1 AND m.user_id <> ?2 AND (m.involved OR c.kind = 'direct')
                  AND EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.user_id = m.user_id)
                  AND NOT EXISTS (SELECT 1 FROM connections o WHERE o.user_id = m.user_id AND o.token_expires_at > ?3)";
    let absent = all(db, sql, params![chat.as_bytes().as_slice(), sender.as_str(), now_ms], value::<String>)?;
    let tag = DigestTag::Chat(chat).to_string();
    for user in &absent {
        super::digests::open(db, &UserId::stored(user.clone()), &tag, now_ms + CHAT_DIGEST_MS, CHAT_DIGEST_MS)?;
    }
    Ok(!absent.is_empty())
}

/// Lets what Web Push has shown of a chat be closed, once its member has read everything. Returns whether there is any.
pub(crate) fn close(db: &Connection, chat: ChatId, member: &UserId, now_ms: i64) -> Result<bool, Failure> {
    // One that is being sent, or will be sent again, comes back for that after its end: it counts as an arrival.
    let sql = "UPDATE push_digests
                  SET due_at = CASE attempts WHEN 0 THEN ?3 ELSE due_at END, arrivals = arrivals + 1
                WHERE user_id = ?1 AND tag = ?2
                RETURNING pushed_at IS NOT NULL OR attempts > 0";
    let params = params![member.as_str(), DigestTag::Chat(chat).to_string(), now_ms];
    Ok(first(db, sql, params, value::<bool>)?.unwrap_or(false))
}
