//! Digests that are due, in Postgres.

use sqlx::postgres::PgRow;

use super::{add_left, list};
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::preferences::preferences;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::sql;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;
use crate::web_push::pushes::{
    CLAIM_MS, DigestContent, DigestEnd, DigestKey, DigestTag, DueDigest, MAX_CLAIM_MS, MAX_COUNTED,
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
            .bind(MAX_EXAMINED_MESSAGES);
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
        let ends = settled.iter().map(|one| match &one.end {
            DigestEnd::Sent => ("sent", None, None, None),
            DigestEnd::Dropped => ("dropped", None, None, None),
            DigestEnd::Later { delay_ms, left } => ("later", Some(*delay_ms), Some(list(left)), None),
            DigestEnd::Held(until_ms) => ("held", None, None, Some(*until_ms)),
        });
        let (mut results, mut delays, mut left, mut held_until) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (result, delay, subscriptions, until) in ends {
            results.push(result);
            delays.push(delay);
            left.push(subscriptions);
            held_until.push(until);
        }
        let query = sqlx::query(sql!("settle_digests.sql"))
            .bind(at_ms(at))
            .bind(settled.iter().map(|one| one.key.user.as_str()).collect::<Vec<&str>>())
            .bind(settled.iter().map(|one| one.key.tag.to_string()).collect::<Vec<String>>())
            .bind(settled.iter().map(|one| one.key.fence_ms).collect::<Vec<i64>>())
            .bind(settled.iter().map(|one| one.key.arrivals).collect::<Vec<i64>>())
            .bind(settled.iter().map(|one| one.key.through).collect::<Vec<i64>>())
            .bind(results)
            .bind(delays)
            .bind(left)
            .bind(held_until);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }
}

fn due_digest(row: &PgRow, tag: DigestTag) -> Result<DueDigest, StoreError> {
    let count = column(row, "count")?;
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
                is_shown: column(row, "is_shown")?,
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
            through: column(row, "through")?,
        },
        content,
        attempt: u32::try_from(column::<i64>(row, "attempt")?).unwrap_or(u32::MAX),
        is_held: column(row, "is_held")?,
        subscriptions: Vec::new(),
        preferences: preferences(row)?,
    })
}
