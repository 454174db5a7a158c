//! Too many sends at once, and the same send or message several times at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::Answer;
use harness::conversation::Said;
use serde_json::Value;

use crate::proxy::Mode;
use crate::sender::{Sent, send_body};
use crate::servers::{PRIMARIES, cut_off};
use crate::talk::{EVERYONE, Way, Writer, message};
use crate::testbed::{Testbed, pause};

/// F52: ten times as many services, none of which pauses between sends. Some sends are refused; accepted ones are kept.
pub(crate) async fn overload(testbed: &mut Testbed) {
    testbed.run_for(2.0).await;
    let from = Instant::now();
    testbed.start_senders("crowd", 40, Duration::ZERO);
    testbed.run_for(6.0).await;
    testbed.stop_last_senders().await;
    testbed.end_fault();
    let to = Instant::now();
    let [p50, p99] = testbed.accept_ms(from, to);
    testbed.note(format!("accept p50/p99 {p50:.0}/{p99:.0} ms under overload"));
    let other = testbed.refusals(from, to, |_, call| ![429, 503].contains(&call.status));
    testbed.require_no_refusal(&other, "otherwise than with 429 or 503");
}

/// F55: four concurrent calls with the same key, on four processes, while Redis comes and goes; and a message with the same
/// `clientId`, twice over HTTP and over both sockets of its sender. One row, one answer.
pub(crate) async fn one_key_at_once(testbed: &mut Testbed) {
    for n in 0..40 {
        flap(testbed, n);
        let (request, asked_at) = (send_body("parallel", n, testbed.few_users()), Instant::now());
        let service = testbed.service.clone();
        let answers = join_all((0..4).map(|_| service.attempt(&request, false))).await;
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        let accepted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
        let same = accepted.windows(2).all(|pair| durable(&pair[0].text) == durable(&pair[1].text));
        testbed.require(same, format!("calls with the key parallel/{n} got different answers"));
        require_all_accepted(testbed, &format!("the send parallel/{n}"), accepted.len(), asked_at);
        if let Some(first) = accepted.first() {
            let (answer, accepted_at) = (first.text.clone(), Instant::now());
            testbed.service.log.accepted.lock().unwrap().push(Sent { request, answer, accepted_at });
        }
        say_at_once(testbed, n).await;
        pause(60).await;
    }
    testbed.end_fault();
}

/// Takes the n-th of the steps in which Redis comes and goes. After every fifth it is there.
fn flap(testbed: &Testbed, n: usize) {
    let step = n % 5;
    if !testbed.servers.is_cluster {
        testbed.redis.set_mode([Mode::Hold, Mode::Pass, Mode::Reset, Mode::LoseAnswers(0.5), Mode::Pass][step]);
        return;
    }
    // Clients reach the servers of a cluster without the proxy. Each primary has a part of the keys, so they take turns.
    let server = testbed.servers.first_primary(n / 5 % PRIMARIES);
    match step {
        0 => server.hangs(),
        2 => cut_off(server),
        1 | 3 => server.goes_on(),
        _ => {}
    }
}

/// Requires that all four calls with one key were accepted; says what was refused meanwhile.
fn require_all_accepted(testbed: &mut Testbed, what: &str, accepted: usize, asked_at: Instant) {
    let refused = testbed.refusals_since(asked_at).join("; ");
    testbed.require(accepted == 4, format!("{what}: {accepted} of 4 calls were accepted, and refused were: {refused}"));
}

/// An answer as if it were durable: who does not reach Redis stores what others have in a log.
fn durable(answer: &str) -> String {
    answer.replace(r#""durability":"redis""#, r#""durability":"durable""#)
}

async fn say_at_once(testbed: &mut Testbed, n: usize) {
    let (message, asked_at) = (message(&format!("parallel/{n}")), Instant::now());
    let first = testbed.writer(EVERYONE, 0);
    let other = Writer { device: Arc::clone(&testbed.devices[testbed.users.len()]), ..first.clone() };
    let calls = [(&first, Way::Http), (&first, Way::Socket), (&other, Way::Http), (&other, Way::Socket)];
    let answers = join_all(calls.map(|(writer, way)| writer.attempt(&message, way, false))).await;
    let accepted: Vec<&Value> =
        answers.iter().filter(|(status, _)| (200..300).contains(status)).map(|(_, answer)| answer).collect();
    require_all_accepted(testbed, &format!("the message parallel/{n}"), accepted.len(), asked_at);
    let same = accepted.windows(2).all(|pair| match testbed.accepts_fast {
        // It has its place in some of them.
        true => pair[0]["id"] == pair[1]["id"],
        false => pair[0] == pair[1],
    });
    testbed.require(same, format!("the message parallel/{n} got different answers"));
    // Who does not reach Redis stores what others have in a log, and each says that it is new.
    let created = answers.iter().filter(|(status, _)| *status == 201).count();
    testbed
        .require(created <= 1 || testbed.accepts_fast, format!("the message parallel/{n} was created more than once"));
    testbed.talked.said.lock().unwrap().extend(accepted.iter().map(|answer| Said::read(answer, asked_at)));
}

/// F56: four concurrent calls with the same key and different bodies. Exactly one is accepted; the others are refused
/// for good.
pub(crate) async fn one_key_other_body(testbed: &mut Testbed) {
    let (mut won, mut refused) = (0, 0);
    for n in 0..40 {
        let requests: Vec<_> = (0..4)
            .map(|version| {
                let mut request = send_body("contested", n, testbed.few_users());
                request["body"] = format!("version {version}").into();
                request
            })
            .collect();
        let (service, headers) = (
            testbed.service.clone(),
            [("authorization", testbed.service.authorization.as_str()), ("content-type", "application/json")],
        );
        let path = "/api/notifications/send";
        let calls =
            requests.iter().map(|one| harness::http::call(service.address, "POST", path, &headers, one.to_string()));
        let answers = join_all(calls).await;
        let winners: Vec<usize> = (0..4).filter(|index| answers[*index].status == 202).collect();
        let others = answers.iter().filter(|answer| answer.code() == "idempotency_key_reused").count();
        (won, refused) = (won + winners.len(), refused + others);
        let counts = (winners.len(), others);
        testbed
            .require(counts == (1, 3), format!("contested/{n}: (accepted, refused) is {counts:?} instead of (1, 3)"));
        for index in winners {
            let (answer, accepted_at) = (answers[index].text.clone(), Instant::now());
            let sent = Sent { request: requests[index].clone(), answer, accepted_at };
            testbed.service.log.accepted.lock().unwrap().push(sent);
        }
    }
    testbed.note(format!("{won} sends accepted, {refused} refused with idempotency_key_reused"));
    testbed.end_fault();
}
