//! Digests that are due, in Postgres.

use sqlx::postgres::PgRow;

use super::{add_left, list};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::preferences::preferences;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run};
use crate::web_push::pushes::{
    CLAIM_MS, DigestContent, DigestEnd, DigestKey, DigestTag, DueDigest, MAX_CLAIM_MS, MAX_COUNTED, MAX_DIGESTS,
    MAX_EXAMINED_MESSAGES, SettledDigest,
};

impl PostgresRecord {
    pub(super) async fn try_take_digests(&self, max_users: usize, at: At) -> Result<Vec<DueDigest>, Failure> {
        let query = sqlx::query(sql!("take_digests.sql"))
            .bind(at_ms(at))
            .bind(limit(max_users))
            .bind(CLAIM_MS)
            .bind(MAX_CLAIM_MS)
            .bind(MAX_COUNTED)
            .bind(MAX_EXAMINED_MESSAGES)
            .bind(MAX_DIGESTS);
        let found = query.all(&mut *self.connection().await?).await?;
        let mut due: Vec<DueDigest> = Vec::new();
        for row in &found {
            let (user, tag): (&str, &str) = (column(row, "user_id")?, column(row, "tag")?);
            // One of a later version comes back after its claim, for a worker that knows it.
            let Some(tag) = DigestTag::parse(tag) else { continue };
            let is_new = due.last().is_none_or(|last| last.key.user.as_str() != user || last.key.tag != tag);
            if is_new {
                match due_digest(row, tag) {
                    Ok(digest) => due.push(digest),
                    Err(error) => {
                        tracing::error!(%error, "a digest cannot be read, and so is not sent by Web Push");
                        continue;
                    }
                }
            }
            if let Some(last) = due.last_mut() {
                add_left(row, &mut last.subscriptions)?;
            }
        }
        Ok(due)
    }

    pub(super) async fn try_settle_digests(&self, settled: &[SettledDigest<'_>], at: At) -> Result<(), Failure> {
        if settled.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(settled);
        let query = sqlx::query(sql!("settle_digests.sql"))
            .bind(at_ms(at))
            .bind(settled.iter().map(|one| one.key.user.as_str()).collect::<Vec<&str>>())
            .bind(settled.iter().map(|one| one.key.tag.to_string()).collect::<Vec<String>>())
            .bind(settled.iter().map(|one| one.key.fence_ms).collect::<Vec<i64>>())
            .bind(settled.iter().map(|one| one.key.arrivals).collect::<Vec<i64>>())
            .bind(columns.ends)
            .bind(columns.delays)
            .bind(columns.left)
            .bind(columns.has_sent)
            .bind(columns.held_until)
            .bind(columns.told_users)
            .bind(columns.told_tags)
            .bind(columns.told_offsets);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }
}

/// Lets what Web Push has shown of a chat be closed, for members who have read everything or are none any longer.
pub(crate) async fn close_digests(db: &mut Db<'_>, chat: ChatId, users: &[UserId], at: At) -> Result<(), Failure> {
    let query = sqlx::query(sql!("close_digests.sql")).bind(at_ms(at)).bind(DigestTag::Chat(chat).to_string());
    query.bind(users.iter().map(UserId::as_str).collect::<Vec<&str>>()).run(db).await?;
    Ok(())
}

/// What became of digests, in columns of the same order.
#[derive(Default)]
struct Columns {
    ends: Vec<&'static str>,
    delays: Vec<Option<i64>>,
    left: Vec<Option<String>>,
    has_sent: Vec<bool>,
    held_until: Vec<Option<i64>>,
    told_users: Vec<String>,
    told_tags: Vec<String>,
    told_offsets: Vec<i64>,
}

impl Columns {
    fn of(settled: &[SettledDigest<'_>]) -> Self {
        let mut columns = Self::default();
        for SettledDigest { key, end } in settled {
            for offset in &key.told {
                columns.told_users.push(key.user.to_string());
                columns.told_tags.push(key.tag.to_string());
                columns.told_offsets.push(*offset);
            }
            columns.ends.push(match end {
                DigestEnd::Sent => "sent",
                DigestEnd::Dropped => "dropped",
                DigestEnd::Failed => "failed",
                DigestEnd::Unwanted => "unwanted",
                DigestEnd::Later { .. } => "later",
                DigestEnd::Held(_) => "held",
            });
            let (delay_ms, left, has_sent) = match end {
                DigestEnd::Later { delay_ms, left, has_sent } => (Some(*delay_ms), Some(list(left)), *has_sent),
                _ => (None, None, false),
            };
            columns.delays.push(delay_ms);
            columns.left.push(left);
            columns.has_sent.push(has_sent);
            columns.held_until.push(if let DigestEnd::Held(until_ms) = end { Some(*until_ms) } else { None });
        }
        columns
    }
}

fn due_digest(row: &PgRow, tag: DigestTag) -> Result<DueDigest, StoreError> {
    let count = column(row, "count")?;
    let is_held = column(row, "is_held")? || tag == DigestTag::Quiet;
    let content = match tag {
        DigestTag::Chat(_) => {
            let senders: Option<Vec<Option<String>>> = column(row, "senders")?;
            let mut distinct: Vec<UserId> = Vec::new();
            for sender in senders.into_iter().flatten().flatten().map(UserId::stored) {
                if !distinct.contains(&sender) {
                    distinct.push(sender);
                }
            }
            DigestContent::Messages {
                count,
                newest: column(row, "message_body")?,
                senders: distinct,
                title: column(row, "chat_title")?,
                is_connected: column(row, "is_connected")?,
            }
        }
        DigestTag::Type(_) | DigestTag::Quiet => {
            let has_newest = column::<Option<i64>>(row, "offset")?.is_some();
            let newest = has_newest.then(|| rows::notification(row, rows::epoch(row)?)).transpose()?;
            let unread = column::<Option<i64>>(row, "unread")?.unwrap_or_default();
            DigestContent::Notifications { count, newest, unread }
        }
    };
    Ok(DueDigest {
        key: DigestKey {
            user: UserId::stored(column(row, "user_id")?),
            tag,
            fence_ms: column(row, "fence")?,
            arrivals: column(row, "arrivals")?,
            told: column::<Option<Vec<i64>>>(row, "told")?.unwrap_or_default(),
        },
        content,
        attempt: u32::try_from(column::<i64>(row, "attempt")?).unwrap_or(u32::MAX),
        is_held,
        is_shown: column(row, "is_shown")?,
        subscriptions: Vec::new(),
        preferences: preferences(row)?,
    })
}
