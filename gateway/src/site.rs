//! Everything that one listening port serves, and the state that its parts share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use tokio::sync::watch;

use crate::connections::Connections;
use crate::cors::Cors;
use crate::invocation::Target;
use crate::options::SignToken;
use crate::route_selection::RouteSelection;
use crate::routing::Routes;
use crate::schedules::ServedSchedule;
use crate::task_group::TaskGroup;

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
    pub(crate) invocations: TaskGroup,
    /// Open sockets, and handshakes that wait for `$connect`.
    pub(crate) sockets: TaskGroup,
    /// TCP connections that speak HTTP.
    pub(crate) http_connections: TaskGroup,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new begins, but functions that still run may push.
    Stopping,
    Stopped,
}

/// An HTTP API with its functions found.
pub(crate) struct HttpApi {
    pub(crate) id: String,
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    pub(crate) cors: Option<Cors>,
    pub(crate) routes: Routes<HttpIntegration>,
}

/// What answers a route of the HTTP API.
pub(crate) struct HttpIntegration {
    pub(crate) function: Target,
    /// How long the client waits; the function may go on.
    pub(crate) timeout: Duration,
}

/// A WebSocket API with its functions found.
pub(crate) struct WebSocketApi {
    pub(crate) id: String,
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    pub(crate) selection: RouteSelection,
    pub(crate) routes: BTreeMap<String, WebSocketIntegration>,
}

/// What answers a route of the WebSocket API.
#[derive(Clone)]
pub(crate) struct WebSocketIntegration {
    pub(crate) function: Target,
    /// How long the gateway waits; the function may go on.
    pub(crate) timeout: Duration,
    /// Whether the answer's body goes to the client.
    pub(crate) two_way: bool,
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
