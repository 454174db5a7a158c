//! What honest users notice of strangers who try to take the system down: who flood sockets, poison inboxes, do not read,
//! send bodies of 10 MB, guess tokens, and keep connections half open. `SECONDS` sets how long they try.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use harness::http::call;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::audience::{self, Audience};
use crate::carillon::Carillon;
use crate::client::{Service, body, token};
use crate::machine;
use crate::report::{figure, in_ms, number, percentile};
use crate::stores::Stores;

/// The honest users, each with a socket.
const USERS: usize = 200;
/// The pause between two sends to them.
const PAUSE: Duration = Duration::from_millis(25);
/// How long nobody disturbs them.
const CALM: Duration = Duration::from_secs(20);
/// How long strangers try unless `SECONDS` says otherwise.
const SIEGE_S: u64 = 60;
/// Long enough for the memory that strangers took to be given back.
const AFTERMATH: Duration = Duration::from_secs(5);
/// The highest value of `nice`.
const LOWEST_PRIORITY: i32 = 19;

/// Measures the same sends while it is calm and while strangers are there.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    let seconds = std::env::var("SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let siege = Duration::from_secs(seconds.unwrap_or(SIEGE_S));
    let data = machine::new_folder();
    let carillon = stores.start_limited(program, data.path()).await;
    let mut audience = Audience::open(&carillon, USERS).await;
    let mut service = Service::connect(&carillon).await;
    let mut answers = Vec::new();

    let calm = sends(&mut service, &mut audience, &mut answers, CALM).await;
    let before_kib = carillon.resident_kib();
    let strangers = Strangers::new(&carillon).await;
    let crowd = strangers.clone().come();
    let besieged = sends(&mut service, &mut audience, &mut answers, siege).await;
    let during_kib = carillon.resident_kib();
    crowd.leave();
    sleep(AFTERMATH).await;
    let after_kib = carillon.resident_kib();
    audience.received_exactly(&answers).await;
    carillon.stop().await;

    let how = format!("accept to frame for {USERS} honest users, 40 sends/s, for {} s", siege.as_secs());
    for (name, taken) in [("calm", &calm), ("with strangers", &besieged)] {
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            let name = stores.named(&format!("{name}, {label}"));
            figure(&name, number(percentile(&in_ms(taken), share), 2), "ms", &how);
        }
    }
    let mib = |kib: u32| number(f64::from(kib) / 1_024.0, 1);
    let memory = format!("{} > {} > {}", mib(before_kib), mib(during_kib), mib(after_kib));
    figure(&stores.named("memory before, during, after"), memory, "MiB", "VmRSS of the gateway");
    strangers.print(stores);
}

/// Sends to one honest user after the other for a while; returns how long each frame took. Panics if one is missing.
async fn sends(
    service: &mut Service,
    audience: &mut Audience,
    answers: &mut Vec<bytes::Bytes>,
    duration: Duration,
) -> Vec<Duration> {
    let (mut began_at, earlier) = (HashMap::new(), audience.received().count());
    let began = Instant::now();
    for user in (0..USERS).cycle() {
        if began.elapsed() > duration {
            break;
        }
        let body = body(&audience.users[user..=user]);
        let sent_at = Instant::now();
        let answer = service.sends(body).await;
        let sent: Value = serde_json::from_slice(&answer).unwrap();
        began_at.insert(sent["notifications"][0]["id"].as_str().unwrap().to_owned(), sent_at);
        answers.push(answer);
        sleep(PAUSE.saturating_sub(sent_at.elapsed())).await;
    }
    audience.receives(began_at.len()).await;
    audience.received().skip(earlier).map(|(id, read_at)| read_at - began_at[&id]).collect()
}

/// Strangers at work.
struct Crowd {
    leave: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Crowd {
    fn leave(self) {
        self.leave.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Those who try, and the answers that they got.
#[derive(Clone)]
struct Strangers {
    address: SocketAddr,
    /// A valid token to send with, which an evil or broken service has too.
    service: String,
    /// Tokens of users by name.
    users: Arc<HashMap<&'static str, String>>,
    /// Answers by what was tried and status; 0: none.
    statuses: Arc<Mutex<BTreeMap<(&'static str, u16), usize>>>,
    frames: Arc<AtomicUsize>,
}

impl Strangers {
    async fn new(carillon: &Carillon) -> Self {
        let address = carillon.address;
        let mut users = HashMap::new();
        for name in ["flooder", "victim", "sleeper"] {
            users.insert(name, format!("Bearer {}", token(address, name, "").await));
        }
        let service = format!("Bearer {}", token(address, "mallory", "notify:send").await);
        Self { address, service, users: Arc::new(users), statuses: Arc::default(), frames: Arc::default() }
    }

    /// All of them, on a thread of their own that has the lowest priority: what they spend on trying would be spent on
    /// another machine, and only what the gateway spends on them may slow it down.
    fn come(self) -> Crowd {
        let (leave, left) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            rustix::process::nice(LOWEST_PRIORITY).unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let _crowd = self.try_again_and_again();
                left.await.unwrap();
            });
        });
        Crowd { leave, thread }
    }

    fn try_again_and_again(&self) -> JoinSet<()> {
        let mut crowd = JoinSet::new();
        for _ in 0..2 {
            crowd.spawn(self.clone().floods());
            crowd.spawn(self.clone().sends_large_bodies());
            crowd.spawn(self.clone().guesses_tokens());
        }
        crowd.spawn(self.clone().poisons());
        for _ in 0..10 {
            crowd.spawn(self.clone().sleeps());
        }
        crowd.spawn(self.clone().wakes_sleepers());
        for _ in 0..50 {
            crowd.spawn(self.clone().dawdles());
        }
        crowd
    }

    fn got(&self, what: &'static str, status: u16) {
        *self.statuses.lock().unwrap().entry((what, status)).or_default() += 1;
    }

    /// Frames of 2 bytes as fast as the gateway reads them.
    async fn floods(self) {
        loop {
            let mut socket = audience::open(self.address, "flooder").await;
            while socket.feed(Message::text("{}")).await.is_ok() {
                let sent = self.frames.fetch_add(1, Ordering::Relaxed);
                if sent.is_multiple_of(100) && socket.flush().await.is_err() {
                    break;
                }
                // The answers are read, so that the gateway has no other reason to stop.
                while let Ok(Some(Ok(_))) = timeout(Duration::ZERO, socket.next()).await {}
            }
        }
    }

    /// The largest notifications for one user, each of another type, because each type has a limit of its own; and the
    /// longest pages of that inbox.
    async fn poisons(self) {
        let data = json!({ "quotes": "\"".repeat(8_180) });
        let (title, body) = ("🔔".repeat(200), "🔔".repeat(4_000));
        let large = |n: usize| {
            let kind = format!("large-{n}");
            json!({"type": kind, "userId": "victim", "title": title, "body": body, "data": data}).to_string()
        };
        for round in 0.. {
            for n in 0..10 {
                let headers = [("authorization", self.service.as_str()), ("content-type", "application/json")];
                let sent = call(self.address, "POST", "/api/notifications/send", &headers, large(10 * round + n)).await;
                self.got("large send", sent.status);
            }
            for path in ["/api/sync", "/api/notifications?limit=200"] {
                let read = call(self.address, "GET", path, &[("authorization", &self.users["victim"])], "").await;
                assert!(read.text.len() <= 1_024 * 1_024, "WRONG: {path} answered {} bytes", read.text.len());
                self.got("read of a full inbox", read.status);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Opens a socket and never reads.
    async fn sleeps(self) {
        let _socket = audience::open(self.address, "sleeper").await;
        std::future::pending::<()>().await;
    }

    async fn wakes_sleepers(self) {
        let body =
            json!({"type": "large", "userId": "sleeper", "title": "Wake up", "body": "z".repeat(4_000)}).to_string();
        loop {
            let headers = [("authorization", self.service.as_str()), ("content-type", "application/json")];
            let sent = call(self.address, "POST", "/api/notifications/send", &headers, body.clone()).await;
            self.got("send to who does not read", sent.status);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Bodies of 10 MB without a token.
    async fn sends_large_bodies(self) {
        let part = vec![b'x'; 64 * 1_024];
        loop {
            let status = async {
                let mut stream = TcpStream::connect(self.address).await.ok()?;
                let length = 160 * part.len();
                let head = format!(
                    "POST /api/notifications/send HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n",
                    self.address
                );
                stream.write_all(head.as_bytes()).await.ok()?;
                for _ in 0..160 {
                    if stream.write_all(&part).await.is_err() {
                        break;
                    }
                }
                status(&mut stream).await
            };
            self.got("body of 10 MB", status.await.unwrap_or(0));
        }
    }

    async fn guesses_tokens(self) {
        loop {
            let guess = format!("Bearer {}", "e".repeat(4_000));
            let refused = call(self.address, "GET", "/api/sync", &[("authorization", &guess)], "").await;
            self.got("guessed token", refused.status);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A byte of a header each second.
    async fn dawdles(self) {
        loop {
            let Ok(mut stream) = TcpStream::connect(self.address).await else { continue };
            for byte in b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: yes and it goes on".iter().cycle() {
                sleep(Duration::from_secs(1)).await;
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            self.got("dawdling", 0);
        }
    }

    fn print(&self, stores: Stores) {
        let frames = number(self.frames.load(Ordering::Relaxed) as f64, 0);
        figure(&stores.named("flood"), frames, "frames", "sent by strangers; read as far as the gateway wanted");
        for ((what, status), count) in &*self.statuses.lock().unwrap() {
            let is_fault = *status >= 500;
            let how =
                if is_fault { "WRONG: a fault of the server" } else { "answers to strangers, by status; 0: none" };
            figure(&stores.named(&format!("{what}: {status}")), number(*count as f64, 0), "answers", how);
        }
    }
}

/// The status of the next answer; `None` if the connection ends without one.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut line = [0; 12];
    timeout(Duration::from_secs(10), stream.read_exact(&mut line)).await.ok()?.ok()?;
    std::str::from_utf8(&line).ok()?.rsplit(' ').next()?.parse().ok()
}
