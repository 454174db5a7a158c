//! The one API Gateway in front of both releases: a push goes to whichever gateway has the socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A management API that knows the sockets of all gateways.
#[derive(Clone)]
pub(crate) struct Sockets {
    /// The address in `WS_ENDPOINT`.
    pub(crate) address: SocketAddr,
    gateways: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Sockets {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sockets = Self { address: listener.local_addr().unwrap(), gateways: Arc::default() };
        let gateways = Arc::clone(&sockets.gateways);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gateways = Arc::clone(&gateways);
                tokio::spawn(async move {
                    let service = service_fn(|request| forward(Arc::clone(&gateways), request));
                    // The gateway that pushes may have been stopped meanwhile.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        sockets
    }

    pub(crate) fn add(&self, gateway: SocketAddr) {
        self.gateways.lock().unwrap().push(gateway);
    }

    pub(crate) fn remove(&self, gateway: SocketAddr) {
        self.gateways.lock().unwrap().retain(|other| *other != gateway);
    }
}

async fn forward(
    gateways: Arc<Mutex<Vec<SocketAddr>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let gateways = gateways.lock().unwrap().clone();
    for gateway in gateways {
        let answer = harness::http::call(gateway, head.method.as_str(), head.uri.path(), &[], body.clone()).await;
        if answer.status != 410 {
            return Ok(Response::builder().status(answer.status).body(Full::new(answer.text.into())).unwrap());
        }
    }
    let gone = Response::builder().status(StatusCode::GONE).header("x-amzn-errortype", "GoneException");
    Ok(gone.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
}
