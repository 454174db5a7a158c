//! The lateness of delayed notifications: from the due time until the frame is read. None may arrive early.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use shared::clock::{Clock, Time};

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::client::Service;
use crate::machine;
use crate::report::{figure, number, percentile};
use crate::stores::Stores;

/// The number of delayed sends.
const SENDS: usize = 1_000;
/// The number of users, who get the sends in turn.
const USERS: usize = 200;
/// The delay until the first due time: long enough to accept all sends before.
const AHEAD: Duration = Duration::from_secs(8);
const MAX_IN_FLIGHT: usize = 8;

/// Measures sends whose due times are spread over two seconds, and sends that are all due at once.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    delayed(program, stores, Duration::from_secs(2), "spread over 2 s").await;
    delayed(program, stores, Duration::ZERO, "due at one instant").await;
}

async fn delayed(program: &Path, stores: Stores, over: Duration, when: &str) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut audience = Audience::open(&carillon, USERS).await;
    let (now_ms, now) = (Clock::system().now_ms(), Instant::now());
    let dues: Vec<Duration> = (0..SENDS).map(|n| AHEAD + over * n as u32 / SENDS as u32).collect();
    let answers = send(&carillon, &audience.users, &dues, now_ms).await;
    assert!(now.elapsed() < AHEAD, "the machine was too slow to accept all sends before the first due time");
    audience.receives(SENDS).await;

    let due_of: HashMap<String, Duration> = answers.iter().zip(&dues).map(|(sent, due)| (id(sent), *due)).collect();
    let late_ms: Vec<f64> = audience
        .received()
        .map(|(id, at)| {
            let after = (at - now).as_secs_f64() - due_of[&id].as_secs_f64();
            // Due times are rounded to milliseconds.
            assert!(after > -0.001, "WRONG: {id} arrived {:.1} ms early", -after * 1_000.0);
            after * 1_000.0
        })
        .collect();
    audience.received_exactly(&answers).await;
    carillon.stop().await;
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        let name = stores.named(&format!("lateness, {when}, {label}"));
        let how = format!("from due until the frame is read; {SENDS} sends of one recipient, {USERS} sockets");
        figure(&name, number(percentile(&late_ms, share), 1), "ms", &how);
    }
}

/// Makes one send for each due time, which is relative to `now_ms`; returns the answers in the same order.
async fn send(carillon: &Carillon, users: &[String], dues: &[Duration], now_ms: i64) -> Vec<Bytes> {
    let services = stream::iter(0..MAX_IN_FLIGHT).then(|_| Service::connect(carillon)).collect::<Vec<_>>().await;
    let sending = services.into_iter().enumerate().map(|(first, mut service)| async move {
        let mut answers = Vec::new();
        for n in (first..dues.len()).step_by(MAX_IN_FLIGHT) {
            let due = Time(now_ms + i64::try_from(dues[n].as_millis()).unwrap()).to_string();
            let payload =
                json!({"type": "reminder", "userId": users[n % users.len()], "title": "Stand up", "deliverAt": due});
            answers.push((n, service.sends(payload.to_string().into()).await));
        }
        answers
    });
    let mut answers = futures_util::future::join_all(sending).await.concat();
    answers.sort_by_key(|(n, _)| *n);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The id of the only notification in an answer.
fn id(answer: &Bytes) -> String {
    let sent: Value = serde_json::from_slice(answer).unwrap();
    sent["notifications"][0]["id"].as_str().unwrap().to_owned()
}
