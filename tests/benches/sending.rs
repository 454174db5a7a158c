//! Sends per second, with one recipient each, at several numbers of concurrent sends.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, spread};
use crate::stores::Stores;

/// The numbers of concurrent sends.
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
/// The rounds of each level. The levels take turns, so that a noisy neighbour affects all of them alike.
const ROUNDS: usize = 5;
/// The duration of a level in each round.
const ROUND: Duration = Duration::from_millis(600);
/// The number of users without a socket, who get the sends in turn.
const USERS: usize = 1_000;

/// Sends to users without and with an open socket.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    to_absent_users(program, stores).await;
    to_listeners(program, stores).await;
}

/// The sends of one level in one round.
struct Sent {
    answers: Vec<Bytes>,
    per_second: f64,
    cpu_us_each: f64,
}

async fn to_absent_users(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut services = connect(&carillon).await;
    let users: Vec<String> = (0..USERS).map(|n| format!("absent-{n}")).collect();
    let mut levels = IN_FLIGHT.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (at_once, sent) in IN_FLIGHT.into_iter().zip(&mut levels) {
            sent.push(send(&carillon, &mut services[..at_once], &users).await);
        }
    }
    carillon.stop().await;
    rows(&stores.named("sends"), &levels, "one recipient without a socket; stored and answered");
}

async fn to_listeners(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut services = connect(&carillon).await;
    let mut audience = Audience::open(&carillon, 200).await;
    let mut levels = IN_FLIGHT.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (at_once, sent) in IN_FLIGHT.into_iter().zip(&mut levels) {
            let done = send(&carillon, &mut services[..at_once], &audience.users).await;
            audience.receives(done.answers.len()).await;
            sent.push(done);
        }
    }
    let answers: Vec<Bytes> = levels.iter().flatten().flat_map(|sent| sent.answers.iter().cloned()).collect();
    audience.received_exactly(&answers).await;
    carillon.stop().await;
    rows(&stores.named("rings"), &levels, "one recipient with a socket; stored, pushed and answered");
}

async fn connect(carillon: &Carillon) -> Vec<Service> {
    let most = IN_FLIGHT.into_iter().max().unwrap_or(1);
    join_all((0..most).map(|_| Service::connect(carillon))).await
}

/// Lets every service send continuously for one round.
async fn send(carillon: &Carillon, services: &mut [Service], users: &[String]) -> Sent {
    let bodies: Vec<Bytes> = users.iter().map(|user| body(std::slice::from_ref(user))).collect();
    let (at_once, bodies) = (services.len(), &bodies);
    let (cpu, began) = (carillon.cpu(), Instant::now());
    let sending = services.iter_mut().enumerate().map(|(first, service)| async move {
        let mut answers = Vec::new();
        // Each service has its own users.
        for body in bodies.iter().skip(first).step_by(at_once).cycle() {
            if began.elapsed() >= ROUND {
                break;
            }
            answers.push(service.sends(body.clone()).await);
        }
        answers
    });
    let answers: Vec<Bytes> = join_all(sending).await.into_iter().flatten().collect();
    let (elapsed, cpu) = (began.elapsed(), carillon.cpu() - cpu);
    let count = answers.len() as f64;
    Sent { per_second: count / elapsed.as_secs_f64(), cpu_us_each: cpu.as_secs_f64() * 1e6 / count, answers }
}

fn rows(what: &str, levels: &[Vec<Sent>; 3], how: &str) {
    let how = format!("{how}; {ROUNDS} rounds of {} ms, levels in turn", ROUND.as_millis());
    for (at_once, sent) in IN_FLIGHT.iter().zip(levels) {
        let rates: Vec<f64> = sent.iter().map(|sent| sent.per_second).collect();
        let costs: Vec<f64> = sent.iter().map(|sent| sent.cpu_us_each).collect();
        figure(&format!("{what}, {at_once} in flight"), spread(&rates, 0), "1/s", &how);
        let cpu = "user and system time of the gateway in the same rounds";
        figure(&format!("{what}, {at_once} in flight, cpu"), spread(&costs, 0), "us/send", cpu);
    }
}
