//! The story of a notification: what happened, when, and what to do if it has not arrived. Performs no calls.

use std::collections::BTreeMap;

use serde::Deserialize;
use shared::clock::Time;
use shared::ids::NotificationId;

/// How old work in the queue may be while a drain keeps up, in milliseconds: the schedule runs one each minute.
const MAX_QUEUED_MS: i64 = 60_000;
/// After which time a notification without any push is late, in milliseconds: the drain finds it 5 s after its arrival.
const LATE_MS: i64 = 10_000;

/// What is known of a notification.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: NotificationId,
    /// The present time, in milliseconds since 1970.
    pub(super) now_ms: i64,
    /// The steps of its trace, in the order of their times.
    pub(super) steps: Vec<Step>,
    /// Whether these include every push.
    pub(super) is_complete: bool,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) queue: Option<Queue>,
    /// Whether its user is connected.
    pub(super) is_online: Option<bool>,
    pub(super) notification: Option<Notification>,
    pub(super) quiet_hours: Option<QuietHours>,
}

/// A step of the trace.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    step: String,
    at: String,
    connection_id: Option<String>,
    status: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    id: String,
    pub(super) user_id: Option<String>,
    pub(super) notification_id: Option<String>,
    error: String,
    attempts: i64,
    at: String,
}

/// The queue, as the metrics describe it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    oldest_ms: i64,
}

/// What the owner may read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Notification {
    silent: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuietHours {
    from: String,
    to: String,
    time_zone: String,
}

/// The story of a notification that is unknown.
pub(super) fn unknown(id: NotificationId) -> String {
    format!(
        "There is no notification {id} that this token may see.\n\
         - It may never have been accepted: only a 202 with this id says so. Repeat the send with its key.\n\
         - Its send may have been cancelled, or it may be older than RETENTION_DAYS.\n\
         - Without notify:admin, only its recipient sees it."
    )
}

/// The whole story.
pub(super) fn told(known: &Known) -> String {
    let mut lines = vec![format!("The story of notification {}", known.id), String::new()];
    let mut events: Vec<(i64, String)> = events(&known.steps);
    if let Some(DeadLetter { error, attempts, at, .. }) = &known.dead_letter {
        let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
        events.push((ms(at), format!("It was set aside as a dead letter after {attempts}: {error}.")));
        events.sort_by_key(|(at_ms, _)| *at_ms);
    }
    let accepted_ms = events.first().map_or(known.now_ms, |(at_ms, _)| *at_ms);
    for (at_ms, event) in &events {
        let after = if *at_ms == accepted_ms { String::new() } else { format!("+{}", duration(at_ms - accepted_ms)) };
        lines.push(format!("{}  {after:>12}  {event}", Time(*at_ms)));
    }
    lines.push(String::new());
    let (ending, next) = ending(known, known.now_ms - accepted_ms);
    lines.push(ending);
    if next.is_empty() {
        lines.push("There is nothing to do.".into());
    }
    lines.extend(next.into_iter().map(|next| format!("- {next}")));
    lines.push(String::new());
    lines.join("\n")
}

/// What each step means.
fn events(steps: &[Step]) -> Vec<(i64, String)> {
    // How often each connection has failed to take it so far.
    let mut failures: BTreeMap<&str, u32> = BTreeMap::new();
    let accepted_ms = steps.first().map_or(0, |step| ms(&step.at));
    let mut events = Vec::new();
    for Step { step, at, connection_id, status } in steps {
        let at_ms = ms(at);
        let event = match (step.as_str(), connection_id.as_deref(), status.as_deref()) {
            ("accepted", ..) => "It was accepted: its send is in the database.".to_owned(),
            ("materialised", ..) => format!(
                "It arrived in the inbox, {} after it was accepted: it was delayed or redriven, or its send is large.",
                duration(at_ms - accepted_ms)
            ),
            ("unsnoozed", ..) => "Its snooze ended, and it arrived anew.".to_owned(),
            ("pushed", _, Some("web_push")) => "A push service took it for a browser (Web Push).".to_owned(),
            ("push_failed", ..) => "The last attempt at Web Push failed: no push service took it.".to_owned(),
            ("pushed", Some(connection), status) => pushed(connection, status, &mut failures),
            ("offered", ..) => "Every connection of the user had taken it.".to_owned(),
            ("read", ..) => "It was read.".to_owned(),
            ("snoozed", ..) => "The user snoozed it.".to_owned(),
            ("deleted", ..) => "The user deleted it.".to_owned(),
            ("collapsed", ..) => "A newer notification of its collapse key replaced it.".to_owned(),
            ("expired", ..) => "It expired.".to_owned(),
            (other, ..) => format!("It went through the step {other}."),
        };
        events.push((at_ms, event));
    }
    events
}

/// One push to one connection.
fn pushed<'a>(connection: &'a str, status: Option<&str>, failures: &mut BTreeMap<&'a str, u32>) -> String {
    let what = if connection.starts_with("stream/") { "event stream" } else { "connection" };
    let before = failures.get(connection).copied().unwrap_or_default();
    if status == Some("offered") {
        failures.remove(connection);
        return match before {
            0 => format!("It was pushed to {what} {connection}, which took it."),
            failed => format!(
                "It had waited in the queue. The drain pushed it to {what} {connection}, which took it (attempt {}).",
                failed + 1
            ),
        };
    }
    failures.insert(connection, before + 1);
    match status {
        Some("gone") => format!("The {what} {connection} was gone: its device had left, or was not open yet."),
        Some("throttled") => format!("The {what} {connection} was throttled. The push waited in the queue."),
        _ => format!("The push to {what} {connection} failed. It waited in the queue."),
    }
}

/// How it ended, and what to do next.
fn ending(known: &Known, age_ms: i64) -> (String, Vec<String>) {
    if let Some(DeadLetter { id, .. }) = &known.dead_letter {
        let next = format!(
            "Find the reason above and in the log of the drain, end it, and then: POST /api/dead-letters/{id}/redrive"
        );
        return ("It has not arrived: nothing more happens to a dead letter by itself.".into(), vec![next]);
    }
    for (step, ending) in [
        ("read", "It arrived and was read."),
        ("snoozed", "It is snoozed, and arrives anew at the time that the user chose."),
        ("deleted", "The user deleted it."),
        ("collapsed", "A newer one stands in its place."),
        ("expired", "It expired before it was read: its expiresAt, or RETENTION_DAYS."),
    ] {
        if known.steps.iter().any(|one| one.step == step) {
            return (ending.into(), Vec::new());
        }
    }
    unread(known, age_ms)
}

/// Where a notification is that the user has not dealt with, and what to do next.
fn unread(known: &Known, age_ms: i64) -> (String, Vec<String>) {
    let Known { steps, is_complete, queue, is_online, notification, quiet_hours, .. } = known;
    let has = |name: &str| steps.iter().any(|step| step.step == name);
    let by_web_push =
        |name: &str| steps.iter().any(|step| step.step == name && step.status.as_deref() == Some("web_push"));
    let failed = steps.iter().rev().find(|step| step.step == "pushed" && step.connection_id.is_some());
    let failed =
        failed.and_then(|step| step.status.as_deref()).filter(|status| ["failed", "throttled"].contains(status));
    let mut next = Vec::new();
    if notification.as_ref().is_some_and(|notification| notification.silent) {
        next.push("It is silent: preferences of the user, or `channels` of the send, keep it from ringing. It is in the inbox.".into());
    }
    if has("offered") {
        next.push("If the user saw nothing, look at the client: wsStatus, onProblem and its store.".into());
        return ("It was offered: every device that was connected took it.".into(), next);
    }
    if by_web_push("pushed") {
        return ("No device acknowledged it, so a browser was told by Web Push. It waits in the inbox.".into(), next);
    }
    if by_web_push("push_failed") {
        next.push("Look at the log of the drain for the answer of the push service, and at the VAPID keys: `carillon doctor`.".into());
    }
    if let Some(QuietHours { from, to, time_zone }) = quiet_hours {
        next.push(format!("The user's quiet hours hold Web Push from {from} to {to} ({time_zone}), until their end."));
    }
    if !is_complete {
        next.push("Some pushes may be missing here: Redis keeps them for a day, was away, or was emptied.".into());
    }
    let is_behind = queue.as_ref().is_some_and(|queue| queue.oldest_ms > MAX_QUEUED_MS);
    if is_behind {
        let oldest = duration(queue.as_ref().map_or(0, |queue| queue.oldest_ms));
        next.push(format!("The oldest work in the queue is due for {oldest}: no drain runs, or none keeps up. Look at its log and its schedule."));
    }
    if failed.is_some() {
        if !is_behind {
            next.push("The drain tries again, at most 5 min apart. Look at its log if this goes on.".into());
        }
        return ("It is on its way: the last push did not succeed, and the drain repeats it.".into(), next);
    }
    match is_online {
        Some(false) => {
            next.push(
                "The user is not connected. The next connection, poll or event stream gets it from the inbox.".into(),
            );
            ("It waits in the inbox: no device of the user is connected.".into(), next)
        }
        Some(true) if age_ms < LATE_MS => {
            next.push("The user is connected. Ask again in some seconds.".into());
            ("It is in the inbox, and was not pushed yet.".into(), next)
        }
        Some(true) => {
            next.push(
                "The user is connected now. It may have connected later: then its first ping told it to sync.".into(),
            );
            next.push("Otherwise the drain does not run: see its log, its schedule and `carillon doctor`.".into());
            ("It is in the inbox, and no push is known.".into(), next)
        }
        None => {
            next.push(
                "It may be scheduled: until it is due, it is in no inbox, and only its sender can see it.".into(),
            );
            next.push("Is the user connected? Ask again with --user, or look at GET /api/presence?userIds=".into());
            ("It is in the inbox, and no connection has taken it.".into(), next)
        }
    }
}

/// An instant of the API, in milliseconds since 1970.
fn ms(at: &str) -> i64 {
    Time::parse(at).map_or(0, |Time(ms)| ms)
}

/// A length of time in its two largest units.
fn duration(ms: i64) -> String {
    let (s, ms) = (ms / 1_000, ms % 1_000);
    match s {
        i64::MIN..=0 => format!("{} ms", s * 1_000 + ms),
        1..=59 => format!("{s}.{} s", ms / 100),
        60..=3_599 => format!("{} min {} s", s / 60, s % 60),
        3_600..=86_399 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";
    /// 2026-11-20T16:00:00.000Z, when each of these is accepted.
    const ACCEPTED_MS: i64 = 1_795_190_400_000;

    /// A step so many milliseconds after the accept.
    fn step(step: &str, after_ms: i64) -> Value {
        json!({ "step": step, "at": Time(ACCEPTED_MS + after_ms).to_string() })
    }

    fn push(after_ms: i64, connection: &str, status: &str) -> Value {
        let at = Time(ACCEPTED_MS + after_ms).to_string();
        json!({ "step": "pushed", "at": at, "connectionId": connection, "status": status })
    }

    /// What is known a minute after the accept.
    fn known(steps: &[Value]) -> Known {
        let steps = [&[step("accepted", 0)][..], steps].concat();
        Known {
            id: NotificationId::parse(ID).unwrap(),
            now_ms: ACCEPTED_MS + 60_000,
            steps: serde_json::from_value(steps.into()).unwrap(),
            is_complete: true,
            dead_letter: None,
            queue: Some(Queue { oldest_ms: 0 }),
            is_online: None,
            notification: None,
            quiet_hours: None,
        }
    }

    #[test]
    fn a_whole_story_has_times_and_an_end() {
        let steps = [push(12, "A=", "offered"), step("offered", 14), step("read", 62_500)];
        let expected = format!(
            "The story of notification {ID}\n\n\
             2026-11-20T16:00:00.000Z                It was accepted: its send is in the database.\n\
             2026-11-20T16:00:00.012Z        +12 ms  It was pushed to connection A=, which took it.\n\
             2026-11-20T16:00:00.014Z        +14 ms  Every connection of the user had taken it.\n\
             2026-11-20T16:01:02.500Z    +1 min 2 s  It was read.\n\n\
             It arrived and was read.\nThere is nothing to do.\n"
        );
        assert_eq!(told(&known(&steps)), expected);
    }

    #[test]
    fn each_story_says_how_it_ends_and_what_to_do() {
        let web_push =
            |step: &str| json!({ "step": step, "at": Time(ACCEPTED_MS + 10_000).to_string(), "status": "web_push" });
        for (steps, event, ending) in [
            (vec![], "accepted", "no connection has taken it"),
            (vec![step("materialised", 3_000)], "3.0 s after it was accepted", "no connection has taken it"),
            (vec![push(9, "stream/1", "offered"), step("offered", 9)], "event stream stream/1", "every device"),
            (vec![push(9, "A=", "gone")], "was gone", "no connection has taken it"),
            (vec![push(9, "A=", "failed")], "failed. It waited in the queue", "the drain repeats it"),
            (vec![push(9, "A=", "throttled")], "was throttled", "the drain repeats it"),
            (
                vec![push(9, "A=", "failed"), push(900, "A=", "offered"), step("offered", 900)],
                "The drain pushed it to connection A=, which took it (attempt 2)",
                "every device",
            ),
            (vec![web_push("pushed")], "push service took it", "told by Web Push"),
            (vec![web_push("push_failed")], "no push service took it", "carillon doctor"),
            (vec![step("snoozed", 5)], "snoozed it", "arrives anew"),
            (vec![step("snoozed", 5), step("unsnoozed", 9), step("read", 10)], "arrived anew", "was read"),
            (vec![step("deleted", 5)], "deleted it", "deleted it"),
            (vec![step("collapsed", 5)], "collapse key", "A newer one"),
            (vec![step("expired", 5)], "It expired.", "expired before it was read"),
            (vec![step("of_tomorrow", 5)], "the step of_tomorrow", "no connection has taken it"),
        ] {
            let told = told(&known(&steps));
            assert!(told.contains(event) && told.contains(ending), "{event}, {ending}: {told}");
        }
    }

    #[test]
    fn what_is_known_beside_the_trace_decides_what_to_do() {
        let changed = |change: fn(&mut Known)| {
            let mut known = known(&[]);
            change(&mut known);
            told(&known)
        };
        let quiet = || QuietHours { from: "22:00".into(), to: "07:00".into(), time_zone: "Europe/Berlin".into() };
        for (told, expected) in [
            (changed(|known| known.is_online = Some(false)), "no device of the user is connected"),
            (changed(|known| known.is_online = Some(true)), "the drain does not run"),
            (
                changed(|known| (known.is_online, known.now_ms) = (Some(true), ACCEPTED_MS + 1_000)),
                "Ask again in some seconds",
            ),
            (changed(|_| {}), "--user"),
            (
                changed(|known| known.queue = Some(Queue { oldest_ms: 3_700_000 })),
                "is due for 1 h 1 min: no drain runs",
            ),
            (changed(|known| known.is_complete = false), "Some pushes may be missing"),
            (changed(|known| known.notification = Some(Notification { silent: true })), "It is silent"),
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        let held = Known { quiet_hours: Some(quiet()), ..known(&[]) };
        assert!(told(&held).contains("from 22:00 to 07:00 (Europe/Berlin)"));
    }

    #[test]
    fn a_dead_letter_is_told_where_it_happened_with_the_way_out() {
        let letter = json!({
            "id": "7d4c0ffe-0000-8000-8000-000000000000", "userId": "alice", "notificationId": ID,
            "error": "the database refuses its row", "attempts": 5, "at": Time(ACCEPTED_MS + 20).to_string(),
        });
        let letter: DeadLetter = serde_json::from_value(letter).unwrap();
        let without_row = told(&Known { steps: Vec::new(), dead_letter: Some(letter.clone()), ..known(&[]) });
        let story = told(&Known { dead_letter: Some(letter), ..known(&[push(30, "A=", "failed")]) });
        let lines: Vec<&str> = story.lines().collect();
        assert!(lines[3].ends_with("dead letter after 5 attempts: the database refuses its row."), "{story}");
        assert!(story.contains("POST /api/dead-letters/7d4c0ffe-0000-8000-8000-000000000000/redrive"), "{story}");
        let lines: Vec<&str> = without_row.lines().collect();
        assert!(lines[2].ends_with("dead letter after 5 attempts: the database refuses its row."), "{without_row}");
        assert!(lines[4].starts_with("It has not arrived"), "{without_row}");
    }

    #[test]
    fn a_length_of_time_has_two_units() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (60_000, "1 min 0 s"),
            (7_380_000, "2 h 3 min"),
            (90_000_000, "1 d 1 h"),
            (-5, "-5 ms"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }
}
