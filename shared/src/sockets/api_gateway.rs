//! Pushes frames through API Gateway's management API, and closes sockets with the AWS SDK. In development the same clients talk
//! to the local gateway.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region, StalledStreamProtectionConfig};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::post::{Payload, Poster, Refusal};
use crate::clock::Clock;
use crate::doctor::management::NotGone;
use crate::ids::ConnectionId;
use crate::protocol::Frame;
use crate::sockets::push::{MAX_AT_ONCE, Outcome, Push};
use crate::telemetry::invocation::{act_on, wait_for};
use crate::telemetry::waits::Place;

/// The most requests in flight.
const MAX_IN_FLIGHT: usize = MAX_AT_ONCE;
/// How long one push keeps starting requests. Requests in flight after that are waited for; the others have failed.
const START_WINDOW: Duration = Duration::from_millis(300);

/// A connection in API Gateway's form, which it has not given to any client.
const UNUSED_ID: &str = "carillonDoctor0=";

/// Pushes to the sockets of one WebSocket API.
#[derive(Clone)]
pub struct ApiGatewayPush {
    poster: Arc<Poster>,
    /// Made with the first socket that is closed.
    client: Arc<LazyClient>,
}

type LazyClient = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

impl ApiGatewayPush {
    /// `endpoint` is the base URL of `@connections`: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    /// Connects with the first frame.
    pub fn new(endpoint: &str, region: String, credentials: Credentials) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(800))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(3))
            .build();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .credentials_provider(credentials.clone())
            .endpoint_url(endpoint)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // The client would retry before the wait that a throttled response requests.
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            poster: Arc::new(Poster::new(endpoint, region, credentials, Clock::system())),
            client: Arc::new(LazyLock::new(Box::new(|| Client::from_conf(config)))),
        }
    }

    /// Pushes to a connection that does not exist, to find out whether this role may push. `Ok` if it is gone, as it should be.
    pub async fn probe(&self) -> Result<(), NotGone> {
        let payload = Payload::new(&Frame::from(r#"{"type":"pong"}"#));
        match self.poster.post(&ConnectionId::new(UNUSED_ID), &payload).await {
            Err(Refusal::Answer { kind, .. }) if kind == "GoneException" => Ok(()),
            Err(Refusal::Answer { status, kind, .. }) => Err(NotGone { status: Some(status), reason: kind }),
            Err(refusal) => Err(NotGone { status: None, reason: refusal.to_string() }),
            Ok(()) => Err(NotGone { status: Some(200), reason: String::new() }),
        }
    }

    async fn post(&self, connection: &ConnectionId, payload: &Payload) -> Outcome {
        match self.poster.post(connection, payload).await {
            Ok(()) => Outcome::Offered,
            Err(Refusal::Answer { kind, .. }) if kind == "GoneException" => Outcome::Gone,
            Err(refusal) => {
                tracing::warn!(error = %refusal, %connection, "a frame was not accepted");
                outcome_of(&refusal)
            }
        }
    }
}

/// The outcome of a refusal other than that the connection is gone. A 429 means throttled, and so does a 503 that says how
/// long to wait.
fn outcome_of(refusal: &Refusal) -> Outcome {
    let Refusal::Answer { status, retry_after_s, .. } = refusal else { return Outcome::Failed };
    match (*status, *retry_after_s) {
        (429, None) => Outcome::Throttled { retry_after_ms: 0 },
        (429 | 503, Some(seconds)) => Outcome::Throttled { retry_after_ms: seconds.saturating_mul(1_000) },
        _ => Outcome::Failed,
    }
}

#[async_trait]
impl Push for ApiGatewayPush {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        let (_acting, _waiting) = (act_on(Place::Pushes), wait_for(Place::Pushes));
        let until = Instant::now() + START_WINDOW;
        let posts = payloads(frames).into_iter().zip(frames).enumerate().map(
            |(index, (payload, (connection, _)))| async move {
                // The first requests always begin, however slow the machine is.
                let is_late = index >= MAX_IN_FLIGHT && Instant::now() > until;
                if is_late { Outcome::Failed } else { self.post(connection, &payload).await }
            },
        );
        let posts: Vec<_> = posts.collect();
        stream::iter(posts).buffered(MAX_IN_FLIGHT).collect().await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        let (_acting, _waiting) = (act_on(Place::Pushes), wait_for(Place::Pushes));
        stream::iter(connections)
            .for_each_concurrent(MAX_IN_FLIGHT, |connection| async move {
                let closed = self.client.delete_connection().connection_id(connection.as_str()).send().await;
                match closed {
                    Err(error) if !error.as_service_error().is_some_and(|reason| reason.is_gone_exception()) => {
                        let error = aws_sdk_apigatewaymanagement::error::DisplayErrorContext(error);
                        tracing::warn!(%error, %connection, "a connection could not be closed");
                    }
                    _ => {}
                }
            })
            .await;
    }
}

/// The payload of each frame. Frames that follow each other are often the same one, for the devices of one user or the members of
/// one chat.
fn payloads(frames: &[(ConnectionId, Frame)]) -> Vec<Payload> {
    let mut payloads: Vec<Payload> = Vec::with_capacity(frames.len());
    let mut before: Option<&Frame> = None;
    for (_, frame) in frames {
        let same = payloads.last().filter(|_| before.is_some_and(|before| Frame::ptr_eq(before, frame)));
        payloads.push(same.cloned().unwrap_or_else(|| Payload::new(frame)));
        before = Some(frame);
    }
    payloads
}
