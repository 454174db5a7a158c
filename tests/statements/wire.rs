//! A proxy in front of Postgres that records every statement and every round trip.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use shared::config::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// A local port that forwards to a server.
pub(crate) struct Wire {
    report: Arc<Mutex<Report>>,
}

/// What was sent over a wire.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The statements, in the order in which they were executed.
    pub(crate) statements: Vec<String>,
    /// How often the client sent a request and waited for the answer.
    pub(crate) round_trips: usize,
    /// The names of the statements that were prepared, except those without one.
    pub(crate) named: Vec<String>,
    /// How often the client only checked whether the connection is alive.
    pub(crate) checks: usize,
}

impl Wire {
    /// A wire to the server with this URL, and the URL that leads to the server over it.
    pub(crate) async fn before(server: &Secret) -> (Self, Secret) {
        let (credentials, rest) = server.reveal().rsplit_once('@').unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let report = Arc::<Mutex<Report>>::default();
        tokio::spawn(accept(listener, address.to_owned(), Arc::clone(&report)));
        // Without TLS, since encrypted messages could not be read.
        let url = Secret::new(format!("{credentials}@127.0.0.1:{port}/{database}?sslmode=disable"));
        (Self { report }, url)
    }

    /// What was sent over it since the last call.
    pub(crate) fn taken(&self) -> Report {
        std::mem::take(&mut self.report.lock().unwrap())
    }
}

async fn accept(listener: TcpListener, server: String, report: Arc<Mutex<Report>>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&server).await.unwrap();
        // Buffering small messages would only add delays.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, mut to_client), (mut from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        tokio::spawn(forward(from_client, to_server, Arc::clone(&report)));
    }
}

/// Forwards the messages of a client, recording each one before the server can answer it.
async fn forward(mut client: OwnedReadHalf, mut server: impl AsyncWriteExt + Unpin, report: Arc<Mutex<Report>>) {
    let (mut unread, mut reader) = (Vec::new(), Reader::default());
    while client.read_buf(&mut unread).await.is_ok_and(|bytes| bytes > 0) {
        while let Some(length) = reader.message(&unread) {
            let message: Vec<u8> = unread.drain(..length).collect();
            reader.read(&message, &mut report.lock().unwrap());
            if server.write_all(&message).await.is_err() {
                return;
            }
        }
    }
}

/// Parses the messages of a client (https://www.postgresql.org/docs/current/protocol-message-formats.html).
#[derive(Default)]
struct Reader {
    /// Whether the first message was read, which is the only one without a type.
    has_begun: bool,
    /// Whether a request was sent since the last wait for an answer.
    has_asked: bool,
    prepared: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Reader {
    /// The length of the message at the start of the bytes; `None` if it is incomplete.
    fn message(&self, bytes: &[u8]) -> Option<usize> {
        let before = usize::from(self.has_begun);
        let length = bytes.get(before..before + 4)?;
        let length = before + usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
        (bytes.len() >= length).then_some(length)
    }

    fn read(&mut self, message: &[u8], report: &mut Report) {
        if !self.has_begun {
            self.has_begun = true;
            return;
        }
        let mut texts = message[5..].split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut text = || texts.next().unwrap_or_default();
        self.has_asked |= !matches!(message[0], b'S' | b'Q');
        match message[0] {
            b'P' => {
                let name = text();
                report.named.extend((!name.is_empty()).then(|| name.clone()));
                self.prepared.insert(name, text());
            }
            b'B' => {
                let portal = text();
                let statement = self.prepared.get(&text()).cloned();
                self.portals.insert(portal, statement.unwrap_or_default());
            }
            b'E' => report.statements.push(self.portals[&text()].clone()),
            b'Q' => {
                report.statements.push(text());
                report.round_trips += 1;
            }
            b'S' if std::mem::take(&mut self.has_asked) => report.round_trips += 1,
            b'S' => report.checks += 1,
            _ => {}
        }
    }
}
