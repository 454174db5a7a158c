//! What a push costs before it is sent: its encryption, and the signature that a push service gets once in hours.

use std::fs;

use harness::push_service::Browser;
use serde_json::Value;
use shared::config::{Config, Origins, VapidKeys};
use shared::web_push::encryption::encrypt;
use shared::web_push::endpoint::PushHosts;
use shared::web_push::subscription::Subscription;
use shared::web_push::vapid::{self, Vapid};

use crate::report::{figure, spread};

const ROUNDS: usize = 5;
const IN_A_ROUND: usize = 2_000;
/// Longer than a token is used, so that each one is signed anew.
const HALF_A_DAY_MS: i64 = 12 * 60 * 60 * 1_000;

/// Measures both in this thread.
pub(crate) fn measure() {
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
