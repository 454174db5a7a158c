//! Saying something in a chat fast: the moment's log has it before the answer, and the drain gives it its place.

use serde_json::value::RawValue;

use crate::app::App;
use crate::chat::messages::{Appended, NewMessage};
use crate::clock::Time;
use crate::error::StoreError;
use crate::fast::CheckedMessage;
use crate::fast::accept::Accept;
use crate::fast::log::{LogId, Logged};
use crate::fast::logged::{Entry, LoggedMessage};
use crate::protocol::{self, Event, MAX_LOGGED_FRAME_BYTES};
use crate::sockets::outgoing::{self, Outgoing};
use crate::telemetry::{Hint, Report};

/// The result of logging a message.
pub enum Logging {
    /// It is in the log, and was told.
    Logged(LoggedMessage),
    /// The log has it from before.
    Known(LoggedMessage),
    /// It is stored, belongs to another request, or may not be written.
    Decided(Appended),
}

/// Logs a message and tells of it, if it may be accepted fast. `None`: store it instead. The log may still have it if the moment
/// did not answer; storing finds it there.
pub async fn log(app: &App, new: &NewMessage<'_>) -> Result<Option<Logging>, StoreError> {
    if app.config.accept == Accept::Fast {
        app.fast_use.begin(&*app.record.fast, &app.clock).await;
    }
    // A user alone does not bring them into use: that is the operator's choice, or a service's.
    if !app.fast_use.may_accept(&*app.record.fast, &app.clock).await? {
        return Ok(None);
    }
    let message = LoggedMessage {
        id: new.id,
        chat: new.chat,
        sender: new.sender.clone(),
        client_id: new.client_id.to_owned(),
        body: new.body.to_owned(),
        data: RawValue::from_string(new.data.to_owned()).unwrap_or_default(),
        accepted_at: Time(app.clock.now_ms()),
        trace: new.trace,
    };
    let frame = protocol::frame(&Event::LoggedMessage { chat_id: new.chat, seq: (), message: &message });
    if frame.len() > MAX_LOGGED_FRAME_BYTES {
        // It could only be fetched, which writes the log anyway.
        return Ok(None);
    }
    let connections = match app.record.fast.check_message(new, app.clock.at()).await? {
        CheckedMessage::Admitted(connections) => connections,
        CheckedMessage::Decided(appended) => return Ok(Some(Logging::Decided(appended))),
        CheckedMessage::Undecided => return Ok(None),
    };
    let log = LogId::of_chat(new.chat);
    let oldest_ms = match app.moment.logs.append(log, new.id.as_uuid(), &message.text(), app.clock.at()).await {
        Some(Logged::Added { oldest_ms }) => oldest_ms,
        Some(Logged::Known(text)) => {
            // The call that appended it may have died before it enqueued the log.
            app.have_log_written(log, None).await;
            return Ok(known(&text, new));
        }
        Some(Logged::Full) | None => return Ok(None),
    };
    let hints = vec![Hint::Message { chat: new.chat, seq: None, sender: Some(new.sender) }];
    let (report, outgoing) = (Report { hints, ..Report::default() }, [Outgoing { frame, connections: &connections }]);
    tokio::join!(
        outgoing::push(app, &outgoing),
        app.moment.telemetry.report(&report, app.clock.at()),
        app.have_log_written(log, oldest_ms)
    );
    Ok(Some(Logging::Logged(message)))
}

/// The answer to a message whose id a log has already.
fn known(text: &str, new: &NewMessage<'_>) -> Option<Logging> {
    let Some(Entry::Message(first)) = Entry::parse(text.as_bytes()) else { return None };
    let is_same = first.body == new.body && first.data.get() == new.data;
    Some(if is_same { Logging::Known(first) } else { Logging::Decided(Appended::Reused) })
}
