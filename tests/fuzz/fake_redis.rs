//! A Redis whose answers a test decides, and which remembers the keys of scripts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use shared::config::RedisConfig;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A running server.
pub(crate) struct FakeRedis {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Answers as Redis writes them, used one after the other, over and over.
    answers: Vec<Vec<u8>>,
    next: usize,
    keys: Vec<String>,
}

impl FakeRedis {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn config(&self) -> RedisConfig {
        harness::redis_server::config(&format!("redis://{}", self.address), "carillon")
    }

    /// Decides the answers from now on.
    pub(crate) fn answers(&self, answers: Vec<Vec<u8>>) {
        let mut state = self.state();
        state.answers = answers;
        state.next = 0;
    }

    /// The keys of scripts since the last call.
    pub(crate) fn taken_keys(&self) -> Vec<String> {
        std::mem::take(&mut self.state().keys)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(command) = read_command(&mut reader).await {
        let answer = answer(&command, &state);
        if writer.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(command: &[Vec<u8>], state: &Mutex<State>) -> Vec<u8> {
    let word =
        |index: usize| command.get(index).map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default();
    match word(0).as_str() {
        "CLIENT" | "SELECT" | "AUTH" => b"+OK\r\n".to_vec(),
        "PING" => b"+PONG\r\n".to_vec(),
        "HELLO" => b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n".to_vec(),
        name => {
            let mut state = state.lock().unwrap();
            if name.starts_with("EVAL") {
                let keys = word(2).parse::<usize>().unwrap_or(0);
                state
                    .keys
                    .extend(command.iter().skip(3).take(keys).map(|key| String::from_utf8_lossy(key).into_owned()));
            }
            let next = state.next;
            state.next += 1;
            let answers = &state.answers;
            answers.get(next % answers.len().max(1)).cloned().unwrap_or_else(|| b"$-1\r\n".to_vec())
        }
    }
}

/// A command as clients write it: an array of strings. `None` at the end.
async fn read_command(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Option<Vec<Vec<u8>>> {
    let count = read_length(reader, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = read_length(reader, '$').await?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(word);
    }
    Some(words)
}

async fn read_length(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>, kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.strip_prefix(kind)?.trim().parse().ok()
}

/// Splits text into the answers that it consists of. What is none is left out, since it would only end the connection.
pub(crate) fn split_answers(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    while !text.is_empty() {
        match length_of(text, 0) {
            Some(length) => {
                answers.push(text[..length].to_vec());
                text = &text[length..];
            }
            None => text = &text[1..],
        }
    }
    answers
}

/// How long the answer is with which the text begins; `None` if it begins with none.
fn length_of(text: &[u8], depth: usize) -> Option<usize> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    let after = end + 2;
    match text.first()? {
        b'+' => Some(after),
        b'-' => line[1..].starts_with(|c: char| c.is_ascii_uppercase()).then_some(after),
        b':' => line[1..].parse::<i64>().ok().map(|_| after),
        b'$' if line == "$-1" => Some(after),
        b'$' => {
            let whole = after + line[1..].parse::<usize>().ok()?.min(text.len()) + 2;
            (text.get(whole - 2..whole)? == b"\r\n").then_some(whole)
        }
        b'*' if line == "*-1" => Some(after),
        b'*' if depth < 8 => {
            let count = line[1..].parse::<usize>().ok().filter(|count| *count <= 1_000)?;
            (0..count).try_fold(after, |start, _| Some(start + length_of(text.get(start..)?, depth + 1)?))
        }
        _ => None,
    }
}
