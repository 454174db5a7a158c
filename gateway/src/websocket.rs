//! Routes the messages of open sockets to functions, and calls `$disconnect` when a connection has ended.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::connections::{Connection, MAX_MESSAGE_BYTES};
use crate::function_output;
use crate::ids;
use crate::in_flight::MessageInFlight;
use crate::outgoing::Closing;
use crate::site::{Site, WebSocketApi, WebSocketIntegration};
use crate::websocket_event::SocketContext;

/// The outcome of calling a route's function.
pub(crate) enum Outcome {
    Answered(Bytes),
    /// The failure has already been logged.
    Failed,
    TimedOut,
}

/// Calls a route's function in a task of its own, which continues if the client leaves or the timeout passes.
pub(crate) async fn call(site: &Site, integration: &WebSocketIntegration, event: Bytes) -> Outcome {
    let function = integration.function.clone();
    let call = site.invocations.spawn(async move { function.call(event).await });
    match timeout(integration.timeout, call).await {
        Ok(Ok(Ok(output))) => Outcome::Answered(output),
        Ok(Ok(Err(_))) => Outcome::Failed,
        // The first case, a cancelled task, occurs only when the process ends.
        Ok(Err(_)) | Err(_) => Outcome::TimedOut,
    }
}

/// The route of a message: the one that its body selects, or `$default` if there is no such route.
fn route<'a>(api: &'a WebSocketApi, message: &str) -> Option<(&'a str, &'a WebSocketIntegration)> {
    let is_custom = |key: &String| !key.starts_with('$');
    // Most APIs have only $default, so the message need not be parsed.
    let selected = api.routes.keys().any(is_custom).then(|| api.selection.key(message)).flatten();
    let custom = selected.filter(is_custom).and_then(|key| api.routes.get_key_value(&key));
    custom.or_else(|| api.routes.get_key_value("$default")).map(|(key, integration)| (key.as_str(), integration))
}

/// Handles a client's message. Messages of one connection are handled concurrently and in no particular order.
///
/// The message is in flight until its answer is queued and its function has ended, which may be later.
pub(crate) fn receive(
    site: &Arc<Site>,
    api: &Arc<WebSocketApi>,
    connection: &Arc<Connection>,
    message: Utf8Bytes,
    in_flight: MessageInFlight,
) {
    let task = {
        let (site, api, connection) = (Arc::clone(site), Arc::clone(api), Arc::clone(connection));
        async move {
            handle(&site, &api, &connection, message).await;
            drop(in_flight);
        }
    };
    site.invocations.spawn(task);
}

/// Returns when the function has ended. The function is not called in a task of its own: nothing cancels this one.
async fn handle(site: &Site, api: &WebSocketApi, connection: &Connection, message: Utf8Bytes) {
    let request_id = ids::request_id();
    let Some((route_key, integration)) = route(api, &message) else {
        send(site, connection, error_frame("Forbidden", connection, &request_id));
        return;
    };
    let context = SocketContext { api, connection, request_id: &request_id, now_ms: site.clock.now_ms() };
    let event = context.message(route_key, &message);
    // The event has a copy, and the function may take long.
    drop(message);
    let mut call = pin!(integration.function.call(event));
    match timeout(integration.timeout, call.as_mut()).await {
        Ok(Ok(output)) if integration.two_way => match answer_text(&output) {
            Some(text) if text.len() > MAX_MESSAGE_BYTES => {
                tracing::error!(route_key, "the answer to a message is longer than {MAX_MESSAGE_BYTES} bytes");
                send(site, connection, error_frame("Internal server error", connection, &request_id));
            }
            Some(text) => send(site, connection, text),
            None => {}
        },
        Ok(Ok(_)) => {}
        // The failure has already been logged.
        Ok(Err(_)) => send(site, connection, error_frame("Internal server error", connection, &request_id)),
        Err(_) => {
            send(site, connection, error_frame("Endpoint request timed out", connection, &request_id));
            // The function continues, as on Lambda. Its answer comes too late.
            let _ = call.await;
        }
    }
}

/// Calls `$disconnect` for a connection that has ended. Its output is ignored; a failure is only logged.
pub(crate) fn disconnected(site: &Site, api: &WebSocketApi, connection: &Connection, closing: &Closing) {
    let Some(integration) = api.routes.get("$disconnect") else {
        return;
    };
    let now_ms = site.clock.now_ms();
    let event = SocketContext { api, connection, request_id: &ids::request_id(), now_ms }.disconnect(closing);
    let function = integration.function.clone();
    site.invocations.spawn(async move { function.call(event).await });
}

/// An error frame of API Gateway itself, with exactly the spaces that it has there.
fn error_frame(message: &str, connection: &Connection, request_id: &str) -> Utf8Bytes {
    let id = &connection.id;
    format!(r#"{{"message": "{message}", "connectionId":"{id}", "requestId":"{request_id}"}}"#).into()
}

/// The body in a function's output, if there is one to send.
fn answer_text(output: &Bytes) -> Option<Utf8Bytes> {
    let members: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let body = function_output::body(&members).filter(|body| !body.is_empty())?;
    Utf8Bytes::try_from(body).ok()
}

fn send(site: &Site, connection: &Connection, text: Utf8Bytes) {
    // A client that is gone or does not read misses the message, as on AWS.
    let _ = connection.enqueue(text, site.clock.now_ms());
}
