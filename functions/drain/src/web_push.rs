//! Web Push: sends what is due to the push services of browsers, and settles it.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, StreamExt};
use shared::app::App;
use shared::clock::Time;
use shared::delivery::backoff::jittered_ms;
use shared::error::StoreError;
use shared::ids::SubscriptionId;
use shared::inbox::notification::{Notification, Priority};
use shared::web_push::message::{PushMessage, may_be_silent};
use shared::web_push::pushes::{
    DigestContent, DigestEnd, DigestTag, DueDigest, DuePush, PushEnd, SettledDigest, SettledPush, Task,
};
use shared::web_push::service::{Outcome, Push, PushServices};
use shared::web_push::subscription::Subscription;
use tokio::task::JoinHandle;

/// How many notifications are taken at once, and of how many users digests.
const MAX_TAKEN: usize = 16;
/// For how many of them push services are asked at once.
const MAX_AT_ONCE: usize = 16;
/// How often a push is attempted.
const MAX_ATTEMPTS: u32 = 6;
/// The first wait after a failure, in milliseconds; doubled with each further one.
const RETRY_MS: i64 = 10_000;
/// How long it waits if what is due cannot be taken.
const PAUSE: Duration = Duration::from_millis(25);
/// The longest wait, whatever a push service asks for.
const MAX_RETRY_MS: i64 = 60 * 60 * 1_000;

/// A task that sends while the drain does everything else. A push service may take seconds to answer, and any user may name
/// one, so only the end of the drain waits for it.
#[derive(Default)]
pub(crate) struct Sending {
    running: Option<JoinHandle<Result<usize, StoreError>>>,
    is_ending: Arc<AtomicBool>,
}

/// What is due.
#[derive(Clone, Copy)]
pub(crate) struct DueKinds {
    pub(crate) pushes: bool,
    pub(crate) digests: bool,
}

impl Sending {
    /// Sends these as long as any are due, and starts nothing after `until_ms`. If it is running, it only goes on.
    pub(crate) fn start(&mut self, app: &App, due: DueKinds, until_ms: i64) {
        if self.running.is_none() {
            let (app, is_ending) = (app.clone(), Arc::clone(&self.is_ending));
            self.running = Some(tokio::spawn(async move { send_all(&app, due, until_ms, &is_ending).await }));
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits until it has sent everything, if it is running. Returns how many pushes were accepted. To be dropped while it
    /// waits changes nothing.
    pub(crate) async fn done(&mut self) -> Result<usize, StoreError> {
        let Some(running) = &mut self.running else { return Ok(0) };
        let done = running.await;
        self.running = None;
        // It is never aborted, so it has panicked, as the drain would without a task.
        done.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
    }

    /// The same for what it has already taken.
    pub(crate) async fn end(&mut self) -> Result<usize, StoreError> {
        self.is_ending.store(true, Ordering::Relaxed);
        self.done().await
    }
}

/// Returns how many pushes were accepted.
async fn send_all(app: &App, mut due: DueKinds, until_ms: i64, is_ending: &AtomicBool) -> Result<usize, StoreError> {
    let (mut accepted, mut has_found) = (0, false);
    while (due.pushes || due.digests) && app.clock.now_ms() <= until_ms && !is_ending.load(Ordering::Relaxed) {
        due.pushes = due.pushes && push_due(app, &mut accepted).await?;
        due.digests = due.digests && push_digests(app, &mut accepted).await?;
        has_found |= due.pushes || due.digests;
    }
    if !has_found {
        // The record's clock is behind this process's, so the drain will ask for the same again.
        tokio::time::sleep(PAUSE).await;
    }
    Ok(accepted)
}

/// Sends notifications that are due, or closes them. Returns whether there were any.
async fn push_due(app: &App, accepted: &mut usize) -> Result<bool, StoreError> {
    let pushes = app.record.web_pushes.take_pushes(MAX_TAKEN, app.clock.at()).await?;
    let ends = at_once(pushes.iter().map(|push| send(app, push).boxed()).collect()).await;
    let (mut settled, mut all) = (Vec::new(), Sent::default());
    for (push, (end, sent)) in pushes.iter().zip(ends) {
        settled.push(SettledPush { key: &push.key, end });
        all.add(sent);
    }
    app.record.web_pushes.settle_pushes(&settled, app.clock.at()).await?;
    settle_subscriptions(app, all, accepted).await?;
    Ok(!pushes.is_empty())
}

/// Sends digests that are due, or closes them. Returns whether there were any.
async fn push_digests(app: &App, accepted: &mut usize) -> Result<bool, StoreError> {
    let digests = app.record.web_pushes.take_digests(MAX_TAKEN, app.clock.at()).await?;
    let of_users = digests.chunk_by(|one, next| one.key.user == next.key.user);
    let ends = at_once(of_users.map(|digests| send_digests(app, digests).boxed()).collect()).await;
    let (mut settled, mut all) = (Vec::new(), Sent::default());
    for (ends, sent) in ends {
        settled.extend(ends);
        all.add(sent);
    }
    app.record.web_pushes.settle_digests(&settled, app.clock.at()).await?;
    settle_subscriptions(app, all, accepted).await?;
    Ok(!digests.is_empty())
}

/// Counts what was accepted, and forgets the subscriptions that have ended.
async fn settle_subscriptions(app: &App, sent: Sent, accepted: &mut usize) -> Result<(), StoreError> {
    *accepted += sent.accepted;
    if sent.gone.is_empty() { Ok(()) } else { app.record.subscriptions.forget(&sent.gone).await }
}

/// Boxed, since the compiler cannot see through the lifetimes of so many futures.
async fn at_once<T>(sending: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(sending).buffered(MAX_AT_ONCE).collect().await
}

/// What became of a push at the subscriptions of a user.
#[derive(Default)]
struct Sent {
    accepted: usize,
    /// Those that have ended.
    gone: Vec<SubscriptionId>,
    /// Those that may take it later.
    left: Vec<SubscriptionId>,
    /// How long the push services ask to wait, in milliseconds.
    after_ms: Option<i64>,
    refused: usize,
}

/// Sends, closes, drops or postpones a notification.
async fn send(app: &App, push: &DuePush) -> (PushEnd, Sent) {
    let user = &push.key.user;
    let message = match &push.task {
        Task::Close(shown) => {
            let (message, to) = (PushMessage::close(shown.tag(user)), closable(&push.subscriptions));
            let sent = post(app, &message, &to).await;
            // A device that misses it closes the notification when it is opened.
            return (PushEnd::Dropped, sent);
        }
        Task::Send { notification, unread } => match decide(app, push, notification) {
            Some(end) => return (end, Sent::default()),
            None => PushMessage::of_notification(user, notification, *unread, app.clock.now_ms()),
        },
    };
    let sent = post(app, &message, &push.subscriptions.iter().collect::<Vec<_>>()).await;
    let end = if !sent.left.is_empty() && push.attempt + 1 < MAX_ATTEMPTS {
        let has_sent = sent.accepted > 0;
        PushEnd::Later { delay_ms: delay_ms(push.attempt, sent.after_ms), left: sent.left.clone(), has_sent }
    } else if sent.accepted > 0 {
        PushEnd::Sent
    } else if sent.refused > 0 || !sent.left.is_empty() {
        PushEnd::Failed
    } else {
        PushEnd::Dropped
    };
    (end, sent)
}

/// What becomes of a notification that is not sent now: its user does not want it, others are told with it, or these are quiet
/// hours. A critical one is sent in any case.
fn decide(app: &App, push: &DuePush, notification: &Notification) -> Option<PushEnd> {
    let (content, now_ms) = (&notification.content, app.clock.now_ms());
    if push.attempt > MAX_ATTEMPTS {
        // It may be what ends its workers.
        return Some(PushEnd::Failed);
    }
    if !push.preferences.pushes(&content.kind, content.priority) {
        return Some(PushEnd::Dropped);
    }
    if content.priority == Priority::Critical {
        return None;
    }
    if let Some(window_ms) = content.digest_ms.or_else(|| app.config.digest_types.get(&content.kind).copied()) {
        let tag = DigestTag::Type(content.kind.clone());
        return Some(PushEnd::Digest { tag, due_at_ms: now_ms + window_ms, window_ms });
    }
    let quiet_until = push.preferences.quiet_until(Time(now_ms))?;
    Some(PushEnd::Digest { tag: DigestTag::Quiet, due_at_ms: quiet_until.0, window_ms: 0 })
}

/// Sends the digests of one user: each on its own, or all together after quiet hours have held them.
async fn send_digests<'a>(app: &App, digests: &'a [DueDigest]) -> (Vec<SettledDigest<'a>>, Sent) {
    let now = Time(app.clock.now_ms());
    let (mut settled, mut wanted, mut all) = (Vec::new(), Vec::new(), Sent::default());
    for digest in digests {
        let quiet_until = digest.preferences.quiet_until(now);
        if is_needless(digest, now) {
            if matches!(digest.content, DigestContent::Messages { count: 0, is_shown: true, .. }) {
                let message = PushMessage::close(digest.key.tag.push_tag(&digest.key.user));
                all.add(post(app, &message, &closable(&digest.subscriptions)).await);
            }
            settled.push(SettledDigest { key: &digest.key, end: DigestEnd::Dropped });
        } else if let Some(until) = quiet_until {
            settled.push(SettledDigest { key: &digest.key, end: DigestEnd::Held(until.0) });
        } else {
            wanted.push(digest);
        }
    }
    let is_together = wanted.len() > 1 && wanted.iter().any(|digest| digest.is_held);
    let groups: Vec<&[&DueDigest]> = if is_together { vec![&wanted[..]] } else { wanted.chunks(1).collect() };
    for group in groups {
        let (end, sent) = send_group(app, group).await;
        settled.extend(group.iter().map(|digest| SettledDigest { key: &digest.key, end: end.clone() }));
        all.add(sent);
    }
    (settled, all)
}

/// Whether a digest tells nothing, has no subscription to go to, or is unwanted by its user.
fn is_needless(digest: &DueDigest, now: Time) -> bool {
    let is_unwanted = match (&digest.key.tag, &digest.content) {
        (DigestTag::Chat(chat), DigestContent::Messages { is_connected, .. }) => {
            *is_connected || digest.preferences.mutes(*chat, now)
        }
        (DigestTag::Type(kind), _) => !digest.preferences.pushes(kind, Priority::Normal),
        _ => false,
    };
    digest.content.count() == 0 || digest.subscriptions.is_empty() || is_unwanted || digest.attempt > MAX_ATTEMPTS
}

async fn send_group(app: &App, group: &[&DueDigest]) -> (DigestEnd, Sent) {
    let first = group[0];
    let message = match group {
        [only] => PushMessage::of_digest(&only.key, &only.content, app.clock.now_ms()),
        _ => {
            let contents: Vec<&DigestContent> = group.iter().map(|digest| &digest.content).collect();
            PushMessage::of_digests(&first.key.user, &contents)
        }
    };
    let sent = post(app, &message, &first.subscriptions.iter().collect::<Vec<_>>()).await;
    let end = if !sent.left.is_empty() && first.attempt + 1 < MAX_ATTEMPTS {
        DigestEnd::Later { delay_ms: delay_ms(first.attempt, sent.after_ms), left: sent.left.clone() }
    } else if sent.accepted > 0 {
        DigestEnd::Sent
    } else {
        DigestEnd::Dropped
    };
    (end, sent)
}

/// The subscriptions whose push services allow a push that shows nothing.
fn closable(subscriptions: &[Subscription]) -> Vec<&Subscription> {
    subscriptions.iter().filter(|subscription| may_be_silent(&subscription.endpoint)).collect()
}

async fn post(app: &App, message: &PushMessage, to: &[&Subscription]) -> Sent {
    let Some(services) = app.push_services.as_deref() else {
        // Without keys nobody can subscribe; these have subscribed before the keys were taken away.
        return Sent { refused: to.len(), ..Sent::default() };
    };
    let now_ms = app.clock.now_ms();
    let posts: Vec<BoxFuture<'_, Outcome>> =
        to.iter().map(|subscription| post_to(services, message, subscription, now_ms).boxed()).collect();
    let mut sent = Sent::default();
    for (subscription, outcome) in to.iter().zip(join_all(posts).await) {
        sent.count(subscription, outcome);
    }
    sent
}

/// Sends a push, and if it is too large for the push service, what is shorter.
async fn post_to(
    services: &dyn PushServices,
    message: &PushMessage,
    subscription: &Subscription,
    now_ms: i64,
) -> Outcome {
    let push = |payload| Push {
        subscription,
        payload,
        ttl_s: message.ttl_s,
        urgency: message.urgency,
        topic: Some(&message.tag),
    };
    match (services.post(&push(message.payload.as_bytes()), now_ms).await, &message.stub) {
        (Outcome::TooLarge, Some(stub)) => services.post(&push(stub.as_bytes()), now_ms).await,
        (outcome, _) => outcome,
    }
}

impl Sent {
    fn count(&mut self, subscription: &Subscription, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Gone => self.gone.push(subscription.id),
            Outcome::Later { after_ms } => {
                self.left.push(subscription.id);
                self.after_ms = self.after_ms.max(after_ms);
            }
            Outcome::TooLarge => self.refused += 1,
            Outcome::Refused { status } => {
                tracing::warn!(?status, to = subscription.endpoint.origin(), "a push service refuses a push");
                self.refused += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.gone.extend(other.gone);
    }
}

/// How long to wait before the next attempt, in milliseconds: as long as a push service asks for, and longer with each
/// failure.
fn delay_ms(attempt: u32, after_ms: Option<i64>) -> i64 {
    let backoff_ms = RETRY_MS << attempt.min(10);
    after_ms.unwrap_or_default().max(jittered_ms(backoff_ms)).min(MAX_RETRY_MS)
}
