//! The promise of the moment that what is left to push is pushed soon, and in order of priority. It only hurries: the
//! record knows all that the queue knows, so that the queue may vanish at any time and nothing is lost.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::At;
use crate::ids::{ConnectionId, UserId, sha256};
use crate::inbox::notification::Priority;

/// Into how many parts the queue is cut; all of one user's work lies in one. Never changes in a deployment.
pub const SHARDS: usize = 16;
/// How many entries a shard holds at most; whatever is more is refused.
pub const MAX_SHARD_ENTRIES: usize = 16_384;
/// How long a claim lasts, in milliseconds: 15 s longer than any drain may run, so that nobody who works on it is robbed.
pub const CLAIM_MS: i64 = 105_000;
/// How often an entry is worked on before it counts as poisoned: whoever claimed it so often never came to its end.
pub const MAX_ATTEMPTS: u32 = 5;
/// For how long a drain is held to be awake after it was last heard of, in milliseconds.
pub const AWAKE_MS: i64 = 3_000;
/// For how long a drain counts as awake that somebody was just asked to wake, in milliseconds.
pub const WAKING_MS: i64 = 1_000;

/// Work that is left, waiting for a drain.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds entries, and lets a drain that waits know that there is work: also without any entry, for work of which
    /// only the record knows.
    ///
    /// Never fails and never takes longer than the moment's own bound. A shard that is full refuses, and nothing is
    /// ever dropped to make room; where the moment is away, everything is refused. What was refused costs time alone:
    /// the record finds it. Work that waits already, added again to wait, is one entry that waits anew.
    async fn add(&self, entries: &[Entry], at: At) -> Added;

    /// Takes up to `limit` entries that are due, for [`CLAIM_MS`] or until they are settled; nobody else gets them
    /// meanwhile. Critical ones come first; of what is due, 8 of 15 are critical, 4 high, 2 normal and 1 low, where
    /// there are so many, over all claims of this process, so that none starves. Entries of one user and one priority
    /// come in the order in which they fell due.
    ///
    /// An entry whose claim has lapsed comes back alone, as it may be what ended its worker; such ones and others take
    /// turns. Whoever claims counts as awake for [`AWAKE_MS`]. `None` where the moment is away or keeps nothing.
    async fn claim(&self, limit: usize, at: At) -> Option<Claims>;

    /// Settles claims, each in one step: done, or due again. A claim that has lapsed and was taken by another is
    /// settled by that other one alone. False where the moment is away: then they come back when their claims lapse.
    async fn settle(&self, settled: &[Resolution], at: At) -> bool;

    /// What changes whenever somebody adds. Whoever asks counts as awake for [`AWAKE_MS`]. Cheap enough to be asked
    /// many times a second. `None` where the moment is away or keeps nothing.
    async fn heartbeat(&self, at: At) -> Option<u64>;

    /// Lets go: from now on no drain counts as awake until one is heard of again. Returns what `watch` does, read after
    /// that: who finds it changed since the last claim has work that nobody else was woken for.
    async fn sign_off(&self, at: At) -> Option<u64>;

    /// How much there is; `None` where the moment is away or keeps nothing.
    async fn depth(&self, at: At) -> Option<Depth>;
}

/// A row of the record that still has to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Whose it is.
    pub user: UserId,
    /// Where it arrived in his inbox.
    pub offset: i64,
    /// The row's `push_at` when this was made, in milliseconds since 1970. Whoever takes the row moves it, so that
    /// whatever else names it is stale.
    pub fence_ms: i64,
    /// In which order it is claimed.
    pub priority: Priority,
    /// How often in a row, up to the last time, it was not taken because a connection had been sent too much.
    pub throttled: u32,
    /// The connections that have not taken it; all that the user has where there are none.
    pub left: Vec<ConnectionId>,
}

/// Work, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is to be done.
    pub work: Work,
    /// How long it waits first, in milliseconds; 0 or less is due at once.
    pub wait_ms: i64,
}

/// What became of adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// How many are not known to wait.
    pub refused: usize,
    /// Whether some drain works or waits just now, or was to be woken within [`WAKING_MS`], and so will find them;
    /// whoever reads false is to wake one. `None` where nobody knows.
    pub drain_is_awake: Option<bool>,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The claims, critical ones first.
    pub claimed: Vec<Claimed>,
    /// In how many milliseconds more is due; 0 where there is more now, also whose claims have lapsed. `None` where
    /// nothing waits. Claims that others hold do not count: their rows come back from the record much sooner.
    pub next_in_ms: Option<i64>,
    /// What `watch` returned just before.
    pub generation: u64,
}

/// An entry that one drain works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// By which it is settled.
    pub id: ClaimId,
    /// What is to be done, or what stands there instead: written by hand, or by a version of which this one knows
    /// nothing.
    pub work: Result<Work, String>,
    /// How often it was claimed, this time included.
    pub attempts: u32,
}

impl Claimed {
    /// Whether it was worked on so often in vain that it is to be set aside instead.
    pub fn is_poisoned(&self) -> bool {
        self.attempts > MAX_ATTEMPTS
    }
}

/// One claim of an entry. Means something to the store that gave it, and to that alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimId {
    pub(crate) shard: usize,
    pub(crate) name: Vec<u8>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// There is nothing left to do.
    Done(ClaimId),
    /// This is left of it, and of the same user.
    Retry(ClaimId, Entry),
}

impl Resolution {
    /// Which claim.
    pub fn id(&self) -> &ClaimId {
        match self {
            Self::Done(id) | Self::Retry(id, _) => id,
        }
    }
}

/// How much there is in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Due, and nobody's yet.
    pub waiting: u64,
    /// Claimed and not settled.
    pub processing: u64,
    /// Not due yet.
    pub delayed: u64,
    /// For how long the first of what waits has waited since it fell due, in milliseconds; 0 where nothing does.
    pub oldest_ms: u64,
}

/// The shard in which a user's work lies.
pub fn shard(user: &UserId) -> usize {
    usize::from(sha256(user.as_str().as_bytes())[0]) % SHARDS
}

/// The version of entries that this code writes, and the only one that it reads.
const VERSION: &str = "1";

/// What stands behind version and priority, as JSON. Members that a later version adds are passed over.
#[derive(Serialize, Deserialize)]
struct Rest {
    user: String,
    offset: i64,
    fence: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    throttled: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Work {
    /// As it stands in a store: the version, the priority, and JSON. Names the row and says nothing of what is in it.
    pub(crate) fn text(&self) -> String {
        let rest = Rest {
            user: self.user.to_string(),
            offset: self.offset,
            fence: self.fence_ms,
            throttled: self.throttled,
            left: self.left.iter().map(ToString::to_string).collect(),
        };
        let rest = serde_json::to_string(&rest).expect("strings and numbers are JSON");
        format!("{VERSION} {} {rest}", self.priority.name())
    }

    /// `None` where this code has not written it.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.splitn(3, ' ');
        let (version, priority) = (words.next()?, Priority::named(words.next()?)?);
        let rest: Rest = serde_json::from_str(words.next()?).ok()?;
        let user = UserId::new(rest.user).ok()?;
        let left = rest.left.into_iter().map(ConnectionId::new).collect();
        let (offset, fence_ms, throttled) = (rest.offset, rest.fence, rest.throttled);
        (version == VERSION).then_some(Self { user, offset, fence_ms, priority, throttled, left })
    }
}

/// An entry as whoever claims it finds it.
pub(crate) fn found(text: &[u8]) -> Result<Work, String> {
    Work::read(text).ok_or_else(|| String::from_utf8_lossy(text).into_owned())
}

/// Where a priority stands among its shard's: the most urgent first.
pub(crate) fn rank(priority: Priority) -> usize {
    match priority {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work {
            user: UserId::new("alice b").unwrap(),
            offset: 7,
            fence_ms: 1_800_000_005_000,
            priority: Priority::High,
            throttled: 0,
            left: Vec::new(),
        }
    }

    #[test]
    fn an_entry_is_short_and_never_changes() {
        let text = r#"1 high {"user":"alice b","offset":7,"fence":1800000005000}"#;
        assert_eq!(work().text(), text);
        let left = vec![ConnectionId::new("PJqB0fHsqRcCHlw=")];
        let again = Work { throttled: 1, left, ..work() };
        let text =
            r#"1 high {"user":"alice b","offset":7,"fence":1800000005000,"throttled":1,"left":["PJqB0fHsqRcCHlw="]}"#;
        assert_eq!(again.text(), text);
    }

    #[test]
    fn what_is_written_is_read() {
        for user in ["alice", "a b", "{}", "\"", "🔔", "1 high {}"] {
            for (_, priority) in Priority::NAMES {
                let left = vec![ConnectionId::new("a b"), ConnectionId::new("")];
                let user = UserId::new(user).unwrap();
                let work = Work { user, priority, throttled: u32::MAX, left, ..work() };
                assert_eq!(Work::read(work.text().as_bytes()), Some(work));
            }
        }
        // Of a later version that only says more.
        let more = r#"1 high {"user":"alice b","offset":7,"fence":1800000005000,"more":{"a":[1]}}"#;
        assert_eq!(Work::read(more.as_bytes()), Some(work()));
    }

    #[test]
    fn whatever_else_stands_there_is_not_read() {
        for text in [
            "",
            "1",
            "1 high",
            "1 high {}",
            "1 urgent {\"user\":\"a\",\"offset\":1,\"fence\":1}",
            "2 high {\"user\":\"a\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"a\\u0000\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"a\",\"offset\":1.5,\"fence\":1}",
            "1 high {\"user\":\"a\",\"offset\":1,\"fence\":1}}",
            "1  high {\"user\":\"a\",\"offset\":1,\"fence\":1}",
        ] {
            assert_eq!(Work::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Work::read(b"1 high {\"user\":\"\xff\",\"offset\":1,\"fence\":1}"), None);
        assert_eq!(found(b"\xff"), Err("\u{fffd}".into()));
    }

    #[test]
    fn users_spread_over_all_shards() {
        let mut seen = [0; SHARDS];
        for n in 0..16_000 {
            seen[shard(&UserId::new(format!("user {n}")).unwrap())] += 1;
        }
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
        assert_eq!(shard(&UserId::new("alice").unwrap()), 11);
    }
}
