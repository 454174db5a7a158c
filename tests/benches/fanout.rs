//! Frames a second to a thousand sockets of a thousand users.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, spread};

/// Users, with a socket each.
const USERS: usize = 1_000;
/// Recipients of one send: as many as are pushed before it is answered.
const RECIPIENTS: usize = 200;
/// Sends of one round: everybody is rung four times.
const SENDS: usize = 20;
/// How many sends are under way at once; the levels take turns.
const IN_FLIGHT: [usize; 2] = [1, 5];
/// Rounds of each level.
const ROUNDS: usize = 5;

/// Sends to everybody, in parts, and counts what the sockets read.
pub(crate) async fn measure(program: &Path) {
    let data = machine::new_folder();
    let carillon = Carillon::start(program, data.path()).await;
    let mut audience = Audience::open(&carillon, USERS).await;
    let bodies: Vec<Bytes> = audience.users.chunks(RECIPIENTS).map(body).collect();
    let mut services = Vec::new();
    for _ in 0..IN_FLIGHT.into_iter().max().unwrap_or(1) {
        services.push(Service::connect(&carillon).await);
    }
    let mut levels = IN_FLIGHT.map(|_| (Vec::new(), Vec::new()));
    let mut answers = Vec::new();
    for _ in 0..ROUNDS {
        for (at_once, (rates, costs)) in IN_FLIGHT.into_iter().zip(&mut levels) {
            let (cpu, began) = (carillon.cpu(), Instant::now());
            let sending = send(&mut services[..at_once], &bodies);
            let (answered, last_at) = tokio::join!(sending, audience.hears(SENDS * RECIPIENTS));
            let (elapsed, cpu) = (last_at - began, carillon.cpu() - cpu);
            rates.push((SENDS * RECIPIENTS) as f64 / elapsed.as_secs_f64());
            costs.push(cpu.as_secs_f64() * 1e6 / (SENDS * RECIPIENTS) as f64);
            answers.extend(answered);
        }
    }
    audience.heard_exactly(&answers).await;
    carillon.stop().await;

    for (at_once, (rates, costs)) in IN_FLIGHT.into_iter().zip(levels) {
        let name = format!("frames to 1,000 sockets, {at_once} in flight");
        let how = format!(
            "{SENDS} sends of {RECIPIENTS} until the last frame is read; {ROUNDS} rounds, inboxes grow to 40 unread"
        );
        figure(&name, spread(&rates, 0), "1/s", &how);
        let how = "user and system time of the gateway in the same rounds";
        figure(&format!("{name}, cpu"), spread(&costs, 0), "us/frame", how);
    }
}

/// Each service takes its share of the sends, one after the other.
async fn send(services: &mut [Service], bodies: &[Bytes]) -> Vec<Bytes> {
    let at_once = services.len();
    let answers = stream::iter(services.iter_mut().enumerate()).map(|(first, service)| async move {
        let mut answers = Vec::new();
        for n in (first..SENDS).step_by(at_once) {
            answers.push(service.sends(bodies[n % bodies.len()].clone()).await);
        }
        answers
    });
    answers.buffer_unordered(at_once).concat().await
}
