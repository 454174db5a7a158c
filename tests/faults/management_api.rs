//! A faulty management API between the functions, which push to it, and `@connections` of the gateway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::breakpoints::{Breakpoints, Held};
use crate::random::Random;

/// What happens to a push. Shares are fractions of all pushes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behaviour {
    /// Every push is delivered.
    Normal,
    /// A share gets 410 although the connection is open.
    Gone(f64),
    /// A connection gets 410 for this long after the first push to it.
    GoneWhenNew(Duration),
    /// A share gets 429.
    Throttled(f64),
    /// A share fails: it gets 500 or 503, or is delivered and gets 500, or gets no answer for a long time.
    Failing(f64),
    /// A share gets 200 but is dropped.
    Dropping(f64),
    /// Half are accepted, delivered late and overtaken; a third of all pushes are delivered twice.
    Disordered,
}

/// How long a push waits for an answer that does not come. Longer than functions wait.
const NO_ANSWER_DELAY: Duration = Duration::from_millis(2_500);
/// The maximum delay of a late push.
const MAX_DELAY_MS: usize = 200;

/// The management API; it stops when dropped.
pub(crate) struct ManagementApi {
    /// The address in `WS_ENDPOINT`, which ends with the name of the API Gateway stage.
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    /// The address of the gateway, once it is started.
    gateway: Mutex<Option<SocketAddr>>,
    behaviour: Mutex<Behaviour>,
    random: Random,
    breakpoints: Breakpoints,
    /// When each connection got its first push.
    first_push: Mutex<HashMap<String, Instant>>,
    /// How many pushes of each cursor each connection got, whatever else the frames contained.
    posts: Mutex<HashMap<(String, String), usize>>,
    faulted_posts: Mutex<usize>,
}

impl ManagementApi {
    pub(crate) async fn new(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            gateway: Mutex::default(),
            behaviour: Mutex::new(Behaviour::Normal),
            random: Random::new(seed),
            breakpoints: Breakpoints::default(),
            first_push: Mutex::default(),
            posts: Mutex::default(),
            faulted_posts: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&accepting);
                tokio::spawn(async move {
                    let service = service_fn(|request| state.respond(request));
                    // The pushing process may have been killed meanwhile.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state, listening }
    }

    /// Sets the gateway that pushes are forwarded to.
    pub(crate) fn forward_to(&self, gateway: SocketAddr) {
        *self.state.gateway.lock().unwrap() = Some(gateway);
    }

    /// Sets what happens to pushes from now on.
    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// Breakpoints for pushes.
    pub(crate) fn breakpoints(&self) -> &Breakpoints {
        &self.state.breakpoints
    }

    /// The maximum number of pushes of one frame to one connection.
    pub(crate) fn max_posts_of_a_frame(&self) -> usize {
        self.state.posts.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    /// The number of pushes that carried a cursor.
    pub(crate) fn posts(&self) -> usize {
        self.state.posts.lock().unwrap().values().sum()
    }

    /// The number of pushes that the fault affected.
    pub(crate) fn faulted_posts(&self) -> usize {
        *self.state.faulted_posts.lock().unwrap()
    }
}

impl Drop for ManagementApi {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    async fn respond(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return Ok(response(StatusCode::BAD_REQUEST, None));
        };
        let path = head.uri.path().to_owned();
        if head.method != Method::POST {
            return Ok(self.forward(head.method, path, body).await);
        }
        let hit = self.breakpoints.check();
        let delivers = hit.as_ref().is_none_or(|hit| hit.held == Held::Answer);
        let answer = if delivers { Some(self.post(&path, body).await) } else { None };
        if let Some(hit) = hit {
            self.breakpoints.hold(hit).await;
        }
        Ok(answer.unwrap_or_else(|| response(StatusCode::INTERNAL_SERVER_ERROR, None)))
    }

    async fn post(self: &Arc<Self>, path: &str, body: Bytes) -> Response<Full<Bytes>> {
        let frame: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(cursor) = frame["cursor"].as_str() {
            *self.posts.lock().unwrap().entry((path.to_owned(), cursor.to_owned())).or_default() += 1;
        }
        let first_push = *self.first_push.lock().unwrap().entry(path.to_owned()).or_insert_with(Instant::now);
        let behaviour = *self.behaviour.lock().unwrap();
        let faulted = match behaviour {
            Behaviour::Normal => return self.forward(Method::POST, path.to_owned(), body).await,
            Behaviour::Gone(share) if self.random.chance(share) => response(StatusCode::GONE, Some("GoneException")),
            Behaviour::GoneWhenNew(time) if first_push.elapsed() < time => {
                response(StatusCode::GONE, Some("GoneException"))
            }
            Behaviour::Throttled(share) if self.random.chance(share) => {
                response(StatusCode::TOO_MANY_REQUESTS, Some("LimitExceededException"))
            }
            Behaviour::Failing(share) if self.random.chance(share) => match self.random.below(4) {
                0 => response(StatusCode::INTERNAL_SERVER_ERROR, None),
                1 => response(StatusCode::SERVICE_UNAVAILABLE, None),
                2 => {
                    self.forward(Method::POST, path.to_owned(), body).await;
                    response(StatusCode::INTERNAL_SERVER_ERROR, None)
                }
                _ => {
                    tokio::time::sleep(NO_ANSWER_DELAY).await;
                    response(StatusCode::GATEWAY_TIMEOUT, None)
                }
            },
            Behaviour::Dropping(share) if self.random.chance(share) => response(StatusCode::OK, None),
            Behaviour::Disordered => {
                self.deliver_late(path, &body);
                if self.random.chance(1.0 / 3.0) {
                    self.deliver_late(path, &body);
                }
                response(StatusCode::OK, None)
            }
            _ => return self.forward(Method::POST, path.to_owned(), body).await,
        };
        *self.faulted_posts.lock().unwrap() += 1;
        faulted
    }

    /// Delivers the push, half of the time after a random delay.
    fn deliver_late(self: &Arc<Self>, path: &str, body: &Bytes) {
        let wait_ms = if self.random.chance(0.5) { self.random.below(MAX_DELAY_MS) as u64 } else { 0 };
        let (state, path, body) = (Arc::clone(self), path.to_owned(), body.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            state.forward(Method::POST, path, body).await;
        });
    }

    async fn forward(&self, method: Method, path: String, body: Bytes) -> Response<Full<Bytes>> {
        let gateway = self.gateway.lock().unwrap().expect("functions push only after the gateway is started");
        let answer = harness::http::call(gateway, method.as_str(), &path, &[], body).await;
        let mut built = Response::builder().status(answer.status);
        if let Some(kind) = answer.headers.get("x-amzn-errortype") {
            built = built.header("x-amzn-errortype", kind);
        }
        built.body(Full::new(answer.text.into())).unwrap()
    }
}

fn response(status: StatusCode, kind: Option<&str>) -> Response<Full<Bytes>> {
    let mut built = Response::builder().status(status);
    if let Some(kind) = kind {
        built = built.header("x-amzn-errortype", kind);
    }
    built.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}
