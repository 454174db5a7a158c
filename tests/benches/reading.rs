//! Reading a chat: its last 50 messages from the cache, from the record alone, and from both, one after the other in one
//! run. It runs in this process, so that only the stores and their clients are measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{TestApp, postgres_server, redis_server};
use serde_json::json;
use shared::app::App;
use shared::chat::draft::Draft;
use shared::chat::messages::Range;
use shared::chat::{history, joining, writing};
use shared::clock::Clock;
use shared::config::Config;
use shared::ids::{ChatId, UserId};
use shared::inbox::bounds::Bounds;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;

use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// The messages of the chat, of which the last 100 are cached.
const MESSAGES: usize = 1_000;
/// The messages of a page.
const PAGE: usize = 50;
/// How many pages are read each way.
const PAGES: usize = 2_000;
/// The pages that are read at once when the rate is measured.
const IN_FLIGHT: usize = 16;

/// Where the messages of a page come from.
#[derive(Clone, Copy)]
enum From {
    Cache,
    Record,
    Both,
}

/// Measures all of this on these stores.
pub(crate) async fn measure(stores: Stores) {
    let variables = [("JWT_SECRET", "a secret of at least thirty-two bytes"), ("RATE_LIMIT_CHAT", "100000/1s")];
    let mut test = TestApp::with(&variables).await;
    if matches!(stores, Stores::Servers) {
        let moment = RedisMoment::with_timeout(&redis_server::own_prefix(), Clock::system(), Duration::from_secs(30));
        test.uses_record(Arc::new(PostgresRecord::new(&postgres_server::database().await, 10).unwrap()));
        test.uses_moment(Arc::new(moment.unwrap()));
    }
    let (cached, alice) = (test.app.clone(), UserId::new("alice").unwrap());
    let uncached = App { config: Arc::new(without_cache(&cached.config)), ..cached.clone() };
    let chat = chat(&cached, &alice).await;
    let (mut took, mut rates) = ([const { Vec::new() }; 3], [0.0; 3]);
    let all = [From::Cache, From::Record, From::Both];
    // In turns, so that whatever else the machine does meanwhile slows all of them.
    for n in 0..PAGES + 100 {
        for from in all {
            let app = if matches!(from, From::Record) { &uncached } else { &cached };
            let began = Instant::now();
            read(app, &alice, chat, from).await;
            if n >= 100 {
                took[from as usize].push(began.elapsed());
            }
        }
    }
    for from in all {
        let app = if matches!(from, From::Record) { &uncached } else { &cached };
        let began = Instant::now();
        for _ in 0..PAGES / IN_FLIGHT {
            join_all((0..IN_FLIGHT).map(|_| read(app, &alice, chat, from))).await;
        }
        rates[from as usize] = (PAGES / IN_FLIGHT * IN_FLIGHT) as f64 / began.elapsed().as_secs_f64();
    }
    for from in all {
        let (name, how) = match from {
            From::Cache => ("history of 50 from the cache", "the record decides what is seen and where the chat ends"),
            From::Record => ("history of 50 from the record", "without a cache"),
            From::Both => ("history of 50 from both", "half of the page is older than what is cached"),
        };
        let ms = in_ms(&took[from as usize]);
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            figure(&stores.named(&format!("{name}, {label}")), number(percentile(&ms, share), 3), "ms", how);
        }
        let how = format!("{IN_FLIGHT} at a time");
        figure(&stores.named(&format!("{name}, rate")), number(rates[from as usize], 0), "pages/s", &how);
    }
}

fn without_cache(config: &Config) -> Config {
    let mut config = config.clone();
    config.message_cache.messages = 0;
    config
}

/// A chat in which alice has said something of about 100 characters so many times.
async fn chat(app: &App, alice: &UserId) -> ChatId {
    let asked = json!({"kind": "group", "participantIds": ["bob"]});
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), alice).unwrap();
    let chat = joining::create(app, alice, &asked).await.unwrap().chat.chat.id;
    for n in 0..MESSAGES {
        let draft = json!({"clientId": format!("client-id-of-{n}"), "body": format!("{n:0100}")});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        writing::write(app, alice, chat, &draft).await.unwrap();
    }
    chat
}

async fn read(app: &App, alice: &UserId, chat: ChatId, from: From) {
    let before = match from {
        From::Cache | From::Record => MESSAGES as i64 + 1,
        From::Both => MESSAGES as i64 - 100 + 1 + PAGE as i64 / 2,
    };
    let page = history::read(app, alice, chat, Range::Before(before), Bounds::of_answer(PAGE)).await.unwrap().unwrap();
    let seqs: Vec<i64> = page.messages.iter().map(|message| message.seq).collect();
    assert!(seqs.len() == PAGE && seqs.last() == Some(&(before - 1)), "WRONG: {seqs:?}");
}
