//! Ten thousand open sockets, and sends at the highest rate that this machine holds for ten minutes: every frame is checked, and
//! the memory of the gateway is noted. `SOAK_S` sets for how many seconds, and `SOAK_RATE` at which rate, instead of searching
//! for it.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use crate::audience::open;
use crate::carillon::Carillon;
use crate::client::{Service, body};
use crate::machine;
use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// The number of users, with one socket each.
const SOCKETS: usize = 10_000;
/// The files that each side may have open beside the sockets.
const OTHER_FILES: u64 = 1_000;
/// For how long the rate is held unless `SOAK_S` says otherwise.
const SOAK_S: u64 = 600;
/// The highest p99 from send to frame of a rate that is held.
const MAX_P99_MS: f64 = 1_000.0;
/// The number of services, which is that of sends in flight at most.
const SERVICES: usize = 64;
/// The first rate of the search, in sends a second, and the factor to the next one.
const FIRST_RATE: f64 = 100.0;
const FASTER: f64 = 1.5;
/// How often the search halves the distance between the highest rate that was held and the lowest that was not.
const HALVINGS: usize = 3;
/// The factor to the next rate if one is not held until the end.
const SLOWER: f64 = 0.9;
/// The duration of a trial in the search.
const TRIAL: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than it takes until the drain retries a failed push: a frame that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for frames that should not arrive.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Finds the rate, holds it, and prints both.
pub(crate) async fn measure(program: &Path) {
    allow_open_files();
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let duration = Duration::from_secs(from_environment("SOAK_S").unwrap_or(SOAK_S));
    let data = machine::new_folder();
    let carillon = Stores::Servers.start(program, data.path()).await;
    let mut soak = Soak::open(&carillon).await;
    let rate = match from_environment("SOAK_RATE") {
        Some(rate) => rate as f64,
        None => soak.highest_rate().await,
    };
    let (rate, minutes, cpu) = soak.hold(rate, duration).await;
    soak.settle().await;
    sleep(AFTERMATH).await;
    soak.print(rate, &minutes, cpu);
    // The gateway is killed: ten thousand sockets take longer to close than it is waited for.
}

/// Lets this process, and with it the gateway, open as many files as it may.
fn allow_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let needed = SOCKETS as u64 + OTHER_FILES;
    assert!(maximum.is_none_or(|maximum| maximum >= needed), "`ulimit -Hn` must be at least {needed}");
}

/// Users with a socket each, and what became of the sends to them.
struct Soak<'a> {
    carillon: &'a Carillon,
    /// The send to each user.
    bodies: Vec<Bytes>,
    /// How many sends were begun. Users take turns.
    begun: usize,
    ledger: Arc<Mutex<Ledger>>,
    _readers: JoinSet<()>,
}

/// What happened at one rate.
struct Window {
    rate: f64,
    /// From when each send was due until its frame was read.
    taken_ms: Vec<f64>,
    /// How many sends were not answered with 202.
    refused: usize,
    /// How many frames were not read at the end.
    waiting: usize,
    /// The memory of the gateway at the end.
    resident_kib: u32,
}

impl Window {
    /// Whether no send was refused, frames came in time, and less than those of a second are still to come.
    fn is_held(&self) -> bool {
        let is_in_time = !self.taken_ms.is_empty() && percentile(&self.taken_ms, 0.99) <= MAX_P99_MS;
        is_in_time && self.refused == 0 && (self.waiting as f64) < self.rate
    }

    fn text(&self) -> String {
        let [p50, p99] = match self.taken_ms.is_empty() {
            true => ["-", "-"].map(str::to_owned),
            false => [0.5, 0.99].map(|share| number(percentile(&self.taken_ms, share), 1)),
        };
        format!("send to frame p50 {p50} ms, p99 {p99} ms; {} refused, {} to come", self.refused, self.waiting)
    }
}

impl<'a> Soak<'a> {
    async fn open(carillon: &'a Carillon) -> Self {
        let users: Vec<String> = (0..SOCKETS).map(|n| format!("listener-{n}")).collect();
        let (ledger, mut readers) = (Arc::<Mutex<Ledger>>::default(), JoinSet::new());
        let mut opening = stream::iter(&users).map(|user| open(carillon.address, user)).buffered(16).enumerate();
        while let Some((user, mut socket)) = opening.next().await {
            let ledger = Arc::clone(&ledger);
            readers.spawn(async move {
                while let Some(Ok(message)) = socket.next().await {
                    let at = Instant::now();
                    if let Message::Text(text) = message {
                        ledger.lock().unwrap().note_frame(user, &text, at);
                    }
                }
                ledger.lock().unwrap().unexpected = Some("a socket ended".to_owned());
            });
        }
        let bodies = users.iter().map(|user| body(std::slice::from_ref(user))).collect();
        Self { carillon, bodies, begun: 0, ledger, _readers: readers }
    }

    /// The highest rate that is held for a moment.
    async fn highest_rate(&mut self) -> f64 {
        let (mut held, mut failed) = (0.0, FIRST_RATE);
        while self.is_held(failed).await {
            held = failed;
            failed *= FASTER;
        }
        assert!(held > 0.0, "the lowest rate is not held");
        for _ in 0..HALVINGS {
            let between = f64::midpoint(held, failed);
            let bound = if self.is_held(between).await { &mut held } else { &mut failed };
            *bound = between;
        }
        held
    }

    async fn is_held(&mut self, rate: f64) -> bool {
        let window = self.send(rate, TRIAL).await;
        self.settle().await;
        let outcome = if window.is_held() { "held" } else { "not held" };
        let name = format!("servers: soak, trial at {}/s", number(rate, 0));
        figure(&name, outcome, "", &format!("{} s: {}", TRIAL.as_secs(), window.text()));
        window.is_held()
    }

    /// Holds this rate, or the next lower one that is held to the end; returns it, its minutes, and the CPU of the gateway.
    async fn hold(&mut self, mut rate: f64, duration: Duration) -> (f64, Vec<Window>, Duration) {
        loop {
            let (cpu, mut minutes, mut left) = (self.carillon.cpu(), Vec::<Window>::new(), duration);
            while !left.is_zero() && minutes.iter().all(Window::is_held) {
                let minute = self.send(rate, left.min(MINUTE)).await;
                left = left.saturating_sub(MINUTE);
                let name = format!("servers: soak at {}/s, minute {}", number(rate, 0), minutes.len() + 1);
                figure(&name, mib(minute.resident_kib), "MiB", &format!("VmRSS at its end; {}", minute.text()));
                minutes.push(minute);
            }
            if minutes.iter().all(Window::is_held) {
                return (rate, minutes, self.carillon.cpu() - cpu);
            }
            self.settle().await;
            rate *= SLOWER;
        }
    }

    /// Sends at this rate for so long. A send that no service is free for is late, and what it takes counts from when it was due.
    async fn send(&mut self, rate: f64, duration: Duration) -> Window {
        let services = join_all((0..SERVICES).map(|_| Service::connect(self.carillon))).await;
        let refused_before = self.ledger.lock().unwrap().refused;
        let (next, first, began) = (Cell::new(0), self.begun, Instant::now());
        let (slots, bodies, ledger) = (&next, &self.bodies, &self.ledger);
        let sending = services.into_iter().map(|mut service| async move {
            loop {
                let n = slots.get();
                let after = Duration::from_secs_f64(n as f64 / rate);
                if after >= duration {
                    return;
                }
                slots.set(n + 1);
                let (user, due) = ((first + n) % bodies.len(), began + after);
                sleep_until(due.into()).await;
                let (status, answer) = service.attempts(bodies[user].clone()).await;
                ledger.lock().unwrap().note_answer(user, due, status, &answer);
            }
        });
        join_all(sending).await;
        self.begun += next.get();
        let mut ledger = self.ledger.lock().unwrap();
        assert!(ledger.unexpected.is_none(), "WRONG: {:?}", ledger.unexpected);
        Window {
            rate,
            taken_ms: in_ms(&std::mem::take(&mut ledger.taken)),
            refused: ledger.refused - refused_before,
            waiting: ledger.awaited.len(),
            resident_kib: self.carillon.resident_kib(),
        }
    }

    /// Waits until all that was accepted is read. Panics if something is lost.
    async fn settle(&self) {
        let began = Instant::now();
        loop {
            let waiting = self.ledger.lock().unwrap().awaited.len();
            if waiting == 0 {
                break;
            }
            assert!(began.elapsed() < TIMEOUT, "WRONG: {waiting} frames were lost");
            sleep(Duration::from_millis(50)).await;
        }
        self.ledger.lock().unwrap().taken.clear();
    }

    fn print(&self, rate: f64, minutes: &[Window], cpu: Duration) {
        let ledger = self.ledger.lock().unwrap();
        let Ledger { accepted, read, repeated, early, refused, unexpected, .. } = &*ledger;
        assert!(unexpected.is_none(), "WRONG: {unexpected:?}");
        // What is refused may be stored nevertheless.
        assert!(early.len() <= *refused, "WRONG: {} frames were not sent", early.len());
        let taken_ms: Vec<f64> = minutes.iter().flat_map(|minute| minute.taken_ms.iter().copied()).collect();
        let how = format!("one recipient each; {SOCKETS} sockets of as many users; {} minutes", minutes.len());
        figure("servers: soak, sends", number(rate, 0), "1/s", &how);
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            let name = format!("servers: soak, send to frame, {label}");
            let how = "from when a send was due until its frame was read";
            figure(&name, number(percentile(&taken_ms, share), 2), "ms", how);
        }
        let cpu_us = cpu.as_secs_f64() * 1e6 / taken_ms.len() as f64;
        figure("servers: soak, cpu", number(cpu_us, 0), "us/send", "user and system time of the gateway");
        let how = format!("{} read and none lost, trials included; {repeated} came again", read.len());
        figure("servers: soak, accepted", number(*accepted as f64, 0), "", &how);
        let resident_kib = |minute: Option<&Window>| minute.map_or(0, |minute| minute.resident_kib);
        let [first, last] = [minutes.first(), minutes.last()].map(resident_kib);
        let slope = (f64::from(last) - f64::from(first)) / (minutes.len() - 1).max(1) as f64;
        let how = format!("VmRSS after the first and the last minute; {} KiB a minute", number(slope, 0));
        figure("servers: soak, memory", format!("{} > {}", mib(first), mib(last)), "MiB", &how);
    }
}

fn mib(kib: u32) -> String {
    number(f64::from(kib) / 1_024.0, 1)
}

/// A notification, with the user on whose socket it is awaited or was read.
type Key = (usize, String);

/// What was accepted and what was read, compared while it happens.
#[derive(Default)]
struct Ledger {
    accepted: usize,
    /// Accepted and not read: when each send was due.
    awaited: HashMap<Key, Instant>,
    /// Read and not answered: a frame may come before the answer.
    early: HashMap<Key, Instant>,
    read: HashSet<Key>,
    /// How many frames came again.
    repeated: usize,
    /// How many sends were not answered with 202.
    refused: usize,
    /// From due to read, since the last window.
    taken: Vec<Duration>,
    /// What must not happen.
    unexpected: Option<String>,
}

impl Ledger {
    fn note_answer(&mut self, user: usize, due: Instant, status: u16, answer: &[u8]) {
        if status != 202 {
            self.refused += 1;
            return;
        }
        let sent: Value = serde_json::from_slice(answer).unwrap();
        let key = (user, sent["notifications"][0]["id"].as_str().unwrap().to_owned());
        self.accepted += 1;
        if let Some(read_at) = self.early.remove(&key) {
            self.taken.push(read_at.saturating_duration_since(due));
        } else {
            self.awaited.insert(key, due);
        }
    }

    fn note_frame(&mut self, user: usize, text: &str, at: Instant) {
        let frame: Value = serde_json::from_str(text).unwrap();
        let Some(id) = frame["notification"]["id"].as_str() else {
            self.unexpected = Some(text.to_owned());
            return;
        };
        let key = (user, id.to_owned());
        if !self.read.insert(key.clone()) {
            self.repeated += 1;
        } else if let Some(due) = self.awaited.remove(&key) {
            self.taken.push(at.saturating_duration_since(due));
        } else {
            self.early.insert(key, at);
        }
    }
}
