//! Whether fast accepts are in use. A deployment that never used them does not look into logs.

use tokio::sync::Mutex;

use super::FastRecord;
use crate::clock::Clock;

/// How old the knowledge of a process may be that they are not in use, in milliseconds.
const MAX_AGE_MS: i64 = 10_000;
/// How long after the first request for a fast accept the first one is made, in milliseconds. By then every process knows
/// that it must look into logs, also one whose clock or answer is late.
const SETTLING_MS: i64 = 30_000;

/// What a process knows of it. Once in use, they stay so until it ends.
#[derive(Debug, Default)]
pub struct FastUse(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    since_ms: Option<i64>,
    /// When the record is asked again, in milliseconds since 1970; at once at first.
    ask_again_at_ms: Option<i64>,
    /// When this process last tried to bring them into use, in milliseconds since 1970.
    begun_at_ms: Option<i64>,
}

impl FastUse {
    /// Whether logs may have entries, as the record said within the last 10 s. While the record is away, as it said last.
    pub async fn may_have_logs(&self, record: &dyn FastRecord, clock: &Clock) -> bool {
        self.since(record, clock).await.is_some()
    }

    /// Whether a fast accept may be made: half a minute after they came into use.
    pub async fn may_accept(&self, record: &dyn FastRecord, clock: &Clock) -> bool {
        let since_ms = self.since(record, clock).await;
        since_ms.is_some_and(|since_ms| clock.now_ms() >= since_ms.saturating_add(SETTLING_MS))
    }

    /// Brings fast accepts into use, unless they are or that was tried a moment ago.
    pub async fn begin(&self, record: &dyn FastRecord, clock: &Clock) {
        if self.since(record, clock).await.is_some() {
            return;
        }
        let mut known = self.0.lock().await;
        if known.begun_at_ms.is_some_and(|at_ms| (at_ms..at_ms + MAX_AGE_MS).contains(&clock.now_ms())) {
            return;
        }
        known.begun_at_ms = Some(clock.now_ms());
        match record.use_fast(clock.at()).await {
            Ok(()) => known.ask_again_at_ms = None,
            Err(error) => tracing::warn!(%error, "it could not be noted that fast accepts are in use"),
        }
    }

    async fn since(&self, record: &dyn FastRecord, clock: &Clock) -> Option<i64> {
        // The lock is held while the record is asked, so that concurrent calls ask once.
        let mut known = self.0.lock().await;
        let now_ms = clock.now_ms();
        // A clock that has gone back must not make the knowledge last longer.
        let is_old = known.ask_again_at_ms.is_none_or(|at_ms| !(at_ms - MAX_AGE_MS..at_ms).contains(&now_ms));
        if known.since_ms.is_none() && is_old {
            match record.fast_since().await {
                Ok(since_ms) => known.since_ms = since_ms,
                Err(error) => tracing::warn!(%error, "it could not be read whether fast accepts are in use"),
            }
            known.ask_again_at_ms = Some(now_ms.saturating_add(MAX_AGE_MS));
        }
        known.since_ms
    }
}
