//! Kills or cuts off a function at every step: at each request to Postgres, Redis and the management API, before the
//! request arrives and before its answer arrives.

use std::time::Duration;

use crate::breakpoints::{Breakpoints, Held};
use crate::management_api::Behaviour;
use crate::sender::send_body;
use crate::talk::PAIR;
use crate::testbed::Testbed;
use tokio::task::JoinHandle;

/// The receiver of the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    Postgres,
    Redis,
    ManagementApi,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    /// The process is killed.
    Kill,
    /// The connection ends; the process lives on.
    Disconnect,
}

/// More steps than any call takes.
const MAX_STEPS: usize = 80;
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(40);

fn breakpoints(testbed: &Testbed, target: Target) -> &Breakpoints {
    match target {
        Target::Postgres => testbed.postgres.breakpoints(),
        Target::Redis => testbed.redis.breakpoints(),
        Target::ManagementApi => testbed.management.breakpoints(),
    }
}

/// Fails a `send` in a new process at each of its steps; the service retries it until it is accepted. Returns the
/// number of steps.
pub(crate) async fn fail_send(testbed: &mut Testbed, target: Target, failure: Failure) -> usize {
    let (service, users) = (testbed.service.clone(), testbed.few_users().to_vec());
    let send = |sender: String, n| {
        let (service, request) = (service.clone(), send_body(&sender, n, &users));
        tokio::spawn(async move { service.send(request).await.is_some() })
    };
    fail_call(testbed, "send", send, target, failure).await
}

/// Fails a call of `chats` with a message in the same way. The user repeats it over HTTP until it is accepted.
pub(crate) async fn fail_message(testbed: &mut Testbed, target: Target, failure: Failure) -> usize {
    let writer = testbed.writer(PAIR, 1);
    let say = |name: String, n| {
        let (writer, client_id) = (writer.clone(), format!("{name}/{n}"));
        tokio::spawn(async move { writer.says_over_http(&client_id).await.is_some() })
    };
    fail_call(testbed, "chats", say, target, failure).await
}

async fn fail_call(
    testbed: &mut Testbed,
    function: &str,
    call: impl Fn(String, usize) -> JoinHandle<bool>,
    target: Target,
    failure: Failure,
) -> usize {
    testbed.stop_schedule();
    let mut steps = 0;
    for held in [Held::Request, Held::Answer] {
        for n in 1..=MAX_STEPS {
            testbed.lambda.kill_all(function);
            let reached = breakpoints(testbed, target).set(n, held);
            let mut calling = call(format!("{target:?}{held:?}{failure:?}"), n);
            let is_done = tokio::select! {
                _ = reached => false,
                _ = &mut calling => true,
            };
            if !is_done && failure == Failure::Kill {
                testbed.lambda.kill_busy(function);
            }
            breakpoints(testbed, target).release();
            if is_done {
                break;
            }
            steps += 1;
            let is_accepted = matches!(tokio::time::timeout(ACCEPT_TIMEOUT, calling).await, Ok(Ok(true)));
            let what = format!("what {function} did when it failed at {target:?}, {held:?} {n} was never accepted");
            testbed.require(is_accepted, what);
        }
    }
    steps
}

/// Kills a `drain` at each of its steps, in a new process that has a failed push, a chunk and a message to work on. Returns
/// the number of steps.
pub(crate) async fn fail_drain(testbed: &mut Testbed, target: Target) -> usize {
    testbed.stop_schedule();
    let mut steps = 0;
    for held in [Held::Request, Held::Answer] {
        for n in 1..=MAX_STEPS {
            create_work(testbed, &format!("drain{target:?}{held:?}"), n).await;
            testbed.lambda.kill_all("drain");
            let reached = breakpoints(testbed, target).set(n, held);
            let is_done = tokio::select! {
                _ = reached => false,
                _ = testbed.run_drains(1) => true,
            };
            testbed.lambda.kill_all("drain");
            breakpoints(testbed, target).release();
            if is_done {
                break;
            }
            steps += 1;
            // Finishes the work of the killed drain, so that the next one has the same work to do.
            testbed.make_due().await;
            testbed.run_drains(1).await;
        }
    }
    steps
}

/// Creates a failed push that is due, a chunk that is not materialised yet, and a message that was not pushed.
async fn create_work(testbed: &Testbed, sender: &str, n: usize) {
    testbed.management.set_behaviour(Behaviour::Throttled(1.0));
    testbed.service.send(send_body(sender, n, &testbed.users)).await;
    testbed.management.set_behaviour(Behaviour::Normal);
    let mut later = send_body(&format!("{sender}-later"), n, &testbed.users);
    later["delayMs"] = 1.into();
    testbed.service.send(later).await;
    // If it is accepted fast, it waits in a log.
    testbed.service.send(send_body(&format!("{sender}-alone"), n, &testbed.users[..1])).await;
    testbed.management.set_behaviour(Behaviour::Throttled(1.0));
    testbed.writer(PAIR, 1).says_over_http(&format!("{sender}/{n}")).await;
    testbed.management.set_behaviour(Behaviour::Normal);
    testbed.make_due().await;
}
