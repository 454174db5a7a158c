//! The moment in this process, for the local gateway and for tests. It ends with the process, as the moment may end at any
//! time.

mod audiences;
mod emit;
mod logs;
mod messages;
mod presence;
mod queue;
mod streams;
mod telemetry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use self::audiences::Remembered;
use self::emit::Events;
use self::logs::MemoryLogs;
use self::messages::KeptMessages;
use self::presence::Leases;
use self::queue::MemoryQueue;
use self::streams::Listeners;
use self::telemetry::Recorded;
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
use crate::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Server, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps the promises of the moment in one process.
#[derive(Debug, Default)]
pub struct MemoryMoment {
    buckets: Buckets,
    telemetry: Mutex<Recorded>,
    queue: Mutex<MemoryQueue>,
    leases: Mutex<Leases>,
    messages: Mutex<KeptMessages>,
    audiences: Mutex<Remembered>,
    events: Mutex<Events>,
    logs: Mutex<MemoryLogs>,
    listeners: Listeners,
    /// Moves whenever work was enqueued.
    news: watch::Sender<u64>,
    operations: AtomicU64,
}

/// Hears of work.
struct News(watch::Receiver<u64>);

#[async_trait]
impl Listening for News {
    async fn next(&mut self) -> Option<Frame> {
        self.0.changed().await.ok().map(|()| Frame::from(""))
    }
}

impl MemoryMoment {
    fn telemetry(&self) -> MutexGuard<'_, Recorded> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held left at worst part of one report.
        self.telemetry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst a lease, which the next frame renews.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn messages(&self) -> MutexGuard<'_, KeptMessages> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst messages that the record has.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn audiences(&self) -> MutexGuard<'_, Remembered> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst an audience, which is read again.
        self.audiences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst an event, as any may be lost.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, MemoryLogs> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst the entry that was being appended or removed.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, MemoryQueue> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst an entry that the record knows.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limits for MemoryMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.buckets.spend(spends, at.process_ms())
    }

    async fn give_back(&self, spends: &[Spend], _: At) {
        self.buckets.give_back(spends);
    }
}

#[async_trait]
impl Telemetry for MemoryMoment {
    /// Hints are dropped: no other program can listen to this process.
    async fn report(&self, report: &Report<'_>, at: At) {
        self.telemetry().report(report, at.process_ms());
    }

    async fn counts(&self, at: At) -> Option<Counts> {
        Some(self.telemetry().counts(at.process_ms()))
    }

    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>> {
        Some(self.telemetry().outcomes(id, at.process_ms()))
    }
}

#[async_trait]
impl Presence for MemoryMoment {
    async fn renew(&self, user: &UserId, connection: &ConnectionId, lease_ms: i64, at: At) -> Option<Renewed> {
        Some(self.leases().renew(user, connection, lease_ms, at.process_ms()))
    }

    async fn leave(&self, user: &UserId, connection: &ConnectionId, at: At) -> Option<Left> {
        Some(self.leases().leave(user, connection, at.process_ms()))
    }

    async fn settle(&self, user: &UserId, at: At) -> Option<Settled> {
        Some(self.leases().settle(user, at.process_ms()))
    }

    async fn forget_user(&self, user: &UserId) {
        self.leases().forget(user);
    }

    async fn online(&self, users: &[UserId], at: At) -> Option<Vec<bool>> {
        Some(self.leases().online(users, at.process_ms()))
    }
}

#[async_trait]
impl MessageCache for MemoryMoment {
    async fn keep(&self, chat: ChatId, messages: &[&Message], room: Room, at: At) {
        self.messages().keep(chat, messages, room, at.process_ms());
    }

    async fn run(&self, chat: ChatId, range: Range, limit: usize, at: At) -> Vec<Message> {
        self.messages().run(chat, range, limit, at.process_ms())
    }

    async fn forget(&self, chat: ChatId) {
        self.messages().forget(chat);
    }
}

#[async_trait]
impl Emitted for MemoryMoment {
    async fn keep(&self, id: EventId, event: &RawValue, at: At) -> Option<Kept> {
        Some(self.events().keep(id, event, at.process_ms()))
    }

    async fn address(&self, id: EventId, audience: Addressees<'_>, _: At) {
        self.events().address(id, audience);
    }

    async fn find(&self, id: EventId, at: At) -> Option<Box<RawValue>> {
        self.events().find(id, at.process_ms())
    }

    async fn newest(&self, user: &UserId, at: At) -> Option<Newest> {
        Some(self.events().newest(user, at.process_ms()))
    }

    async fn list(&self, user: &UserId, at: At) -> Vec<Box<RawValue>> {
        self.events().list(user, at.process_ms())
    }
}

#[async_trait]
impl Audiences for MemoryMoment {
    async fn remember(&self, chat: ChatId, audience: &Audience, age_ms: i64, at: At) {
        self.audiences().remember(chat, audience, age_ms, at.process_ms());
    }

    async fn recall(&self, chat: ChatId, max_age_ms: i64, at: At) -> Option<Audience> {
        self.audiences().recall(chat, max_age_ms, at.process_ms())
    }

    async fn change(&self, chat: ChatId, version: i64, at: At) {
        self.audiences().change(chat, version, at.process_ms());
    }
}

#[async_trait]
impl Streams for MemoryMoment {
    async fn publish(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        frames.iter().map(|(stream, frame)| self.listeners.publish(stream, frame)).collect()
    }

    async fn listen(&self, stream: &ConnectionId) -> Option<Box<dyn Listening>> {
        Some(self.listeners.listen(stream))
    }
}

#[async_trait]
impl Queue for MemoryMoment {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        let added = self.queue().add(entries, at.process_ms());
        self.news.send_modify(|generation| *generation += 1);
        added
    }

    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        Some(self.queue().claim(limit, at.process_ms()))
    }

    async fn settle(&self, settled: &[Resolution], at: At) -> bool {
        self.queue().settle(settled, at.process_ms());
        true
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        Some(self.queue().heartbeat(at.process_ms()))
    }

    async fn hear_of_work(&self) -> Option<Box<dyn Listening>> {
        Some(Box::new(News(self.news.subscribe())))
    }

    async fn sign_off(&self, _: At) -> Option<u64> {
        Some(self.queue().sign_off())
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        Some(self.queue().depth(at.process_ms()))
    }
}

#[async_trait]
impl Logs for MemoryMoment {
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        Some(self.logs().append(log, id, text, at.process_ms()))
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<Claimed> {
        Some(self.logs().claim_key(send, claim, at.process_ms()))
    }

    async fn take_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<KeyClaim> {
        self.logs().take_key(send, claim, at.process_ms())
    }

    async fn claimed_key(&self, send: SendId, at: At) -> Option<KeyClaim> {
        self.logs().claimed_key(send, at.process_ms())
    }

    async fn unwritten(&self, logs: &[LogId]) -> UnwrittenLogs {
        UnwrittenLogs { logs: self.logs().unwritten(logs), is_silent: false }
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        self.logs().read(logs, share, writer, at.process_ms())
    }

    async fn remove(&self, entries: &[LogEntry], writer: WriterId) -> Option<Vec<LogId>> {
        Some(self.logs().remove(entries, writer))
    }

    async fn release(&self, logs: &[LogId], writer: WriterId) {
        self.logs().release(logs, writer);
    }

    async fn unwritten_total(&self, at: At) -> Option<Unwritten> {
        Some(self.logs().unwritten_total(at.process_ms()))
    }
}

#[async_trait]
impl Health for MemoryMoment {
    async fn check(&self) -> Status {
        Status::Off
    }

    /// No operation takes long enough to be measured.
    async fn instances(&self) -> Instances {
        let instance = Instance {
            name: "memory".into(),
            healthy: true,
            server: Server::default(),
            share: 1.0,
            operations: self.operations.load(Ordering::Relaxed),
            errors: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            breaker: BreakerState::Closed,
            last_error: None,
        };
        Instances { mode: Mode::Memory, instances: vec![instance] }
    }
}
