//! A proxy in front of the gateway that loses answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use harness::http::call;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

const SEND: &str = "/api/notifications/send";
const MESSAGES: &str = "/messages";

/// Forwards every call, but drops the answer to the first send or message and answers the second one with 503.
#[derive(Clone)]
pub(crate) struct LossyProxy {
    gateway: SocketAddr,
    address: SocketAddr,
    keys: Arc<Mutex<Vec<String>>>,
}

impl LossyProxy {
    /// Starts a proxy to this gateway.
    pub(crate) async fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { gateway, address: listener.local_addr().unwrap(), keys: Arc::default() };
        tokio::spawn({
            let proxy = proxy.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let proxy = proxy.clone();
                    let service = service_fn(move |request| proxy.clone().forward(request));
                    // Connections that break are part of the test.
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            }
        });
        proxy
    }

    /// The URL for the programs.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The idempotency keys of all sends and the client ids of all messages, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    async fn forward(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let forwarded = ["authorization", "content-type", "idempotency-key", "if-none-match"];
        let headers: Vec<(&str, &str)> =
            forwarded.into_iter().filter_map(|name| Some((name, head.headers.get(name)?.to_str().unwrap()))).collect();
        let key = match head.uri.path() {
            SEND => headers.iter().find(|(name, _)| *name == "idempotency-key").map(|(_, key)| (*key).to_owned()),
            path if head.method == "POST" && path.ends_with(MESSAGES) => {
                let message: Value = serde_json::from_slice(&body).unwrap();
                message["clientId"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        let attempt = key.map(|key| {
            let mut keys = self.keys.lock().unwrap();
            keys.push(key);
            keys.len()
        });
        if attempt == Some(2) {
            return Ok(Response::builder().status(503).header("retry-after", "1").body(Full::default()).unwrap());
        }
        let path = head.uri.path_and_query().unwrap().as_str();
        let answer = call(self.gateway, head.method.as_str(), path, &headers, body).await;
        if attempt == Some(1) {
            return Err(io::Error::other("lost"));
        }
        let mut response = Response::new(Full::new(Bytes::from(answer.text)));
        *response.status_mut() = answer.status.try_into().unwrap();
        for name in ["content-type", "etag", "retry-after"] {
            if let Some(value) = answer.headers.get(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }
}
