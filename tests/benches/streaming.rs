//! Event streams: the memory that each takes, how soon an event is heard, and how soon all are back after all were cut off.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use harness::Listener;
use serde_json::Value;

use crate::carillon::Carillon;
use crate::client::{Service, body, token};
use crate::machine;
use crate::report::{figure, in_ms, number, percentile, spread};
use crate::stores::Stores;

/// The streams, each of a user of its own.
const STREAMS: usize = 500;
/// The sends, to one of the users each.
const SENDS: usize = 2_000;
/// How often all streams are cut off and come back.
const RETURNS: usize = 5;
/// Long enough for the work of opening streams to end.
const CALM: Duration = Duration::from_secs(1);

/// Measures all of this on these stores.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let mut users: Vec<User> = stream::iter(0..STREAMS).map(|n| User::new(&carillon, n)).buffered(16).collect().await;
    // The first streams load code and fill pools, which must not count as memory per stream.
    join_all(users[..10].iter_mut().map(|user| user.listens(&carillon))).await;
    users[..10].iter_mut().for_each(|user| user.stream = None);
    tokio::time::sleep(CALM).await;
    let none = f64::from(carillon.resident_kib());
    let mut returns = vec![all_listen(&carillon, &mut users).await];
    tokio::time::sleep(CALM).await;
    let many = f64::from(carillon.resident_kib());

    let heard = hear(&carillon, &mut users).await;
    for _ in 1..RETURNS {
        users.iter_mut().for_each(|user| user.stream = None);
        tokio::time::sleep(CALM).await;
        returns.push(all_listen(&carillon, &mut users).await);
    }
    drop(users);
    carillon.stop().await;

    let named = |name: &str| stores.named(name);
    let each = (many - none) / STREAMS as f64;
    figure(&named("memory per event stream"), number(each, 1), "KiB", &format!("VmRSS with and without {STREAMS}"));
    let heard = in_ms(&heard);
    for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        let how = format!("from a send of one recipient; {STREAMS} streams, one send at a time");
        figure(&named(&format!("to an event stream, {label}")), number(percentile(&heard, share), 2), "ms", &how);
    }
    let times: Vec<f64> = returns.iter().map(|(took, _)| took.as_secs_f64() * 1_000.0).collect();
    let how = format!("until the last of {STREAMS} that come back at once has its pong; {RETURNS} rounds");
    figure(&named("event streams back"), spread(&times, 0), "ms", &how);
    let costs: Vec<f64> = returns.iter().map(|(_, cpu)| cpu.as_secs_f64() * 1e6 / STREAMS as f64).collect();
    figure(&named("event streams back, cpu"), spread(&costs, 0), "us/stream", "user and system time of the gateway");
}

/// A user with an event stream.
struct User {
    name: String,
    authorization: String,
    /// The `id` of the last event.
    last_id: Option<String>,
    stream: Option<Listener>,
}

impl User {
    async fn new(carillon: &Carillon, n: usize) -> Self {
        let name = format!("listener-{n}");
        let authorization = format!("Bearer {}", token(carillon.address, &name, "").await);
        Self { name, authorization, last_id: None, stream: None }
    }

    /// Opens the stream where it ended, and waits until it has told what was missed.
    async fn listens(&mut self, carillon: &Carillon) {
        let mut headers = vec![("authorization", self.authorization.as_str())];
        if let Some(last_id) = &self.last_id {
            headers.push(("last-event-id", last_id));
        }
        let mut stream = Listener::open(carillon.address, "", &headers).await.expect("the stream opens");
        let pong = stream.heard().await.expect("the stream lasts");
        assert_eq!(pong["type"], "pong", "WRONG: nothing was missed");
        self.stream = Some(stream);
    }
}

/// Lets all listen at once; returns how long it took, and the CPU time of it.
async fn all_listen(carillon: &Carillon, users: &mut [User]) -> (Duration, Duration) {
    let (cpu, began) = (carillon.cpu(), Instant::now());
    join_all(users.iter_mut().map(|user| user.listens(carillon))).await;
    (began.elapsed(), carillon.cpu() - cpu)
}

/// The next notification. Pongs may come before it.
async fn notification(stream: &mut Listener) -> Value {
    loop {
        let event = stream.heard().await.expect("the stream lasts");
        if event["type"] == "notification" {
            return event;
        }
    }
}

/// The time of each send until it is heard.
async fn hear(carillon: &Carillon, users: &mut [User]) -> Vec<Duration> {
    let mut service = Service::connect(carillon).await;
    let mut heard = Vec::new();
    for n in 0..SENDS {
        let user = &mut users[n % STREAMS];
        let body = body(std::slice::from_ref(&user.name));
        let began = Instant::now();
        let stream = user.stream.as_mut().expect("it listens");
        let (answer, (event, at)) =
            tokio::join!(service.sends(body), async { (notification(stream).await, Instant::now()) });
        let sent: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(event["notification"]["id"], sent["notifications"][0]["id"], "WRONG: {event}");
        user.last_id = stream.last_id().map(str::to_owned);
        heard.push(at - began);
    }
    heard
}
