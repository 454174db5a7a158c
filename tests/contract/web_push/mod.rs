//! The suites of Web Push: subscriptions, notifications and digests that are due.

mod chats;
mod digests;
mod pushes;
mod subscriptions;

use shared::inbox::notification::Content;
use shared::inbox::sends::{Appended, Stored};
use shared::web_push::endpoint::PushHosts;
use shared::web_push::pushes::{DueDigest, DuePush, PushEnd, SettledPush, Task};
use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::Subscribed;

use crate::record::{Record, Send, at, user, users};

/// A public key of P-256, and another one; from RFC 8291, appendix A.
const POINTS: [&str; 2] = [
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
];

/// The subscription of a browser, with the first or second key.
fn subscription(browser: &str, key: usize) -> Subscription {
    let body = serde_json::json!({
        "endpoint": format!("https://push.example.net/{browser}"),
        "keys": {"p256dh": POINTS[key], "auth": "BTBZMqHH6r4Tts7J_aSIgg"},
    });
    let serde_json::Value::Object(body) = body else { unreachable!() };
    Subscription::read(body, &PushHosts::default()).unwrap()
}

pub(crate) async fn subscribe(record: &Record, name: &str, browser: &str) {
    let subscribed = record.subscriptions().subscribe(&user(name), None, &subscription(browser, 0)).await;
    assert_eq!(subscribed, Ok(Subscribed::Done));
}

fn with(send: Send, change: impl FnOnce(&mut Content)) -> Send {
    let mut content = Content::clone(&send.content);
    change(&mut content);
    Send { content: content.into(), ..send }
}

/// Sends to one user; returns when the first Web Push is due, in milliseconds after the beginning.
async fn send(record: &Record, send: &Send, name: &str, after_ms: i64) -> Option<i64> {
    let Appended::Stored(Stored { web_push_at_ms, .. }) = record.append(send, &users(&[name]), at(after_ms)).await
    else {
        panic!("a new send was treated as a repeat")
    };
    web_push_at_ms.map(|at_ms| at_ms - crate::record::START_MS)
}

async fn take(record: &Record, after_ms: i64) -> Vec<DuePush> {
    record.web_pushes().take_pushes(100, at(after_ms)).await.unwrap()
}

async fn take_digests(record: &Record, after_ms: i64) -> Vec<DueDigest> {
    record.web_pushes().take_digests(100, at(after_ms)).await.unwrap()
}

/// The titles of taken notifications, which are the keys of their sends; `close` for one that is closed.
fn titles(taken: &[DuePush]) -> Vec<String> {
    let title = |push: &DuePush| match &push.task {
        Task::Send { notification, .. } => notification.content.title.clone(),
        Task::Close(_) => "close".into(),
    };
    taken.iter().map(title).collect()
}

async fn settle(record: &Record, taken: &[DuePush], end: PushEnd, after_ms: i64) {
    let settled: Vec<SettledPush<'_>> =
        taken.iter().map(|push| SettledPush { key: &push.key, end: end.clone() }).collect();
    record.web_pushes().settle_pushes(&settled, at(after_ms)).await.unwrap();
}
