//! A wire to Postgres that notes what goes over it: every statement, and every time that somebody waits for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use shared::config::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// A port of our own before a server's.
pub(crate) struct Wire {
    report: Arc<Mutex<Report>>,
}

/// What went over a wire.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// As they were executed.
    pub(crate) statements: Vec<String>,
    /// How often something was asked and its answer waited for.
    pub(crate) round_trips: usize,
    /// How often only to see whether the connection lives.
    pub(crate) tries: usize,
}

impl Wire {
    /// A wire to the server of this URL, and the URL at its other end.
    pub(crate) async fn before(server: &Secret) -> (Self, Secret) {
        let (credentials, rest) = server.reveal().rsplit_once('@').unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let report = Arc::<Mutex<Report>>::default();
        tokio::spawn(accept(listener, address.to_owned(), Arc::clone(&report)));
        // What is encrypted could not be read.
        let url = Secret::new(format!("{credentials}@127.0.0.1:{port}/{database}?sslmode=disable"));
        (Self { report }, url)
    }

    /// What went over it since the last time.
    pub(crate) fn taken(&self) -> Report {
        std::mem::take(&mut self.report.lock().unwrap())
    }
}

async fn accept(listener: TcpListener, server: String, report: Arc<Mutex<Report>>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&server).await.unwrap();
        // One that waits for more to send would wait for nothing.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, mut to_client), (mut from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        tokio::spawn(forward(from_client, to_server, Arc::clone(&report)));
    }
}

/// Passes on what a client says, noting it before the server can answer.
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

/// Reads the messages of a client (https://www.postgresql.org/docs/current/protocol-message-formats.html).
#[derive(Default)]
struct Reader {
    /// The first message has no type.
    has_begun: bool,
    /// Whether anything was asked since the last answer was waited for.
    has_asked: bool,
    prepared: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Reader {
    /// The length of the message that the bytes begin with; `None` where some of it is missing.
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
            b'S' => report.tries += 1,
            _ => {}
        }
    }
}
