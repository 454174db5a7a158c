//! The moment of a deployment without Redis (`QUEUE_REDIS_ENABLED=false`): limits are kept in each process, nothing is
//! counted, nothing is queued or cached, and no one knows who is online.

use async_trait::async_trait;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::chat::audience::{Audience, Audiences};
use crate::chat::cache::{MessageCache, Room};
use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::clock::At;
use crate::delivery::queue::{Added, Claims, Depth, Entry, Queue, Resolution};
use crate::emit::{Addressees, Emitted, Kept, Newest};
use crate::fast::log::{
    Claimed, KeyClaim, LogEntry, LogId, Logged, Logs, ReadLogs, Share, Unwritten, UnwrittenLogs, WriterId,
};
use crate::ids::{ChatId, ConnectionId, EventId, NotificationId, SendId, UserId};
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::presence::{Left, Presence, Renewed, Settled};
use crate::protocol::Frame;
use crate::sockets::push::Outcome;
use crate::sockets::streams::{Listening, Streams};
use crate::telemetry::health::{Health, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps what it can of the promises of the moment without a store.
#[derive(Debug, Default)]
pub struct NoMoment {
    buckets: Buckets,
}

#[async_trait]
impl Limits for NoMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.buckets.spend(spends, at.process_ms())
    }

    async fn give_back(&self, spends: &[Spend], _: At) {
        self.buckets.give_back(spends);
    }
}

#[async_trait]
impl Telemetry for NoMoment {
    async fn report(&self, _: &Report<'_>, _: At) {}

    async fn counts(&self, _: At) -> Option<Counts> {
        None
    }

    async fn outcomes(&self, _: NotificationId, _: At) -> Option<Vec<PushAttempt>> {
        None
    }
}

#[async_trait]
impl Presence for NoMoment {
    async fn renew(&self, _: &UserId, _: &ConnectionId, _: i64, _: At) -> Option<Renewed> {
        None
    }

    async fn leave(&self, _: &UserId, _: &ConnectionId, _: At) -> Option<Left> {
        None
    }

    async fn settle(&self, _: &UserId, _: At) -> Option<Settled> {
        None
    }

    async fn forget_user(&self, _: &UserId) {}

    async fn online(&self, _: &[UserId], _: At) -> Option<Vec<bool>> {
        None
    }
}

#[async_trait]
impl MessageCache for NoMoment {
    async fn keep(&self, _: ChatId, _: &[&Message], _: Room, _: At) {}

    async fn run(&self, _: ChatId, _: Range, _: usize, _: At) -> Vec<Message> {
        Vec::new()
    }

    async fn forget(&self, _: ChatId) {}
}

#[async_trait]
impl Audiences for NoMoment {
    async fn remember(&self, _: ChatId, _: &Audience, _: i64, _: At) {}

    async fn recall(&self, _: ChatId, _: i64, _: At) -> Option<Audience> {
        None
    }

    async fn change(&self, _: ChatId, _: i64, _: At) {}
}

#[async_trait]
impl Emitted for NoMoment {
    async fn keep(&self, _: EventId, _: &RawValue, _: At) -> Option<Kept> {
        None
    }

    async fn address(&self, _: EventId, _: Addressees<'_>, _: At) {}

    async fn find(&self, _: EventId, _: At) -> Option<Box<RawValue>> {
        None
    }

    async fn newest(&self, _: &UserId, _: At) -> Option<Newest> {
        None
    }

    async fn list(&self, _: &UserId, _: At) -> Vec<Box<RawValue>> {
        Vec::new()
    }
}

/// Streams look at the record by themselves.
#[async_trait]
impl Streams for NoMoment {
    async fn publish(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        vec![Outcome::Offered; frames.len()]
    }

    async fn listen(&self, _: &ConnectionId) -> Option<Box<dyn Listening>> {
        None
    }
}

/// Everything is refused, and the record finds it.
#[async_trait]
impl Queue for NoMoment {
    async fn add(&self, entries: &[Entry], _: At) -> Added {
        Added { refused: entries.len(), drain_is_awake: None }
    }

    async fn claim(&self, _: usize, _: At) -> Option<Claims> {
        None
    }

    async fn settle(&self, _: &[Resolution], _: At) -> bool {
        false
    }

    async fn heartbeat(&self, _: At) -> Option<u64> {
        None
    }

    async fn hear_of_work(&self) -> Option<Box<dyn Listening>> {
        None
    }

    async fn sign_off(&self, _: At) -> Option<u64> {
        None
    }

    async fn depth(&self, _: At) -> Option<Depth> {
        None
    }
}

/// There are no logs, so that every accept is durable.
#[async_trait]
impl Logs for NoMoment {
    async fn append(&self, _: LogId, _: Uuid, _: &str, _: At) -> Option<Logged> {
        Some(Logged::Full)
    }

    async fn claim_key(&self, _: SendId, _: KeyClaim, _: At) -> Option<Claimed> {
        None
    }

    async fn take_key(&self, _: SendId, _: KeyClaim, _: At) -> Option<KeyClaim> {
        None
    }

    async fn claimed_key(&self, _: SendId, _: At) -> Option<KeyClaim> {
        None
    }

    async fn unwritten(&self, _: &[LogId]) -> UnwrittenLogs {
        UnwrittenLogs::default()
    }

    async fn read(&self, _: &[LogId], _: Share, _: WriterId, _: At) -> ReadLogs {
        ReadLogs::default()
    }

    async fn remove(&self, _: &[LogEntry], _: WriterId) -> Option<Vec<LogId>> {
        None
    }

    async fn release(&self, _: &[LogId], _: WriterId) {}

    async fn unwritten_total(&self, _: At) -> Option<Unwritten> {
        None
    }
}

#[async_trait]
impl Health for NoMoment {
    async fn check(&self) -> Status {
        Status::Off
    }

    async fn instances(&self) -> Instances {
        Instances { mode: Mode::Memory, instances: Vec::new() }
    }
}
