//! The WebSocket handshake: 101 is sent only after `$connect` has returned a 2xx.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::connections::{Connection, Outbox};
use crate::function_output;
use crate::http_event::header_text;
use crate::ids;
use crate::outgoing::Closing;
use crate::request::Client;
use crate::response::{self, GatewayResponse};
use crate::site::{Site, WebSocketApi};
use crate::socket;
use crate::websocket::{self, Outcome, disconnected};
use crate::websocket_event::SocketContext;

/// The longest path and query of a handshake, together.
const MAX_URL_BYTES: usize = 4096;

/// Answers a request to the stage's own path: the handshake's 101, or a refusal.
pub(crate) async fn answer(
    site: &Arc<Site>,
    api: &Arc<WebSocketApi>,
    client: &Client<'_>,
    mut request: Request<Incoming>,
) -> GatewayResponse {
    let accept_key = match accept_key(&request) {
        Ok(key) => key,
        Err(refusal) => return refusal,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (id, host) = (ids::connection_id().into(), site.connections.shared_host(client.host));
    let user_agent = request.headers().get(header::USER_AGENT).map(header_text);
    let (connection, outbox) = Connection::new(id, site.clock.now_ms(), client.source_ip, user_agent, host);
    let (answer, answered) = oneshot::channel();
    let handshake = Handshake { site: Arc::clone(site), api: Arc::clone(api), connection, outbox, upgrade, answer };
    // In a task of its own: after $connect has accepted, $disconnect must follow even if the client leaves meanwhile.
    site.sockets.spawn(handshake.run(request.map(|_| ()), accept_key));
    answered.await.unwrap_or_else(|_| response::internal_server_error())
}

struct Handshake {
    site: Arc<Site>,
    api: Arc<WebSocketApi>,
    connection: Arc<Connection>,
    outbox: Outbox,
    upgrade: OnUpgrade,
    answer: oneshot::Sender<GatewayResponse>,
}

impl Handshake {
    async fn run(self, request: Request<()>, accept_key: String) {
        let protocol = match self.connect(request).await {
            Ok(protocol) => protocol,
            Err(refusal) => {
                // If the client has left, the refusal is not needed.
                let _ = self.answer.send(refusal);
                return;
            }
        };
        let Self { site, api, connection, outbox, upgrade, answer } = self;
        // Before the 101, so that whatever is pushed after $connect has returned arrives.
        site.connections.insert(Arc::clone(&connection));
        if site.is_stopping() {
            connection.close(Closing::going_away());
        }
        let client_is_waiting = answer.send(switching_protocols(&accept_key, protocol)).is_ok();
        match upgrade.await {
            Ok(upgraded) if client_is_waiting => socket::serve(site, api, connection, outbox, upgraded).await,
            _ => {
                site.connections.remove(&connection.id);
                disconnected(&site, &api, &connection, &Closing::new(1006, ""));
            }
        }
    }

    /// Calls `$connect`. Returns the subprotocol that it chose, if any, or the refusal for the client.
    async fn connect(&self, request: Request<()>) -> Result<Option<HeaderValue>, GatewayResponse> {
        let Some(integration) = self.api.routes.get("$connect") else {
            return Ok(None);
        };
        let context = SocketContext {
            api: &self.api,
            connection: &self.connection,
            request_id: &ids::request_id(),
            now_ms: self.connection.connected_at_ms,
        };
        let query = request.uri().query().unwrap_or_default();
        let event = context.connect(request.headers(), query, self.site.address.port());
        match websocket::call(&self.site, integration, event).await {
            Outcome::Answered(output) => read_connect_output(&output),
            Outcome::Failed => Err(bad_gateway()),
            Outcome::TimedOut => Err(response::message(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out")),
        }
    }
}

/// Reads the output of `$connect`: a 2xx accepts, any other status becomes the client's answer, no status is a 502.
#[expect(clippy::result_large_err, reason = "a refusal is moved only once, so boxing it would gain nothing")]
fn read_connect_output(output: &Bytes) -> Result<Option<HeaderValue>, GatewayResponse> {
    let members: Map<String, Value> = serde_json::from_slice(output).map_err(|_| bad_gateway())?;
    let status = function_output::status(&members).ok_or_else(bad_gateway)?;
    if status.is_success() {
        return Ok(output_header(&members, "sec-websocket-protocol"));
    }
    let mut refusal = GatewayResponse::new(Full::new(function_output::body(&members).ok_or_else(bad_gateway)?));
    *refusal.status_mut() = status;
    if let Some(content_type) = output_header(&members, "content-type") {
        refusal.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    Err(refusal)
}

fn bad_gateway() -> GatewayResponse {
    response::message(StatusCode::BAD_GATEWAY, "Internal server error")
}

/// A header in a function's output, from `headers` or from `multiValueHeaders`, where `lambda_http` writes it.
fn output_header(members: &Map<String, Value>, name: &str) -> Option<HeaderValue> {
    let found = ["headers", "multiValueHeaders"].iter().find_map(|place| {
        let headers = members.get(*place)?.as_object()?;
        let (_, value) = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        value.as_str().or_else(|| value.get(0)?.as_str())
    });
    found.and_then(|value| HeaderValue::try_from(value).ok())
}

fn switching_protocols(accept_key: &str, protocol: Option<HeaderValue>) -> GatewayResponse {
    let mut response = response::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept_key = HeaderValue::try_from(accept_key).expect("an accept key is base64");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

/// The accept key for a valid handshake, or the refusal of any other request.
#[expect(clippy::result_large_err, reason = "a refusal is moved only once, so boxing it would gain nothing")]
fn accept_key(request: &Request<Incoming>) -> Result<String, GatewayResponse> {
    let headers = request.headers();
    let is_upgrade = request.method() == Method::GET
        && has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket");
    let is_version_13 = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if !is_upgrade || !is_version_13 {
        let mut refusal = response::message(StatusCode::UPGRADE_REQUIRED, "Upgrade Required");
        refusal.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        refusal.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refusal);
    }
    if request.uri().path_and_query().is_some_and(|url| url.as_str().len() > MAX_URL_BYTES) {
        return Err(response::message(StatusCode::URI_TOO_LONG, "URI Too Long"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.filter(|key| STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16));
    match key {
        Some(key) => Ok(derive_accept_key(key.as_bytes())),
        None => Err(response::message(StatusCode::BAD_REQUEST, "Bad Request")),
    }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|own| own.trim().eq_ignore_ascii_case(token))
}
