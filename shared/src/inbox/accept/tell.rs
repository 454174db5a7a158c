//! Telling devices, programs and operators of a stored send, and leaving the rest to the drain. Nothing here decides whether
//! the send was accepted.

use super::admit::Admitted;
use crate::app::App;
use crate::delivery::offer::{Offer, offer};
use crate::delivery::queue::Entry;
use crate::delivery::wake::WAKE_WITHIN_MS;
use crate::ids::NotificationId;
use crate::inbox::send::Due;
use crate::inbox::sends::{CHUNK_RECIPIENTS, Stored};
use crate::telemetry::{Counts, Hint, Report};

/// Pushes a stored send, reports it, and wakes the drain if work is left that is due soon. `begun_ms`: when the call was
/// read, in milliseconds since 1970.
pub(super) async fn tell(app: &App, admitted: &Admitted, stored: &Stored, begun_ms: i64) {
    let recipients = admitted.recipients().count();
    let hint =
        |user| Hint::Notification { user, id: NotificationId::of(admitted.id, user), kind: &admitted.content.kind };
    let mut counts = Counts {
        accepted: recipients as u64,
        rate_limited: (admitted.verdicts.len() - recipients) as u64,
        ..Counts::default()
    };
    counts.accept_ms.add(app.clock.now_ms() - begun_ms);
    let report = Report { hints: admitted.recipients().map(hint).collect(), counts, ..Report::default() };
    let offers: Vec<Offer<'_>> = stored.deliveries.iter().map(Offer::from).collect();
    let left: Vec<Entry> = offer(app, &offers, report).await.into_iter().flatten().collect();
    let chunks_are_due_soon = match admitted.due {
        Due::Now => recipients > CHUNK_RECIPIENTS,
        Due::After(_) | Due::At(_) => admitted.due_ms - begun_ms <= WAKE_WITHIN_MS,
    };
    let pushes_are_due_soon = stored.web_push_at_ms.is_some_and(|due_ms| due_ms - begun_ms < WAKE_WITHIN_MS);
    if !left.is_empty() || chunks_are_due_soon || pushes_are_due_soon {
        app.enqueue_and_wake(&left).await;
    }
}
