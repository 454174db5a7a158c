//! Message to frame: the time from a frame that says something on one socket until the other user's socket has read it, and
//! how many messages a second are said so.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use harness::http::call;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::audience::open;
use crate::carillon::Carillon;
use crate::client::token;
use crate::machine;
use crate::report::{figure, in_ms, number, percentile, spread};
use crate::stores::Stores;

/// The numbers of messages in flight: of pairs of users who talk at the same time.
const IN_FLIGHT: [usize; 3] = [1, 16, 64];
/// The rounds of each level. The levels take turns, so that a noisy neighbour affects all of them alike.
const ROUNDS: usize = 5;
/// The duration of a level in each round.
const ROUND: Duration = Duration::from_secs(1);
/// Longer than it takes until the drain pushes again: a frame that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Lets pairs of users talk, each with an open socket: the next message follows when the last one was read.
pub(crate) async fn measure(program: &Path, stores: Stores) {
    let data = machine::new_folder();
    let carillon = stores.start(program, data.path()).await;
    let most = IN_FLIGHT.into_iter().max().unwrap_or(1);
    let mut pairs = Vec::new();
    for n in 0..most {
        pairs.push(Pair::meet(&carillon, n).await);
    }
    talk(&carillon, &mut pairs).await;
    let mut levels = IN_FLIGHT.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (in_flight, talked) in IN_FLIGHT.into_iter().zip(&mut levels) {
            talked.push(talk(&carillon, &mut pairs[..in_flight]).await);
        }
    }
    for pair in pairs {
        pair.said_all().await;
    }
    carillon.stop().await;
    for (in_flight, talked) in IN_FLIGHT.iter().zip(levels) {
        rows(&stores.named(&format!("messages, {in_flight} in flight")), &talked);
    }
}

fn rows(name: &str, talked: &[Talked]) {
    let how = format!("{ROUNDS} rounds of {} ms, levels in turn", ROUND.as_millis());
    let rates: Vec<f64> = talked.iter().map(|talked| talked.per_second).collect();
    figure(name, spread(&rates, 0), "1/s", &format!("frame of one socket stored, answered and read at another; {how}"));
    for (what, of) in [("to frame", 0), ("to answer", 1)] {
        let taken: Vec<Duration> =
            talked.iter().flat_map(|talked| talked.taken.iter().map(|taken| taken[of])).collect();
        let taken = in_ms(&taken);
        for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
            figure(
                &format!("{name}, {what}, {label}"),
                number(percentile(&taken, share), 2),
                "ms",
                "the same messages",
            );
        }
    }
    let costs: Vec<f64> = talked.iter().map(|talked| talked.cpu_us_each).collect();
    figure(&format!("{name}, cpu"), spread(&costs, 0), "us/message", "user and system time of the gateway");
}

/// The messages of one level in one round.
struct Talked {
    per_second: f64,
    cpu_us_each: f64,
    /// Of each message, the time until the other read it, and until it was answered.
    taken: Vec<[Duration; 2]>,
}

async fn talk(carillon: &Carillon, pairs: &mut [Pair]) -> Talked {
    let (cpu, began) = (carillon.cpu(), Instant::now());
    let talking = pairs.iter_mut().map(|pair| async move {
        let mut taken = Vec::new();
        while began.elapsed() < ROUND {
            taken.push(pair.says().await);
        }
        taken
    });
    let taken = join_all(talking).await.concat();
    let (elapsed, cpu) = (began.elapsed(), carillon.cpu() - cpu);
    let count = taken.len() as f64;
    Talked { per_second: count / elapsed.as_secs_f64(), cpu_us_each: cpu.as_secs_f64() * 1e6 / count, taken }
}

/// Two users in a chat of their own.
struct Pair {
    chat: String,
    speaker: WebSocketStream<TcpStream>,
    listener: WebSocketStream<TcpStream>,
    said: i64,
}

impl Pair {
    async fn meet(carillon: &Carillon, n: usize) -> Self {
        let (address, users) = (carillon.address, [format!("speaker-{n}"), format!("listener-{n}")]);
        let authorization = format!("Bearer {}", token(address, &users[0], "").await);
        // A group is accepted from the start.
        let asked = json!({"kind": "group", "participantIds": [users[1]]}).to_string();
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let chat = call(address, "POST", "/api/chats", &headers, asked).await.expect(201);
        let chat = chat["id"].as_str().unwrap().to_owned();
        let [speaker, listener] = [open(address, &users[0]).await, open(address, &users[1]).await];
        Self { chat, speaker, listener, said: 0 }
    }

    /// Says the next thing; returns how long it took until the other read it, and until it was answered.
    async fn says(&mut self) -> [Duration; 2] {
        self.said += 1;
        let frame = json!({
            "action": "sendMessage", "chatId": self.chat, "clientId": self.said.to_string(),
            "body": "It left our warehouse this morning and will arrive tomorrow before noon.",
        });
        let began = Instant::now();
        self.speaker.send(Message::text(frame.to_string())).await.unwrap();
        let (heard, sent) = tokio::join!(next(&mut self.listener, "message"), next(&mut self.speaker, "sent"));
        assert_eq!((&heard.0["seq"], &sent.0["message"]), (&json!(self.said), &heard.0["message"]), "WRONG");
        [heard.1 - began, sent.1 - began]
    }

    /// Panics if the listener reads a message twice.
    async fn said_all(mut self) {
        self.listener.send(Message::text(json!({"action": "ping"}).to_string())).await.unwrap();
        next(&mut self.listener, "pong").await;
    }
}

/// The next frame of this type, and when it was read. What says nothing new of the chat is skipped: presence, and at the
/// speaker its own messages.
async fn next(socket: &mut WebSocketStream<TcpStream>, kind: &str) -> (Value, Instant) {
    loop {
        let Ok(Some(Ok(message))) = timeout(TIMEOUT, socket.next()).await else { panic!("WRONG: a frame was lost") };
        let at = Instant::now();
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["type"] == kind {
            return (frame, at);
        }
        let is_expected = match kind {
            "sent" => frame["type"] == "message",
            _ => false,
        };
        assert!(is_expected || frame["type"] == "presence", "WRONG: {frame}");
    }
}
