//! What calls cost that use the caches of chats, in statements to the record and commands to the moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness::redis_server::RedisServer;
use harness::{TestApp, postgres_server};
use serde_json::json;
use shared::chat::chats::Change;
use shared::chat::draft::Draft;
use shared::chat::messages::Range;
use shared::chat::{history, joining, reading, typing, writing};
use shared::clock::Clock;
use shared::ids::{ChatId, UserId};
use shared::inbox::bounds::Bounds;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;

use crate::moment::{calls, taken};
use crate::wire::Wire;

/// An app on Postgres and Redis, both of which are counted.
struct Measured {
    test: TestApp,
    wire: Wire,
    redis: RedisServer,
}

impl Measured {
    async fn new() -> Self {
        let (wire, url) = Wire::before(&postgres_server::database().await).await;
        let redis = RedisServer::start();
        let config = redis.config("carillon");
        let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
        let mut test = TestApp::new().await;
        test.uses_record(Arc::new(PostgresRecord::new(&url, 1).unwrap()));
        test.uses_moment(Arc::new(moment));
        Self { test, wire, redis }
    }

    /// A chat of alice and others in which she has said something so many times.
    async fn chat(&self, others: &[&str], messages: usize) -> ChatId {
        let alice = UserId::new("alice").unwrap();
        let asked = json!({"kind": "group", "participantIds": others});
        let asked = joining::Request::read(asked.as_object().unwrap().clone(), &alice).unwrap();
        let chat = joining::create(&self.test.app, &alice, &asked).await.unwrap().chat.chat.id;
        for n in 0..messages {
            self.says(chat, n).await;
        }
        chat
    }

    async fn says(&self, chat: ChatId, n: usize) {
        // Slowly enough for the limit.
        self.test.clock.advance(Duration::from_secs(1));
        let draft = json!({"clientId": n.to_string(), "body": "Hi"});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        writing::write(&self.test.app, &UserId::new("alice").unwrap(), chat, &draft).await.unwrap();
    }

    async fn reads(&self, chat: ChatId, range: Range, items: usize) -> Vec<i64> {
        let alice = UserId::new("alice").unwrap();
        let read = history::read(&self.test.app, &alice, chat, range, Bounds::items(items)).await;
        read.unwrap().unwrap().messages.iter().map(|message| message.seq).collect()
    }

    /// Leaves out what was done so far.
    fn begins(&self) {
        self.wire.taken();
        taken(&self.redis);
    }

    /// How many statements ran since the last call, each in one round trip, and the commands to Redis.
    fn cost(&self) -> (usize, BTreeMap<String, usize>) {
        let report = self.wire.taken();
        assert_eq!(report.statements.len(), report.round_trips, "{:#?}", report.statements);
        (report.statements.len(), taken(&self.redis))
    }
}

#[tokio::test]
async fn a_history_costs_one_statement_and_one_command_from_the_cache_and_one_script_to_fill_it() {
    let measured = Measured::new().await;
    let chat = measured.chat(&["bob"], 70).await;
    let warm = async || drop(measured.reads(chat, Range::Last, 50).await);
    warm().await;
    measured.begins();
    for (range, items, seqs) in
        [(Range::Last, 50, 21..=70), (Range::Before(30), 9, 21..=29), (Range::After(60), 50, 61..=70)]
    {
        assert_eq!(measured.reads(chat, range, items).await, seqs.collect::<Vec<_>>());
        assert_eq!(measured.cost(), (1, calls([("zrange", 1)])), "{range:?}");
    }
    // Redis has lost them: the page is read from the record and kept, in one script.
    measured.redis.does(&["FLUSHDB"]);
    measured.begins();
    warm().await;
    let added =
        [("zrange", 1 + 49), ("evalsha", 1), ("zcard", 1), ("zadd", 50), ("zremrangebyrank", 1), ("pexpire", 1)];
    assert_eq!(measured.cost(), (1, calls(added)));
    // Joined from both: 19 messages are read, and kept.
    assert_eq!(measured.reads(chat, Range::Last, 69).await.len(), 69);
    let (statements, found) = measured.cost();
    assert_eq!((statements, found["zadd"], found["evalsha"]), (1, 19, 1));
}

#[tokio::test]
async fn a_message_is_kept_by_one_script() {
    let measured = Measured::new().await;
    let chat = measured.chat(&["bob"], 2).await;
    measured.begins();
    measured.says(chat, 7).await;
    let limit = [("get", 1), ("set", 1)];
    let kept = [("zcard", 1), ("zrange", 1), ("zadd", 1), ("zremrangebyrank", 1), ("pexpire", 1)];
    let all: [(&str, usize); 9] = [&limit[..], &kept, &[("evalsha", 2), ("publish", 1)]].concat().try_into().unwrap();
    assert_eq!(measured.cost(), (1, calls(all)));
}

#[tokio::test]
async fn typing_costs_no_statement_while_its_audience_is_remembered() {
    let measured = Measured::new().await;
    let (app, bob) = (&measured.test.app, UserId::new("bob").unwrap());
    let chat = measured.chat(&["bob", "carol"], 1).await;
    reading::read(app, &bob, chat, 1).await.unwrap();
    measured.test.connect("alice", &["desk"]).await;
    measured.test.connect("bob", &["phone", "tablet"]).await;
    let types = async || {
        typing::tell(app, &UserId::new("alice").unwrap(), chat, true).await.unwrap();
        let to: Vec<String> = measured.test.push.taken().into_iter().map(|(device, _)| device).collect();
        assert_eq!(to, ["phone", "tablet"]);
    };
    let limit = [("get", 1 + 1), ("set", 1), ("evalsha", 2)];
    types().await;
    measured.test.clock.advance(Duration::from_secs(10));
    types().await;
    measured.begins();
    for _ in 0..3 {
        measured.test.clock.advance(Duration::from_secs(2));
        types().await;
        assert_eq!(measured.cost(), (0, calls(limit)));
    }
    // It is read again after ten seconds, and remembered by one script.
    measured.test.clock.advance(Duration::from_secs(5));
    types().await;
    assert_eq!(measured.cost(), (1, calls([("get", 3), ("set", 2), ("evalsha", 3)])));
    // A change of the members forgets it.
    joining::change(app, &UserId::new("alice").unwrap(), chat, &Change::Remove(vec![bob])).await.unwrap();
    measured.test.push.taken();
    typing::tell(app, &UserId::new("alice").unwrap(), chat, true).await.unwrap();
    assert_eq!(measured.test.push.taken(), []);
}
