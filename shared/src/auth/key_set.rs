//! The published keys of an identity provider, cached. A function has no background tasks, since its sandbox may be
//! frozen between calls, so a call that needs newer keys fetches them.

use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use tokio::sync::Mutex as AsyncMutex;

use super::fetch::fetch;
use super::published_keys::{self, Keys, Published};
use crate::clock::Clock;

/// How long fetched keys are used without asking the provider again, in milliseconds.
const FRESH_MS: i64 = 10 * 60 * 1_000;
/// How long fetched keys are used if the provider does not answer, in milliseconds.
const USABLE_MS: i64 = 24 * 60 * 60 * 1_000;
/// The shortest time between two attempts to replace keys that still can be used, and between two fetches for ids that
/// are not in the set, in milliseconds.
const RETRY_MS: i64 = 30 * 1_000;
/// The shortest time between two attempts if there are no keys that can be used, in milliseconds.
const RETRY_WITHOUT_KEYS_MS: i64 = 1_000;

/// No key can be looked up: the provider does not answer, and the last answer is missing or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeysUnavailable;

/// Fetches the keys at a URL now, whatever is cached. The error is why there are none.
pub async fn fetch_keys(url: &Uri) -> Result<Published, String> {
    fetch(url).await.and_then(|document| Ok(published_keys::read(&document)?))
}

/// The keys at one URL.
pub(super) struct KeySet {
    url: Uri,
    state: Mutex<State>,
    /// Held by the call that fetches, so that there is one fetch at a time.
    fetching: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    /// The last keys that were fetched, and when.
    fetched: Option<(Arc<Keys>, i64)>,
    /// When the last fetch failed; `None` if it succeeded.
    failed_at_ms: Option<i64>,
    /// When the set was last fetched because an id was not in it.
    searched_at_ms: Option<i64>,
}

/// What a look-up does.
enum Step {
    /// Looks into these keys.
    Use(Arc<Keys>),
    /// Fetches, after any fetch that is in progress.
    Fetch,
    /// Fetches, unless a fetch is in progress: then it uses these keys.
    TryFetch(Arc<Keys>),
    /// Fails.
    GiveUp,
}

impl KeySet {
    pub(super) fn new(url: Uri) -> Self {
        Self { url, state: Mutex::default(), fetching: AsyncMutex::new(()) }
    }

    /// The set in which to look for this key. It is fetched first if it is missing or older than 10 minutes, and once in
    /// 30 seconds if it does not contain the id.
    pub(super) async fn containing(&self, id: &str, clock: &Clock) -> Result<Arc<Keys>, KeysUnavailable> {
        let _guard = match self.step(id, clock.now_ms()) {
            Step::Use(keys) => return Ok(keys),
            Step::GiveUp => return Err(KeysUnavailable),
            Step::Fetch => self.fetching.lock().await,
            Step::TryFetch(keys) => match self.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(keys),
            },
        };
        // Another call may have fetched in the meantime.
        let now_ms = clock.now_ms();
        match self.step(id, now_ms) {
            Step::Use(keys) => return Ok(keys),
            Step::GiveUp => return Err(KeysUnavailable),
            Step::Fetch | Step::TryFetch(_) => {}
        }
        self.begin(id, now_ms);
        let fetched = fetch_keys(&self.url).await;
        let now_ms = clock.now_ms();
        let mut state = self.lock();
        match fetched {
            Ok(published) => {
                for (position, reason) in published.refused {
                    tracing::info!(position, reason, "a published key is not used");
                }
                let keys = Arc::new(published.keys);
                state.fetched = Some((keys.clone(), now_ms));
                state.failed_at_ms = None;
                Ok(keys)
            }
            Err(reason) => {
                tracing::warn!(reason, "the keys at JWT_JWKS_URL could not be fetched");
                state.failed_at_ms = Some(now_ms);
                state.usable(now_ms).map(|(keys, _)| keys).ok_or(KeysUnavailable)
            }
        }
        // The guard lives until here, when the outcome is known to the calls that wait for it.
    }

    fn step(&self, id: &str, now_ms: i64) -> Step {
        let state = self.lock();
        let has_failed_within = |period_ms| is_within(state.failed_at_ms, period_ms, now_ms);
        let Some((keys, is_fresh)) = state.usable(now_ms) else {
            return if has_failed_within(RETRY_WITHOUT_KEYS_MS) { Step::GiveUp } else { Step::Fetch };
        };
        if is_fresh {
            let is_settled = keys.contains_key(id) || is_within(state.searched_at_ms, RETRY_MS, now_ms);
            return if is_settled { Step::Use(keys) } else { Step::Fetch };
        }
        match state.failed_at_ms {
            None => Step::Fetch,
            Some(_) if has_failed_within(RETRY_MS) => Step::Use(keys),
            Some(_) => Step::TryFetch(keys),
        }
    }

    /// Remembers a fetch for an unknown id from its beginning, so that calls which are cancelled cannot repeat it.
    fn begin(&self, id: &str, now_ms: i64) {
        let mut state = self.lock();
        if state.fetched.as_ref().is_some_and(|(keys, _)| !keys.contains_key(id)) {
            state.searched_at_ms = Some(now_ms);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The keys that may still be used, and whether they are fresh.
    fn usable(&self, now_ms: i64) -> Option<(Arc<Keys>, bool)> {
        let (keys, fetched_at_ms) = self.fetched.as_ref()?;
        let at = Some(*fetched_at_ms);
        is_within(at, USABLE_MS, now_ms).then(|| (keys.clone(), is_within(at, FRESH_MS, now_ms)))
    }
}

/// Whether this was less than a period ago. A clock that was set back must not extend any period.
fn is_within(at_ms: Option<i64>, period_ms: i64, now_ms: i64) -> bool {
    at_ms.is_some_and(|at_ms| now_ms.abs_diff(at_ms) < period_ms.unsigned_abs())
}
