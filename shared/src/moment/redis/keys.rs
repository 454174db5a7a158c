//! Every key and channel in Redis. Keys are a format that versions running side by side share, so they have one home.
//!
//! | pattern | type | lifetime | purpose |
//! | --- | --- | --- | --- |
//! | `<prefix>:{pNNNN}:limit:<count>/<window ms>:<hash>` | string: `<ms> <parts>` | twice the time until full, at least 60 s | a budget, as the time at which it is full again; full and absent mean the same, so expiry loses nothing |
//! | `<prefix>:{pNNNN}:counts:<minute>` | hash: `accepted`, `delivered`, `retried`, `rateLimited`, `errors`, `acceptMs:<from>`, `deliverMs:<from>` to whole numbers | 2 h | the counts of one minute; `<minute>` is minutes since 1970, `<from>` the lower bound of a histogram bucket |
//! | `<prefix>:{pNNNN}:outcomes:<notification id>` | list: `<ms> <outcome> <connection>`, the latest last, at most 100 | 48 h | the outcomes of the pushes of one notification |
//! | `<prefix>:{qNN}:critical`, `:high`, `:normal`, `:low` | stream: field `w`, the text of the work; the time in the id is when it fell due | until claimed | work that is due, by priority |
//! | `<prefix>:{qNN}:later` | sorted set: the text of the work by milliseconds since 1970 | until due | work that is not due yet |
//! | `<prefix>:{qNN}:claimed` | sorted set: `<attempts> <priority> <id> <text>` by milliseconds since 1970 | until settled | claimed work, by when its claim lapses |
//! | `<prefix>:{queue}:news` | string: a whole number | none | the queue's generation: how often work was enqueued |
//! | `<prefix>:{queue}:awake` | string: milliseconds since 1970 | 6 s | until when a drain counts as awake |
//! | `<prefix>:notification-events` | channel | | `{"userId","id","type"}` of each accepted notification |
//!
//! `<prefix>` is `REDIS_KEY_PREFIX`. `{pNNNN}` is one of 1,024 partitions by hash and `{qNN}` one of the 16 shards of the
//! queue. Each is a hash tag, so that one script touches one slot. `<hash>` is 128 bits of SHA-256 over prefix and bucket
//! as base64url; other bits of the same hash choose the partition. Names chosen by callers never appear in a key, so
//! their characters cannot break one.
//!
//! All processes share one hash of counts per minute and write it once per call. It is the hottest key, and in a cluster it
//! moves to another slot every minute.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::delivery::work::PRIORITIES;
use crate::ids::{NotificationId, sha256};
use crate::limits::Rate;

/// How many partitions there are; never changes in a deployment.
const PARTITIONS: u16 = 1_024;

/// What is kept together: one hash tag, so one slot, one instance, and whatever one script may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Partition {
    /// One of the 1,024 partitions by hash: `{p0000}` to `{p1023}`.
    Hashed(u16),
    /// One shard of the queue: `{q00}` to `{q15}`.
    Shard(usize),
    /// What all drains share: `{queue}`.
    Drains,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashed(n) => write!(f, "{{p{n:04}}}"),
            Self::Shard(n) => write!(f, "{{q{n:02}}}"),
            Self::Drains => f.write_str("{queue}"),
        }
    }
}

/// A key or channel, with the partition by which it is routed. Only [`Keys`] makes one, so no name is ever used without
/// its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    partition: Partition,
    name: String,
}

impl Key {
    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The keys of one shard of the queue.
#[derive(Debug)]
pub(crate) struct ShardKeys {
    /// What is due, by priority, the most urgent first.
    pub(crate) due: [Key; PRIORITIES],
    /// What is not due yet.
    pub(crate) later: Key,
    /// What drains have claimed.
    pub(crate) claimed: Key,
}

impl ShardKeys {
    /// All of them, in the order in which the scripts number them.
    pub(crate) fn all(self) -> Vec<Key> {
        Vec::from(self.due).into_iter().chain([self.later, self.claimed]).collect()
    }
}

/// The keys under one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// `None` unless the prefix is 1 to 64 visible ASCII characters without braces, which would be a hash tag themselves.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_graphic() && c != '{' && c != '}';
        ((1..=64).contains(&prefix.len()) && prefix.chars().all(fits)).then(|| Self { prefix: prefix.to_owned() })
    }

    /// The budget of a bucket at a rate.
    pub(crate) fn limit(&self, bucket: &str, rate: Rate) -> Key {
        let (partition, hash) = self.hashed(bucket);
        let name = URL_SAFE_NO_PAD.encode(&hash[..16]);
        let Rate { count, window_ms } = rate;
        self.key(partition, &format!("limit:{count}/{window_ms}:{name}"))
    }

    /// The counts of one minute, given in minutes since 1970.
    pub(crate) fn counts(&self, minute: i64) -> Key {
        let name = format!("counts:{minute}");
        self.key(self.hashed(&name).0, &name)
    }

    /// The outcomes of the pushes of a notification.
    pub(crate) fn outcomes(&self, id: NotificationId) -> Key {
        let name = format!("outcomes:{id}");
        self.key(self.hashed(&name).0, &name)
    }

    /// The keys of a shard of the queue.
    pub(crate) fn shard(&self, shard: usize) -> ShardKeys {
        let key = |name| self.key(Partition::Shard(shard), name);
        ShardKeys { due: ["critical", "high", "normal", "low"].map(key), later: key("later"), claimed: key("claimed") }
    }

    /// The queue's generation, and until when a drain counts as awake.
    pub(crate) fn drains(&self) -> Vec<Key> {
        // `news` is the generation: versions that run side by side must agree on the key.
        ["news", "awake"].map(|name| self.key(Partition::Drains, name)).into()
    }

    /// The channel on which accepted notifications are published.
    pub(crate) fn notification_events(&self) -> Key {
        const CHANNEL: &str = "notification-events";
        // Other programs subscribe to it by name, so it has no hash tag.
        Key { partition: self.hashed(CHANNEL).0, name: format!("{}:{CHANNEL}", self.prefix) }
    }

    fn key(&self, partition: Partition, name: &str) -> Key {
        Key { partition, name: format!("{}:{partition}:{name}", self.prefix) }
    }

    /// The partition of a name, and the hash that it follows from.
    fn hashed(&self, name: &str) -> (Partition, [u8; 32]) {
        // The prefix contains no zero byte, so no two pairs of prefix and name are hashed alike.
        let hash = sha256(&[self.prefix.as_bytes(), &[0], name.as_bytes()].concat());
        (Partition::Hashed(u16::from_be_bytes([hash[30], hash[31]]) % PARTITIONS), hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 30, window_ms: 60_000 };

    fn key(prefix: &str, bucket: &str) -> String {
        Keys::new(prefix).unwrap().limit(bucket, RATE).name().to_owned()
    }

    #[test]
    fn a_budgets_key_never_changes() {
        assert_eq!(key("carillon", "send LIKE alice"), "carillon:{p0408}:limit:30/60000:uTQDKKtHcUMC1vhrc4jttA");
    }

    #[test]
    fn the_keys_of_counts_and_outcomes_never_change() {
        let keys = Keys::new("carillon").unwrap();
        assert_eq!(keys.counts(30_000_000).name(), "carillon:{p0072}:counts:30000000");
        let id = NotificationId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        assert_eq!(keys.outcomes(id).name(), "carillon:{p0700}:outcomes:d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1");
    }

    #[test]
    fn the_queues_keys_never_change() {
        let keys = Keys::new("carillon").unwrap();
        let names = |keys: Vec<Key>| keys.into_iter().map(|key| key.name).collect::<Vec<String>>();
        assert_eq!(names(keys.shard(7).all())[0], "carillon:{q07}:critical");
        assert_eq!(names(keys.shard(15).all())[4..], ["carillon:{q15}:later", "carillon:{q15}:claimed"]);
        assert_eq!(names(keys.drains()), ["carillon:{queue}:news", "carillon:{queue}:awake"]);
        assert_eq!(keys.notification_events().name(), "carillon:notification-events");
    }

    #[test]
    fn a_key_has_one_hash_tag_and_never_contains_the_name_of_its_bucket() {
        for bucket in ["send A {x}", "send A a:b", "send A \n", "send A 🔔", "", "}{", "carillon:{p0001}"] {
            let key = key("carillon", bucket);
            assert!(key.is_ascii() && key.matches(['{', '}']).count() == 2, "{bucket:?}: {key}");
            assert!(key.starts_with("carillon:{p"), "{key}");
        }
        assert_ne!(key("a", "send A x"), key("a", "send A y"));
        let slower = Rate { window_ms: 60_001, ..RATE };
        assert_ne!(key("a", "x"), Keys::new("a").unwrap().limit("x", slower).name());
    }

    #[test]
    fn buckets_spread_over_all_partitions() {
        let keys = Keys::new("carillon").unwrap();
        let mut seen = [0_u32; PARTITIONS as usize];
        for n in 0..100_000 {
            let Partition::Hashed(partition) = keys.limit(&format!("send A {n}"), RATE).partition() else { panic!() };
            seen[usize::from(partition)] += 1;
        }
        let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
        assert!(*least > 50 && *most < 160, "{least} to {most}");
    }

    #[test]
    fn a_prefix_is_a_plain_word() {
        for prefix in ["carillon", "a", "prod:eu-1", "*"] {
            assert!(Keys::new(prefix).is_some(), "{prefix}");
        }
        for prefix in ["", "a b", "{a}", "a}", "ä", "a\n", &"x".repeat(65)] {
            assert!(Keys::new(prefix).is_none(), "{prefix:?}");
        }
    }
}
