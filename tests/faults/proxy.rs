//! A TCP proxy in front of a server: network faults that can be switched while bytes flow.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::breakpoints::{Breakpoints, Held, Hit};
use crate::random::Random;

/// What happens to traffic. Shares are fractions of the chunks that the server sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Everything passes.
    Pass,
    /// Everything is held until the mode changes.
    Hold,
    /// Existing and new connections are reset.
    Reset,
    /// Everything is delayed by this much.
    Delay(Duration),
    /// Answers arrive three bytes at a time.
    Slice,
    /// A share of the answers is lost: the request has arrived, then the connection is reset.
    LoseAnswers(f64),
    /// A share of the answers breaks off in the middle.
    CutAnswers(f64),
    /// A share of the answers is replaced by garbage.
    GarbleAnswers(f64),
}

/// The proxy; it stops accepting connections when dropped.
pub(crate) struct Proxy {
    /// The port for clients.
    pub(crate) port: u16,
    /// A second port, whose requests count for breakpoints.
    pub(crate) watched_port: u16,
    route: Arc<Route>,
    listening: [JoinHandle<()>; 2],
}

struct Route {
    /// The servers of new connections, of which each gets one at random.
    servers: Mutex<Vec<u16>>,
    mode: watch::Sender<Mode>,
    breakpoints: Breakpoints,
    random: Random,
}

enum End {
    Closed,
    Reset,
}

/// The state that both directions of a connection share.
#[derive(Default)]
struct Link {
    is_watched: bool,
    /// The request that reached a breakpoint. Its answer is held and then dropped.
    hit: Mutex<Option<Hit>>,
    is_hit: AtomicBool,
}

impl Proxy {
    /// A proxy in front of the server at this port.
    pub(crate) async fn in_front_of(server: u16, seed: u64) -> Self {
        let (mode, breakpoints, random) = (watch::Sender::new(Mode::Pass), Breakpoints::default(), Random::new(seed));
        let route = Arc::new(Route { servers: Mutex::new(vec![server]), mode, breakpoints, random });
        let (port, all) = listen(&route, false).await;
        let (watched_port, watched) = listen(&route, true).await;
        Self { port, watched_port, route, listening: [all, watched] }
    }

    /// Sets what happens to traffic from now on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.route.mode.send_replace(mode);
    }

    /// Leads new connections to these servers, as a changed DNS answer does.
    pub(crate) fn lead_to(&self, servers: &[u16]) {
        *self.route.servers.lock().unwrap() = servers.to_vec();
    }

    /// Breakpoints for the chunks that clients send to the watched port.
    pub(crate) fn breakpoints(&self) -> &Breakpoints {
        &self.route.breakpoints
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(route: &Arc<Route>, is_watched: bool) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, route) = (listener.local_addr().unwrap().port(), Arc::clone(route));
    let listening = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&route), client, is_watched));
        }
    });
    (port, listening)
}

async fn serve(route: Arc<Route>, mut client: TcpStream, is_watched: bool) {
    if *route.mode.borrow() == Mode::Reset {
        let _ = client.set_zero_linger();
        return;
    }
    let server = {
        let servers = route.servers.lock().unwrap();
        servers[route.random.below(servers.len())]
    };
    // A server that is down refuses connections, and so does the proxy.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (link, mut mode) = (Link { is_watched, ..Link::default() }, route.mode.subscribe());
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let end = tokio::select! {
        end = requests(&route, &link, from_client, to_server) => end,
        end = answers(&route, &link, from_server, to_client) => end,
        _ = mode.wait_for(|mode| *mode == Mode::Reset) => Ok(End::Reset),
    };
    if !matches!(end, Ok(End::Closed)) {
        for stream in [&client, &server] {
            let _ = stream.set_zero_linger();
        }
    }
}

async fn requests(route: &Route, link: &Link, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(End::Closed);
        }
        if let Mode::Delay(delay) = mode_after_hold(route).await {
            tokio::time::sleep(delay).await;
        }
        let hit = if link.is_watched { route.breakpoints.check() } else { None };
        match hit {
            Some(hit) if hit.held == Held::Request => {
                route.breakpoints.hold(hit).await;
                return Ok(End::Reset);
            }
            Some(hit) => {
                *link.hit.lock().unwrap() = Some(hit);
                link.is_hit.store(true, Ordering::Release);
            }
            None => {}
        }
        to.write_all(&buffer[..length]).await?;
    }
}

async fn answers(route: &Route, link: &Link, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(End::Closed);
        }
        let mode = mode_after_hold(route).await;
        if link.is_hit.load(Ordering::Acquire) {
            let hit = link.hit.lock().unwrap().take();
            if let Some(hit) = hit {
                route.breakpoints.hold(hit).await;
            }
            return Ok(End::Reset);
        }
        let answer = &buffer[..length];
        match mode {
            Mode::LoseAnswers(share) if route.random.chance(share) => return Ok(End::Reset),
            Mode::CutAnswers(share) if route.random.chance(share) => {
                to.write_all(&answer[..length / 2]).await?;
                // Not a reset: it would discard bytes that the client has not read yet.
                return Ok(End::Closed);
            }
            Mode::GarbleAnswers(share) if route.random.chance(share) => to.write_all(b"\x7fgarbage\r\n\0").await?,
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

/// The mode, as soon as it is not `Hold`.
async fn mode_after_hold(route: &Route) -> Mode {
    let mut modes = route.mode.subscribe();
    let mode = modes.wait_for(|mode| *mode != Mode::Hold).await;
    mode.map_or(Mode::Reset, |mode| *mode)
}
