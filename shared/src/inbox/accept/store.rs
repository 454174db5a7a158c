//! Storing an admitted send, together with the answer that every repeat will get.

use std::sync::Arc;

use serde::Serialize;

use super::admit::Admitted;
use crate::app::App;
use crate::auth::Caller;
use crate::error::Error;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::send::Due;
use crate::inbox::sends::{Append, Appended, FirstAnswer, Stored};
use crate::limits::Verdict;

/// The result of storing.
pub(super) enum Outcome {
    /// It is durable.
    Stored {
        /// The body of the response.
        answer: String,
        /// What is left to do.
        stored: Stored,
    },
    /// It is in a log, and was told.
    Logged {
        /// The body of the response.
        answer: String,
    },
    /// It was accepted before.
    Known(FirstAnswer),
}

/// Stores a send in one transaction.
pub(super) async fn store(app: &App, caller: &Caller, admitted: &Admitted) -> Result<Outcome, Error> {
    let recipients: Vec<UserId> = admitted.recipients().cloned().collect();
    let answer = answer(admitted, "durable");
    let append = Append {
        id: admitted.id,
        sender: &caller.user,
        fingerprint: admitted.fingerprint,
        content: Arc::clone(&admitted.content),
        recipients: &recipients,
        answer: &answer,
        due: admitted.due,
        retention_ms: app.config.retention_ms,
    };
    Ok(match app.record.sends.append(&append, app.clock.at()).await? {
        Appended::Stored(stored) => Outcome::Stored { answer, stored },
        Appended::Known(first) => Outcome::Known(first),
    })
}

/// The contract's `Sent`.
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

/// The answer follows from the request and the verdicts alone, so it can be stored with the send.
pub(super) fn answer(admitted: &Admitted, durability: &'static str) -> String {
    let id = admitted.id;
    let notification = |(user_id, verdict): (_, &Verdict)| match verdict {
        Verdict::Admitted => SentNotification {
            user_id,
            id: Some(NotificationId::of(id, user_id)),
            status: "accepted",
            retry_after_ms: None,
        },
        Verdict::Limited { retry_after_ms } => {
            SentNotification { user_id, id: None, status: "rate_limited", retry_after_ms: Some(*retry_after_ms) }
        }
    };
    let notifications = admitted.requested.iter().zip(&admitted.verdicts).map(notification).collect();
    let status = if admitted.due == Due::Now { "accepted" } else { "scheduled" };
    serde_json::to_string(&Sent { send_id: id, status, durability, notifications })
        .expect("strings, ids and numbers are JSON")
}
