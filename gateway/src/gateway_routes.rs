//! `/_gateway/*`: tokens, connections and schedules, for which AWS has no routes. Since it signs tokens, it is served
//! to this machine only.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::options::TokenRequest;
use crate::request::{Client, is_loopback, is_loopback_origin, percent_decode, query_pairs};
use crate::response::{self, GatewayResponse};
use crate::site::Site;
use crate::timestamps;

const ROOT: &str = "/_gateway/";
const DEFAULT_TTL_S: u64 = 3600;

/// The path below `/_gateway/`; `None` for another path, or if this request is not allowed to use these routes.
///
/// Checking Host keeps out pages that use DNS rebinding; checking Origin keeps out cross-site requests.
pub(crate) fn path<'p>(site: &Site, client: &Client<'_>, path: &'p str, headers: &HeaderMap) -> Option<&'p str> {
    let below = path.strip_prefix(ROOT)?;
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_local_origin = origin.is_none_or(is_loopback_origin);
    (site.address.ip().is_loopback() && is_loopback(client.host) && is_local_origin).then_some(below)
}

/// Answers a request for a path below `/_gateway/`.
pub(crate) async fn answer(site: &Site, path: &str, request: &Request<Incoming>) -> GatewayResponse {
    let method = request.method();
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        ["token"] => only(Method::GET, method, || token(site, request.uri().query())),
        ["connections"] => only(Method::GET, method, || connections(site)),
        ["schedules"] => only(Method::GET, method, || schedules(site)),
        ["schedules", name, "fire"] if method == Method::POST => fire(site, name).await,
        ["schedules", _, "fire"] => method_not_allowed(&Method::POST),
        _ => not_found(),
    }
}

fn only(allowed: Method, method: &Method, answer: impl FnOnce() -> GatewayResponse) -> GatewayResponse {
    if *method == allowed { answer() } else { method_not_allowed(&allowed) }
}

fn method_not_allowed(allowed: &Method) -> GatewayResponse {
    let mut response = response::message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed = HeaderValue::try_from(allowed.as_str()).expect("a method consists of visible characters");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn not_found() -> GatewayResponse {
    response::message(StatusCode::NOT_FOUND, "Not Found")
}

fn token(site: &Site, query: Option<&str>) -> GatewayResponse {
    let pairs = query_pairs(query.unwrap_or_default());
    let given = |name: &str| pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let bad_request = |problem: &str| response::message(StatusCode::BAD_REQUEST, problem);

    let Some(sign) = &site.sign_token else {
        return response::message(StatusCode::NOT_FOUND, "This gateway cannot sign tokens: their issuer is elsewhere");
    };
    let Some(sub) = given("sub").filter(|sub| !sub.is_empty()) else {
        return bad_request("sub is required");
    };
    let Ok(ttl_s) = given("ttl").map_or(Ok(DEFAULT_TTL_S), str::parse) else {
        return bad_request("ttl must be a whole number of seconds");
    };
    let request = TokenRequest { sub: sub.to_owned(), scope: given("scope").unwrap_or_default().to_owned(), ttl_s };
    match sign(request) {
        Ok(token) => response::json(StatusCode::OK, &json!({ "token": token.token, "expiresAt": token.expires_at })),
        Err(problem) => bad_request(&problem),
    }
}

fn connections(site: &Site) -> GatewayResponse {
    let connections: Vec<Value> = site
        .connections
        .all()
        .iter()
        .map(|connection| {
            json!({
                "connectionId": &*connection.id,
                "connectedAt": timestamps::with_milliseconds(connection.connected_at_ms),
                "lastActiveAt": timestamps::with_milliseconds(connection.last_active_ms()),
                "sourceIp": connection.source_ip,
            })
        })
        .collect();
    response::json(StatusCode::OK, &json!({ "connections": connections }))
}

fn schedules(site: &Site) -> GatewayResponse {
    let now_ms = site.clock.now_ms();
    let schedules: Vec<Value> = site
        .schedules
        .iter()
        .map(|served| {
            json!({
                "name": served.schedule.name,
                "expression": served.schedule.expression.to_string(),
                "function": served.target.name(),
                "next": served.next_ms(now_ms).map(timestamps::with_milliseconds),
            })
        })
        .collect();
    response::json(StatusCode::OK, &json!({ "schedules": schedules }))
}

async fn fire(site: &Site, encoded_name: &str) -> GatewayResponse {
    let Some(name) = percent_decode(encoded_name) else {
        return not_found();
    };
    let Some(served) = site.schedule(&name) else {
        return not_found();
    };
    match served.fire(&site.invocations, site.clock.now_ms()).await {
        Ok(output) => response::json_text(StatusCode::OK, json_or_null(output)),
        Err(error) => response::json(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

fn json_or_null(output: Bytes) -> Bytes {
    if output.is_empty() { Bytes::from_static(b"null") } else { output }
}
