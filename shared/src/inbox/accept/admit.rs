//! Whether a send is accepted, and for which recipients: what depends on the present time, and rate limits.

use std::sync::Arc;

use crate::app::App;
use crate::error::Error;
use crate::fast::accept::Accept;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::send::{Due, EXPIRY_RULE, MAX_DELAY_MS, NewSend};
use crate::inbox::sends::FirstAnswer;
use crate::limits::{Spend, Verdict};
use crate::telemetry::{Counts, Report, invocation};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The decision on a send.
pub(super) enum Admission {
    /// It may be stored.
    Admitted(Admitted),
    /// It would have been refused, but is a repeat of one that was stored.
    Known(FirstAnswer),
}

/// A send that may be stored.
pub(super) struct Admitted {
    pub(super) id: SendId,
    pub(super) content: Arc<Content>,
    pub(super) fingerprint: [u8; 32],
    /// How durable its accept is to be.
    pub(super) accept: Accept,
    pub(super) due: Due,
    /// When it is due by the clock of this process, in milliseconds since 1970.
    pub(super) due_ms: i64,
    /// All recipients of the request, in order.
    pub(super) requested: Vec<UserId>,
    /// Whether each of them was admitted.
    pub(super) verdicts: Vec<Verdict>,
}

impl Admitted {
    /// The recipients whose budget had one left.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &UserId> {
        let verdicts = self.requested.iter().zip(&self.verdicts);
        verdicts.filter(|(_, verdict)| **verdict == Verdict::Admitted).map(|(user, _)| user)
    }
}

/// Decides on a send. A repeat is never refused: before any refusal the key is looked up.
pub(super) async fn admit(app: &App, id: SendId, send: NewSend, now_ms: i64) -> Result<Admission, Error> {
    let due = match send.due {
        // The answer says whether it is scheduled and is stored with it, so the clock of this process decides what is past.
        Due::At(at_ms) if at_ms <= now_ms => Due::Now,
        due => due,
    };
    let due_ms = match due {
        Due::Now => now_ms,
        Due::After(delay_ms) => now_ms.saturating_add(delay_ms),
        Due::At(at_ms) => at_ms,
    };
    if let Some(refusal) = refusal_by_time(&send, due_ms, now_ms, app.config.retention_ms) {
        return first_answer(app, id, &send).await?.map(Admission::Known).ok_or(refusal);
    }
    let verdicts = spend(app, &send).await;
    if !verdicts.contains(&Verdict::Admitted) {
        if let Some(first) = first_answer(app, id, &send).await? {
            return Ok(Admission::Known(first));
        }
        let counts = Counts { rate_limited: verdicts.len() as u64, ..Counts::default() };
        app.moment.telemetry.report(&Report { counts, ..Report::default() }, app.clock.at()).await;
        return Err(all_limited(&verdicts));
    }
    let NewSend { content, recipients: requested, fingerprint, accept, .. } = send;
    let content = Arc::new(Content { trace: invocation::trace(), ..content });
    let accept = accept.unwrap_or(app.config.accept);
    Ok(Admission::Admitted(Admitted { id, content, fingerprint, accept, due, due_ms, requested, verdicts }))
}

/// Why a send is refused now that would be accepted at another time.
fn refusal_by_time(send: &NewSend, due_ms: i64, now_ms: i64, retention_ms: i64) -> Option<Error> {
    if due_ms.saturating_sub(now_ms) > MAX_DELAY_MS {
        return Some(Error::field("deliverAt", "must be at most a year ahead"));
    }
    let expires_at = send.content.expires_at?;
    if expires_at.0 <= due_ms {
        return Some(Error::field("expiresAt", EXPIRY_RULE));
    }
    // It would be kept until then, whatever the deployment's retention.
    let days = retention_ms / DAY_MS;
    let rule = format_args!("must be at most {days} days after the time at which the send is due");
    (expires_at.0.saturating_sub(due_ms) > retention_ms).then(|| Error::field("expiresAt", rule))
}

/// Spends one from the budget of each recipient and type. A type without a limit spends nothing.
async fn spend(app: &App, send: &NewSend) -> Vec<Verdict> {
    match spends(app, &send.content.kind, &send.recipients) {
        Some(spends) => app.moment.limits.spend(&spends, app.clock.at()).await,
        None => vec![Verdict::Admitted; send.recipients.len()],
    }
}

/// Gives back what a send has spent: it turned out to be a repeat, or could not be stored.
pub(super) async fn give_back(app: &App, admitted: &Admitted) {
    if let Some(spends) = spends(app, &admitted.content.kind, admitted.recipients()) {
        app.moment.limits.give_back(&spends, app.clock.at()).await;
    }
}

/// One unit of the budget of each recipient and type; `None` if the type has no limit.
fn spends<'a>(app: &App, kind: &str, recipients: impl IntoIterator<Item = &'a UserId>) -> Option<Vec<Spend>> {
    let rate = app.config.send_rate(kind)?;
    Some(recipients.into_iter().map(|user| Spend::of_send(kind, user, rate)).collect())
}

fn all_limited(verdicts: &[Verdict]) -> Error {
    let waits = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Admitted => None,
        Verdict::Limited { retry_after_ms } => Some(*retry_after_ms),
    });
    Error::RateLimited { retry_after_ms: waits.min().unwrap_or(1_000) }
}

/// The first answer to this key; `None` without a key.
async fn first_answer(app: &App, id: SendId, send: &NewSend) -> Result<Option<FirstAnswer>, Error> {
    match send.key {
        Some(_) => Ok(app.record.sends.first_answer(id).await?),
        None => Ok(None),
    }
}
