//! The server: binds a port, serves a template on it, and stops without cutting off running functions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::addresses::OpenConnection;
use crate::assemble;
use crate::client_stream::{ClientStream, Requests};
use crate::dispatch;
use crate::functions::FunctionError;
use crate::options::{Options, ServeError};
use crate::outgoing::Closing;
use crate::refusals::Refusal;
use crate::schedules;
use crate::site::{Phase, Site};

/// The URL of a gateway that listens on the default address and port.
pub const DEFAULT_URL: &str = "http://127.0.0.1:3000";

/// The largest size of request line and headers together; larger ones are answered with 431.
const MAX_HEADER_BYTES: usize = 10_240;
/// How long a stop waits for running functions and open sockets.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay before accepting again after a failure: without free file handles, it would fail again immediately.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// Connections are closed within a second of their limit, so that one sweep handles thousands of them.
const MIN_SWEEP_INTERVAL_MS: i64 = 1_000;

/// A bound port that is not served yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// The address, with the actual port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}: {source}")]
pub struct ListenError {
    host: String,
    port: u16,
    source: std::io::Error,
}

/// Binds a port; 0 picks a free one. Clients can connect from here on, and wait until [`serve`] is called.
pub async fn listen(host: &str, port: u16) -> Result<Listener, ListenError> {
    let bound = async {
        let listener = TcpListener::bind((host, port)).await?;
        let address = listener.local_addr()?;
        Ok(Listener { listener, address })
    };
    bound.await.map_err(|source| ListenError { host: host.to_owned(), port, source })
}

/// Why [`Gateway::invoke_async`] or [`Gateway::fire`] failed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallError {
    /// No function or schedule has that name.
    #[error("there is no {0}")]
    Unknown(String),
    /// The function failed.
    #[error(transparent)]
    Failed(#[from] FunctionError),
}

/// A template that is being served. Dropping it stops serving at once; [`Gateway::stop`] does so gracefully.
pub struct Gateway(Arc<Site>);

/// Serves a template on a port, in background tasks. Must be called in a tokio runtime.
pub fn serve(listener: Listener, options: Options) -> Result<Gateway, ServeError> {
    let Listener { listener, address } = listener;
    let fire_at_start = options.fire_at_start;
    let site = Arc::new(assemble::site(address, options)?);
    spawn_until(&site, Phase::Stopped, accept(Arc::clone(&site), listener));
    spawn_until(&site, Phase::Stopping, sweep(Arc::clone(&site)));
    for served in site.schedules.iter().filter(|served| served.schedule.enabled) {
        let running = schedules::run(site.clock.clone(), site.invocations.clone(), Arc::clone(served), fire_at_start);
        spawn_until(&site, Phase::Stopping, running);
    }
    Ok(Gateway(site))
}

impl Gateway {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Calls a function without waiting for it, like an asynchronous invocation on Lambda.
    /// A failed call is logged and not retried.
    pub fn invoke_async(&self, function: &str, event: Bytes) -> Result<(), CallError> {
        let target =
            self.0.functions.get(function).ok_or_else(|| CallError::Unknown(format!("function {function}")))?;
        let target = target.clone();
        self.0.invocations.spawn(async move { target.call(event).await });
        Ok(())
    }

    /// Fires a schedule, enabled or not, and returns the output of its function.
    pub async fn fire(&self, schedule: &str) -> Result<Bytes, CallError> {
        let served = self.0.schedule(schedule).ok_or_else(|| CallError::Unknown(format!("schedule {schedule}")))?;
        Ok(served.fire(&self.0.invocations, self.0.clock.now_ms()).await?)
    }

    /// Stops gracefully: new requests get 503, sockets are closed with 1001 and their `$disconnect` is called.
    /// Running functions have 3 s to finish, and can push until then.
    pub async fn stop(&self) {
        let site = &self.0;
        advance(site, Phase::Stopping);
        site.connections.close_all(&Closing::going_away());
        let all_finished = async {
            site.sockets.finished().await;
            site.invocations.finished().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, all_finished).await.is_err() {
            let (calls, sockets) = (site.invocations.count(), site.sockets.count());
            tracing::warn!(calls, sockets, "stopped while {calls} calls and {sockets} sockets were still active");
        }
        advance(site, Phase::Stopped);
        // The last responses are being sent; the timeout is for clients that do not read them.
        let _ = tokio::time::timeout(STOP_TIMEOUT, site.http_connections.finished()).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        advance(&self.0, Phase::Stopped);
        self.0.connections.close_all(&Closing::going_away());
    }
}

fn advance(site: &Site, phase: Phase) {
    site.phase.send_modify(|now| *now = (*now).max(phase));
}

fn spawn_until(site: &Arc<Site>, phase: Phase, task: impl Future<Output = ()> + Send + 'static) {
    let site = Arc::clone(site);
    tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            () = site.reached(phase) => {}
        }
    });
}

async fn accept(site: Arc<Site>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                let limit = site.limits.connections_from(source.ip().to_canonical());
                match site.addresses.open(source.ip(), limit) {
                    Some(connection) => {
                        let serving = serve_connection(Arc::clone(&site), stream, source, connection);
                        site.http_connections.spawn(serving);
                    }
                    None => site.refusals.count(Refusal::TooManyConnections, "closed a new one"),
                }
            }
            Err(error) => {
                site.refusals.count(Refusal::AcceptFailed, &error);
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Serves one TCP connection until it ends, is upgraded, or the gateway stops.
async fn serve_connection(site: Arc<Site>, stream: TcpStream, source: SocketAddr, connection: OpenConnection) {
    // Responses are small and a client waits for each. If setting the option fails, the connection is only slower.
    let _ = stream.set_nodelay(true);
    let requests = Requests::default();
    let (head_timeout, write_timeout) = (site.limits.head_timeout, site.limits.write_timeout);
    let stream = ClientStream::new(stream, connection, requests.clone(), head_timeout, write_timeout);
    let service = service_fn(|request| {
        requests.begin();
        let answer = dispatch::answer(Arc::clone(&site), source.ip(), request);
        let requests = &requests;
        async move {
            let answer = answer.await;
            requests.end();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(MAX_HEADER_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(site.limits.idle_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // An error only means that the client ended its connection badly, so it is ignored.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = site.reached(Phase::Stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Closes sockets that have been idle or open for too long; one task for all of them.
async fn sweep(site: Arc<Site>) {
    loop {
        let now_ms = site.clock.now_ms();
        match site.connections.close_expired(now_ms) {
            Some(next_ms) => site.clock.sleep_until(next_ms.max(now_ms + MIN_SWEEP_INTERVAL_MS)).await,
            None => site.connections.opened().await,
        }
    }
}
