//! Web Push: sends what is due to the push services of browsers, and settles it.

use std::panic;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
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
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many notifications are taken at once, and of how many users digests.
const MAX_TAKEN: usize = 16;
/// How many such batches are under way at most. A push service that answers late holds up only what was taken with it.
const MAX_BATCHES: usize = 4;
/// How many requests are under way at most. Each may need a connection of its own.
static REQUESTS: Semaphore = Semaphore::const_new(160);
/// How often a push is attempted.
const MAX_ATTEMPTS: u32 = 6;
/// The first wait after a failure, in milliseconds; doubled with each further one.
const RETRY_MS: i64 = 10_000;
/// The longest wait, unless a push service asks for more.
const MAX_RETRY_MS: i64 = 60 * 60 * 1_000;

/// Tasks that send while the drain does everything else. A push service may take seconds to answer, and any user may name one,
/// so only the end of the drain waits for it.
#[derive(Default)]
pub(crate) struct Sending {
    /// One for each batch that was taken. Each returns how many pushes were accepted.
    batches: JoinSet<Result<usize, StoreError>>,
    /// Whether digests were taken last: if both are always due, they take turns.
    took_digests: bool,
}

/// What is due.
#[derive(Clone, Copy)]
pub(crate) struct DueKinds {
    pub(crate) pushes: bool,
    pub(crate) digests: bool,
}

impl Sending {
    /// Takes what is due, as much as may be under way, and begins to send it.
    pub(crate) async fn start(&mut self, app: &App, mut due: DueKinds) -> Result<(), StoreError> {
        while (due.pushes || due.digests) && !self.is_full() {
            let app = app.clone();
            self.took_digests = due.digests && !(due.pushes && self.took_digests);
            if self.took_digests {
                let digests = app.record.web_pushes.take_digests(MAX_TAKEN, app.clock.at()).await?;
                due.digests = digests.len() >= MAX_TAKEN;
                if !digests.is_empty() {
                    self.batches.spawn(async move { send_digests(&app, &digests).await });
                }
            } else {
                let pushes = app.record.web_pushes.take_pushes(MAX_TAKEN, app.clock.at()).await?;
                due.pushes = pushes.len() == MAX_TAKEN;
                if !pushes.is_empty() {
                    self.batches.spawn(async move { send_pushes(&app, &pushes).await });
                }
            }
        }
        Ok(())
    }

    /// Whether nothing further is taken before a batch was sent.
    pub(crate) fn is_full(&self) -> bool {
        self.batches.len() >= MAX_BATCHES
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Waits until a batch was sent, if any is under way. Returns how many pushes were accepted. To be dropped while it waits
    /// changes nothing.
    pub(crate) async fn done(&mut self) -> Result<usize, StoreError> {
        match self.batches.join_next().await {
            None => Ok(0),
            Some(Ok(done)) => done,
            // No batch is ever aborted, so it has panicked, as the drain would without a task.
            Some(Err(error)) => {
                self.batches.detach_all();
                panic::resume_unwind(error.into_panic())
            }
        }
    }

    /// The same for all batches. Fails after the last one, if any has failed.
    pub(crate) async fn end(&mut self) -> Result<usize, StoreError> {
        let mut all = Ok(0);
        while self.is_running() {
            let done = self.done().await;
            all = all.and_then(|accepted| Ok(accepted + done?));
        }
        all
    }
}

/// Sends notifications that were taken, or closes them. Returns how many pushes were accepted.
async fn send_pushes(app: &App, pushes: &[DuePush]) -> Result<usize, StoreError> {
    let ends = join_all(pushes.iter().map(|push| send(app, push).boxed())).await;
    let (mut settled, mut all) = (Vec::new(), Sent::default());
    for (push, (end, sent)) in pushes.iter().zip(ends) {
        settled.push(SettledPush { key: &push.key, end });
        all.add(sent);
    }
    app.record.web_pushes.settle_pushes(&settled, app.clock.at()).await?;
    all.settle(app).await
}

/// Sends digests that were taken, or closes them. Returns how many pushes were accepted.
async fn send_digests(app: &App, digests: &[DueDigest]) -> Result<usize, StoreError> {
    let of_users = digests.chunk_by(|one, next| one.key.user == next.key.user);
    let ends = join_all(of_users.map(|digests| send_digests_of_user(app, digests).boxed())).await;
    let (mut settled, mut all) = (Vec::new(), Sent::default());
    for (ends, sent) in ends {
        settled.extend(ends);
        all.add(sent);
    }
    app.record.web_pushes.settle_digests(&settled, app.clock.at()).await?;
    all.settle(app).await
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
        Task::Send { notification, unread, is_next } => match decide(app, push, notification) {
            Some(end) => return (end, Sent::default()),
            None => PushMessage::of_notification(user, notification, *unread, *is_next, app.clock.now_ms()),
        },
    };
    let sent = post(app, &message, &push.subscriptions.iter().collect::<Vec<_>>()).await;
    let end = if !sent.left.is_empty() && push.attempt + 1 < MAX_ATTEMPTS {
        let has_sent = sent.accepted > 0;
        PushEnd::Later { delay_ms: delay_ms(push.attempt, sent.after_ms), left: sent.left.clone(), has_sent }
    } else if sent.accepted > 0 {
        PushEnd::Sent
    } else if sent.has_failed() {
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
    let quiet_until = push.preferences.quiet_until(Time(now_ms));
    if push.was_sent {
        // Some show it already, so no digest tells of it: the others wait for its own retry.
        let left = push.subscriptions.iter().map(|subscription| subscription.id).collect();
        return quiet_until.map(|until| PushEnd::Later { delay_ms: until.0 - now_ms, left, has_sent: false });
    }
    if let Some(window_ms) = content.digest_ms.or_else(|| app.config.digest_types.get(&content.kind).copied()) {
        let tag = DigestTag::Type(content.kind.clone());
        return Some(PushEnd::Digest { tag, due_at_ms: now_ms + window_ms, window_ms });
    }
    quiet_until.map(|until| PushEnd::Digest { tag: DigestTag::Quiet, due_at_ms: until.0, window_ms: 0 })
}

/// Sends the digests of one user: each on its own, and all together that quiet hours have held.
async fn send_digests_of_user<'a>(app: &App, digests: &'a [DueDigest]) -> (Vec<SettledDigest<'a>>, Sent) {
    let now = Time(app.clock.now_ms());
    let (mut groups, mut settled, mut sending) = (Vec::<Vec<&DueDigest>>::new(), Vec::new(), Vec::new());
    for digest in digests {
        let end = match plan(digest, now) {
            Plan::End(end) => end,
            Plan::Close => {
                sending.push(close(app, digest).boxed());
                DigestEnd::Dropped
            }
            Plan::Send => {
                match groups.iter_mut().find(|group| digest.is_held && group[0].is_held) {
                    Some(group) => group.push(digest),
                    None => groups.push(vec![digest]),
                }
                continue;
            }
        };
        settled.push(SettledDigest { key: &digest.key, end });
    }
    sending.extend(groups.into_iter().map(|group| send_group(app, group).boxed()));
    let mut all = Sent::default();
    for (ends, sent) in join_all(sending).await {
        settled.extend(ends);
        all.add(sent);
    }
    (settled, all)
}

/// What is done with a digest.
enum Plan {
    Send,
    Close,
    End(DigestEnd),
}

fn plan(digest: &DueDigest, now: Time) -> Plan {
    if digest.content.count() == 0 {
        return if digest.is_shown { Plan::Close } else { Plan::End(DigestEnd::Dropped) };
    }
    if digest.subscriptions.is_empty() {
        // Those that were left have gone, or there is none any more.
        return Plan::End(if digest.is_shown { DigestEnd::Sent } else { DigestEnd::Dropped });
    }
    if digest.attempt > MAX_ATTEMPTS {
        // It may be what ends its workers.
        return Plan::End(DigestEnd::Failed);
    }
    match (&digest.key.tag, &digest.content) {
        (DigestTag::Chat(chat), DigestContent::Messages { is_connected, .. })
            if *is_connected || digest.preferences.mutes(*chat, now) =>
        {
            Plan::End(DigestEnd::Unwanted)
        }
        (DigestTag::Type(kind), _) if !digest.preferences.pushes(kind, Priority::Normal) => {
            Plan::End(DigestEnd::Dropped)
        }
        _ => match digest.preferences.quiet_until(now) {
            Some(until) => Plan::End(DigestEnd::Held(until.0)),
            None => Plan::Send,
        },
    }
}

/// Settles nothing: the caller does that, whatever becomes of the push.
async fn close<'a>(app: &App, digest: &'a DueDigest) -> (Vec<SettledDigest<'a>>, Sent) {
    let message = PushMessage::close(digest.push_tag());
    (Vec::new(), post(app, &message, &closable(&digest.subscriptions)).await)
}

async fn send_group<'a>(app: &App, group: Vec<&'a DueDigest>) -> (Vec<SettledDigest<'a>>, Sent) {
    let first = group[0];
    let message = match &group[..] {
        [only] => PushMessage::of_digest(only, app.clock.now_ms()),
        _ => {
            let contents: Vec<&DigestContent> = group.iter().map(|digest| &digest.content).collect();
            PushMessage::of_digests(&first.key.user, &contents)
        }
    };
    // One push tells of all of them, under one tag, so it goes to every subscription that has yet to hear of any.
    let mut to: Vec<&Subscription> = Vec::new();
    for subscription in group.iter().flat_map(|digest| &digest.subscriptions) {
        if to.iter().all(|other| other.id != subscription.id) {
            to.push(subscription);
        }
    }
    let sent = post(app, &message, &to).await;
    // All are due again at the same time: apart, they would replace each other under that tag.
    let delay_ms = delay_ms(group.iter().map(|digest| digest.attempt).max().unwrap_or_default(), sent.after_ms);
    let end = |digest: &DueDigest| {
        if !sent.left.is_empty() && digest.attempt + 1 < MAX_ATTEMPTS {
            DigestEnd::Later { delay_ms, left: sent.left.clone(), has_sent: sent.accepted > 0 }
        } else if sent.accepted > 0 || digest.is_shown {
            DigestEnd::Sent
        } else if sent.has_failed() {
            DigestEnd::Failed
        } else {
            DigestEnd::Dropped
        }
    };
    let settled = group.iter().map(|digest| SettledDigest { key: &digest.key, end: end(digest) }).collect();
    (settled, sent)
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
    let _permit = REQUESTS.acquire().await;
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

    /// Whether a subscription has not taken it that is still there.
    fn has_failed(&self) -> bool {
        self.refused > 0 || !self.left.is_empty()
    }

    /// Forgets the subscriptions that have ended. Returns how many pushes were accepted.
    async fn settle(self, app: &App) -> Result<usize, StoreError> {
        if !self.gone.is_empty() {
            app.record.subscriptions.forget(&self.gone).await?;
        }
        Ok(self.accepted)
    }
}

/// How long to wait before the next attempt, in milliseconds: longer with each failure, and at least as long as a push service
/// asks for.
fn delay_ms(attempt: u32, after_ms: Option<i64>) -> i64 {
    let backoff_ms = RETRY_MS << attempt.min(10);
    jittered_ms(backoff_ms).min(MAX_RETRY_MS).max(after_ms.unwrap_or_default())
}
