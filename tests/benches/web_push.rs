//! What a push costs before it is sent: its encryption, and the signature that a push service gets once in hours. And how many
//! a drain sends.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use harness::app::request;
use harness::push_service::{Browser, PushService};
use harness::{TestApp, event, postgres_server};
use serde_json::{Value, json};
use shared::config::{Config, Origins, VapidKeys};
use shared::function;
use shared::ids::UserId;
use shared::record::postgres::PostgresRecord;
use shared::web_push::encryption::encrypt;
use shared::web_push::endpoint::PushHosts;
use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::Subscribed;
use shared::web_push::vapid::{self, Vapid};

use crate::report::{figure, number, spread};
use crate::stores::Stores;

const ROUNDS: usize = 5;
const IN_A_ROUND: usize = 2_000;
/// Longer than a token is used, so that each one is signed anew.
const HALF_A_DAY_MS: i64 = 12 * 60 * 60 * 1_000;

/// The users who are away, each with one browser.
const USERS: usize = 2_000;
/// The recipients of one send.
const RECIPIENTS: usize = 200;

/// Measures all of this.
pub(crate) async fn measure() {
    preparation();
    for stores in [Stores::Local, Stores::Servers] {
        drained(stores).await;
    }
}

/// One drain and a push service in this process, which decrypts nothing.
async fn drained(stores: Stores) {
    let service = PushService::start().await;
    let (host, (public, private)) = (service.host(), vapid::generate().unwrap());
    let mut test = TestApp::with(&[
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("VAPID_PUBLIC_KEY", &public),
        ("VAPID_PRIVATE_KEY", private.reveal()),
        ("VAPID_SUBJECT", "mailto:ops@example.com"),
        ("WEB_PUSH_HOSTS", &host),
    ])
    .await;
    if matches!(stores, Stores::Servers) {
        test.uses_record(Arc::new(PostgresRecord::new(&postgres_server::database().await, 10).unwrap()));
    }
    test.app.push_services = function::push_services(&test.app.config);
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    for user in &users {
        let Value::Object(members) = Browser::new().subscription(&service.endpoint(&format!("/{user}"))) else {
            unreachable!()
        };
        let subscription = Subscription::read(members, &test.app.config.push_hosts).unwrap();
        let user = UserId::new(user).unwrap();
        let subscribed = test.app.record.subscriptions.subscribe(&user, None, &subscription).await;
        assert_eq!(subscribed, Ok(Subscribed::Done));
    }
    for some in users.chunks(RECIPIENTS) {
        let mut sending = event("send");
        sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
        sending["headers"].as_object_mut().unwrap().remove("idempotency-key");
        sending["body"] = json!({"type": "like", "userIds": some, "title": "Hi"}).to_string().into();
        assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
    }
    let began = Instant::now();
    let run = drain::handle(&test.app, i64::MAX).await;
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!((run.web_pushed, service.taken().len(), run.failed), (USERS, USERS, false), "WRONG");
    let how = format!("{USERS} users, one browser each; the push service runs in the same process");
    figure(&stores.named("pushes of one drain"), number(USERS as f64 / seconds, 0), "pushes/s", &how);
}

fn preparation() {
    let Value::Object(members) = Browser::new().subscription("https://push.example.com/1") else { unreachable!() };
    let subscription = Subscription::read(members, &PushHosts::default()).unwrap();
    let how = "CPU time of the thread, rounds of 2,000";
    for payload_bytes in [300, 3_000] {
        let payload = vec![b'x'; payload_bytes];
        let costs = costs(|_| {
            encrypt(&payload, &subscription.keys).unwrap();
        });
        figure(&format!("encryption of a push, {payload_bytes} bytes"), spread(&costs, 1), "us", how);
    }
    let vapid = Vapid::new(keys());
    let signed = costs(|n| {
        vapid.authorization(&subscription.endpoint, n as i64 * HALF_A_DAY_MS).unwrap();
    });
    figure("authorization of a push, signed", spread(&signed, 1), "us", how);
    let kept = costs(|_| {
        vapid.authorization(&subscription.endpoint, 0).unwrap();
    });
    figure("authorization of a push, kept", spread(&kept, 2), "us", how);
}

fn keys() -> VapidKeys {
    let (public, private) = vapid::generate().unwrap();
    let variable = |name: &str| match name {
        "VAPID_PUBLIC_KEY" => Some(public.clone()),
        "VAPID_PRIVATE_KEY" => Some(private.reveal().to_owned()),
        "VAPID_SUBJECT" => Some("mailto:ops@example.com".into()),
        _ => None,
    };
    Config::read(variable, &[], Origins::Loopback).unwrap().vapid.unwrap()
}

/// The microseconds that each of some repetitions takes, for each round.
fn costs(mut act: impl FnMut(usize)) -> Vec<f64> {
    let mut round = |round: usize| {
        let before = cpu_ns();
        (0..IN_A_ROUND).for_each(|n| act(round * IN_A_ROUND + n));
        (cpu_ns() - before) as f64 / 1_000.0 / IN_A_ROUND as f64
    };
    (0..ROUNDS).map(&mut round).collect()
}

/// The time that this thread has been on a CPU.
fn cpu_ns() -> u64 {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap()
}
