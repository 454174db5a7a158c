//! Messages and read marks in Postgres.

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::rows::{self, uuids};
use crate::chat::message::Message;
use crate::chat::messages::{
    Appended, DueMessage, History, MAX_PUSHED_MEMBERS, Marked, Messages, NewMessage, Range, Recipients,
};
use crate::chat::{MAX_PENDING_MESSAGES, MAX_SMALL, MIN_PUSH_INTERVAL_MS, Refusal, Status};
use crate::clock::{At, Time};
use crate::delivery::PUSH_GRACE_MS;
use crate::delivery::deliveries::MAX_PUSH_DELAY_MS;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::Bounds;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, connection, limit, trace};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;
use crate::web_push::pushes::CHAT_DIGEST_MS;
use serde_json::value::RawValue;

#[async_trait]
impl Messages for PostgresRecord {
    async fn append(&self, new: &NewMessage<'_>, at: At) -> Result<Appended, StoreError> {
        let status = match retried!(self.try_append_message(new, at))? {
            Attempt::NotAMember => return Ok(Appended::Refused(Refusal::NotAMember)),
            Attempt::Stored(message, recipients) => return Ok(Appended::Stored { message, recipients }),
            Attempt::NotStored(status) => status,
        };
        // Either the client id was used, which answers every repeat, or the sender may not write.
        let first = self.first(new).await?;
        Ok(first.unwrap_or(Appended::Refused(Refusal::of_writing(status))))
    }

    async fn first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, StoreError> {
        Ok(self.try_first(new).await?.map(|first| Appended::repeat(first, new)))
    }

    async fn history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, StoreError> {
        Ok(self.try_history(chat, member, range, bounds, known).await?)
    }

    async fn read(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, StoreError> {
        retried!(self.try_read(chat, member, seq, at))
    }

    async fn mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        retried!(self.try_mark_pushed(messages))
    }

    async fn mark_partly_pushed(&self, chat: ChatId, seq: i64, through: i64, at: At) -> Result<(), StoreError> {
        retried!(self.try_mark_partly_pushed(chat, seq, through, at))
    }

    async fn take_due_messages(&self, limit: usize, at: At) -> Result<Vec<DueMessage>, StoreError> {
        retried!(self.try_take_due_messages(limit, at))
    }
}

/// The outcome of one statement that appends.
enum Attempt {
    NotAMember,
    Stored(Message, Recipients),
    /// The chat has this status, and nothing was stored.
    NotStored(Status),
}

impl PostgresRecord {
    async fn try_append_message(&self, new: &NewMessage<'_>, at: At) -> Result<Attempt, Failure> {
        let query = sqlx::query(sql!("append.sql"))
            .bind(at_ms(at))
            .bind(new.chat.as_uuid())
            .bind(new.sender.as_str())
            .bind(new.id.as_uuid())
            .bind(new.client_id)
            .bind(new.body)
            .bind(new.data)
            .bind(MAX_PENDING_MESSAGES)
            .bind(PUSH_GRACE_MS)
            .bind(limit(MAX_PUSHED_MEMBERS))
            .bind(MAX_SMALL)
            .bind(MIN_PUSH_INTERVAL_MS)
            .bind(CHAT_DIGEST_MS)
            .bind(new.trace.map(|trace| trace.to_string()));
        let found = query.all(&mut *self.connection().await?).await?;
        let Some(first) = found.first() else { return Ok(Attempt::NotAMember) };
        let Some(seq) = column::<Option<i64>>(first, "seq")? else {
            return Ok(Attempt::NotStored(rows::status(first)?));
        };
        let message = Message {
            id: new.id,
            chat: new.chat,
            seq,
            sender: Some(new.sender.clone()),
            client_id: Some(new.client_id.to_owned()),
            body: new.body.to_owned(),
            data: RawValue::from_string(new.data.to_owned()).map_err(|_| broken("messages.data"))?,
            created_at: Time(column(first, "created_at")?),
            is_erased: false,
        };
        let recipients = Recipients {
            waits: column(first, "waits")?,
            web_push_is_due: column(first, "web_push_is_due")?,
            ..rows::recipients(&found, MAX_PUSHED_MEMBERS)?
        };
        Ok(Attempt::Stored(message, recipients))
    }

    async fn try_first(&self, new: &NewMessage<'_>) -> Result<Option<Message>, Failure> {
        let query = sqlx::query(
            "SELECT seq, id AS message_id, sender_id, client_id, body, data, created_at, erased_at
               FROM messages
              WHERE id = $1 AND EXISTS (SELECT FROM chat_members m WHERE m.chat_id = $2 AND m.user_id = $3)",
        );
        let query = query.bind(new.id.as_uuid()).bind(new.chat.as_uuid()).bind(new.sender.as_str());
        let row = query.read_optional(&mut *self.connection().await?).await?;
        Ok(row.map(|row| rows::message(&row, new.chat, "created_at")).transpose()?)
    }

    async fn try_read(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, Failure> {
        let query = sqlx::query(sql!("read.sql"))
            .bind(at_ms(at))
            .bind(chat.as_uuid())
            .bind(member.as_str())
            .bind(seq)
            .bind(MAX_SMALL);
        let found = query.all(&mut *self.connection().await?).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let (seq, cleared): (i64, i64) = (column(first, "read_seq")?, column(first, "cleared_seq")?);
        let unread = column::<i64>(first, "last_seq")?.saturating_sub(seq.max(cleared)).max(0);
        let has_moved = column(first, "has_moved")?;
        let web_push_is_due = column(first, "web_push_is_due")?;
        let mut marked = Marked { seq, unread, has_moved, own: Vec::new(), others: Vec::new(), web_push_is_due };
        for row in &found {
            let is_own = column::<Option<bool>>(row, "is_own")?.unwrap_or(false);
            let heard_by = if is_own { &mut marked.own } else { &mut marked.others };
            heard_by.extend(connection(row, "id")?);
        }
        Ok(Some(marked))
    }

    async fn try_mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), Failure> {
        let query = sqlx::query(
            "UPDATE messages AS m SET push_at = NULL
               FROM unnest($1::uuid[], $2::bigint[]) AS pushed (chat_id, seq)
              WHERE m.chat_id = pushed.chat_id AND m.seq = pushed.seq AND m.push_at IS NOT NULL",
        );
        let chats = uuids(messages.iter().map(|(chat, _)| chat));
        let seqs: Vec<i64> = messages.iter().map(|(_, seq)| *seq).collect();
        query.bind(chats).bind(seqs).run(&mut *self.connection().await?).await?;
        Ok(())
    }

    async fn try_mark_partly_pushed(&self, chat: ChatId, seq: i64, through: i64, at: At) -> Result<(), Failure> {
        let query = sqlx::query(sql!(
            (" UPDATE messages SET pushed_through = greatest(pushed_through, $4), push_at = clock.now_ms, push_attempts = 0
                 FROM clock WHERE chat_id = $2 AND seq = $3 AND push_at IS NOT NULL")
        ));
        let query = query.bind(at_ms(at)).bind(chat.as_uuid()).bind(seq).bind(through);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }

    async fn try_take_due_messages(&self, max: usize, at: At) -> Result<Vec<DueMessage>, Failure> {
        let query = sqlx::query(sql!("take_due.sql"))
            .bind(at_ms(at))
            .bind(limit(max))
            .bind(PUSH_GRACE_MS)
            .bind(MAX_PUSH_DELAY_MS)
            .bind(limit(MAX_PUSHED_MEMBERS))
            .bind(MAX_SMALL)
            .bind(MIN_PUSH_INTERVAL_MS)
            .bind(CHAT_DIGEST_MS);
        let found = query.all(&mut *self.connection().await?).await?;
        let key = |row: &PgRow| -> Result<(ChatId, i64), StoreError> {
            Ok((ChatId::from_uuid(column(row, "chat_id")?), column(row, "seq")?))
        };
        let keys = found.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let mut due = Vec::new();
        let mut rest = found.as_slice();
        for of_one in keys.chunk_by(|one, next| one == next) {
            let (rows_of_one, others) = rest.split_at(of_one.len());
            rest = others;
            let (chat, seq) = of_one[0];
            let recipients = rows::recipients(rows_of_one, MAX_PUSHED_MEMBERS)?;
            let trace = trace(&rows_of_one[0])?;
            match rows::message(&rows_of_one[0], chat, "created_at") {
                Ok(message) => due.push(DueMessage { message, recipients, trace }),
                // The others must not wait for it. It cannot be read in the history either.
                Err(error) => tracing::error!(%chat, seq, %error, "a message cannot be read, and so is not pushed"),
            }
        }
        Ok(due)
    }
}
