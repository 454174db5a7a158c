//! Frames per second to a thousand sockets of a thousand users.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::audience::Audience;
use crate::carillon::Carillon;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, spread};

/// The number of users, with one socket each.
const USERS: usize = 1_000;
/// The recipients of one send: as many as the call itself pushes to.
const RECIPIENTS: usize = 200;
/// The sends of one round, in which every user gets four notifications.
const SENDS: usize = 20;
/// The numbers of concurrent sends; the levels take turns.
const IN_FLIGHT: [usize; 2] = [1, 5];
/// The rounds of each level.
const ROUNDS: usize = 5;

/// Sends to all users, [`RECIPIENTS`] at a time, and measures how fast the sockets read the frames.
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
            let (answered, last_at) = tokio::join!(sending, audience.receives(SENDS * RECIPIENTS));
            let (elapsed, cpu) = (last_at - began, carillon.cpu() - cpu);
            rates.push((SENDS * RECIPIENTS) as f64 / elapsed.as_secs_f64());
            costs.push(cpu.as_secs_f64() * 1e6 / (SENDS * RECIPIENTS) as f64);
            answers.extend(answered);
        }
    }
    audience.received_exactly(&answers).await;
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

/// Divides the sends of a round among the services; each makes its sends one after the other.
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
