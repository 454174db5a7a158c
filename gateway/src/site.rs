//! Everything that one listening port serves, and which part answers a request.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use shared::clock::Clock;
use tokio::sync::watch;

use crate::connections::Connections;
use crate::handshake;
use crate::http_api::HttpApi;
use crate::invocation::Target;
use crate::management;
use crate::options::SignToken;
use crate::own_routes;
use crate::reply::{self, Reply};
use crate::request;
use crate::running::Running;
use crate::schedules::ServedSchedule;
use crate::websocket::WebSocketApi;

/// What is served, and what is going on.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) functions: BTreeMap<String, Target>,
    pub(crate) http_api: Option<HttpApi>,
    pub(crate) websocket_api: Option<Arc<WebSocketApi>>,
    pub(crate) schedules: Vec<Arc<ServedSchedule>>,
    pub(crate) sign_token: Option<SignToken>,
    pub(crate) connections: Connections,
    pub(crate) phase: watch::Sender<Phase>,
    /// Calls of functions.
    pub(crate) invocations: Running,
    /// Open sockets, and handshakes that wait for `$connect`.
    pub(crate) sockets: Running,
    /// TCP connections that speak HTTP.
    pub(crate) exchanges: Running,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new begins, but functions that still run may push.
    Stopping,
    Stopped,
}

/// Who sent a request.
pub(crate) struct Client<'a> {
    /// The Host header.
    pub(crate) host: &'a str,
    pub(crate) source_ip: &'a str,
}

impl Site {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Stopping
    }

    /// Returns once a stop has come this far.
    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// The schedule of that name.
    pub(crate) fn schedule(&self, name: &str) -> Option<&Arc<ServedSchedule>> {
        self.schedules.iter().find(|served| served.schedule.name == name)
    }
}

/// Answers any request that comes to the port.
pub(crate) async fn answer(site: Arc<Site>, source: IpAddr, request: Request<Incoming>) -> Reply {
    let Some(host) = request::host(request.headers()).map(str::to_owned) else {
        return reply::message(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let source_ip = source.to_canonical().to_string();
    let client = Client { host: &host, source_ip: &source_ip };
    let path = request.uri().path().to_owned();

    if let Some(own) = own_routes::path(&site, &client, &path, request.headers()) {
        return own_routes::answer(&site, own, &request).await;
    }
    if let Some(api) = &site.websocket_api
        && let Some(path) = path.strip_prefix('/').and_then(|path| path.strip_prefix(api.stage.as_str()))
        && (path.is_empty() || path.starts_with('/'))
    {
        return answer_in_stage(&site, api, &client, path.strip_prefix('/').unwrap_or_default(), request).await;
    }
    match &site.http_api {
        _ if site.is_stopping() => unavailable(),
        Some(api) => api.answer(&site, &client, request).await,
        None => reply::message(StatusCode::NOT_FOUND, "Not Found"),
    }
}

async fn answer_in_stage(
    site: &Arc<Site>,
    api: &Arc<WebSocketApi>,
    client: &Client<'_>,
    path: &str,
    request: Request<Incoming>,
) -> Reply {
    if let Some(id) = management::connection_id(path) {
        return management::answer(site, id, request).await;
    }
    match path {
        _ if site.is_stopping() => unavailable(),
        "" => handshake::answer(site, api, client, request).await,
        _ => reply::message(StatusCode::FORBIDDEN, "Forbidden"),
    }
}

fn unavailable() -> Reply {
    reply::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}
