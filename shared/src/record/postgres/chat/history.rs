//! Histories in Postgres.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::rows;
use crate::chat::message::Message;
use crate::chat::messages::{History, Range};
use crate::chat::window::Window;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::Bounds;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{column, limit};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

impl PostgresRecord {
    pub(super) async fn try_history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, Failure> {
        let window = Window::new(range, bounds);
        let last_known = known.last();
        let query = sqlx::query(include_str!("history.sql"))
            .bind(chat.as_uuid())
            .bind(member.as_str())
            .bind(window.before)
            .bind(window.after)
            .bind(window.items)
            .bind(limit(bounds.bytes))
            .bind(window.is_forward)
            .bind(known.first().map_or(0, |first| first.seq))
            .bind(last_known.map_or(0, |last| last.seq))
            .bind(last_known.map(|last| last.id.as_uuid()))
            .bind(last_known.map(|last| last.created_at.0))
            .bind(limit(known.iter().filter(|message| message.is_erased).count()));
        let found = query.read_all(&mut *self.connection().await?).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let (cleared_seq, last_seq) = (column(first, "cleared_seq")?, column(first, "last_seq")?);
        let has_confirmed = known.is_empty() || column(first, "is_known")?;
        let has_message = |row: &&PgRow| row.try_get::<Option<i64>, _>("seq").is_ok_and(|seq| seq.is_some());
        let read = found.iter().filter(has_message).map(|row| rows::message(row, chat, "created_at"));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        let known = if has_confirmed { known } else { &[] };
        let (messages, complete) = window.page(window.place(cleared_seq, last_seq), bounds, known, read);
        Ok(Some(History { messages, complete, last_seq, has_confirmed }))
    }
}
