//! The act of accepting a send: spend the limits, store it in one transaction, push it.

use std::sync::Arc;

use serde::Serialize;

use crate::app::App;
use crate::auth::Caller;
use crate::delivery::deliver;
use crate::delivery::queue::Entry;
use crate::error::Error;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::send::{Due, EXPIRES_AFTER, MAX_DELAY_MS, NewSend};
use crate::inbox::{Append, Appended, CHUNK_RECIPIENTS, FirstAnswer};
use crate::limits::{Rate, Spend, Verdict};
use crate::telemetry::{Counts, Hint, Report};

/// Work that is due later than this is found in time by the drain's schedule.
const WAKE_WITHIN_MS: i64 = 60_000;

/// A send that is stored, now or before.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The body of the answer: the first one's, byte for byte, where this is a repeat.
    pub answer: String,
    /// Whether it was stored before.
    pub replayed: bool,
}

/// The answer, as the contract's `Sent`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    send_id: SendId,
    status: &'static str,
    durability: &'static str,
    notifications: Vec<SentNotification<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SentNotification<'a> {
    user_id: &'a UserId,
    id: Option<NotificationId>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// Accepts a send from `caller` on `route`, within which its key is unique.
pub async fn accept(app: &App, caller: &Caller, route: &str, send: NewSend) -> Result<Accepted, Error> {
    let id = match &send.key {
        Some(key) => SendId::of_key(&caller.user, route, key),
        None => SendId::random(),
    };
    let begun_ms = app.clock.now_ms();
    let due = match send.due {
        // What the answer says must be known before it is stored, so an instant is past by our clock. Otherwise the
        // store's decides.
        Due::At(at_ms) if at_ms <= begun_ms => Due::Now,
        due => due,
    };
    if let Some(refusal) = refusal_by_now(&send, due, begun_ms) {
        // What depends on the time is asked only of a key that is new.
        return match first_answer(app, id, &send).await? {
            Some(first) => replay(first, send.fingerprint),
            None => Err(refusal),
        };
    }
    let verdicts = spend(app, &send).await;
    let admitted: Vec<UserId> = admitted(&send.recipients, &verdicts).cloned().collect();
    if admitted.is_empty() {
        // A repeat gets its first answer even now, so the refusal waits until the key was looked up.
        if let Some(first) = first_answer(app, id, &send).await? {
            return replay(first, send.fingerprint);
        }
        let counts = Counts { rate_limited: verdicts.len() as u64, ..Counts::default() };
        app.moment.telemetry.report(&Report { counts, ..Report::default() }, app.clock.at()).await;
        return Err(all_limited(&verdicts));
    }
    let answer = answer(id, &send.recipients, &verdicts, due);
    let append = Append {
        id,
        sender: &caller.user,
        fingerprint: send.fingerprint,
        content: Arc::new(send.content),
        recipients: &admitted,
        answer: &answer,
        due,
        retention_ms: app.config.retention_ms,
    };
    match app.record.inbox.append(&append, app.clock.at()).await? {
        Appended::Known(first) => replay(first, send.fingerprint),
        Appended::Stored(deliveries) => {
            let hint = |user| Hint { user, id: NotificationId::of(id, user), kind: &append.content.kind };
            let mut counts = Counts {
                accepted: admitted.len() as u64,
                rate_limited: (verdicts.len() - admitted.len()) as u64,
                ..Counts::default()
            };
            counts.accept_ms.add(app.clock.now_ms() - begun_ms);
            let report = Report { hints: admitted.iter().map(hint).collect(), counts, ..Report::default() };
            let left: Vec<Entry> = deliver::offer(app, &deliveries, &[], report).await.into_iter().flatten().collect();
            let chunks_wait = match due {
                Due::Now => admitted.len() > CHUNK_RECIPIENTS,
                Due::After(_) | Due::At(_) => due_ms(due, begun_ms) - begun_ms <= WAKE_WITHIN_MS,
            };
            if !left.is_empty() || chunks_wait {
                app.enqueue_and_wake(&left).await;
            }
            Ok(Accepted { answer, replayed: false })
        }
    }
}

/// Why a send cannot be accepted that could have been at another time.
fn refusal_by_now(send: &NewSend, due: Due, now_ms: i64) -> Option<Error> {
    let due_ms = due_ms(due, now_ms);
    if due_ms.saturating_sub(now_ms) > MAX_DELAY_MS {
        return Some(Error::field("deliverAt", "must be at most a year ahead"));
    }
    let expires_at = send.content.expires_at?;
    (expires_at.0 <= due_ms).then(|| Error::field("expiresAt", EXPIRES_AFTER))
}

/// When it is due, by our clock.
fn due_ms(due: Due, now_ms: i64) -> i64 {
    match due {
        Due::Now => now_ms,
        Due::After(delay_ms) => now_ms.saturating_add(delay_ms),
        Due::At(at_ms) => at_ms,
    }
}

/// Spends one for each recipient; a type without a rate spends nothing.
async fn spend(app: &App, send: &NewSend) -> Vec<Verdict> {
    let kind = &send.content.kind;
    let rate: Option<Rate> =
        app.config.rate_limit_send_types.get(kind).copied().unwrap_or(Some(app.config.rate_limit_send));
    let Some(rate) = rate else {
        return vec![Verdict::Admitted; send.recipients.len()];
    };
    let spends: Vec<Spend> = send
        .recipients
        .iter()
        // A type holds no space and a user id may, so the type goes first.
        .map(|user| Spend { bucket: format!("send {kind} {user}"), rate })
        .collect();
    app.moment.limits.spend(&spends, app.clock.at()).await
}

fn admitted<'a>(recipients: &'a [UserId], verdicts: &'a [Verdict]) -> impl Iterator<Item = &'a UserId> {
    recipients.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Admitted).map(|(user, _)| user)
}

fn all_limited(verdicts: &[Verdict]) -> Error {
    let waits = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Admitted => None,
        Verdict::Limited { retry_after_ms } => Some(*retry_after_ms),
    });
    Error::RateLimited { retry_after_ms: waits.min().unwrap_or(1_000) }
}

/// What was answered to this key before; without one nothing was.
async fn first_answer(app: &App, id: SendId, send: &NewSend) -> Result<Option<FirstAnswer>, Error> {
    match send.key {
        Some(_) => Ok(app.record.inbox.first_answer(id).await?),
        None => Ok(None),
    }
}

fn replay(first: FirstAnswer, fingerprint: [u8; 32]) -> Result<Accepted, Error> {
    if first.fingerprint == fingerprint {
        Ok(Accepted { answer: first.answer, replayed: true })
    } else {
        Err(Error::IdempotencyKeyReused)
    }
}

/// Everything in it follows from what was asked and from the limits, so it can be stored with the send.
fn answer(id: SendId, recipients: &[UserId], verdicts: &[Verdict], due: Due) -> String {
    let notifications = recipients.iter().zip(verdicts).map(|(user_id, verdict)| match verdict {
        Verdict::Admitted => SentNotification {
            user_id,
            id: Some(NotificationId::of(id, user_id)),
            status: "accepted",
            retry_after_ms: None,
        },
        Verdict::Limited { retry_after_ms } => {
            SentNotification { user_id, id: None, status: "rate_limited", retry_after_ms: Some(*retry_after_ms) }
        }
    });
    let status = if due == Due::Now { "accepted" } else { "scheduled" };
    let sent = Sent { send_id: id, status, durability: "durable", notifications: notifications.collect() };
    serde_json::to_string(&sent).expect("strings, ids and numbers are JSON")
}
