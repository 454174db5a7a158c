//! What Redis answers: values of another shape or meaning than the scripts return are as good as none.

use std::time::Duration;

use shared::clock::Clock;
use shared::delivery::queue::{Entry, Queue, Resolution};
use shared::delivery::work::PushWork;
use shared::ids::{NotificationId, UserId};
use shared::inbox::notification::Priority;
use shared::limits::{Limits, Rate, Spend, Verdict};
use shared::moment::redis::RedisMoment;
use shared::telemetry::Telemetry;
use shared::telemetry::health::Health;

use crate::fake_redis::{FakeRedis, split_answers};
use crate::target::{Target, runtime, signature};

const WORDS: &[&str] = &[
    ":0\r\n",
    ":1\r\n",
    ":-1\r\n",
    ":9223372036854775807\r\n",
    ":-9223372036854775808\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n:0\r\n:1\r\n",
    "$0\r\n\r\n",
    "$1\r\n7\r\n",
    "+OK\r\n",
    "-ERR no\r\n",
    "-WRONGTYPE no\r\n",
    "-OOM no\r\n",
    "-BUSY no\r\n",
];

const ID: &str = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";

pub(crate) fn target() -> Target {
    let claim = bulk("1 1 1800000000000-0 1 high {\"user\":\"alice\",\"offset\":7,\"fence\":1800000005000}");
    let unknown = bulk("4294967295 2 1-1 presence/2 low {}");
    let looks = "*7\r\n:0\r\n:1\r\n:1\r\n:1\r\n:1\r\n:0\r\n:5\r\n";
    let lapsed = "*7\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:1\r\n:-1\r\n";
    let claims = format!("*2\r\n{claim}{unknown}");
    let counted = format!("*2\r\n:0\r\n{claims}");
    let pairs = format!("*4\r\n{}{}{}{}", bulk("accepted"), bulk("7"), bulk("acceptMs:8"), bulk("3"));
    let outcomes = format!("*2\r\n{}{}", bulk("1800000000000 offered PJqB0fHsqRcCHlw="), bulk("1 gone x"));
    let seeds = [
        format!("*2\r\n:0\r\n:1\r\n{looks}{claims}"),
        format!("*2\r\n:0\r\n:1\r\n{lapsed}{counted}"),
        format!("*2\r\n:0\r\n:1\r\n{}{}", looks.repeat(16), counted.repeat(4)),
        format!("*5\r\n:0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:0\r\n:1\r\n*2\r\n:0\r\n:1\r\n{pairs}"),
        format!("{outcomes}{pairs}{}", bulk("role:master\r\nused_memory:7\r\nredis_version:7.0.1")),
        format!("*1\r\n{counted}:0\r\n{looks}"),
    ];
    let runtime = runtime();
    let clock = Clock::manual(harness::START_MS);
    let (redis, moment) = runtime.block_on(async {
        let redis = FakeRedis::start().await;
        let moment = RedisMoment::with_timeout(&redis.config(), clock.clone(), Duration::from_secs(5)).unwrap();
        (redis, moment)
    });
    Target {
        name: "redis_replies",
        seeds: seeds.map(String::into_bytes).into(),
        words: WORDS,
        attempt: Box::new(move |input| {
            redis.answers(split_answers(input));
            // A breaker that has opened closes again.
            clock.advance(Duration::from_secs(60));
            runtime.block_on(attempt(&moment, &clock))
        }),
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

async fn attempt(moment: &RedisMoment, clock: &Clock) -> u64 {
    let at = clock.at();
    let claims = moment.claim(64, at).await;
    let mut settled = None;
    let mut shapes = Vec::new();
    if let Some(claims) = &claims {
        for claimed in &claims.claimed {
            shapes.push((claimed.work.is_ok(), claimed.is_poisoned(), claimed.due_ms == 0));
        }
        let resolutions: Vec<Resolution> =
            claims.claimed.iter().map(|claimed| Resolution::Done(claimed.id.clone())).collect();
        settled = Some(moment.settle(&resolutions, at).await);
    }
    shapes.truncate(4);
    let work = PushWork {
        user: UserId::new("alice").unwrap(),
        offset: 1,
        fence_ms: 1,
        priority: Priority::Normal,
        throttled: 0,
        left: Vec::new(),
    };
    let entries = [Entry { work: work.into(), wait_ms: 0 }];
    let added = moment.add(&entries, at).await;
    let spends = [Spend { bucket: "send like alice".into(), rate: Rate { count: 30, window_ms: 60_000 } }];
    let verdicts = moment.spend(&spends, at).await;
    assert_eq!(verdicts.len(), 1);
    if let Verdict::Limited { retry_after_ms } = verdicts[0] {
        assert!((1..=24 * 60 * 60 * 1_000).contains(&retry_after_ms), "wait {retry_after_ms} ms");
    }
    let depth = moment.depth(at).await;
    let counts = moment.counts(at).await;
    let outcomes = moment.outcomes(NotificationId::parse(ID).unwrap(), at).await;
    let instances = moment.instances().await;
    assert_eq!(instances.instances.len(), 1);
    let check = moment.check().await;
    signature((
        claims.map(|claims| (shapes, claims.next_in_ms.is_some(), claims.generation > 1)),
        settled,
        added.drain_is_awake,
        verdicts[0] == Verdict::Admitted,
        (
            depth.is_some(),
            counts.is_some(),
            outcomes.map(|outcomes| outcomes.len().min(3)),
            std::mem::discriminant(&check),
        ),
    ))
}
