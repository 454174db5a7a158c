//! Whether fast accepts are in use. A deployment that never used them does not look into logs.

use tokio::sync::Mutex;

use super::FastRecord;
use crate::clock::Clock;
use crate::error::StoreError;

/// How old the knowledge of a process may be that they are not in use, in milliseconds.
const MAX_AGE_MS: i64 = 10_000;
/// How long after the first request for a fast accept the first one is made, in milliseconds. By then every process knows
/// that it must look into logs, also one whose clock or answer is late.
const SETTLING_MS: i64 = 30_000;

/// For how long what the record said is relied on while it fails, in milliseconds. Less than [`SETTLING_MS`], so that no fast
/// accept is missed.
const MAX_AGE_OF_LAST_MS: i64 = 20_000;
/// How long after the record failed it is asked again, in milliseconds. Until then, calls get the same answer without asking.
const RETRY_MS: i64 = 250;

/// What a process knows of it. Once in use, they stay so until it ends.
#[derive(Debug, Default)]
pub struct FastUse(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    since_ms: Option<i64>,
    /// When the record said so last, in milliseconds since 1970.
    said_at_ms: Option<i64>,
    /// Why the record did not say so when it was asked since.
    failure: Option<StoreError>,
    /// When the record is asked again, in milliseconds since 1970; at once at first.
    ask_again_at_ms: Option<i64>,
    /// When this process last tried to bring them into use, in milliseconds since 1970.
    begun_at_ms: Option<i64>,
}

impl FastUse {
    /// Whether logs may have entries, as the record said within the last 10 s, or 20 s while it fails. An error if it has failed
    /// for longer: an act that went on might overtake what a log has.
    pub async fn may_have_logs(&self, record: &dyn FastRecord, clock: &Clock) -> Result<bool, StoreError> {
        Ok(self.since(record, clock).await?.is_some())
    }

    /// Whether a fast accept may be made: half a minute after they came into use. An error as above.
    pub async fn may_accept(&self, record: &dyn FastRecord, clock: &Clock) -> Result<bool, StoreError> {
        let since_ms = self.since(record, clock).await?;
        Ok(since_ms.is_some_and(|since_ms| clock.now_ms() >= since_ms.saturating_add(SETTLING_MS)))
    }

    /// Brings fast accepts into use, unless they are, or that was tried a moment ago, or the record fails.
    pub async fn begin(&self, record: &dyn FastRecord, clock: &Clock) {
        if !matches!(self.since(record, clock).await, Ok(None)) {
            return;
        }
        {
            let mut known = self.0.lock().await;
            if known.begun_at_ms.is_some_and(|at_ms| (at_ms..at_ms + MAX_AGE_MS).contains(&clock.now_ms())) {
                return;
            }
            known.begun_at_ms = Some(clock.now_ms());
        }
        match record.use_fast(clock.at()).await {
            Ok(()) => self.0.lock().await.ask_again_at_ms = None,
            Err(error) => tracing::warn!(%error, "it could not be noted that fast accepts are in use"),
        }
    }

    async fn since(&self, record: &dyn FastRecord, clock: &Clock) -> Result<Option<i64>, StoreError> {
        // The lock is held while the record is asked, so that concurrent calls ask once.
        let mut known = self.0.lock().await;
        // A clock that has gone back must not make the knowledge last longer.
        let is_old = |at_ms: i64| !(at_ms - MAX_AGE_MS..at_ms).contains(&clock.now_ms());
        if known.since_ms.is_none() && known.ask_again_at_ms.is_none_or(is_old) {
            let said = record.fast_since().await;
            let now_ms = clock.now_ms();
            match said {
                Ok(since_ms) => {
                    (known.since_ms, known.said_at_ms, known.failure) = (since_ms, Some(now_ms), None);
                    known.ask_again_at_ms = Some(now_ms.saturating_add(MAX_AGE_MS));
                }
                Err(failure) => {
                    known.failure = Some(failure);
                    known.ask_again_at_ms = Some(now_ms.saturating_add(RETRY_MS));
                }
            }
        }
        let is_recent = |at_ms: i64| (at_ms..at_ms + MAX_AGE_OF_LAST_MS).contains(&clock.now_ms());
        match &known.failure {
            Some(failure) if !known.said_at_ms.is_some_and(is_recent) => Err(failure.clone()),
            _ => Ok(known.since_ms),
        }
    }
}
