//! A TCP proxy before a server: whatever can happen to bytes between two machines, switched while they flow.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dice::Dice;
use crate::trap::{Caught, Moment, Traps};

/// What happens to what comes by; shares are of the server's pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Everything passes.
    Pass,
    /// Everything is kept until the mode changes.
    Hold,
    /// Connections are reset, old ones and new ones.
    Reset,
    /// Everything comes this much later.
    Delay(Duration),
    /// Answers come three bytes at a time.
    Slice,
    /// A share of the answers never comes: the request arrived, then the connection is reset.
    LoseAnswers(f64),
    /// A share of the answers breaks off in its middle.
    CutAnswers(f64),
    /// A share of the answers is no word of the protocol.
    GarbleAnswers(f64),
}

/// The proxy; nobody gets through any more when this is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    /// Where it listens too: what comes this way can be caught.
    pub(crate) watched_port: u16,
    way: Arc<Way>,
    listening: [JoinHandle<()>; 2],
}

struct Way {
    server: u16,
    mode: watch::Sender<Mode>,
    traps: Traps,
    dice: Dice,
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
}

/// What both directions of a connection know of it.
#[derive(Default)]
struct Link {
    is_watched: bool,
    /// The answer to the request that was caught is not to arrive.
    caught: Mutex<Option<Caught>>,
    is_caught: AtomicBool,
}

impl Proxy {
    /// One before the server at this port.
    pub(crate) async fn before(server: u16, seed: u64) -> Self {
        let (mode, traps, dice) = (watch::Sender::new(Mode::Pass), Traps::default(), Dice::new(seed));
        let way = Arc::new(Way { server, mode, traps, dice });
        let (port, all) = listen(&way, false).await;
        let (watched_port, watched) = listen(&way, true).await;
        Self { port, watched_port, way, listening: [all, watched] }
    }

    /// From now on this happens to what comes by.
    pub(crate) fn does(&self, mode: Mode) {
        self.way.mode.send_replace(mode);
    }

    /// Where the n-th piece that clients send to the watched port can be caught.
    pub(crate) fn traps(&self) -> &Traps {
        &self.way.traps
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(way: &Arc<Way>, is_watched: bool) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, way) = (listener.local_addr().unwrap().port(), Arc::clone(way));
    let listening = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&way), client, is_watched));
        }
    });
    (port, listening)
}

async fn serve(way: Arc<Way>, mut client: TcpStream, is_watched: bool) {
    if *way.mode.borrow() == Mode::Reset {
        let _ = client.set_zero_linger();
        return;
    }
    // A server that is away refuses; so does the way to it.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", way.server)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (link, mut mode) = (Link { is_watched, ..Link::default() }, way.mode.subscribe());
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let end = tokio::select! {
        end = requests(&way, &link, from_client, to_server) => end,
        end = answers(&way, &link, from_server, to_client) => end,
        _ = mode.wait_for(|mode| *mode == Mode::Reset) => Ok(End::Reset),
    };
    if !matches!(end, Ok(End::Closed)) {
        for stream in [&client, &server] {
            let _ = stream.set_zero_linger();
        }
    }
}

async fn requests(way: &Way, link: &Link, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(End::Closed);
        }
        if let Mode::Delay(delay) = passing(way).await {
            tokio::time::sleep(delay).await;
        }
        let caught = if link.is_watched { way.traps.comes_by() } else { None };
        match caught {
            Some(caught) if caught.moment == Moment::Before => {
                way.traps.holds(caught).await;
                return Ok(End::Reset);
            }
            Some(caught) => {
                *link.caught.lock().unwrap() = Some(caught);
                link.is_caught.store(true, Ordering::Release);
            }
            None => {}
        }
        to.write_all(&buffer[..length]).await?;
    }
}

async fn answers(way: &Way, link: &Link, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(End::Closed);
        }
        let mode = passing(way).await;
        if link.is_caught.load(Ordering::Acquire) {
            let caught = link.caught.lock().unwrap().take();
            if let Some(caught) = caught {
                way.traps.holds(caught).await;
            }
            return Ok(End::Reset);
        }
        let answer = &buffer[..length];
        match mode {
            Mode::LoseAnswers(share) if way.dice.falls(share) => return Ok(End::Reset),
            Mode::CutAnswers(share) if way.dice.falls(share) => {
                to.write_all(&answer[..length / 2]).await?;
                // A reset would take back what was not read yet.
                return Ok(End::Closed);
            }
            Mode::GarbleAnswers(share) if way.dice.falls(share) => to.write_all(b"\x7fgarbage\r\n\0").await?,
            Mode::Slice => {
                for piece in answer.chunks(3) {
                    to.write_all(piece).await?;
                    tokio::task::yield_now().await;
                }
            }
            _ => to.write_all(answer).await?,
        }
    }
}

/// The mode, once it lets anything pass.
async fn passing(way: &Way) -> Mode {
    let mut mode = way.mode.subscribe();
    let passing = mode.wait_for(|mode| *mode != Mode::Hold).await;
    passing.map_or(Mode::Reset, |mode| *mode)
}
