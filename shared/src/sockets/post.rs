//! `POST @connections`, signed here and sent over kept connections. The SDK's client, whose own work takes several times the
//! CPU of the request, is not used for it: frames are most of what a deployment pays for.

use std::sync::LazyLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use crate::aws::{self, HttpClient};
use crate::clock::Clock;
use crate::error::with_causes;
use crate::ids::{ConnectionId, hex, sha256};
use crate::protocol::Frame;
use crate::sockets::signature::Signer;

/// Of one attempt, from its first packet to the last.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// What a path contains as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends frames to one WebSocket API.
pub(super) struct Poster {
    /// The base URL of `@connections`, without a slash at its end.
    endpoint: String,
    host: String,
    signer: Signer,
    clock: Clock,
    /// Made with the first frame, since that takes long.
    client: LazyLock<Result<HttpClient, String>>,
}

/// A frame, ready to be sent to any number of devices.
#[derive(Clone)]
pub(super) struct Payload {
    body: Bytes,
    /// SHA-256, in hexadecimal digits.
    hash: String,
}

/// Why a frame was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The management API refused it.
    #[error("{status} {kind}")]
    Answer {
        status: u16,
        /// The name of the exception; empty if there is none.
        kind: String,
        /// The wait that it asks for, in seconds.
        retry_after_s: Option<u32>,
    },
    /// There was no answer in time.
    #[error("no answer within {} s", ATTEMPT_TIMEOUT.as_secs())]
    TimedOut,
    /// There was no answer.
    #[error("{0}")]
    NoAnswer(String),
}

impl Payload {
    pub(super) fn new(frame: &Frame) -> Self {
        let hash = hex(&sha256(frame.as_bytes()));
        Self { body: Bytes::from_owner(SharedFrame(Frame::clone(frame))), hash }
    }
}

/// A frame as the owner of a body, which is not copied for each device.
struct SharedFrame(Frame);

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Poster {
    /// `endpoint` is the base URL of `@connections`: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`.
    pub(super) fn new(endpoint: &str, region: String, credentials: Credentials, clock: Clock) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let (_, rest) = endpoint.split_once("://").unwrap_or(("", &endpoint));
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let signer = Signer::new(credentials, region, host.clone());
        Self { endpoint, host, signer, clock, client: LazyLock::new(aws::client) }
    }

    /// Sends a frame to a connection. An HTTP connection may have died while the sandbox was frozen, so a second attempt
    /// follows if there was no answer, and not if there was none in time.
    pub(super) async fn post(&self, connection: &ConnectionId, payload: &Payload) -> Result<(), Refusal> {
        match self.attempt(connection, payload).await {
            Err(Refusal::NoAnswer(_)) => self.attempt(connection, payload).await,
            posted => posted,
        }
    }

    async fn attempt(&self, connection: &ConnectionId, payload: &Payload) -> Result<(), Refusal> {
        let client = self.client.as_ref().map_err(|error| Refusal::NoAnswer(error.clone()))?;
        let request = self.request(connection, payload).map_err(Refusal::NoAnswer)?;
        let answering = async {
            let answer = client.request(request).await.map_err(|error| Refusal::NoAnswer(with_causes(&error)))?;
            let (status, refusal) = (answer.status(), refusal(answer.status().as_u16(), answer.headers()));
            // To its end, so that the next request can use the connection.
            let read = answer.into_body().collect().await;
            match status.is_success() {
                true => read.map(drop).map_err(|error| Refusal::NoAnswer(error.to_string())),
                false => Err(refusal),
            }
        };
        timeout(ATTEMPT_TIMEOUT, answering).await.unwrap_or(Err(Refusal::TimedOut))
    }

    /// The signed request.
    fn request(&self, connection: &ConnectionId, payload: &Payload) -> Result<Request<Full<Bytes>>, String> {
        let connection = utf8_percent_encode(connection.as_str(), ESCAPED);
        let uri = format!("{}/@connections/{connection}", self.endpoint);
        let request = Request::post(uri).header(HOST, &self.host).body(Full::new(payload.body.clone()));
        let mut request = request.map_err(|error| error.to_string())?;
        self.signer.sign(&mut request, &payload.hash, &self.clock)?;
        Ok(request)
    }
}

/// What an answer that is no success says.
fn refusal(status: u16, headers: &HeaderMap) -> Refusal {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // `GoneException:http://internal.amazon.com/...` is possible too.
    let kind = text("x-amzn-errortype").split(':').next().unwrap_or_default().to_owned();
    Refusal::Answer { status, kind, retry_after_s: text(RETRY_AFTER.as_str()).trim().parse().ok() }
}
