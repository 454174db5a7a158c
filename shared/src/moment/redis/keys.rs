//! Every key and channel in Redis. Keys are a format that versions running side by side share, so they have one home.
//!
//! | pattern | type | lifetime | purpose |
//! | --- | --- | --- | --- |
//! | `<prefix>:{pNNNN}:limit:<count>/<window ms>:<hash>` | string: `<ms> <parts>` | twice the time until full, at least 60 s | a budget, as the time at which it is full again; full and absent mean the same, so expiry loses nothing |
//! | `<prefix>:{pNNNN}:counts:<minute>` | hash: `accepted`, `delivered`, `retried`, `rateLimited`, `errors`, `acceptMs:<from>`, `deliverMs:<from>` to whole numbers | 2 h | the counts of one minute; `<minute>` is minutes since 1970, `<from>` the lower bound of a histogram bucket |
//! | `<prefix>:{pNNNN}:outcomes:<notification id>` | list: `<ms> <outcome> <connection>`, the latest last, at most 100 | 48 h | the outcomes of the pushes of one notification |
//! | `<prefix>:{pNNNN}:on:<short hash>` | string: for each lease `<tag><mark><ms>`, with nothing between them | twice the longest lease, at least 10 min | the connections of a user: six characters of the hash of each, `+` or, if it has left, `-`, and until when its lease lasts, in 13 digits |
//! | `<prefix>:{pNNNN}:messages:<short hash>` | sorted set: a message as JSON by its `seq`, at most `CACHE_MESSAGES_MAX` | `CACHE_MESSAGES_TTL_S` after the last was added | the last messages of a chat: `{"seq","id","by","client","body","data","at"}` with the sender, its id for the message and the time in milliseconds since 1970; `"erased":true` if the sender was erased |
//! | `<prefix>:{pNNNN}:audience:<short hash>` | string: `<version> <ms> <JSON>` | 40 s, used for 10 s | who hears of typing in a chat of this version, as it was read at a time: `{"members":[…],"connections":[{"id","of","since","until"}]}`, where `of` is the place of the connection's user among the members; without JSON, the chat has just got this version |
//! | `<prefix>:{pNNNN}:event:<event id>` | string: the event as it is pushed, behind `<ms> ` | 10 min | an emitted event, and when it was emitted |
//! | `<prefix>:{pNNNN}:events:<hash>`, `:events:all` | sorted set: event ids by milliseconds since 1970 | 10 min after the last | the events that were emitted to a user, and to all |
//! | `<prefix>:{pNNNN}:log` | stream: fields `id` and `e`, the text of the entry; the time in the id is when it was appended | until written | sends and messages that were accepted fast and are not in the record yet |
//! | `<prefix>:{pNNNN}:log-index` | hash: for each entry of the log its id and its place there; `bytes`: of all texts | until the log is empty | finds an entry of the log by its id |
//! | `<prefix>:{pNNNN}:writer` | string: a number, and milliseconds since 1970 | 1 s, at most until the log is empty | who writes the log just now, and until when, so that others wait instead of writing the same |
//! | `<prefix>:{pNNNN}:send:<hash>` | string: the number of a log or `-`, and a fingerprint | 10 min | in which log the send with this key may wait, or that it goes to the record |
//! | `<prefix>:{qNN}:critical`, `:high`, `:normal`, `:low` | stream: field `w`, the text of the work; the time in the id is when it fell due | until claimed | work that is due, by priority |
//! | `<prefix>:{qNN}:later` | sorted set: the text of the work by milliseconds since 1970 | until due | work that is not due yet |
//! | `<prefix>:{qNN}:claimed` | sorted set: `<attempts> <priority> <id> <text>` by milliseconds since 1970 | until settled | claimed work, by when its claim lapses |
//! | `<prefix>:{queue}:news` | string: a whole number | none | the queue's generation: how often work was enqueued |
//! | `<prefix>:{queue}:awake` | string: milliseconds since 1970 | 6 s | until when a drain counts as awake |
//! | `<prefix>:{queue}:work` | channel | | an empty text whenever work was enqueued |
//! | `<prefix>:notification-events` | channel | | `{"userId","id","type"}` of each accepted notification |
//! | `<prefix>:channel:chat-messages` | channel | | `{"chatId","seq","senderId"}` of each message of a chat |
//! | `<prefix>:{pNNNN}:stream:<hash>` | channel | | the frames of one event stream |
//! | `<prefix>:channel:system-events` | channel | | `{"id","type","name"}` of each emitted event |
//! | `<prefix>:channel:user-presence` | channel | | `{"userId","online"}` of each user who came online or went offline |
//!
//! `<prefix>` is `REDIS_KEY_PREFIX`. `{pNNNN}` is one of 1,024 partitions by hash and `{qNN}` one of the 16 shards of the
//! queue. Each is a hash tag, so that one script touches one slot. `<hash>` is 128 bits of SHA-256 over prefix and bucket
//! as base64url; other bits of the same hash choose the partition. `<short hash>` is 96 bits of it, over prefix and `online <user>` or
//! `chat <id>`, since there are many such keys. Names chosen by callers never appear in a key, so
//! their characters cannot break one.
//!
//! All processes share one hash of counts per minute and write it once per call. It is the hottest key, and in a cluster it
//! moves to another slot every minute.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::delivery::work::{PRIORITIES, SHARDS};
use crate::fast::log::LogId;
use crate::ids::{ChatId, ConnectionId, EventId, NotificationId, SendId, UserId, sha256};
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

impl Partition {
    pub(crate) const FIRST: Self = Self::Hashed(0);

    /// All partitions of users and chats.
    pub(crate) fn hashed() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self::Hashed)
    }

    /// Which share of the partitions of users and chats this is true of: 0 to 1.
    pub(crate) fn share(is_true: impl Fn(Self) -> bool) -> f64 {
        let count = Self::hashed().filter(|partition| is_true(*partition)).count();
        count as f64 / f64::from(PARTITIONS)
    }

    /// Its number among all partitions, which never changes.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Hashed(n) => n.into(),
            Self::Shard(n) => u64::from(PARTITIONS) + n as u64,
            Self::Drains => u64::from(PARTITIONS) + SHARDS as u64,
        }
    }
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

/// Keys by their partition, each with its position in the list.
pub(crate) fn by_partition(keys: Vec<Key>) -> Vec<(Vec<Key>, Vec<usize>)> {
    let mut partitions: BTreeMap<Partition, (Vec<Key>, Vec<usize>)> = BTreeMap::new();
    for (position, key) in keys.into_iter().enumerate() {
        let (keys, positions) = partitions.entry(key.partition()).or_default();
        keys.push(key);
        positions.push(position);
    }
    partitions.into_values().collect()
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

/// What other programs may subscribe to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Channel {
    /// Accepted notifications.
    NotificationEvents,
    /// Messages of chats.
    ChatMessages,
    /// Emitted events.
    SystemEvents,
    /// Users who come online and go offline.
    UserPresence,
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

    /// A budget of this partition, from which only probes spend.
    pub(crate) fn probe(&self, partition: Partition, Rate { count, window_ms }: Rate) -> Key {
        self.key(partition, &format!("limit:{count}/{window_ms}:probe"))
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

    /// The leases of a user's connections.
    pub(crate) fn leases(&self, user: &UserId) -> Key {
        let (partition, hash) = self.hashed(&format!("online {user}"));
        self.key(partition, &format!("on:{}", URL_SAFE_NO_PAD.encode(&hash[..12])))
    }

    /// The last messages of a chat.
    pub(crate) fn messages(&self, chat: ChatId) -> Key {
        let (partition, hash) = self.hashed(&format!("chat {chat}"));
        self.key(partition, &format!("messages:{}", URL_SAFE_NO_PAD.encode(&hash[..12])))
    }

    /// Who hears of typing in a chat.
    pub(crate) fn audience(&self, chat: ChatId) -> Key {
        let (partition, hash) = self.hashed(&format!("chat {chat}"));
        self.key(partition, &format!("audience:{}", URL_SAFE_NO_PAD.encode(&hash[..12])))
    }

    /// An emitted event.
    pub(crate) fn event(&self, id: EventId) -> Key {
        let name = format!("event:{id}");
        self.key(self.hashed(&name).0, &name)
    }

    /// The events that were emitted to a user; `None`: to all.
    pub(crate) fn events(&self, user: Option<&UserId>) -> Key {
        match user {
            Some(user) => {
                let (partition, hash) = self.hashed(&format!("events {user}"));
                self.key(partition, &format!("events:{}", URL_SAFE_NO_PAD.encode(&hash[..16])))
            }
            None => self.key(self.hashed("events:all").0, "events:all"),
        }
    }

    /// A log, and its index.
    pub(crate) fn log(&self, log: LogId) -> [Key; 2] {
        ["log", "log-index"].map(|name| self.key(Partition::Hashed(log.number() % PARTITIONS), name))
    }

    /// Who writes a log.
    pub(crate) fn log_writer(&self, log: LogId) -> Key {
        self.key(Partition::Hashed(log.number() % PARTITIONS), "writer")
    }

    /// The first claim of a keyed send.
    pub(crate) fn send_key(&self, send: SendId) -> Key {
        let (partition, hash) = self.hashed(&format!("send {send}"));
        self.key(partition, &format!("send:{}", URL_SAFE_NO_PAD.encode(&hash[..16])))
    }

    /// The channel of an event stream. Its partition decides which instance carries it.
    pub(crate) fn stream(&self, stream: &ConnectionId) -> Key {
        let (partition, hash) = self.hashed(stream.as_str());
        self.key(partition, &format!("stream:{}", URL_SAFE_NO_PAD.encode(&hash[..16])))
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

    /// The channel on which waiting drains hear of work.
    pub(crate) fn work_channel(&self) -> Key {
        self.key(Partition::Drains, "work")
    }

    /// A channel for other programs. They subscribe to it by name, so it has no hash tag.
    pub(crate) fn channel(&self, channel: Channel) -> Key {
        let name = match channel {
            Channel::NotificationEvents => "notification-events",
            Channel::ChatMessages => "channel:chat-messages",
            Channel::SystemEvents => "channel:system-events",
            Channel::UserPresence => "channel:user-presence",
        };
        Key { partition: self.hashed(name).0, name: format!("{}:{name}", self.prefix) }
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
    fn the_key_of_a_users_leases_never_changes() {
        let key = Keys::new("carillon").unwrap().leases(&UserId::new("alice").unwrap());
        assert_eq!(key.name(), "carillon:{p0148}:on:1zWG-b133zYY9LBx");
    }

    #[test]
    fn the_keys_of_a_chat_never_change() {
        let chat = ChatId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        let keys = Keys::new("carillon").unwrap();
        assert_eq!(keys.messages(chat).name(), "carillon:{p0126}:messages:lIGUrk1ILBCbIwjq");
        assert_eq!(keys.audience(chat).name(), "carillon:{p0126}:audience:lIGUrk1ILBCbIwjq");
    }

    #[test]
    fn the_keys_of_events_never_change() {
        let keys = Keys::new("carillon").unwrap();
        let id = EventId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        assert_eq!(keys.event(id).name(), "carillon:{p0503}:event:d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1");
        assert_eq!(
            keys.events(Some(&UserId::new("alice").unwrap())).name(),
            "carillon:{p0662}:events:_YFjbHWYQFwZqlXmx-qDFA"
        );
        assert_eq!(keys.events(None).name(), "carillon:{p0336}:events:all");
    }

    #[test]
    fn the_keys_of_logs_and_of_keyed_sends_never_change() {
        let keys = Keys::new("carillon").unwrap();
        let log = LogId::of_user(&UserId::new("alice").unwrap());
        assert_eq!(keys.log(log).map(|key| key.name), ["carillon:{p0207}:log", "carillon:{p0207}:log-index"]);
        let send = SendId::parse("8214134b-5784-8ca4-baf3-8de40ae24211").unwrap();
        assert_eq!(keys.send_key(send).name(), "carillon:{p0625}:send:Ku5lHwje_eremfv8JF58HQ");
    }

    #[test]
    fn the_queues_keys_never_change() {
        let keys = Keys::new("carillon").unwrap();
        let names = |keys: Vec<Key>| keys.into_iter().map(|key| key.name).collect::<Vec<String>>();
        assert_eq!(names(keys.shard(7).all())[0], "carillon:{q07}:critical");
        assert_eq!(names(keys.shard(15).all())[4..], ["carillon:{q15}:later", "carillon:{q15}:claimed"]);
        assert_eq!(names(keys.drains()), ["carillon:{queue}:news", "carillon:{queue}:awake"]);
        assert_eq!(keys.work_channel().name(), "carillon:{queue}:work");
        let channels =
            [Channel::NotificationEvents, Channel::ChatMessages, Channel::SystemEvents, Channel::UserPresence];
        let names = channels.map(|channel| keys.channel(channel).name().to_owned());
        let expected =
            ["notification-events", "channel:chat-messages", "channel:system-events", "channel:user-presence"];
        assert_eq!(names, expected.map(|name| format!("carillon:{name}")));
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
