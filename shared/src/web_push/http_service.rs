//! Push services over HTTP.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Error as ClientError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout_at};

use super::connections::{Connections, NotPublic};
use super::encryption::{EncryptionError, encrypt};
use super::endpoint::{PushHosts, Reach};
use super::service::{Outcome, Push, PushServices};
use super::vapid::Vapid;
use crate::config::VapidKeys;
use crate::error::with_causes;

/// Of one push, from the resolution of the host to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most that is read of the body of an answer, up to the packet that exceeds it.
const MAX_BODY_BYTES: usize = 4 * 1_024;
/// The longest wait that a push service may ask for.
const MAX_WAIT_MS: i64 = 24 * 60 * 60 * 1_000;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");

/// Sends to the push services that the configuration permits.
pub struct HttpPushServices {
    vapid: Vapid,
    hosts: PushHosts,
    timeout: Duration,
    /// To hosts that must be public.
    public: Connections,
    /// To hosts that the configuration names with their ports.
    named: Connections,
}

/// Why a push was not accepted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("this deployment does not send to its host")]
    NotPermitted,
    #[error(transparent)]
    NotPublic(NotPublic),
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error("the request could not be made: {0}")]
    Unsendable(String),
    #[error("the push service cannot be reached: {0}")]
    Unreachable(String),
    #[error("there was no answer: {0}")]
    NoAnswer(String),
    #[error("there was no answer in time")]
    TimedOut,
    #[error("the push service answered {status}")]
    Answer { status: u16, after_ms: Option<i64> },
}

impl HttpPushServices {
    /// Signs with these keys, and sends to these hosts. Connects with the first push.
    pub fn new(keys: VapidKeys, hosts: PushHosts) -> Self {
        Self {
            vapid: Vapid::new(keys),
            hosts,
            timeout: TIMEOUT,
            public: Connections::new(Reach::Public),
            named: Connections::new(Reach::Any),
        }
    }

    /// Waits this long for the answer to a push, instead of 5 s.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn try_post(&self, push: &Push<'_>, now_ms: i64) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        // The list of hosts may be another one than when the subscription was stored.
        let connections = match self.hosts.reach(&push.subscription.endpoint).ok_or(Failure::NotPermitted)? {
            Reach::Public => &self.public,
            Reach::Any => &self.named,
        };
        let request = self.request(push, now_ms)?;
        let client = connections.client(now_ms).map_err(Failure::Unreachable)?;
        let ask = || client.request(request.clone());
        let asking = async {
            match ask().await {
                // The push service may have closed the connection just now.
                Err(error) if !error.is_connect() => ask().await,
                asked => asked,
            }
        };
        let asked = timeout_at(deadline, asking).await.map_err(|_| Failure::TimedOut)?;
        let answer = asked.map_err(|error| Failure::without_answer(&error))?;
        let status = answer.status().as_u16();
        let after_ms = retry_after_ms(answer.headers(), now_ms);
        // To its end, so that the next request can use the connection. What it says decides nothing.
        let _ = timeout_at(deadline, Limited::new(answer.into_body(), MAX_BODY_BYTES).collect()).await;
        match status {
            200..=299 => Ok(()),
            _ => Err(Failure::Answer { status, after_ms }),
        }
    }

    fn request(&self, push: &Push<'_>, now_ms: i64) -> Result<Request<Full<Bytes>>, Failure> {
        let endpoint = &push.subscription.endpoint;
        let body = encrypt(push.payload, &push.subscription.keys)?;
        let authorization = self.vapid.authorization(endpoint, now_ms);
        let authorization = authorization.map_err(|_| Failure::Unsendable("its token could not be signed".into()))?;
        let mut request = Request::post(endpoint.as_str())
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(TTL, push.ttl_s)
            .header(URGENCY, push.urgency.name());
        if let Some(topic) = push.topic {
            request = request.header(TOPIC, topic);
        }
        request.body(Full::new(body.into())).map_err(|error| Failure::Unsendable(error.to_string()))
    }
}

#[async_trait]
impl PushServices for HttpPushServices {
    async fn post(&self, push: &Push<'_>, now_ms: i64) -> Outcome {
        let Err(failure) = self.try_post(push, now_ms).await else {
            return Outcome::Accepted;
        };
        let outcome = failure.outcome();
        // The others are part of a subscription's life, or handled by a smaller payload.
        if matches!(outcome, Outcome::Later { .. } | Outcome::Refused { .. }) {
            let (subscription, origin) = (push.subscription.id, push.subscription.endpoint.origin());
            tracing::warn!(error = %failure, %subscription, origin, "a push was not accepted");
        }
        outcome
    }
}

impl Failure {
    fn without_answer(error: &ClientError) -> Self {
        match error.is_connect() {
            true if is_not_public(error) => Self::NotPublic(NotPublic),
            true => Self::Unreachable(with_causes(error)),
            false => Self::NoAnswer(with_causes(error)),
        }
    }

    fn outcome(&self) -> Outcome {
        match *self {
            Self::NotPermitted | Self::NotPublic(_) | Self::Unsendable(_) => Outcome::Refused { status: None },
            Self::Encryption(EncryptionError::TooLarge) => Outcome::TooLarge,
            Self::Encryption(EncryptionError::Failed) | Self::Unreachable(_) | Self::NoAnswer(_) | Self::TimedOut => {
                Outcome::Later { after_ms: None }
            }
            Self::Answer { status, after_ms } => match status {
                404 | 410 => Outcome::Gone,
                413 => Outcome::TooLarge,
                429 | 500..=599 => Outcome::Later { after_ms },
                _ => Outcome::Refused { status: Some(status) },
            },
        }
    }
}

/// Whether an error comes from the check of addresses, which the HTTP client wraps.
fn is_not_public(error: &(dyn Error + 'static)) -> bool {
    error.is::<NotPublic>() || error.source().is_some_and(is_not_public)
}

/// The wait that an answer asks for: seconds, or a date in the format of HTTP (RFC 9110, section 10.2.3).
fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait_ms = match text.parse::<i64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => OffsetDateTime::parse(text, &Rfc2822).ok()?.unix_timestamp() * 1_000 - now_ms,
    };
    Some(wait_ms.clamp(0, MAX_WAIT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW_MS: i64 = 784_111_777_000;

    #[test]
    fn a_wait_is_given_in_seconds_or_by_a_date_and_is_at_most_a_day() {
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            ("-1", Some(0)),
            ("9223372036854775807", Some(MAX_WAIT_MS)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(MAX_WAIT_MS)),
            ("99999999999999999999", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after_ms(&headers, NOW_MS), expected, "{value}");
        }
        assert_eq!(retry_after_ms(&HeaderMap::new(), NOW_MS), None);
    }
}
