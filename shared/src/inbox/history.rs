//! The promise of the record to report what became of sends: how many notifications of a send are in which state, and
//! the steps of a single notification.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{ConnectionId, NotificationId, SendId, UserId};
use crate::page_key::PageKey;
use crate::sockets::push::Outcome;
use crate::telemetry::{MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt};

/// The most sends in a page, and the most that are examined for one.
pub const MAX_SENDS: usize = 200;
/// In how many waiting chunks a trace looks for its notification, those due first, and in how many chunks that expired
/// before they were materialised, those due last.
pub const MAX_TRACED_CHUNKS: usize = 500;

/// What became of sends.
#[async_trait]
pub trait History: Send + Sync {
    /// A page of sends, newest first, each with the states of its notifications at one instant. A send keeps its
    /// position: consecutive pages neither repeat nor omit a send that was stored before the first of them.
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError>;

    /// The times of a notification's steps. `of` restricts it to notifications of this user. A deleted notification has
    /// a trace for as long as its tombstone is kept.
    ///
    /// A notification that has no row yet, or expired before it got one, is found only without `of`, and only in the
    /// first [`MAX_TRACED_CHUNKS`] waiting chunks or the last [`MAX_TRACED_CHUNKS`] expired ones. `None` if there is no
    /// such notification; a cancelled send has none.
    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError>;
}

/// The state of one recipient's notification: exactly one of these, the first that applies. A recipient who was refused
/// by a rate limit has no notification and so no state. Neither do the recipients of a cancelled send, which is
/// reported with no recipients at all, since it never reaches any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A device acknowledged its offset or a later one, or the user read it, snoozed it, or deleted it before it expired.
    /// One that arrives anew after a snooze is no longer settled.
    Settled,
    /// Its `expires_at` has passed, or a newer notification of the same collapse key replaced it before it was read.
    Expired,
    /// It was dead-lettered. If the recipients of a dead-lettered chunk cannot be read, they count as one.
    Dead,
    /// Every connection of its user accepted it.
    Offered,
    /// Anything else: the user had no connection, a push is in flight or failed, or its chunk is not materialised yet.
    Waiting,
}

impl State {
    /// All states with their names in the API.
    pub const NAMES: [(&str, Self); 5] = [
        ("waiting", Self::Waiting),
        ("offered", Self::Offered),
        ("settled", Self::Settled),
        ("expired", Self::Expired),
        ("dead", Self::Dead),
    ];

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, state)| (known == name).then_some(state))
    }
}

/// How many notifications of a send are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "State documents what they count")]
pub struct States {
    pub waiting: i64,
    pub offered: i64,
    pub settled: i64,
    pub expired: i64,
    pub dead: i64,
}

impl States {
    /// The number of notifications in this state.
    pub fn of(&self, state: State) -> i64 {
        match state {
            State::Settled => self.settled,
            State::Expired => self.expired,
            State::Dead => self.dead,
            State::Offered => self.offered,
            State::Waiting => self.waiting,
        }
    }

    /// The number of all notifications.
    pub fn sum(&self) -> i64 {
        State::NAMES.iter().map(|(_, state)| self.of(*state)).sum()
    }
}

/// Which sends to list.
#[derive(Debug, Clone, Default)]
pub struct SendQuery {
    /// Only sends of this sender.
    pub sender: Option<UserId>,
    /// Only sends that have a notification for this user.
    pub recipient: Option<UserId>,
    /// Only sends of this type.
    pub kind: Option<String>,
    /// Only sends with a notification in this state.
    pub state: Option<State>,
    /// Only sends after this position, where the previous page ended.
    pub after: Option<PageKey<SendId>>,
    /// The most sends to list, up to [`MAX_SENDS`].
    pub limit: usize,
}

impl SendQuery {
    /// How many sends a store examines, whatever their state, so that the work for one page is bounded.
    pub fn examined(&self) -> usize {
        if self.state.is_some() { MAX_SENDS } else { self.limit }
    }

    /// Makes the page of the sends that were examined, followed by one more if there are more.
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
    /// Newest first. With a state in the query there may be fewer than `limit`, even none, although more follow.
    pub sends: Vec<PastSend>,
    /// Where the page ends, for the next query; `None` if it is the last.
    pub next: Option<PageKey<SendId>>,
}

/// A send, and the states of its notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastSend {
    /// Its position in the list: when it was stored, and its id.
    pub key: PageKey<SendId>,
    /// Its type.
    pub kind: String,
    /// Its title.
    pub title: String,
    /// The states of its notifications.
    pub states: States,
}

/// The times of a notification's steps, as the record knows them, in milliseconds since 1970; `None` for a step that
/// did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// When its send was stored.
    pub accepted_at_ms: i64,
    /// When it arrived in the inbox.
    pub materialised_at_ms: Option<i64>,
    /// When every connection had accepted it; after a snooze, since it arrived anew.
    pub offered_at_ms: Option<i64>,
    /// When it was marked as read; `None` if it was marked as unread or snoozed since.
    pub read_at_ms: Option<i64>,
    /// When it became a tombstone, for whatever reason; `None` while it is snoozed.
    pub deleted_at_ms: Option<i64>,
    /// When it was snoozed; `None` once the snooze has ended.
    pub snoozed_at_ms: Option<i64>,
    /// When it last arrived anew after a snooze.
    pub unsnoozed_at_ms: Option<i64>,
    /// When it expired.
    pub expired_at_ms: Option<i64>,
    /// When a newer notification of the same collapse key replaced it.
    pub collapsed_at_ms: Option<i64>,
    /// When a push service first accepted it, alone or in a digest.
    pub web_pushed_at_ms: Option<i64>,
    /// When the last attempt to send it by Web Push had failed.
    pub web_push_failed_at_ms: Option<i64>,
}

/// The steps of a notification, as the body of the response.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// Ordered by time.
    pub steps: Vec<Step>,
    /// Whether these include every push that was made.
    pub complete: bool,
}

/// One step of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// When it happened.
    pub at: Time,
    /// Of a push: the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// Of a push: the name of its outcome; `web_push` if it went to push services and not to a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
}

impl Trace {
    /// The steps, with the pushes that the moment has kept; `None` if it is unavailable.
    ///
    /// They are complete unless pushes may have been forgotten: because of their age or number, or because the moment
    /// was unavailable or emptied, which shows if the record knows of an offer and the moment of no push.
    pub fn steps(&self, pushes: Option<&[PushAttempt]>, now_ms: i64) -> Steps {
        let arrived_at_ms = self.materialised_at_ms.unwrap_or(self.accepted_at_ms);
        let includes_all = |pushes: &[PushAttempt]| {
            pushes.len() < MAX_OUTCOMES && (self.offered_at_ms.is_none() || !pushes.is_empty())
        };
        let complete = now_ms - arrived_at_ms <= OUTCOME_RETENTION_MS && pushes.is_some_and(includes_all);
        let step = |step| move |at_ms| Step { step, at: Time(at_ms), connection_id: None, status: None };
        // Steps of the same time stay in this order, since the sort is stable.
        let mut steps = vec![step("accepted")(self.accepted_at_ms)];
        steps.extend(self.materialised_at_ms.filter(|at_ms| *at_ms > self.accepted_at_ms).map(step("materialised")));
        steps.extend(self.unsnoozed_at_ms.map(step("unsnoozed")));
        steps.extend(pushes.unwrap_or_default().iter().map(|pushed| Step {
            step: "pushed",
            at: Time(pushed.at_ms),
            connection_id: Some(pushed.connection.to_string()),
            status: Some(pushed.outcome.name()),
        }));
        // The record and the moment write at the same time, each by its own clock.
        let accepted_at_ms = pushes.and_then(last_first_acceptance);
        let offered_at_ms =
            self.offered_at_ms.map(|at_ms| accepted_at_ms.map_or(at_ms, |accepted| at_ms.max(accepted)));
        steps.extend(offered_at_ms.map(step("offered")));
        let by_web_push =
            |step| move |at_ms| Step { step, at: Time(at_ms), connection_id: None, status: Some("web_push") };
        steps.extend(self.web_pushed_at_ms.map(by_web_push("pushed")));
        steps.extend(self.web_push_failed_at_ms.map(by_web_push("push_failed")));
        steps.extend(self.read_at_ms.map(step("read")));
        steps.extend(self.snoozed_at_ms.map(step("snoozed")));
        // A tombstone that was made because of the expiry is not a deletion.
        let deleted = self.deleted_at_ms.filter(|at_ms| self.expired_at_ms.is_none_or(|expired| *at_ms < expired));
        steps.extend(deleted.filter(|_| self.collapsed_at_ms.is_none()).map(step("deleted")));
        steps.extend(self.collapsed_at_ms.map(step("collapsed")));
        steps.extend(self.expired_at_ms.map(step("expired")));
        steps.sort_by_key(|step| step.at);
        Steps { steps, complete }
    }
}

/// When the last connection accepted its first push: an offer to every connection cannot come before.
fn last_first_acceptance(pushes: &[PushAttempt]) -> Option<i64> {
    let mut first: BTreeMap<&ConnectionId, i64> = BTreeMap::new();
    for push in pushes.iter().filter(|push| push.outcome == Outcome::Offered) {
        let at_ms = first.entry(&push.connection).or_insert(push.at_ms);
        *at_ms = push.at_ms.min(*at_ms);
    }
    first.into_values().max()
}

/// Whether a notification belongs to a recipient of a chunk. `recipients` is the JSON that a store keeps; `None` if it
/// is malformed.
pub fn is_in_chunk(id: NotificationId, send: SendId, recipients: &str) -> Option<bool> {
    let recipients: Vec<String> = serde_json::from_str(recipients).ok()?;
    Some(recipients.into_iter().any(|user| NotificationId::of(send, &UserId::stored(user)) == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last state belongs to the newest send, which is listed first.
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
    fn a_page_continues_where_the_previous_one_ended() {
        let query = SendQuery { limit: 2, ..SendQuery::default() };
        assert_eq!(query.examined(), 2);
        assert_eq!(times(&query.page(sends(&[(1, 0); 3]))), (vec![3, 2], Some(2)));
        assert_eq!(times(&query.page(sends(&[(1, 0); 2]))), (vec![2, 1], None));
        assert_eq!(times(&query.page(Vec::new())), (vec![], None));
    }

    #[test]
    fn a_page_of_one_state_continues_after_the_examined_sends() {
        let settled = SendQuery { limit: 2, state: Some(State::Settled), ..SendQuery::default() };
        assert_eq!(times(&settled.page(sends(&[(1, 1), (0, 1), (1, 0), (0, 1)]))), (vec![4, 2], Some(2)));
        assert_eq!(times(&settled.page(sends(&[(1, 0), (0, 1), (0, 1)]))), (vec![3, 2], None));
        // One call examines MAX_SENDS sends; the one after them only shows that more follow.
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
    fn steps_are_ordered_by_time_and_then_by_kind() {
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
        let expected = [
            ("accepted", 10),
            ("materialised", 20),
            ("pushed", 21),
            ("pushed", 22),
            ("read", 25),
            ("pushed", 30),
            ("offered", 30),
            ("deleted", 40),
        ];
        assert_eq!(names(&steps), expected);
        let expected = serde_json::json!({"steps": [
            {"step": "accepted", "at": "1970-01-01T00:00:00.010Z"},
            {"step": "pushed", "at": "1970-01-01T00:00:00.021Z", "connectionId": "phone", "status": "gone"},
        ], "complete": true});
        let at_once = Trace { accepted_at_ms: 10, materialised_at_ms: Some(10), ..Trace::default() };
        assert_eq!(serde_json::to_value(at_once.steps(Some(&pushes[..1]), 50)).unwrap(), expected);
    }

    #[test]
    fn what_arrived_anew_is_offered_after_that() {
        let snoozed = Trace { accepted_at_ms: 10, snoozed_at_ms: Some(20), ..Trace::default() };
        let first = pushed("tab", Outcome::Offered, 10);
        assert_eq!(names(&snoozed.steps(Some(&[first]), 50)), [("accepted", 10), ("pushed", 10), ("snoozed", 20)]);
        let unsnoozed = Trace { accepted_at_ms: 10, unsnoozed_at_ms: Some(30), ..Trace::default() };
        let offered = Trace { offered_at_ms: Some(30), ..unsnoozed };
        let pushes = [pushed("tab", Outcome::Offered, 10), pushed("tab", Outcome::Offered, 30)];
        let expected = [("accepted", 10), ("pushed", 10), ("unsnoozed", 30), ("pushed", 30), ("offered", 30)];
        assert_eq!(names(&offered.steps(Some(&pushes), 50)), expected);
    }

    #[test]
    fn an_offer_comes_after_the_pushes_that_were_accepted_even_if_the_clocks_differ() {
        let trace = Trace { accepted_at_ms: 10, offered_at_ms: Some(28), ..Trace::default() };
        let accepted = |connection, at_ms| pushed(connection, Outcome::Offered, at_ms);
        let pushes = [accepted("tab", 29), pushed("phone", Outcome::Failed, 29), accepted("phone", 30)];
        let expected = [("accepted", 10), ("pushed", 29), ("pushed", 29), ("pushed", 30), ("offered", 30)];
        assert_eq!(names(&trace.steps(Some(&pushes), 50)), expected);
        // The second push to the tab was a repeat.
        let pushes = [accepted("tab", 27), accepted("tab", 40)];
        assert_eq!(
            names(&trace.steps(Some(&pushes), 50)),
            [("accepted", 10), ("pushed", 27), ("offered", 28), ("pushed", 40)]
        );
    }

    #[test]
    fn the_tombstone_of_an_expiry_or_a_replacement_is_not_a_deletion() {
        let trace = Trace { expired_at_ms: Some(20), deleted_at_ms: Some(20), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("expired", 20)]);
        let trace = Trace { collapsed_at_ms: Some(20), deleted_at_ms: Some(20), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("collapsed", 20)]);
        let trace = Trace { expired_at_ms: Some(20), deleted_at_ms: Some(19), ..Trace::default() };
        assert_eq!(names(&trace.steps(Some(&[]), 50)), [("accepted", 0), ("deleted", 19), ("expired", 20)]);
    }

    #[test]
    fn a_trace_is_complete_if_no_push_can_have_been_forgotten() {
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
