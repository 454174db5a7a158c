//! Accepting a send fast: the moment's log has it before the answer, and the drain stores it.

use super::admit::Admitted;
use super::store::{self, Outcome};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Time;
use crate::error::Error;
use crate::fast::accept::Accept;
use crate::fast::log::{Claimed, KeyClaim, LogId, Logged};
use crate::fast::logged::{Entry, LoggedSend};
use crate::inbox::send::Due;
use crate::inbox::sends::FirstAnswer;
use crate::protocol::{self, Event, Frame, MAX_LOGGED_FRAME_BYTES};
use crate::sockets::outgoing::{self, Outgoing};
use crate::telemetry::{Counts, Hint, Report};

/// Logs a send and tells of it, if it may be accepted fast. `None`: store it instead. The log may still have it if the moment
/// did not answer; storing finds it there. `begun_ms`: when the call was read, in milliseconds since 1970.
pub(super) async fn log(
    app: &App,
    caller: &Caller,
    admitted: &Admitted,
    begun_ms: i64,
) -> Result<Option<Outcome>, Error> {
    let [recipient] = admitted.requested.as_slice() else { return Ok(None) };
    let is_plain = admitted.due == Due::Now && admitted.content.collapse_key.is_none();
    if admitted.accept != Accept::Fast || !is_plain {
        return Ok(None);
    }
    app.fast_use.begin(&*app.record.fast, &app.clock).await;
    if !app.fast_use.may_accept(&*app.record.fast, &app.clock).await? {
        return Ok(None);
    }
    let mut send = LoggedSend {
        id: admitted.id,
        sender: caller.user.clone(),
        fingerprint: admitted.fingerprint,
        answer: store::answer(admitted, "redis"),
        recipient: recipient.clone(),
        content: admitted.content.clone(),
        silent: false,
        retention_ms: app.config.retention_ms,
        accepted_at: Time(begun_ms),
    };
    if frame(&send).len() > MAX_LOGGED_FRAME_BYTES {
        // It could only be fetched, which writes the log anyway.
        return Ok(None);
    }
    let (log, at) = (LogId::of_user(recipient), app.clock.at());
    let (checked, key) = tokio::join!(
        app.record.fast.check_send(send.id, recipient, &send.content.kind, at),
        claim_key(app, &send, log)
    );
    let checked = checked?;
    if let Some(first) = checked.first {
        return Ok(Some(Outcome::Known(first)));
    }
    let Some(key) = key else { return Ok(None) };
    let oldest_ms = match app.moment.logs.append(log, send.id.as_uuid(), &send.text(), at).await {
        Some(Logged::Added { oldest_ms }) if key == Key::Repeated => {
            // The first one may have been written since the record was asked, and storing finds out.
            app.have_log_written(log, oldest_ms).await;
            return Ok(None);
        }
        Some(Logged::Added { oldest_ms }) => oldest_ms,
        // Without a key it is this one, whose answer was lost on the way.
        Some(Logged::Known(_)) if send.id.is_random() => None,
        Some(Logged::Known(text)) => {
            // The call that appended it may have died before it enqueued the log.
            app.have_log_written(log, None).await;
            return Ok(first_answer(&text).map(Outcome::Known));
        }
        Some(Logged::Full) | None => return Ok(None),
    };
    if !still_has_key(app, &send, log).await {
        // A durable request has taken the key over meanwhile. Whether it has found this entry decides which one is stored, and
        // storing finds out.
        app.have_log_written(log, None).await;
        return Ok(None);
    }
    send.silent = send.content.is_silent(checked.rings);
    let outgoing = [Outgoing { frame: frame(&send), connections: &checked.connections }];
    tokio::join!(outgoing::push(app, &outgoing), report(app, &send, begun_ms), app.have_log_written(log, oldest_ms));
    Ok(Some(Outcome::Logged { answer: send.answer }))
}

fn frame(send: &LoggedSend) -> Frame {
    let silent = send.silent.then_some(true);
    protocol::frame(&Event::LoggedNotification { cursor: (), prev: (), notification: send, unread_count: (), silent })
}

fn claim(send: &LoggedSend, log: LogId) -> KeyClaim {
    KeyClaim::new(Some(log), &send.fingerprint)
}

/// Whose key it is.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// This call's, or it has none.
    Own,
    /// That of an earlier call with the same request.
    Repeated,
}

/// Claims the key of a send. `None`: another request has it, or there is no answer.
async fn claim_key(app: &App, send: &LoggedSend, log: LogId) -> Option<Key> {
    if send.id.is_random() {
        return Some(Key::Own);
    }
    let claim = claim(send, log);
    match app.moment.logs.claim_key(send.id, claim, app.clock.at()).await? {
        Claimed::Now => Some(Key::Own),
        Claimed::Before(before) => (before == claim).then_some(Key::Repeated),
    }
}

/// True if it has owned the key until now.
async fn still_has_key(app: &App, send: &LoggedSend, log: LogId) -> bool {
    send.id.is_random() || app.moment.logs.claimed_key(send.id, app.clock.at()).await == Some(claim(send, log))
}

fn first_answer(text: &str) -> Option<FirstAnswer> {
    match Entry::parse(text.as_bytes()) {
        Some(Entry::Send(first)) => Some(FirstAnswer { fingerprint: first.fingerprint, answer: first.answer }),
        Some(Entry::Message(_)) | None => None,
    }
}

/// Counts it as accepted. Its delivery is counted once it is written and pushed with its place.
async fn report(app: &App, send: &LoggedSend, begun_ms: i64) {
    let mut counts = Counts { accepted: 1, ..Counts::default() };
    counts.accept_ms.add(app.clock.now_ms() - begun_ms);
    let hint = Hint::Notification { user: &send.recipient, id: send.notification(), kind: &send.content.kind };
    let report = Report { hints: vec![hint], counts, ..Report::default() };
    app.moment.telemetry.report(&report, app.clock.at()).await;
}
