//! The promise to hand pushes to push services. A push that was accepted may still be lost, or expire, before the browser gets it.

use async_trait::async_trait;

use super::subscription::Subscription;

/// Sends to the push services of browsers.
#[async_trait]
pub trait PushServices: Send + Sync {
    /// Sends one push, once or, if the connection broke, twice. Returns within seconds, whatever the push service does, and
    /// follows no redirect.
    async fn post(&self, push: &Push<'_>, now_ms: i64) -> Outcome;
}

/// What is sent to one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// Where, and for whom it is encrypted.
    pub subscription: &'a Subscription,
    /// What the browser's service worker gets: at most [`MAX_PAYLOAD_BYTES`](super::encryption::MAX_PAYLOAD_BYTES).
    pub payload: &'a [u8],
    /// How long the push service keeps it for a browser that it does not reach, in seconds; 0 keeps it not at all.
    pub ttl_s: u32,
    /// How much it matters.
    pub urgency: Urgency,
    /// With a topic it replaces what the push service still has of that topic: at most 32 characters of base64url.
    pub topic: Option<&'a str>,
}

/// How much a push matters, by which a device that saves its battery decides (RFC 8030, section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// On power and Wi-Fi.
    VeryLow,
    /// On either.
    Low,
    /// On neither.
    Normal,
    /// With a low battery, too.
    High,
}

impl Urgency {
    /// Its name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The push service has it.
    Accepted,
    /// The subscription has ended, and nothing can be pushed to it any more.
    Gone,
    /// The payload is too large, for this push service or for all.
    TooLarge,
    /// There was no answer, or one that asks to come back. A retry may succeed.
    Later {
        /// The requested wait, in milliseconds: at most a day; `None` if none was requested.
        after_ms: Option<i64>,
    },
    /// The push service refuses it, or may not be sent to. A retry would fail.
    Refused {
        /// The status of its answer; `None` if it was not asked.
        status: Option<u16>,
    },
}
