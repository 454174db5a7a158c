//! The record as the app uses it: before an act on an inbox or a chat, what the act's log has is written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::in_use::FastUse;
use super::log::{KeyClaim, LogId};
use super::write::{Extent, LogWriter, Written};
use crate::chat::audience::Audience;
use crate::chat::chats::{self, Chats, Created, Member, MemberPage, NewChat};
use crate::chat::message::Message;
use crate::chat::messages::{Appended, DueMessage, History, Marked, Messages, NewMessage, Range};
use crate::chat::{OwnChat, Refusal, Summary};
use crate::clock::{At, Clock, Time};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{ChatId, NotificationId, SendId, UserId};
use crate::inbox::bounds::Bounds;
use crate::inbox::history::{self, SendPage, SendQuery, Trace};
use crate::inbox::notification::Notification;
use crate::inbox::sends::{self, Append, Cancelled, FirstAnswer, Sends};
use crate::inbox::snooze::{Snoozed, Snoozes, Unsnoozed};
use crate::inbox::{Change, Changed, Changes, Inbox, Listed, Page, Position};
use crate::record::Record;
use crate::users::erasures::{Erased, Erasures};

/// Adds this to the promises of a record that the acts of users need. Drains do without: they only change what is stored.
pub fn log_first(record: Record, writer: &LogWriter, in_use: &Arc<FastUse>, clock: &Clock) -> Record {
    let logs = LogsBefore { writer: writer.clone(), in_use: Arc::clone(in_use), clock: clock.clone() };
    Record {
        sends: Arc::new(After { act: record.sends, logs: logs.clone() }),
        inbox: Arc::new(After { act: record.inbox, logs: logs.clone() }),
        snoozes: Arc::new(After { act: record.snoozes, logs: logs.clone() }),
        chats: Arc::new(After { act: record.chats, logs: logs.clone() }),
        messages: Arc::new(After { act: record.messages, logs: logs.clone() }),
        history: Arc::new(After { act: record.history, logs: logs.clone() }),
        erasures: Arc::new(After { act: record.erasures, logs }),
        ..record
    }
}

/// How long an act waits for its logs at most: as long as a statement may take, so that an act which waits for the same row as the
/// writer of its log is not refused sooner than it would be without a log.
const MAX_WRITING: Duration = Duration::from_secs(5);

/// How long an erasure waits for all logs at most.
const MAX_WRITING_ALL: Duration = Duration::from_secs(8);

/// What is done before an act.
#[derive(Clone)]
struct LogsBefore {
    writer: LogWriter,
    in_use: Arc<FastUse>,
    clock: Clock,
}

impl LogsBefore {
    async fn may_exist(&self) -> Result<bool, StoreError> {
        self.in_use.may_have_logs(self.writer.record(), &self.clock).await
    }

    /// Writes those of these logs that have entries; returns whether there were any. If the moment does not answer, the act goes
    /// on, and what waits there is written later and so out of order. If the record fails, so does the act, which would
    /// overtake what was accepted before.
    async fn write(&self, logs: &[LogId]) -> Result<bool, StoreError> {
        if !self.may_exist().await? {
            return Ok(false);
        }
        let unwritten = self.writer.logs().unwritten(logs).await.logs;
        if unwritten.is_empty() {
            return Ok(false);
        }
        let Written { unfinished, failure, .. } =
            self.writer.write(&unwritten, Extent::Present, MAX_WRITING, self.clock.at()).await;
        let why = format!("{} logs could not be written before an act", unfinished.len());
        match failure {
            Some(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => Err(StoreError::Unavailable(why)),
            Some(StoreError::Overloaded(_)) => Err(StoreError::Overloaded(why)),
            None if unfinished.is_empty() => Ok(true),
            None => Err(StoreError::Unavailable(why)),
            // What the record can never take must not hold up everything else.
            Some(_) => {
                tracing::warn!("{why}");
                Ok(true)
            }
        }
    }

    /// Writes all logs, or fails: what a user has sent waits in the logs of others, and what is written after an erasure stays.
    async fn write_all(&self) -> Result<(), StoreError> {
        if !self.may_exist().await? {
            return Ok(());
        }
        let all: Vec<LogId> = LogId::all().collect();
        let unwritten = self.writer.logs().unwritten(&all).await;
        let written = self.writer.write(&unwritten.logs, Extent::Present, MAX_WRITING_ALL, self.clock.at()).await;
        if unwritten.is_silent || written.is_silent {
            return Err(StoreError::Unavailable("logs gave no answer".into()));
        }
        match written.failure {
            Some(failure) => Err(failure),
            None if written.unfinished.is_empty() => Ok(()),
            None => Err(StoreError::Unavailable(format!("{} logs could not be written", written.unfinished.len()))),
        }
    }

    async fn write_user(&self, user: &UserId) -> Result<(), StoreError> {
        self.write(&[LogId::of_user(user)]).await.map(drop)
    }

    async fn write_chat(&self, chat: ChatId) -> Result<(), StoreError> {
        self.write(&[LogId::of_chat(chat)]).await.map(drop)
    }

    /// Writes the log in which a send of this id may be. The claim of its key names that log, so the recipient need not be known.
    async fn write_send(&self, send: SendId) -> Result<(), StoreError> {
        if self.may_exist().await?
            && let Some(KeyClaim { log: Some(log), .. }) = self.writer.logs().claimed_key(send, self.clock.at()).await
        {
            self.write(&[log]).await?;
        }
        Ok(())
    }

    /// Writes the logs of the recipients, and the one in which the first request with the same key may be.
    async fn write_recipients(&self, append: &Append<'_>) -> Result<(), StoreError> {
        if !self.may_exist().await? {
            return Ok(());
        }
        let mut logs: Vec<LogId> = append.recipients.iter().map(LogId::of_user).collect();
        if !append.id.is_random() {
            // From now on no request with this key is accepted fast; one that has claimed it looks again after appending.
            let claim = KeyClaim::new(None, &append.fingerprint);
            let first = self.writer.logs().take_key(append.id, claim, self.clock.at()).await;
            logs.extend(first.and_then(|first| first.log));
        }
        logs.sort_unstable();
        logs.dedup();
        self.write(&logs).await.map(drop)
    }

    /// Writes the logs of the chats that were listed; returns whether there may be something new. A chat that was hidden, or is
    /// further down, appears with the next list after its log was written, and so does what could not be written.
    async fn write_listed(&self, chats: impl Iterator<Item = ChatId>) -> bool {
        let mut logs: Vec<LogId> = chats.map(LogId::of_chat).collect();
        logs.sort_unstable();
        logs.dedup();
        !logs.is_empty() && self.write(&logs).await.unwrap_or(true)
    }
}

/// An act after its logs.
struct After<T: ?Sized> {
    act: Arc<T>,
    logs: LogsBefore,
}

#[async_trait]
impl Sends for After<dyn Sends> {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<sends::Appended, StoreError> {
        self.logs.write_recipients(append).await?;
        self.act.append(append, at).await
    }

    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        self.logs.write_send(send).await?;
        self.act.first_answer(send).await
    }

    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        self.logs.write_send(send).await?;
        self.act.cancel(send, sender).await
    }
}

#[async_trait]
impl Inbox for After<dyn Inbox> {
    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError> {
        self.logs.write_user(user).await?;
        self.act.position(user, at).await
    }

    async fn unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, StoreError> {
        self.logs.write_user(user).await?;
        self.act.unread_of_type(user, kind, at).await
    }

    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError> {
        self.logs.write_user(user).await?;
        self.act.list(user, page, at).await
    }

    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError> {
        self.logs.write_user(user).await?;
        self.act.find(user, id, at).await
    }

    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, StoreError> {
        self.logs.write_user(user).await?;
        self.act.changes(user, since, bounds, at).await
    }

    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError> {
        self.logs.write_user(user).await?;
        self.act.change(user, change, at).await
    }

    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        // A cursor names what is written already.
        self.act.acknowledge(user, cursor, at).await
    }
}

#[async_trait]
impl Snoozes for After<dyn Snoozes> {
    async fn snooze(&self, user: &UserId, id: NotificationId, until: Time, at: At) -> Result<Snoozed, StoreError> {
        self.logs.write_user(user).await?;
        self.act.snooze(user, id, until, at).await
    }

    async fn unsnooze(&self, limit: usize, at: At) -> Result<Unsnoozed, StoreError> {
        self.act.unsnooze(limit, at).await
    }
}

#[async_trait]
impl Chats for After<dyn Chats> {
    async fn create(&self, new: &NewChat<'_>, at: At) -> Result<Created, StoreError> {
        self.logs.write_chat(new.id).await?;
        self.act.create(new, at).await
    }

    async fn change(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &chats::Change,
        at: At,
    ) -> Result<Result<chats::Changed, Refusal>, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.change(chat, member, change, at).await
    }

    async fn set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.set_hidden(chat, member, hidden, at).await
    }

    async fn find(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.find(chat, member).await
    }

    async fn list(&self, user: &UserId, page: &chats::Page) -> Result<(Vec<OwnChat>, bool), StoreError> {
        let listed = self.act.list(user, page).await?;
        let was_behind = self.logs.write_listed(listed.0.iter().map(|own| own.chat.id)).await;
        if was_behind { self.act.list(user, page).await } else { Ok(listed) }
    }

    async fn members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.members(chat, member, page).await
    }

    async fn summaries(&self, user: &UserId, limit: usize) -> Result<Vec<Summary>, StoreError> {
        let summaries = self.act.summaries(user, limit).await?;
        let was_behind = self.logs.write_listed(summaries.iter().map(|summary| summary.chat_id)).await;
        if was_behind { self.act.summaries(user, limit).await } else { Ok(summaries) }
    }

    async fn audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, StoreError> {
        self.act.audience(chat, member, at).await
    }
}

#[async_trait]
impl Messages for After<dyn Messages> {
    async fn append(&self, new: &NewMessage<'_>, at: At) -> Result<Appended, StoreError> {
        self.logs.write_chat(new.chat).await?;
        self.act.append(new, at).await
    }

    async fn first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, StoreError> {
        self.logs.write_chat(new.chat).await?;
        self.act.first(new).await
    }

    async fn history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.history(chat, member, range, bounds, known).await
    }

    async fn read(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, StoreError> {
        self.logs.write_chat(chat).await?;
        self.act.read(chat, member, seq, at).await
    }

    async fn mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), StoreError> {
        self.act.mark_pushed(messages).await
    }

    async fn mark_partly_pushed(&self, chat: ChatId, seq: i64, through: i64, at: At) -> Result<(), StoreError> {
        self.act.mark_partly_pushed(chat, seq, through, at).await
    }

    async fn take_due_messages(&self, limit: usize, at: At) -> Result<Vec<DueMessage>, StoreError> {
        self.act.take_due_messages(limit, at).await
    }
}

#[async_trait]
impl history::History for After<dyn history::History> {
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError> {
        // What was accepted fast appears once it was written: its log cannot be told from the query.
        self.act.sends(query, at).await
    }

    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError> {
        if let Some(user) = of {
            self.logs.write_user(user).await?;
        }
        self.act.trace(id, of, at).await
    }
}

#[async_trait]
impl Erasures for After<dyn Erasures> {
    async fn begin_erasure(&self, user: &UserId, at: At) -> Result<(), StoreError> {
        self.logs.write_all().await?;
        self.act.begin_erasure(user, at).await
    }

    async fn erase_some(&self, user: &UserId, at: At) -> Result<Erased, StoreError> {
        self.act.erase_some(user, at).await
    }
}
