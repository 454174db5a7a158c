//! Postgres is killed, hung and cut off. No send is accepted meanwhile, and afterwards nothing that was accepted is
//! missing.

use std::time::{Duration, Instant};

use crate::steps::{self, Failure, Target};
use crate::testbed::{Testbed, pause};

/// The longest time until a refusal: the timeout for a connection plus the timeout for an answer on it.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// F24: committed data survives. Meanwhile every call is refused and no send is accepted.
pub(crate) async fn killed(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    for _ in 0..2 {
        testbed.servers.postgres.is_killed();
        // Answers to sends that were committed before may still be on their way.
        pause(500).await;
        let from = Instant::now();
        pause(1_000).await;
        let promised = testbed.calls_with_status(from, Instant::now(), |status| (200..300).contains(&status));
        testbed.require(promised == 0, format!("{promised} sends were accepted without a database"));
        testbed.servers.postgres.is_back();
        testbed.run_for(1.5).await;
    }
    testbed.end_fault();
}

/// F26: Postgres accepts connections and queries but does not answer. Callers are refused in time, and afterwards
/// everything works as before.
pub(crate) async fn hung(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    testbed.servers.postgres.hangs();
    testbed.run_for(12.0).await;
    testbed.servers.postgres.goes_on();
    testbed.end_fault();
    testbed.run_for(1.0).await;
    let longest = {
        let attempts = testbed.service.log.attempts.lock().unwrap();
        attempts.iter().filter(|call| call.at + call.took >= from).map(|call| call.took).max().unwrap_or_default()
    };
    testbed.note(format!("the longest wait for an answer was {:.1} s", longest.as_secs_f64()));
    testbed.require(longest <= REFUSED_WITHIN, format!("a call took {longest:?}, more than {REFUSED_WITHIN:?}"));
}

/// F27: the connection to Postgres breaks at every step of a send, before the request or before its answer arrives.
pub(crate) async fn cut_at_every_step(testbed: &mut Testbed) {
    let cut = steps::fail_send(testbed, Target::Postgres, Failure::Disconnect).await;
    testbed.note(format!("send lost its connection to Postgres at {cut} steps"));
    testbed.end_fault();
}

/// F28: the backends of Postgres are terminated repeatedly.
pub(crate) async fn terminated(testbed: &mut Testbed) {
    testbed.run_for(1.0).await;
    let mut ended = 0;
    for _ in 0..30 {
        ended += testbed.terminate_backends().await;
        pause(150).await;
    }
    testbed.end_fault();
    testbed.require(ended > 0, "no backend was terminated");
    testbed.note(format!("terminated {ended} backends"));
}
