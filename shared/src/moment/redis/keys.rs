//! Every key and channel in Redis, and nowhere else.
//!
//! | pattern | type | lifetime | why |
//! | --- | --- | --- | --- |
//! | `<prefix>:{pNNNN}:limit:<count>/<window ms>:<hash>` | string: `<ms> <parts>` | twice the time until it is full again, at least 60 s | a budget, as the instant at which it is full again; full and absent are the same, so its end loses nothing |
//! | `<prefix>:{pNNNN}:counts:<minute>` | hash: `accepted`, `delivered`, `retried`, `rateLimited`, `errors`, `acceptMs:<from>`, `deliverMs:<from>` to whole numbers | 2 h | what was counted in a minute; `<minute>` is minutes since 1970, `<from>` where a bucket of a histogram begins |
//! | `<prefix>:{pNNNN}:outcomes:<notification id>` | list: `<ms> <outcome> <connection>`, the latest last, at most 100 | 48 h | what became of the pushes of a notification |
//! | `<prefix>:{qNN}:critical`, `:high`, `:normal`, `:low` | stream: field `w`, a work's text; the id's time is when it fell due | until claimed | what waits for a drain, by priority |
//! | `<prefix>:{qNN}:later` | sorted set: a work's text by milliseconds since 1970 | until due | what is not due yet |
//! | `<prefix>:{qNN}:claimed` | sorted set: `<claims> <priority> <id> <text>` by milliseconds since 1970 | until settled | what a drain works on, by when its claim lapses |
//! | `<prefix>:{queue}:news` | string: a whole number | none | how often drains were told of work |
//! | `<prefix>:{queue}:awake` | string: milliseconds since 1970 | 6 s | until when a drain counts as awake |
//! | `<prefix>:notification-events` | channel | | `{"userId","id","type"}` of each notification that was accepted |
//!
//! `<prefix>` is `REDIS_KEY_PREFIX`. `{pNNNN}` is one of 1,024 partitions, each one hash tag: what one script touches
//! lies in one slot. `<hash>` is 128 bits of SHA-256 over prefix and bucket, as base64url; the partition is other bits
//! of it. `{qNN}` is one of the 16 shards of the queue. Names that strangers chose stand in no key, so what is in them is nobody's problem.
//!
//! All processes count in one hash a minute, each call once: that key is the hottest there is, and in a cluster its
//! slot is another one with every minute.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{NotificationId, sha256};
use crate::limits::Rate;

/// How many hash tags there are; never changes in a deployment.
const PARTITIONS: u16 = 1_024;

/// One of the hash tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition(u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{p{:04}}}", self.0)
    }
}

/// The names under one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// `None` where the prefix would be a hash tag itself or is no plain word: 1–64 visible ASCII characters without
    /// braces.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_graphic() && c != '{' && c != '}';
        ((1..=64).contains(&prefix.len()) && prefix.chars().all(fits)).then(|| Self { prefix: prefix.to_owned() })
    }

    /// A bucket's budget, and where it lies.
    pub(crate) fn limit(&self, bucket: &str, rate: Rate) -> (Partition, String) {
        let (partition, hash) = self.partition(bucket);
        let name = URL_SAFE_NO_PAD.encode(&hash[..16]);
        let Rate { count, window_ms } = rate;
        (partition, format!("{}:{partition}:limit:{count}/{window_ms}:{name}", self.prefix))
    }

    /// What was counted in a minute, in minutes since 1970.
    pub(crate) fn counts(&self, minute: i64) -> String {
        let name = format!("counts:{minute}");
        format!("{}:{}:{name}", self.prefix, self.partition(&name).0)
    }

    /// What became of the pushes of a notification.
    pub(crate) fn outcomes(&self, id: NotificationId) -> String {
        let name = format!("outcomes:{id}");
        format!("{}:{}:{name}", self.prefix, self.partition(&name).0)
    }

    /// What waits in a shard of the queue, critical first, what is not due yet, and what is claimed.
    pub(crate) fn queue(&self, shard: usize) -> [String; 6] {
        ["critical", "high", "normal", "low", "later", "claimed"]
            .map(|name| format!("{}:{{q{shard:02}}}:{name}", self.prefix))
    }

    /// How often drains were told of work, and until when one counts as awake.
    pub(crate) fn drains(&self) -> [String; 2] {
        ["news", "awake"].map(|name| format!("{}:{{queue}}:{name}", self.prefix))
    }

    /// Where what has this name lies, and the hash of the name.
    fn partition(&self, name: &str) -> (Partition, [u8; 32]) {
        // The prefix has no byte 0, so no two pairs read alike.
        let hash = sha256(&[self.prefix.as_bytes(), &[0], name.as_bytes()].concat());
        (Partition(u16::from_be_bytes([hash[30], hash[31]]) % PARTITIONS), hash)
    }

    /// What was accepted, for programs beside us.
    pub(crate) fn notification_events(&self) -> String {
        format!("{}:notification-events", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 30, window_ms: 60_000 };

    fn key(prefix: &str, bucket: &str) -> String {
        Keys::new(prefix).unwrap().limit(bucket, RATE).1
    }

    #[test]
    fn a_budgets_key_never_changes() {
        assert_eq!(key("carillon", "send LIKE alice"), "carillon:{p0408}:limit:30/60000:uTQDKKtHcUMC1vhrc4jttA");
    }

    #[test]
    fn the_keys_of_notes_never_change() {
        let keys = Keys::new("carillon").unwrap();
        assert_eq!(keys.counts(30_000_000), "carillon:{p0072}:counts:30000000");
        let id = NotificationId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        assert_eq!(keys.outcomes(id), "carillon:{p0700}:outcomes:d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1");
    }

    #[test]
    fn the_queues_keys_never_change() {
        let keys = Keys::new("carillon").unwrap();
        assert_eq!(keys.queue(7)[0], "carillon:{q07}:critical");
        assert_eq!(keys.queue(15)[4..], ["carillon:{q15}:later", "carillon:{q15}:claimed"]);
        assert_eq!(keys.drains(), ["carillon:{queue}:news", "carillon:{queue}:awake"]);
    }

    #[test]
    fn whatever_a_user_is_called_the_key_has_one_tag_and_none_of_the_name() {
        for bucket in ["send A {x}", "send A a:b", "send A \n", "send A 🔔", "", "}{", "carillon:{p0001}"] {
            let key = key("carillon", bucket);
            assert!(key.is_ascii() && key.matches(['{', '}']).count() == 2, "{bucket:?}: {key}");
            assert!(key.starts_with("carillon:{p"), "{key}");
        }
        assert_ne!(key("a", "send A x"), key("a", "send A y"));
        let slower = Rate { window_ms: 60_001, ..RATE };
        assert_ne!(key("a", "x"), Keys::new("a").unwrap().limit("x", slower).1);
    }

    #[test]
    fn buckets_spread_over_all_partitions() {
        let keys = Keys::new("carillon").unwrap();
        let mut seen = [0_u32; PARTITIONS as usize];
        for n in 0..100_000 {
            seen[usize::from(keys.limit(&format!("send A {n}"), RATE).0.0)] += 1;
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
