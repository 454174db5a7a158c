//! The promise of the record to tell what became of sends: in which state the notification of each recipient is,
//! and by which steps one of them went.

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::page_key::PageKey;
use crate::telemetry::{MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt};

/// The most sends of a page, and the most that are looked at for one.
pub const MAX_SENDS: usize = 200;
/// In how many chunks that are still to be materialised a trace looks for its notification, those due first, and in how
/// many that expired before they were.
pub const MAX_TRACED_CHUNKS: usize = 500;

/// What became of sends.
#[async_trait]
pub trait History: Send + Sync {
    /// A page of sends, newest first, each with the states of its notifications at one instant. A send keeps its place:
    /// pages that follow one another neither repeat nor leave out one that was stored before the first of them.
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError>;

    /// When which step of a notification was done: one of this user's, or with `None` anybody's. A deleted one has its
    /// trace for as long as its tombstone is kept. One without a row is found only as anybody's, and only in the
    /// [`MAX_TRACED_CHUNKS`] chunks that are due first, or that were due last of those that expired. `None` where there is no such notification, which a cancelled send
    /// has none of.
    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError>;
}

/// What became of one recipient's notification: exactly one of these, the first that fits. Whoever was refused by a
/// limit has no notification and so no state, and neither has a recipient of a send that was cancelled: it reached
/// nobody and never will, so it is told of with no recipients at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A device acknowledged its offset or a later one, or its user read it, or deleted it before it expired.
    Settled,
    /// Its `expires_at` has passed, or a newer one of its collapse key replaced it before it was read.
    Expired,
    /// It was set aside as one that cannot be processed; of recipients who cannot be read, one stands for all.
    Dead,
    /// Every connection that its user had took it.
    Offered,
    /// Anything else: nobody was there, a push is under way or failed, or its chunk is not materialised yet.
    Waiting,
}

impl State {
    /// All of them, as callers write them.
    pub const NAMES: [(&str, Self); 5] = [
        ("waiting", Self::Waiting),
        ("offered", Self::Offered),
        ("settled", Self::Settled),
        ("expired", Self::Expired),
        ("dead", Self::Dead),
    ];

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, state)| (known == name).then_some(state))
    }
}

/// How many notifications of a send are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "State says what they count")]
pub struct States {
    pub waiting: i64,
    pub offered: i64,
    pub settled: i64,
    pub expired: i64,
    pub dead: i64,
}

impl States {
    /// How many are in this state.
    pub fn of(&self, state: State) -> i64 {
        match state {
            State::Settled => self.settled,
            State::Expired => self.expired,
            State::Dead => self.dead,
            State::Offered => self.offered,
            State::Waiting => self.waiting,
        }
    }

    /// How many there are.
    pub fn sum(&self) -> i64 {
        State::NAMES.iter().map(|(_, state)| self.of(*state)).sum()
    }
}

/// Which sends to tell of.
#[derive(Debug, Clone, Default)]
pub struct SendQuery {
    /// Only those of this sender.
    pub sender: Option<UserId>,
    /// Only those that have a notification for this user.
    pub recipient: Option<UserId>,
    /// Only those of this type.
    pub kind: Option<String>,
    /// Only those of which a notification is in this state.
    pub state: Option<State>,
    /// Only those that stand after this one.
    pub after: Option<PageKey<SendId>>,
    /// The most of them, up to [`MAX_SENDS`].
    pub limit: usize,
}

impl SendQuery {
    /// How many sends a store looks at, whatever their state is, so that the work of one page has a bound.
    pub fn examined(&self) -> usize {
        if self.state.is_some() { MAX_SENDS } else { self.limit }
    }

    /// The page, from the sends that were looked at, and one more where more follow.
    pub fn page(&self, mut found: Vec<PastSend>) -> SendPage {
        let more = found.len() > self.examined();
        found.truncate(self.examined());
        let end = found.last().filter(|_| more).map(|send| send.key);
        found.retain(|send| self.state.is_none_or(|state| send.states.of(state) > 0));
        if found.len() > self.limit {
            found.truncate(self.limit);
            let next = found.last().map(|send| send.key);
            return SendPage { sends: found, next };
        }
        SendPage { sends: found, next: end }
    }
}

/// A page of the history.
#[derive(Debug)]
pub struct SendPage {
    /// Newest first. Where a state was asked for, a page may hold fewer than there are, even none, and others follow.
    pub sends: Vec<PastSend>,
    /// From where to go on; `None` at the end.
    pub next: Option<PageKey<SendId>>,
}

/// A send, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastSend {
    /// Which it is, and when it was stored.
    pub key: PageKey<SendId>,
    /// Its type.
    pub kind: String,
    /// Its title.
    pub title: String,
    /// What became of its notifications.
    pub states: States,
}

/// What the record knows of the way of one notification, in milliseconds since 1970; `None` for what did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// When its send was stored.
    pub accepted_at_ms: i64,
    /// When it came into the inbox.
    pub materialised_at_ms: Option<i64>,
    /// When every connection had taken it.
    pub offered_at_ms: Option<i64>,
    /// When it was marked as read, where it still is.
    pub read_at_ms: Option<i64>,
    /// When it was deleted.
    pub deleted_at_ms: Option<i64>,
    /// When it expired.
    pub expired_at_ms: Option<i64>,
    /// When a newer one of its collapse key replaced it.
    pub collapsed_at_ms: Option<i64>,
}

/// The steps of a notification, as the contract tells them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// In order of time.
    pub steps: Vec<Step>,
    /// Whether the pushes among them are all that there were.
    pub complete: bool,
}

/// One step of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What was done.
    pub step: &'static str,
    /// When.
    pub at: Time,
    /// Of a push: to whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// Of a push: what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
}

impl Trace {
    /// The steps, with what the moment remembers of the pushes: `None` where it is away. They are all there were
    /// unless some were forgotten, for their age or their number, or because the moment was away or emptied: then the
    /// record knows of an offer, and the moment of no push.
    pub fn steps(&self, pushes: Option<&[PushAttempt]>, now_ms: i64) -> Steps {
        let came_at_ms = self.materialised_at_ms.unwrap_or(self.accepted_at_ms);
        let is_whole = |pushes: &[PushAttempt]| {
            pushes.len() < MAX_OUTCOMES && (self.offered_at_ms.is_none() || !pushes.is_empty())
        };
        let complete = now_ms - came_at_ms <= OUTCOME_RETENTION_MS && pushes.is_some_and(is_whole);
        let step = |step| move |at_ms| Step { step, at: Time(at_ms), connection_id: None, status: None };
        // At the same time in this order.
        let mut steps = vec![step("accepted")(self.accepted_at_ms)];
        steps.extend(self.materialised_at_ms.filter(|at_ms| *at_ms > self.accepted_at_ms).map(step("materialised")));
        steps.extend(pushes.unwrap_or_default().iter().map(|pushed| Step {
            step: "pushed",
            at: Time(pushed.at_ms),
            connection_id: Some(pushed.connection.to_string()),
            status: Some(pushed.outcome.name()),
        }));
        steps.extend(self.offered_at_ms.map(step("offered")));
        steps.extend(self.read_at_ms.map(step("read")));
        // What an expiry makes a tombstone was deleted by nobody.
        let deleted = self.deleted_at_ms.filter(|at_ms| self.expired_at_ms.is_none_or(|expired| *at_ms < expired));
        steps.extend(deleted.filter(|_| self.collapsed_at_ms.is_none()).map(step("deleted")));
        steps.extend(self.collapsed_at_ms.map(step("collapsed")));
        steps.extend(self.expired_at_ms.map(step("expired")));
        steps.sort_by_key(|step| step.at);
        Steps { steps, complete }
    }
}

/// Whether a notification is that of a recipient in a chunk, given as the JSON that a store keeps; `None` where it is
/// none.
pub fn is_in_chunk(id: NotificationId, send: SendId, recipients: &str) -> Option<bool> {
    let recipients: Vec<String> = serde_json::from_str(recipients).ok()?;
    Some(recipients.into_iter().any(|user| NotificationId::of(send, &UserId::stored(user)) == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;
    use crate::sockets::push::Outcome;

    /// The last one is the newest, and is told first.
    fn sends(states: &[(i64, i64)]) -> Vec<PastSend> {
        let mut sends: Vec<PastSend> = (1..)
            .zip(states)
            .map(|(at_ms, (waiting, settled))| PastSend {
                key: PageKey { at_ms, id: SendId::random() },
                kind: "like".into(),
                title: "Hi".into(),
                states: States { waiting: *waiting, settled: *settled, ..States::default() },
            })
            .collect();
        sends.reverse();
        sends
    }

    fn times(page: &SendPage) -> (Vec<i64>, Option<i64>) {
        let times = page.sends.iter().map(|send| send.key.at_ms);
        (times.collect(), page.next.map(|next| next.at_ms))
    }

    #[test]
    fn a_page_goes_on_from_where_it_ends() {
        let query = SendQuery { limit: 2, ..SendQuery::default() };
        assert_eq!(query.examined(), 2);
        assert_eq!(times(&query.page(sends(&[(1, 0); 3]))), (vec![3, 2], Some(2)));
        assert_eq!(times(&query.page(sends(&[(1, 0); 2]))), (vec![2, 1], None));
        assert_eq!(times(&query.page(Vec::new())), (vec![], None));
    }

    #[test]
    fn a_page_of_a_state_goes_on_behind_whatever_was_looked_at() {
        let settled = SendQuery { limit: 2, state: Some(State::Settled), ..SendQuery::default() };
        assert_eq!(times(&settled.page(sends(&[(1, 1), (0, 1), (1, 0), (0, 1)]))), (vec![4, 2], Some(2)));
        assert_eq!(times(&settled.page(sends(&[(1, 0), (0, 1), (0, 1)]))), (vec![3, 2], None));
        // A call looks at so many; the last one only tells that more follow.
        let mut many = vec![(1, 0); MAX_SENDS + 1];
        assert_eq!(times(&settled.page(sends(&many))), (vec![], Some(2)));
        many[0] = (0, 1);
        assert_eq!(times(&settled.page(sends(&many))), (vec![], Some(2)));
        many[1] = (0, 1);
        assert_eq!(times(&settled.page(sends(&many))), (vec![2], Some(2)));
        assert_eq!(times(&settled.page(sends(&many[1..]))), (vec![1], None));
    }

    fn pushed(connection: &str, outcome: Outcome, at_ms: i64) -> PushAttempt {
        PushAttempt { connection: ConnectionId::new(connection), outcome, at_ms }
    }

    fn names(steps: &Steps) -> Vec<(&str, i64)> {
        steps.steps.iter().map(|step| (step.step, step.at.0)).collect()
    }

    #[test]
    fn steps_are_in_order_of_time_and_at_the_same_time_in_their_own() {
        let trace = Trace {
            accepted_at_ms: 10,
            materialised_at_ms: Some(20),
            offered_at_ms: Some(30),
            read_at_ms: Some(25),
            deleted_at_ms: Some(40),
            ..Trace::default()
        };
        let pushes = [
            pushed("phone", Outcome::Gone, 21),
            pushed("tab", Outcome::Failed, 22),
            pushed("tab", Outcome::Offered, 30),
        ];
        let steps = trace.steps(Some(&pushes), 50);
        let told = [
            ("accepted", 10),
            ("materialised", 20),
            ("pushed", 21),
            ("pushed", 22),
            ("read", 25),
            ("pushed", 30),
            ("offered", 30),
            ("deleted", 40),
        ];
        assert_eq!(names(&steps), told);
        let told = serde_json::json!({"steps": [
            {"step": "accepted", "at": "1970-01-01T00:00:00.010Z"},
            {"step": "pushed", "at": "1970-01-01T00:00:00.021Z", "connectionId": "phone", "status": "gone"},
        ], "complete": true});
        let at_once = Trace { accepted_at_ms: 10, materialised_at_ms: Some(10), ..Trace::default() };
        assert_eq!(serde_json::to_value(at_once.steps(Some(&pushes[..1]), 50)).unwrap(), told);
    }

    #[test]
    fn what_expired_was_not_deleted_by_its_tombstone() {
        let trace = Trace { expired_at_ms: Some(20), deleted_at_ms: Some(20), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("expired", 20)]);
        let trace = Trace { collapsed_at_ms: Some(20), deleted_at_ms: Some(20), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("collapsed", 20)]);
        let trace = Trace { expired_at_ms: Some(20), deleted_at_ms: Some(19), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("deleted", 19), ("expired", 20)]);
    }

    #[test]
    fn a_trace_is_complete_where_no_push_can_have_been_forgotten() {
        let trace = Trace { accepted_at_ms: 0, materialised_at_ms: Some(1_000), ..Trace::default() };
        let last_ms = 1_000 + OUTCOME_RETENTION_MS;
        assert!(trace.steps(Some(&[]), last_ms).complete);
        assert!(!trace.steps(Some(&[]), last_ms + 1).complete);
        assert!(!trace.steps(None, 1_000).complete);
        let many = vec![pushed("tab", Outcome::Failed, 1_000); MAX_OUTCOMES];
        assert!(!trace.steps(Some(&many), 1_000).complete);
        assert!(trace.steps(Some(&many[1..]), 1_000).complete);
        let offered = Trace { offered_at_ms: Some(1_000), ..trace };
        assert!(!offered.steps(Some(&[]), 1_000).complete);
        assert!(offered.steps(Some(&many[1..]), 1_000).complete);
    }
}
