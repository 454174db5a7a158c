//! Fast accepts in Postgres: what decides on them, and writing what logs have.

use async_trait::async_trait;
use uuid::Uuid;

use crate::chat::messages::{Appended, MAX_PUSHED_MEMBERS, NewMessage};
use crate::chat::{MAX_SMALL, Refusal, Status};
use crate::clock::At;
use crate::error::StoreError;
use crate::fast::logged::{LoggedMessage, LoggedSend};
use crate::fast::{CheckedMessage, CheckedSend, FastRecord};
use crate::ids::{MessageId, SendId, UserId};
use crate::inbox::sends::{FirstAnswer, Sends};
use crate::record::postgres::chat::rows as chat_rows;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, connection, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Run, begin, commit};
use crate::web_push::pushes::CHAT_DIGEST_MS;

#[async_trait]
impl FastRecord for PostgresRecord {
    async fn fast_since(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.try_fast_since().await?)
    }

    async fn use_fast(&self, at: At) -> Result<(), StoreError> {
        retried!(self.try_use_fast(at))
    }

    async fn check_send(
        &self,
        send: SendId,
        recipient: &UserId,
        kind: &str,
        at: At,
    ) -> Result<CheckedSend, StoreError> {
        Ok(self.try_check_send(send, recipient, kind, at).await?)
    }

    async fn check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, StoreError> {
        Ok(self.try_check_message(new, at).await?)
    }

    async fn write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, StoreError> {
        retried!(self.try_write_sends(sends, at))
    }

    async fn write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, StoreError> {
        retried!(self.try_write_messages(messages, at))
    }
}

impl PostgresRecord {
    async fn try_fast_since(&self) -> Result<Option<i64>, Failure> {
        let query = sqlx::query("SELECT since FROM fast_accepts");
        let row = query.read_optional(&mut *self.connection().await?).await?;
        Ok(row.map(|row| column(&row, "since")).transpose()?)
    }

    async fn try_use_fast(&self, at: At) -> Result<(), Failure> {
        let query = sqlx::query(sql!(
            (" INSERT INTO fast_accepts (only_row, since) SELECT 1, now_ms FROM clock ON CONFLICT (only_row) DO NOTHING")
        ));
        query.bind(at_ms(at)).run(&mut *self.connection().await?).await?;
        Ok(())
    }

    async fn try_check_send(
        &self,
        send: SendId,
        recipient: &UserId,
        kind: &str,
        at: At,
    ) -> Result<CheckedSend, Failure> {
        let query = sqlx::query(sql!("check_send.sql"))
            .bind(at_ms(at))
            .bind(send.as_uuid())
            .bind(recipient.as_str())
            .bind(kind);
        let found = query.read_all(&mut *self.connection().await?).await?;
        let mut checked = CheckedSend { first: None, connections: Vec::new(), rings: true };
        for row in &found {
            checked.rings = column(row, "rings")?;
            if let Some(fingerprint) = column::<Option<&[u8]>>(row, "fingerprint")? {
                let fingerprint = fingerprint.try_into().map_err(|_| broken("sends.fingerprint"))?;
                checked.first = Some(FirstAnswer { fingerprint, answer: column(row, "answer")? });
            }
            checked.connections.extend(connection(row, "id")?);
        }
        Ok(checked)
    }

    async fn try_check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, Failure> {
        let query = sqlx::query(sql!("check_message.sql"))
            .bind(at_ms(at))
            .bind(new.chat.as_uuid())
            .bind(new.sender.as_str())
            .bind(new.id.as_uuid())
            .bind(MAX_SMALL)
            .bind(limit(MAX_PUSHED_MEMBERS));
        let found = query.read_all(&mut *self.connection().await?).await?;
        let Some(first) = found.first() else {
            return Ok(CheckedMessage::Decided(Appended::Refused(Refusal::NotAMember)));
        };
        if column::<Option<i64>>(first, "seq")?.is_some() {
            let message = chat_rows::message(first, new.chat, "created_at")?;
            return Ok(CheckedMessage::Decided(Appended::repeat(message, new)));
        }
        Ok(match chat_rows::status(first)? {
            Status::Accepted if !column::<bool>(first, "is_large")? => {
                let connections = found.iter().map(|row| connection(row, "id"));
                CheckedMessage::Admitted(connections.filter_map(Result::transpose).collect::<Result<_, _>>()?)
            }
            Status::Accepted | Status::Pending => CheckedMessage::Undecided,
            Status::Declined => CheckedMessage::Decided(Appended::Refused(Refusal::of_writing(Status::Declined))),
        })
    }

    async fn try_write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, Failure> {
        let texts = |text: fn(&LoggedSend) -> &str| -> Vec<&str> { sends.iter().map(text).collect() };
        let optional =
            |text: fn(&LoggedSend) -> Option<&str>| -> Vec<Option<&str>> { sends.iter().map(text).collect() };
        let query = sqlx::query(sql!("write_sends.sql", "../delivery/rings.sql", "write_rows.sql"))
            .bind(at_ms(at))
            .bind(sends.iter().map(|send| send.id.as_uuid()).collect::<Vec<Uuid>>())
            .bind(texts(|send| send.sender.as_str()))
            .bind(sends.iter().map(|send| send.fingerprint.as_slice()).collect::<Vec<&[u8]>>())
            .bind(texts(|send| &send.answer))
            .bind(texts(|send| &send.content.kind))
            .bind(texts(|send| &send.content.title))
            .bind(optional(|send| send.content.body.as_deref()))
            .bind(texts(|send| send.content.data.get()))
            .bind(optional(|send| send.content.action_url.as_deref()))
            .bind(texts(|send| send.content.priority.name()))
            .bind(sends.iter().map(|send| send.accepted_at.0).collect::<Vec<i64>>())
            .bind(sends.iter().map(|send| send.content.expires_at.map(|end| end.0)).collect::<Vec<Option<i64>>>())
            .bind(texts(|send| send.recipient.as_str()))
            .bind(sends.iter().map(|send| send.notification().as_uuid()).collect::<Vec<Uuid>>())
            .bind(sends.iter().map(|send| send.retention_ms).collect::<Vec<i64>>())
            .bind(optional(|send| send.content.channels.name()))
            .bind(sends.iter().map(|send| send.content.digest_ms).collect::<Vec<Option<i64>>>())
            .bind(sends.iter().map(|send| send.content.trace.map(|trace| trace.to_string())).collect::<Vec<_>>());
        let known = query.all(&mut *self.connection().await?).await?;
        let mut conflicts = Vec::new();
        for row in &known {
            let id = SendId::from_uuid(column(row, "id")?);
            let fingerprint = match column::<Option<Vec<u8>>>(row, "fingerprint")? {
                Some(fingerprint) => Some(fingerprint),
                None => self.first_answer(id).await?.map(|first| first.fingerprint.to_vec()),
            };
            let is_same = |send: &&LoggedSend| send.id == id && Some(&send.fingerprint[..]) == fingerprint.as_deref();
            if !sends.iter().any(|send| is_same(&send)) {
                conflicts.push(id);
            }
        }
        Ok(conflicts)
    }

    async fn try_write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, Failure> {
        let chats: Vec<Uuid> = messages.iter().map(|message| message.chat.as_uuid()).collect();
        let senders: Vec<&str> = messages.iter().map(|message| message.sender.as_str()).collect();
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        // Members by their ids and then chats, as every statement locks: the filter that counts members is computed first. The
        // work is a statement of its own, since this one sees what was committed before it waited.
        let locked = sqlx::query(
            "WITH members AS MATERIALIZED (
                 SELECT FROM chat_members
                  WHERE (chat_id, user_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[])) ORDER BY chat_id, user_id FOR UPDATE
             )
             SELECT FROM chats WHERE id = ANY ($1) AND (SELECT count(*) FROM members) >= 0 ORDER BY id FOR UPDATE",
        );
        locked.bind(&chats).bind(&senders).all(&mut transaction).await?;
        let query = sqlx::query(sql!("write_messages.sql"))
            .bind(at_ms(at))
            .bind(messages.iter().map(|message| message.id.as_uuid()).collect::<Vec<Uuid>>())
            .bind(&chats)
            .bind(&senders)
            .bind(messages.iter().map(|message| message.client_id.as_str()).collect::<Vec<&str>>())
            .bind(messages.iter().map(|message| message.body.as_str()).collect::<Vec<&str>>())
            .bind(messages.iter().map(|message| message.data.get()).collect::<Vec<&str>>())
            .bind(messages.iter().map(|message| message.accepted_at.0).collect::<Vec<i64>>())
            .bind(CHAT_DIGEST_MS)
            .bind(messages.iter().map(|message| message.trace.map(|trace| trace.to_string())).collect::<Vec<_>>());
        let conflicts = query.all(&mut transaction).await?;
        commit(transaction).await?;
        conflicts.iter().map(|row| Ok(MessageId::from_uuid(column(row, "id")?))).collect()
    }
}
