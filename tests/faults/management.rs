//! The management API as it is on a bad day: before the gateway's `@connections`, where functions push.

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

use crate::dice::Dice;
use crate::trap::{Moment, Traps};

/// What becomes of a push; shares are of all pushes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Day {
    /// It arrives.
    Good,
    /// A share is told that the connection is gone, which it is not.
    Gone(f64),
    /// A connection is said to be gone for so long after the first push to it.
    Unborn(Duration),
    /// A share is refused as too much.
    Limited(f64),
    /// A share fails: refused with 500 or 503, or delivered and answered with 500, or not answered for long.
    Failing(f64),
    /// A share is taken and goes nowhere.
    Lossy(f64),
    /// Half are taken, delivered later and so overtaken; a third of all comes twice.
    Disorderly,
}

/// How long a push waits for an answer that does not come: longer than functions wait.
const NO_ANSWER: Duration = Duration::from_millis(2_500);
/// The latest that a disorderly push comes.
const LATE_MS: usize = 200;

/// The API; it ends when this is dropped.
pub(crate) struct Management {
    /// What functions are told as `WS_ENDPOINT`, to which the stage belongs.
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    listening: JoinHandle<()>,
}

struct Desk {
    /// Where the gateway is, once there is one.
    gateway: Mutex<Option<SocketAddr>>,
    day: Mutex<Day>,
    dice: Dice,
    traps: Traps,
    /// When each connection was pushed to first.
    born: Mutex<HashMap<String, Instant>>,
    /// How often each position of an inbox was posted to each connection, whatever its frame said besides.
    posts: Mutex<HashMap<(String, String), usize>>,
    refused: Mutex<usize>,
}

impl Management {
    pub(crate) async fn new(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            gateway: Mutex::default(),
            day: Mutex::new(Day::Good),
            dice: Dice::new(seed),
            traps: Traps::default(),
            born: Mutex::default(),
            posts: Mutex::default(),
            refused: Mutex::default(),
        });
        let accepting = Arc::clone(&desk);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = Arc::clone(&accepting);
                tokio::spawn(async move {
                    let service = service_fn(|request| desk.answer(request));
                    // Whoever pushed may have been killed meanwhile.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, desk, listening }
    }

    /// What arrives goes there.
    pub(crate) fn stands_before(&self, gateway: SocketAddr) {
        *self.desk.gateway.lock().unwrap() = Some(gateway);
    }

    /// From now on it is such a day.
    pub(crate) fn has(&self, day: Day) {
        *self.desk.day.lock().unwrap() = day;
    }

    /// Where the n-th push can be caught.
    pub(crate) fn traps(&self) -> &Traps {
        &self.desk.traps
    }

    /// The most that one frame was posted to one connection.
    pub(crate) fn most_posts_of_a_frame(&self) -> usize {
        self.desk.posts.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    /// How many pushes of notifications there were.
    pub(crate) fn posts(&self) -> usize {
        self.desk.posts.lock().unwrap().values().sum()
    }

    /// How many pushes met with something else than delivery.
    pub(crate) fn spoilt(&self) -> usize {
        *self.desk.refused.lock().unwrap()
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Desk {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return Ok(said(StatusCode::BAD_REQUEST, None));
        };
        let path = head.uri.path().to_owned();
        if head.method != Method::POST {
            return Ok(self.passes(head.method, path, body).await);
        }
        let caught = self.traps.comes_by();
        let after = caught.as_ref().is_some_and(|caught| caught.moment == Moment::After);
        let answer = if caught.is_none() || after { Some(self.posted(&path, body).await) } else { None };
        if let Some(caught) = caught {
            self.traps.holds(caught).await;
        }
        Ok(answer.unwrap_or_else(|| said(StatusCode::INTERNAL_SERVER_ERROR, None)))
    }

    async fn posted(self: &Arc<Self>, path: &str, body: Bytes) -> Response<Full<Bytes>> {
        let frame: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(cursor) = frame["cursor"].as_str() {
            *self.posts.lock().unwrap().entry((path.to_owned(), cursor.to_owned())).or_default() += 1;
        }
        let born = *self.born.lock().unwrap().entry(path.to_owned()).or_insert_with(Instant::now);
        let day = *self.day.lock().unwrap();
        let spoilt = match day {
            Day::Good => return self.passes(Method::POST, path.to_owned(), body).await,
            Day::Gone(share) if self.dice.falls(share) => said(StatusCode::GONE, Some("GoneException")),
            Day::Unborn(time) if born.elapsed() < time => said(StatusCode::GONE, Some("GoneException")),
            Day::Limited(share) if self.dice.falls(share) => {
                said(StatusCode::TOO_MANY_REQUESTS, Some("LimitExceededException"))
            }
            Day::Failing(share) if self.dice.falls(share) => match self.dice.below(4) {
                0 => said(StatusCode::INTERNAL_SERVER_ERROR, None),
                1 => said(StatusCode::SERVICE_UNAVAILABLE, None),
                2 => {
                    self.passes(Method::POST, path.to_owned(), body).await;
                    said(StatusCode::INTERNAL_SERVER_ERROR, None)
                }
                _ => {
                    tokio::time::sleep(NO_ANSWER).await;
                    said(StatusCode::GATEWAY_TIMEOUT, None)
                }
            },
            Day::Lossy(share) if self.dice.falls(share) => said(StatusCode::OK, None),
            Day::Disorderly => {
                self.comes_late(path, &body);
                if self.dice.falls(1.0 / 3.0) {
                    self.comes_late(path, &body);
                }
                said(StatusCode::OK, None)
            }
            _ => return self.passes(Method::POST, path.to_owned(), body).await,
        };
        *self.refused.lock().unwrap() += 1;
        spoilt
    }

    /// Delivers it, now or within a moment.
    fn comes_late(self: &Arc<Self>, path: &str, body: &Bytes) {
        let wait_ms = if self.dice.falls(0.5) { self.dice.below(LATE_MS) as u64 } else { 0 };
        let (desk, path, body) = (Arc::clone(self), path.to_owned(), body.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            desk.passes(Method::POST, path, body).await;
        });
    }

    async fn passes(&self, method: Method, path: String, body: Bytes) -> Response<Full<Bytes>> {
        let gateway = self.gateway.lock().unwrap().expect("functions push once there is a gateway");
        let answer = harness::http::call(gateway, method.as_str(), &path, &[], body).await;
        let mut response = Response::builder().status(answer.status);
        if let Some(kind) = answer.headers.get("x-amzn-errortype") {
            response = response.header("x-amzn-errortype", kind);
        }
        response.body(Full::new(answer.text.into())).unwrap()
    }
}

fn said(status: StatusCode, kind: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if let Some(kind) = kind {
        response = response.header("x-amzn-errortype", kind);
    }
    response.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}
