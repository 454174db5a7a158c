//! A gateway on a free port with fake functions, and clients for it: `served.http("GET", "/rooms/7").send()`.

mod fake;
mod http;
mod socket;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Functions, Gateway, Options, Template, Token, listen, serve};
use shared::clock::Clock;

pub use fake::Fake;
pub use http::Request;
pub use socket::Socket;
pub use stream::{Source, Streamed};

/// 29/Nov/2023:08:04:01.796, the time in the events that AWS documents.
pub const START_MS: i64 = 1_701_245_041_796;
/// Longer than anything takes that a test waits for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running gateway, with its clock and its fake functions.
pub struct Served {
    pub gateway: Gateway,
    pub clock: Clock,
    pub http: Arc<Fake>,
    pub socket: Arc<Fake>,
    pub stream: Arc<Fake>,
    pub tick: Arc<Fake>,
}

impl Served {
    /// Serves the tests' template. Schedules do not fire at the start.
    pub async fn start() -> Self {
        Self::start_with(include_str!("../template.yaml"), |options| options).await
    }

    /// Serves this template, with changed options.
    pub async fn start_with(template: &str, change: impl FnOnce(Options) -> Options) -> Self {
        let clock = Clock::manual(START_MS);
        let (http, socket, stream, tick) = (Fake::new(), Fake::new(), Fake::new(), Fake::new());
        let mut functions = Functions::default();
        functions.insert("Http", http.clone());
        functions.insert("local-socket", socket.clone());
        functions.insert("Stream", stream.clone());
        functions.insert("Tick", tick.clone());
        let mut options = Options::new(Template::parse(template).unwrap(), functions, clock.clone());
        options.fire_at_start = false;
        options.sign_token = Some(Arc::new(|request| {
            Ok(Token {
                token: format!("{}|{}|{}", request.sub, request.scope, request.ttl_s),
                expires_at: "then".into(),
            })
        }));
        let listener = listen("127.0.0.1", 0).await.unwrap();
        let gateway = serve(listener, change(options)).unwrap();
        Self { gateway, clock, http, socket, stream, tick }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// A request, to be completed and sent with `send`.
    pub fn http(&self, method: &str, path: &str) -> Request {
        Request::new(self.address(), method, path)
    }

    /// A connected client. Its CONNECT event has been taken already.
    pub async fn connects(&self) -> Socket {
        let socket = Socket::connect(self.address(), "/live").await.unwrap();
        let event = self.socket.event().await;
        socket.with_id(event["requestContext"]["connectionId"].as_str().unwrap())
    }

    /// A request to the management API.
    pub fn management(&self, method: &str, id: &str) -> Request {
        self.http(method, &format!("/live/@connections/{}", id.replace('=', "%3D")))
    }

    /// Pushes a message by `PostToConnection`, and returns the status.
    pub async fn pushes(&self, id: &str, text: impl AsRef<[u8]>) -> u16 {
        self.management("POST", id).body(text).send().await.status
    }
}

/// Awaits what must happen, and fails instead of waiting forever.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("did not happen within 20 s")
}
