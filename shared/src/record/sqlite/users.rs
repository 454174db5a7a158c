//! Erasing users in SQLite: each step is one act.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::chat::Kind;
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, ConnectionId, UserId};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows::{blob, limit, text};
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::users::erasures::{
    ERASED_IN_ANSWER, Erased, Erasures, Left, MAX_CHANGED, MAX_CHANGED_TEXTS, MAX_CHATS, MAX_EXAMINED,
    MAX_EXAMINED_TEXTS, MAX_SENDS, Reached, Stage, goes_round_again, in_answer, in_json, left_of_letter, reach,
    without,
};

#[async_trait]
impl Erasures for SqliteRecord {
    async fn begin_erasure(&self, user: &UserId, at: At) -> Result<(), StoreError> {
        Ok(self.try_begin_erasure(user, at).await?)
    }

    async fn erase_some(&self, user: &UserId, at: At) -> Result<Erased, StoreError> {
        Ok(self.try_erase_some(user, at).await?)
    }
}

impl SqliteRecord {
    async fn try_begin_erasure(&self, user: &UserId, at: At) -> Result<(), Failure> {
        let sql = "INSERT INTO erasures (user_id, begun_at, is_second_round, stage, after_id, after_n)
                   VALUES (?1, ?2, FALSE, ?3, ?4, 0) ON CONFLICT (user_id) DO NOTHING";
        let user = user.clone();
        self.write(move |db| {
            let (stage, none) = (Stage::FIRST.number(), Uuid::nil());
            execute(db, sql, params![user.as_str(), at.process_ms(), stage, none.as_bytes().as_slice()])?;
            Ok(())
        })
        .await
    }

    async fn try_erase_some(&self, user: &UserId, at: At) -> Result<Erased, Failure> {
        let user = user.clone();
        self.write(move |db| step(db, &user, at.process_ms())).await
    }
}

/// The key of the last row that a stage has examined.
struct Key {
    id: Uuid,
    n: i64,
}

fn step(db: &Connection, user: &UserId, now_ms: i64) -> Result<Erased, Failure> {
    let sql = "SELECT * FROM erasures WHERE user_id = ?1";
    let found = first(db, sql, params![user.as_str()], |row| {
        let after = Key { id: uuid(row, "after_id")?, n: row.get("after_n")? };
        Ok((row.get::<_, i64>("stage")?, after, row.get::<_, i64>("begun_at")?, row.get::<_, bool>("is_second_round")?))
    })?;
    let Some((number, after, begun_ms, is_second_round)) = found else { return Ok(Erased::complete()) };
    let stage = Stage::from_number(number).ok_or_else(|| broken("erasures.stage"))?;
    let mut erased = Erased::default();
    let reached = match stage {
        Stage::Own => own(db, user, &mut erased)?,
        Stage::Chunks => chunks(db, user, &after)?,
        Stage::DeadLetters => dead_letters(db, user, &after)?,
        Stage::Inbox => inbox(db, user)?,
        Stage::Sends => sends(db, user)?,
        Stage::Chats => leave_chats(db, user, &mut erased)?,
        Stage::LeftChats => left_chats(db, user, &after, &mut erased)?,
        Stage::Messages => messages(db, user, &after, now_ms, &mut erased)?,
        Stage::Answers => answers(db, user, &after)?,
    };
    if let Some((next, id, n)) = reached.next(stage) {
        let sql = "UPDATE erasures SET stage = ?2, after_id = ?3, after_n = ?4 WHERE user_id = ?1";
        execute(db, sql, params![user.as_str(), next.number(), id.as_bytes().as_slice(), n])?;
    } else if goes_round_again(begun_ms, is_second_round, now_ms) {
        let sql =
            "UPDATE erasures SET is_second_round = TRUE, stage = ?2, after_id = ?3, after_n = 0 WHERE user_id = ?1";
        execute(db, sql, params![user.as_str(), Stage::FIRST.number(), Uuid::nil().as_bytes().as_slice()])?;
    } else {
        execute(db, "DELETE FROM erasures WHERE user_id = ?1", params![user.as_str()])?;
        erased.is_complete = true;
    }
    Ok(erased)
}

fn uuid(row: &Row<'_>, name: &str) -> Result<Uuid, Failure> {
    Uuid::from_slice(blob(row, name)?).map_err(|_| broken(name))
}

fn own(db: &Connection, user: &UserId, erased: &mut Erased) -> Result<Reached, Failure> {
    let sql = "DELETE FROM push_digests
                WHERE user_id = ?1 AND tag IN (SELECT tag FROM push_digests WHERE user_id = ?1 ORDER BY tag LIMIT ?2)";
    let digests = execute(db, sql, params![user.as_str(), limit(MAX_CHANGED)])?;
    for sql in [
        "DELETE FROM preferences WHERE user_id = ?1",
        "DELETE FROM push_subscriptions WHERE user_id = ?1",
        "DELETE FROM tickets WHERE user_id = ?1",
        "DELETE FROM last_seen WHERE user_id = ?1",
    ] {
        execute(db, sql, params![user.as_str()])?;
    }
    let sql = "DELETE FROM connections WHERE user_id = ?1 RETURNING id";
    let closed = all(db, sql, params![user.as_str()], value::<String>)?;
    erased.connections.extend(closed.into_iter().map(ConnectionId::new));
    Ok(if digests < MAX_CHANGED { Reached::End } else { Reached::Part })
}

fn chunks(db: &Connection, user: &UserId, after: &Key) -> Result<Reached, Failure> {
    let sql = "SELECT send_id, n, instr(recipients, ?1) > 0 AS names_user FROM send_chunks
                WHERE (send_id, n) > (?2, ?3) ORDER BY send_id, n LIMIT ?4";
    let params = params![in_json(user), after.id.as_bytes().as_slice(), after.n, limit(MAX_EXAMINED_TEXTS)];
    let page = all(db, sql, params, |row| {
        Ok(((uuid(row, "send_id")?, row.get::<_, i64>("n")?), row.get::<_, bool>("names_user")?))
    })?;
    let (named, last) = reach(page, MAX_EXAMINED_TEXTS, MAX_CHANGED_TEXTS);
    for (send, n) in named {
        let send = send.as_bytes().as_slice();
        // As bytes, since what cannot be read may be no UTF-8 either.
        let sql = "SELECT CAST(recipients AS BLOB) FROM send_chunks WHERE send_id = ?1 AND n = ?2";
        let recipients = one(db, sql, params![send, n], value::<Vec<u8>>)?;
        if let Some(left) = without(&String::from_utf8_lossy(&recipients), user) {
            let sql = "UPDATE send_chunks SET recipients = ?3 WHERE send_id = ?1 AND n = ?2";
            execute(db, sql, params![send, n, left.into_text()])?;
            empty_unneeded(db, send)?;
        }
    }
    Ok(last.map_or(Reached::End, |(send, n)| Reached::Row(send, n)))
}

fn dead_letters(db: &Connection, user: &UserId, after: &Key) -> Result<Reached, Failure> {
    let sql = "SELECT id, user_id IS ?1 OR coalesce(instr(payload, ?2) > 0, FALSE) AS names_user FROM dead_letters
                WHERE id > ?3 ORDER BY id LIMIT ?4";
    let after = after.id.as_bytes().as_slice();
    let params = params![user.as_str(), in_json(user), after, limit(MAX_EXAMINED_TEXTS)];
    let page = all(db, sql, params, |row| Ok((uuid(row, "id")?, row.get::<_, bool>("names_user")?)))?;
    let (named, last) = reach(page, MAX_EXAMINED_TEXTS, MAX_CHANGED_TEXTS);
    for id in named {
        let id = id.as_bytes().as_slice();
        let sql = "SELECT send_id, user_id IS ?2 AS is_own, recipients, CAST(payload AS BLOB) AS payload
                     FROM dead_letters WHERE id = ?1";
        let (send, is_own, recipients, payload) = one(db, sql, params![id, user.as_str()], |row| {
            let send: Option<Vec<u8>> = row.get("send_id")?;
            let payload: Option<Vec<u8>> = row.get("payload")?;
            Ok((send, row.get::<_, bool>("is_own")?, row.get::<_, i64>("recipients")?, payload.unwrap_or_default()))
        })?;
        let payload = String::from_utf8_lossy(&payload);
        let Some(left) = left_of_letter(is_own, recipients, &payload, user) else { continue };
        if left == Left::NOTHING {
            execute(db, "DELETE FROM dead_letters WHERE id = ?1", params![id])?;
        } else {
            let sql = "UPDATE dead_letters SET recipients = ?2, payload = ?3 WHERE id = ?1";
            execute(db, sql, params![id, left.count(recipients), left.into_text()])?;
        }
        if let Some(send) = send {
            empty_unneeded(db, &send)?;
        }
    }
    Ok(last.map_or(Reached::End, |id| Reached::Row(id, 0)))
}

/// Deletes notifications, and at last the inbox. What they said goes if no one else has it; the sends stay, for their keys.
fn inbox(db: &Connection, user: &UserId) -> Result<Reached, Failure> {
    let sql = r#"DELETE FROM notifications
                  WHERE user_id = ?1
                    AND "offset" IN (SELECT "offset" FROM notifications WHERE user_id = ?1 ORDER BY "offset" LIMIT ?2)
                 RETURNING send_id"#;
    let deleted = all(db, sql, params![user.as_str(), limit(MAX_CHANGED)], value::<Vec<u8>>)?;
    for send in &deleted {
        // A drain may have set aside the push of a row since dead letters were erased.
        let sql = "DELETE FROM dead_letters WHERE send_id = ?1 AND user_id = ?2";
        execute(db, sql, params![send, user.as_str()])?;
        empty_unneeded(db, send)?;
    }
    if deleted.len() >= MAX_CHANGED {
        return Ok(Reached::Part);
    }
    execute(db, "DELETE FROM inboxes WHERE user_id = ?1", params![user.as_str()])?;
    Ok(Reached::End)
}

/// Empties a send that no one needs any more. It stays, for its key.
fn empty_unneeded(db: &Connection, send: &[u8]) -> Result<(), Failure> {
    if !is_needed(db, send)? {
        let sql = "UPDATE sends SET title = '', body = NULL, data = '{}', action_url = NULL, collapse_key = NULL
                    WHERE id = ?1";
        execute(db, sql, params![send])?;
    }
    Ok(())
}

/// Whether a send is in an inbox, or may still get into one.
fn is_needed(db: &Connection, send: &[u8]) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM notifications WHERE send_id = ?1)
                   OR EXISTS (SELECT 1 FROM send_chunks
                               WHERE send_id = ?1 AND state = 'waiting' AND recipients <> '[]')
                   OR EXISTS (SELECT 1 FROM dead_letters WHERE send_id = ?1 AND recipients > 0)";
    one(db, sql, params![send], value)
}

/// Takes the sender from sends that others need, and deletes the others.
fn sends(db: &Connection, user: &UserId) -> Result<Reached, Failure> {
    let sql = "SELECT id FROM sends WHERE sender = ?1 ORDER BY created_at, id LIMIT ?2";
    let found = all(db, sql, params![user.as_str(), limit(MAX_SENDS)], value::<Vec<u8>>)?;
    for send in &found {
        let sql = if is_needed(db, send)? {
            // No request has this fingerprint, so one with the same key is refused.
            "UPDATE sends SET sender = '', fingerprint = zeroblob(32), answer = '{}', traceparent = NULL WHERE id = ?1"
        } else {
            // With its chunks and dead letters, by foreign keys.
            "DELETE FROM sends WHERE id = ?1"
        };
        execute(db, sql, params![send])?;
    }
    Ok(if found.len() < MAX_SENDS { Reached::End } else { Reached::Part })
}

fn leave_chats(db: &Connection, user: &UserId, erased: &mut Erased) -> Result<Reached, Failure> {
    let sql = "SELECT chat_id FROM chat_members WHERE user_id = ?1 ORDER BY chat_id LIMIT ?2";
    let found = all(db, sql, params![user.as_str(), limit(MAX_CHATS)], |row| uuid(row, "chat_id"))?;
    for chat in &found {
        erased.chats.push(ChatId::from_uuid(*chat));
        if !leave(db, chat.as_bytes().as_slice(), user)? {
            return Ok(Reached::Part);
        }
    }
    Ok(if found.len() < MAX_CHATS { Reached::End } else { Reached::Part })
}

/// Leaves a group, and stays in a direct chat as a member without an id. A chat without any other member ends, after its
/// messages; false if some of these are left.
fn leave(db: &Connection, chat: &[u8], user: &UserId) -> Result<bool, Failure> {
    let sql = "SELECT kind FROM chats WHERE id = ?1";
    let kind =
        one(db, sql, params![chat], |row| Kind::from_name(text(row, "kind")?).ok_or_else(|| broken("chats.kind")))?;
    let sql = "SELECT user_id FROM chat_members WHERE chat_id = ?1 AND user_id <> ?2 ORDER BY member LIMIT 1";
    let Some(longest) = first(db, sql, params![chat, user.as_str()], value::<String>)? else {
        let sql = "DELETE FROM messages
                    WHERE chat_id = ?1 AND seq IN (SELECT seq FROM messages WHERE chat_id = ?1 ORDER BY seq LIMIT ?2)";
        if execute(db, sql, params![chat, limit(MAX_CHANGED)])? >= MAX_CHANGED {
            return Ok(false);
        }
        execute(db, "DELETE FROM chats WHERE id = ?1", params![chat])?;
        return Ok(true);
    };
    let sql = match kind {
        Kind::Direct => "UPDATE chat_members SET user_id = NULL WHERE chat_id = ?1 AND user_id = ?2",
        Kind::Group => "DELETE FROM chat_members WHERE chat_id = ?1 AND user_id = ?2",
    };
    execute(db, sql, params![chat, user.as_str()])?;
    let sql = "UPDATE chats
                  SET created_by = nullif(created_by, ?2), declined_by = nullif(declined_by, ?2),
                      owner = CASE owner WHEN ?2 THEN ?3 ELSE owner END, version = version + 1
                WHERE id = ?1";
    execute(db, sql, params![chat, user.as_str(), longest])?;
    Ok(true)
}

/// Forgets who created groups that the user has left.
fn left_chats(db: &Connection, user: &UserId, after: &Key, erased: &mut Erased) -> Result<Reached, Failure> {
    let sql = "SELECT id, created_by IS ?1 AS names_user FROM chats WHERE id > ?2 ORDER BY id LIMIT ?3";
    let params = params![user.as_str(), after.id.as_bytes().as_slice(), limit(MAX_EXAMINED)];
    let page = all(db, sql, params, |row| Ok((uuid(row, "id")?, row.get::<_, bool>("names_user")?)))?;
    let (named, last) = reach(page, MAX_EXAMINED, MAX_CHANGED);
    for id in named {
        let sql = "UPDATE chats SET created_by = NULL, version = version + 1 WHERE id = ?1";
        execute(db, sql, params![id.as_bytes().as_slice()])?;
        erased.chats.push(ChatId::from_uuid(id));
    }
    Ok(last.map_or(Reached::End, |id| Reached::Row(id, 0)))
}

fn messages(db: &Connection, user: &UserId, after: &Key, now_ms: i64, erased: &mut Erased) -> Result<Reached, Failure> {
    let sql = "SELECT chat_id, seq, sender_id IS ?1 AS names_user FROM messages
                WHERE (chat_id, seq) > (?2, ?3) ORDER BY chat_id, seq LIMIT ?4";
    let params = params![user.as_str(), after.id.as_bytes().as_slice(), after.n, limit(MAX_EXAMINED)];
    let page = all(db, sql, params, |row| {
        Ok(((uuid(row, "chat_id")?, row.get::<_, i64>("seq")?), row.get::<_, bool>("names_user")?))
    })?;
    let (named, last) = reach(page, MAX_EXAMINED, MAX_CHANGED);
    for (chat, seq) in named {
        // What was not pushed yet says nothing any more.
        let sql = "UPDATE messages
                      SET sender_id = NULL, client_id = NULL, body = '', data = '{}', traceparent = NULL, erased_at = ?3,
                          push_at = NULL
                    WHERE chat_id = ?1 AND seq = ?2";
        execute(db, sql, params![chat.as_bytes().as_slice(), seq, now_ms])?;
        let chat = ChatId::from_uuid(chat);
        // Those of one chat follow one another.
        if erased.chats.last() != Some(&chat) {
            erased.chats.push(chat);
        }
    }
    // Tells devices that what they have of these chats is outdated.
    for chat in &erased.chats {
        execute(db, "UPDATE chats SET version = version + 1 WHERE id = ?1", params![chat.as_bytes().as_slice()])?;
    }
    Ok(last.map_or(Reached::End, |(chat, seq)| Reached::Row(chat, seq)))
}

/// Makes the user's id null in answers, whose other bytes stay.
fn answers(db: &Connection, user: &UserId, after: &Key) -> Result<Reached, Failure> {
    let sql = "SELECT id, instr(answer, ?1) > 0 AS names_user FROM sends WHERE id > ?2 ORDER BY id LIMIT ?3";
    let params = params![in_answer(user), after.id.as_bytes().as_slice(), limit(MAX_EXAMINED_TEXTS)];
    let page = all(db, sql, params, |row| Ok((uuid(row, "id")?, row.get::<_, bool>("names_user")?)))?;
    let (named, last) = reach(page, MAX_EXAMINED_TEXTS, MAX_CHANGED_TEXTS);
    for id in named {
        let sql = "UPDATE sends SET answer = replace(answer, ?2, ?3) WHERE id = ?1";
        execute(db, sql, params![id.as_bytes().as_slice(), in_answer(user), ERASED_IN_ANSWER])?;
    }
    Ok(last.map_or(Reached::End, |id| Reached::Row(id, 0)))
}
