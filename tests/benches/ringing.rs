//! Accept to frame: the time from the start of a send until the recipient's socket has read the frame.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::audience::Audience;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// The number of measured sends.
const RINGS: usize = 1_000;
/// The number of sends before, which fill caches and pools.
const WARM_UP: usize = 50;
/// The number of users, who take turns so that every inbox keeps a realistic size.
const USERS: usize = 20;

/// Sends to one user after the other, each time after the answer to the previous send.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut audience = Audience::open(&carillon, USERS).await;
    let mut service = Service::connect(&carillon).await;

    let (mut to_frame, mut to_answer, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = Duration::ZERO;
    for ring in 0..WARM_UP + RINGS {
        if ring == WARM_UP {
            cpu = carillon.cpu();
        }
        let user = ring % USERS;
        let body = body(&audience.users[user..=user]);
        let began = Instant::now();
        let sending = async { (service.sends(body).await, began.elapsed()) };
        let ((answer, answered_after), read_at) = tokio::join!(sending, audience.receives(1));
        answers.push(answer);
        if ring >= WARM_UP {
            to_frame.push(read_at - began);
            to_answer.push(answered_after);
        }
    }
    let cpu = carillon.cpu() - cpu;
    audience.received_exactly(&answers).await;
    carillon.stop().await;

    let how = "POST of one recipient until the frame is read at the socket; 1,000 in a row, keep-alive";
    row(&stores.named("accept to frame"), &to_frame, how);
    row(&stores.named("accept to answer"), &to_answer, "the same sends until the 202 is read");
    let cpu_us = cpu.as_secs_f64() * 1e6 / RINGS as f64;
    let how = "user and system time of the gateway over all sends";
    figure(&stores.named("accept to frame, cpu"), number(cpu_us, 0), "us/send", how);
}

fn row(name: &str, taken: &[Duration], how: &str) {
    let taken = in_ms(taken);
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        figure(&format!("{name}, {label}"), number(percentile(&taken, share), 2), "ms", how);
    }
}
