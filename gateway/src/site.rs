//! What one listening port serves, and the state of serving it. Requests are dispatched to its parts in `dispatch.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use tokio::sync::watch;

use crate::addresses::Addresses;
use crate::body::{Bodies, BodyError};
use crate::connections::Connections;
use crate::cors::Cors;
use crate::invocation::Target;
use crate::limits::Limits;
use crate::options::SignToken;
use crate::refusals::Refusals;
use crate::rest_cors::RestCors;
use crate::route_selection::RouteSelection;
use crate::routing::Routes;
use crate::schedules::ServedSchedule;
use crate::task_group::TaskGroup;

/// The APIs, schedules and functions that are served, and what is currently running.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) functions: BTreeMap<String, Target>,
    pub(crate) http_api: Option<HttpApi>,
    pub(crate) rest_api: Option<RestApi>,
    pub(crate) websocket_api: Option<Arc<WebSocketApi>>,
    pub(crate) schedules: Vec<Arc<ServedSchedule>>,
    pub(crate) sign_token: Option<SignToken>,
    /// Whether the invocation of a function that streams ends with its client.
    pub(crate) cancel_on_disconnect: bool,
    pub(crate) limits: Limits,
    pub(crate) connections: Connections,
    pub(crate) phase: watch::Sender<Phase>,
    /// Running calls of functions.
    pub(crate) invocations: TaskGroup,
    /// Open sockets, and handshakes in progress.
    pub(crate) sockets: TaskGroup,
    /// TCP connections that are served HTTP.
    pub(crate) http_connections: TaskGroup,
    /// The open connections of each address, sockets included.
    pub(crate) addresses: Addresses,
    /// The bodies of requests to the HTTP API and the REST API.
    pub(crate) bodies: Bodies,
    /// The bodies of pushes. They have room of their own: a function whose request takes up the last room may push.
    pub(crate) push_bodies: Bodies,
    pub(crate) refusals: Refusals,
}

/// How far a stop has progressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// New requests are refused, but functions that are still running may push.
    Stopping,
    Stopped,
}

/// The HTTP API, with its functions.
pub(crate) struct HttpApi {
    pub(crate) id: String,
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    pub(crate) cors: Option<Cors>,
    pub(crate) routes: Routes<HttpIntegration>,
}

/// The REST API, with its functions, which stream.
pub(crate) struct RestApi {
    pub(crate) id: String,
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    pub(crate) cors: Option<RestCors>,
    /// How long a stream may be silent.
    pub(crate) idle_timeout: Duration,
    pub(crate) routes: Routes<HttpIntegration>,
}

/// The integration of a route of the HTTP API or the REST API: the function to call.
pub(crate) struct HttpIntegration {
    pub(crate) function: Target,
    /// How long the client waits. The function continues after that.
    pub(crate) timeout: Duration,
}

/// The WebSocket API, with its functions.
pub(crate) struct WebSocketApi {
    pub(crate) id: String,
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    pub(crate) selection: RouteSelection,
    pub(crate) routes: BTreeMap<String, WebSocketIntegration>,
}

/// The integration of a route of the WebSocket API: the function to call.
#[derive(Clone)]
pub(crate) struct WebSocketIntegration {
    pub(crate) function: Target,
    /// How long the gateway waits. The function continues after that.
    pub(crate) timeout: Duration,
    /// Whether the body that the function returns is sent to the client.
    pub(crate) two_way: bool,
}

impl Site {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Stopping
    }

    /// Returns when a stop has reached this phase.
    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender is owned by `self`, so the channel cannot close while this waits.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Counts a body that was refused.
    pub(crate) fn count_refused_body(&self, error: BodyError, outcome: &'static str) {
        if let Some(refusal) = error.refusal() {
            self.refusals.count(refusal, outcome);
        }
    }

    pub(crate) fn schedule(&self, name: &str) -> Option<&Arc<ServedSchedule>> {
        self.schedules.iter().find(|served| served.schedule.name == name)
    }
}
