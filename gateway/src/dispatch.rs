//! Dispatches requests: to the gateway's own routes, the WebSocket API, its management API, the REST API or the HTTP API.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Request, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;

use crate::gateway_routes;
use crate::handshake;
use crate::http_api;
use crate::management;
use crate::request::{self, Client};
use crate::response::{self, Answer, GatewayResponse};
use crate::rest_api;
use crate::site::{Site, WebSocketApi};

/// Answers any request to the port.
pub(crate) async fn answer(site: Arc<Site>, source: IpAddr, request: Request<Incoming>) -> Answer {
    let Some(host) = request::host(request.headers()).map(str::to_owned) else {
        return response::message(StatusCode::BAD_REQUEST, "Bad Request").map(Either::Left);
    };
    let client = Client { host: &host, source_ip: source.to_canonical() };
    let path = request.uri().path().to_owned();

    if let Some(own) = gateway_routes::path(&site, &client, &path, request.headers()) {
        return gateway_routes::answer(&site, own, &request).await.map(Either::Left);
    }
    if let Some(api) = &site.websocket_api
        && let Some(path) = path.strip_prefix('/').and_then(|path| path.strip_prefix(api.stage.as_str()))
        && (path.is_empty() || path.starts_with('/'))
    {
        let path = path.strip_prefix('/').unwrap_or_default();
        return answer_in_stage(&site, api, &client, path, request).await.map(Either::Left);
    }
    if site.is_stopping() {
        return unavailable().map(Either::Left);
    }
    let http_api = site.http_api.as_ref();
    if let Some(api) = &site.rest_api
        && let Some(path) = rest_api::path_in_api(api, http_api, request.method(), &path)
    {
        return rest_api::answer(&site, api, &client, path, request).await;
    }
    let answer = match http_api {
        Some(api) => http_api::answer(&site, api, &client, request).await,
        None => response::message(StatusCode::NOT_FOUND, "Not Found"),
    };
    answer.map(Either::Left)
}

async fn answer_in_stage(
    site: &Arc<Site>,
    api: &Arc<WebSocketApi>,
    client: &Client<'_>,
    path: &str,
    request: Request<Incoming>,
) -> GatewayResponse {
    if let Some(id) = management::connection_id(path) {
        return management::answer(site, id, request).await;
    }
    match path {
        _ if site.is_stopping() => unavailable(),
        "" => handshake::answer(site, api, client, request).await,
        _ => response::message(StatusCode::FORBIDDEN, "Forbidden"),
    }
}

fn unavailable() -> GatewayResponse {
    response::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}
