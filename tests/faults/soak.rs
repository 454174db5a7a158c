//! The soak: the random mix until a million notifications are accepted. Its load costs little for each of them, because some
//! sends have many recipients. Most of these have no device, and their inboxes are compared in the database alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::random_mix::Mix;
use crate::sender::{Load, Log, Service, send_body};
use crate::testbed::{Testbed, pause};

/// How many notifications have to be accepted if `ACCEPTED` is not set.
const ACCEPTED: u64 = 1_000_000;
/// The longest time that this may take.
const MAX_DURATION: Duration = Duration::from_secs(4 * 60 * 60);
/// How many services send without a pause, beside those of every scenario.
const SERVICES: usize = 6;
/// The number of users with those who have no device: the most recipients of one send.
const USERS: usize = 1_000;
/// The recipients of a smaller send to many. They are stored in one transaction.
const SOME: usize = 50;
/// The pause between two faults: this long, and at random up to so much longer.
const MIN_PAUSE_MS: u64 = 2_000;
const MORE_PAUSE_MS: usize = 8_000;
/// How often the progress is printed.
const PROGRESS: Duration = Duration::from_secs(30);
/// How long the drain may need after the load has ended.
const MAX_BACKLOG: Duration = Duration::from_secs(10 * 60);

/// Injects random faults until `ACCEPTED` notifications are accepted. The usual load goes on after them, so that the end is
/// that of any scenario.
pub(crate) async fn run(testbed: &mut Testbed) {
    let required = crate::env_number("ACCEPTED").unwrap_or(ACCEPTED) as usize;
    let load = Load::without_pause(testbed);
    testbed.load.push(load);
    pause(MIN_PAUSE_MS).await;
    let (mut mix, mut accepted) = (Mix::new(testbed.seed), Accepted::default());
    let (memory_at_start, started) = (memory(testbed), Instant::now());
    let mut printed = (started, 0);
    while accepted.notifications < required && started.elapsed() < MAX_DURATION {
        mix.inject_one(testbed).await;
        pause(MIN_PAUSE_MS + mix.random.below(MORE_PAUSE_MS) as u64).await;
        accepted.count(&testbed.service.log);
        if printed.0.elapsed() >= PROGRESS {
            let per_second = (accepted.notifications - printed.1) as f64 / printed.0.elapsed().as_secs_f64();
            let waiting = testbed.waiting().await;
            println!(
                "soak: {} s, {accepted}, {per_second:.0} notifications a second; {waiting} wait; faults: {}; {}",
                started.elapsed().as_secs(),
                mix.injected(),
                memory(testbed)
            );
            printed = (Instant::now(), accepted.notifications);
        }
    }
    let took_s = started.elapsed().as_secs_f64();
    testbed.require(accepted.notifications >= required, format!("only {accepted} were accepted in {took_s:.0} s"));
    let per_second = [accepted.notifications, accepted.calls].map(|count| count as f64 / took_s);
    testbed.note(format!(
        "seed {}: {accepted} accepted in {took_s:.0} s, {:.0} and {:.1} a second; faults: {}",
        testbed.seed,
        per_second[0],
        per_second[1],
        mix.injected()
    ));
    let memory_at_end = memory(testbed);
    testbed.note(format!("at the start {memory_at_start}; at the end {memory_at_end}"));
    testbed.stop_senders().await;
    clear_backlog(testbed).await;
    testbed.resume_load();
    testbed.end_fault();
}

/// Waits until the drain has done what is left.
async fn clear_backlog(testbed: &Testbed) {
    let began = Instant::now();
    testbed.make_due().await;
    while testbed.waiting().await > 0 && began.elapsed() < MAX_BACKLOG {
        pause(1_000).await;
    }
}

/// What was accepted so far.
#[derive(Default)]
struct Accepted {
    notifications: usize,
    calls: usize,
}

impl Accepted {
    /// Adds what was accepted since the last time.
    fn count(&mut self, log: &Log) {
        let accepted = log.accepted.lock().unwrap();
        self.notifications += accepted[self.calls..].iter().map(|sent| sent.promised().len()).sum::<usize>();
        self.calls = accepted.len();
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} notifications in {} calls", self.notifications, self.calls)
    }
}

impl Load {
    /// Starts services that send without a pause. Of a hundred sends of each, one is to all users, ten are to some of them, and
    /// the others to one user who has devices.
    fn without_pause(testbed: &Testbed) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let all: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
        let tasks = (0..SERVICES).map(|service| {
            let (name, sender) = (format!("busy{service}"), testbed.service.clone());
            tokio::spawn(sends(name, sender, all.clone(), testbed.users.len(), Arc::clone(&running)))
        });
        Self { tasks: tasks.collect(), running }
    }
}

/// Sends until it is stopped. The first of the users are those `with_devices`.
async fn sends(name: String, service: Service, users: Vec<String>, with_devices: usize, running: Arc<AtomicBool>) {
    let take = |from: usize, count: usize| -> Vec<String> {
        users.iter().cycle().skip(from % users.len()).take(count).cloned().collect()
    };
    let mut n = 0;
    while running.load(Ordering::Relaxed) {
        let request = match (n % 100, n % 10) {
            // The drain stores most recipients of these, after what is sent next. So they have senders of their own, because
            // the order of the sends of one sender is compared.
            (50, _) => send_body(&format!("{name}-{n}"), 0, &take(n, USERS)),
            (_, 5) => send_body(&name, n, &take(n * 5, SOME)),
            _ => send_body(&name, n, &take(n % with_devices, 1)),
        };
        service.send(request).await;
        n += 1;
    }
}

/// The memory of the functions' processes, and that of this one, which the gateway and the logs are part of.
fn memory(testbed: &Testbed) -> String {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let statuses = processes.filter_map(|process| std::fs::read_to_string(process.path().join("status")).ok());
    let is_function = |status: &String| {
        let name = value(status, "Name:").unwrap_or_default();
        value(status, "PPid:") == Some(own.as_str()) && testbed.lambda.names().any(|function| function == name)
    };
    let functions: Vec<u64> = statuses.filter(is_function).filter_map(|status| resident_mib(&status)).collect();
    let harness = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_mib(&status));
    format!(
        "{} processes of functions have {} MiB, the largest {} MiB, and the harness {} MiB",
        functions.len(),
        functions.iter().sum::<u64>(),
        functions.iter().max().copied().unwrap_or_default(),
        harness.unwrap_or_default()
    )
}

/// The resident memory in `/proc/…/status`; `None` if the process has ended.
fn resident_mib(status: &str) -> Option<u64> {
    let kib: u64 = value(status, "VmRSS:")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1_024)
}

fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
