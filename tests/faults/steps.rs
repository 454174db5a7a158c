//! A function dies, or is cut off, at every step that it takes: whatever it asks of Postgres, of Redis and of the
//! management API, before it arrives there and before its answer comes back.

use std::time::Duration;

use crate::management::Day;
use crate::sender::message;
use crate::stage::Stage;
use crate::trap::{Moment, Traps};

/// Whom the step is asked of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Postgres,
    Redis,
    Management,
}

/// What happens at the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// The process is killed.
    IsKilled,
    /// The connection ends; the process lives.
    IsCut,
}

/// More than any call takes.
const STEPS: usize = 80;
const PATIENCE: Duration = Duration::from_secs(40);

fn traps(stage: &Stage, place: Place) -> &Traps {
    match place {
        Place::Postgres => stage.postgres.traps(),
        Place::Redis => stage.redis.traps(),
        Place::Management => stage.management.traps(),
    }
}

/// At each step of a `send` in a new process; the service repeats it until it is accepted. Returns how many steps
/// there were.
pub(crate) async fn of_send(stage: &mut Stage, place: Place, then: Then) -> usize {
    stage.has_no_schedule();
    let mut steps = 0;
    for moment in [Moment::Before, Moment::After] {
        for n in 1..=STEPS {
            stage.lambda.kills_all("send");
            let sprung = traps(stage, place).set(n, moment);
            let sender = format!("{place:?}{moment:?}{then:?}");
            let (service, asked) = (stage.service.clone(), message(&sender, n, &stage.users[..2]));
            let mut sending = tokio::spawn(async move { service.sends(asked).await });
            let is_over = tokio::select! {
                _ = sprung => false,
                _ = &mut sending => true,
            };
            if !is_over && then == Then::IsKilled {
                stage.lambda.kills_busy("send");
            }
            traps(stage, place).open();
            if is_over {
                break;
            }
            steps += 1;
            let sent = tokio::time::timeout(PATIENCE, sending).await;
            stage.requires(sent.is_ok(), format!("{sender} {n} was not accepted in the end"));
        }
    }
    steps
}

/// At each step of a `drain` in a new process that has a failed push and a chunk to work on. Returns how many steps
/// there were.
pub(crate) async fn of_drain(stage: &mut Stage, place: Place) -> usize {
    stage.has_no_schedule();
    let mut steps = 0;
    for moment in [Moment::Before, Moment::After] {
        for n in 1..=STEPS {
            leaves_work(stage, &format!("drain{place:?}{moment:?}"), n).await;
            stage.lambda.kills_all("drain");
            let sprung = traps(stage, place).set(n, moment);
            let is_over = tokio::select! {
                _ = sprung => false,
                _ = stage.drains(1) => true,
            };
            stage.lambda.kills_all("drain");
            traps(stage, place).open();
            if is_over {
                break;
            }
            steps += 1;
            // What the dead one left, so that the next has the same work to do.
            stage.is_due().await;
            stage.drains(1).await;
        }
    }
    steps
}

/// A push that failed and is due, and a chunk that nobody has materialised.
async fn leaves_work(stage: &Stage, sender: &str, n: usize) {
    stage.management.has(Day::Limited(1.0));
    stage.service.sends(message(sender, n, &stage.users)).await;
    stage.management.has(Day::Good);
    let mut later = message(&format!("{sender}-later"), n, &stage.users);
    later["delayMs"] = 1.into();
    stage.service.sends(later).await;
    stage.is_due().await;
}
