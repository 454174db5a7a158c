//! The WebSocket API: its routes, and what happens to messages and ended connections.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::connections::{Closing, Connection};
use crate::function_output;
use crate::ids;
use crate::site::{Site, WebSocketApi, WebSocketIntegration};
use crate::websocket_event::SocketContext;

/// What came of calling a route's function.
pub(crate) enum Outcome {
    Answered(Bytes),
    /// It was logged where it was called.
    Failed,
    TimedOut,
}

/// Calls a route's function in a task of its own, which goes on when the caller leaves or the time is over.
pub(crate) async fn call(site: &Site, integration: &WebSocketIntegration, event: Bytes) -> Outcome {
    let function = integration.function.clone();
    let call = site.invocations.spawn(async move { function.call(event).await });
    match tokio::time::timeout(integration.timeout, call).await {
        Ok(Ok(Ok(output))) => Outcome::Answered(output),
        Ok(Ok(Err(_))) => Outcome::Failed,
        // Only the end of the process takes a call away.
        Ok(Err(_)) | Err(_) => Outcome::TimedOut,
    }
}

/// The route of a message: the one that its body selects, else `$default`.
fn route<'a>(api: &'a WebSocketApi, message: &str) -> Option<(&'a str, &'a WebSocketIntegration)> {
    let is_custom = |key: &String| !key.starts_with('$');
    // Most APIs have only $default, and need not read the message.
    let selected = api.routes.keys().any(is_custom).then(|| api.selection.key(message)).flatten();
    let custom = selected.filter(is_custom).and_then(|key| api.routes.get_key_value(&key));
    custom.or_else(|| api.routes.get_key_value("$default")).map(|(key, integration)| (key.as_str(), integration))
}

/// Takes a client's message: its function runs beside those of the connection's other messages, in no order.
pub(crate) fn receive(site: &Arc<Site>, api: &Arc<WebSocketApi>, connection: &Arc<Connection>, message: Utf8Bytes) {
    let (site, api, connection) = (Arc::clone(site), Arc::clone(api), Arc::clone(connection));
    let task = {
        let site = Arc::clone(&site);
        async move { handle(&site, &api, &connection, &message).await }
    };
    site.invocations.spawn(task);
}

async fn handle(site: &Site, api: &WebSocketApi, connection: &Connection, message: &str) {
    let request_id = ids::gateway_id();
    let Some((route_key, integration)) = route(api, message) else {
        offer(site, connection, error_frame("Forbidden", connection, &request_id));
        return;
    };
    let context = SocketContext { api, connection, request_id: &request_id, now_ms: site.clock.now_ms() };
    match call(site, integration, context.message(route_key, message)).await {
        Outcome::Answered(output) if integration.two_way => {
            if let Some(text) = answer_text(&output) {
                offer(site, connection, text);
            }
        }
        Outcome::Answered(_) => {}
        Outcome::Failed => offer(site, connection, error_frame("Internal server error", connection, &request_id)),
        Outcome::TimedOut => {
            offer(site, connection, error_frame("Endpoint request timed out", connection, &request_id));
        }
    }
}

/// Tells `$disconnect` that a connection has ended; its answer and its errors go nowhere.
pub(crate) fn disconnected(site: &Site, api: &WebSocketApi, connection: &Connection, closing: &Closing) {
    let Some(integration) = api.routes.get("$disconnect") else {
        return;
    };
    let now_ms = site.clock.now_ms();
    let event = SocketContext { api, connection, request_id: &ids::gateway_id(), now_ms }.disconnect(closing);
    let function = integration.function.clone();
    site.invocations.spawn(async move { function.call(event).await });
}

/// The frame that API Gateway itself sends, spaced as it was captured there.
fn error_frame(message: &str, connection: &Connection, request_id: &str) -> Utf8Bytes {
    let id = &connection.id;
    format!(r#"{{"message": "{message}", "connectionId":"{id}", "requestId":"{request_id}"}}"#).into()
}

/// The body of a two-way route's answer, if there is one to send.
fn answer_text(output: &Bytes) -> Option<Utf8Bytes> {
    let members: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let body = function_output::body(&members).filter(|body| !body.is_empty())?;
    Utf8Bytes::try_from(body).ok()
}

fn offer(site: &Site, connection: &Connection, text: Utf8Bytes) {
    // A client that is gone or does not read misses its answer, as on AWS.
    let _ = connection.enqueue(text, site.clock.now_ms());
}
