//! Telemetry in Redis: what a report sends, and what is kept of it. The caller of `count.lua` and `remember.lua`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use serde::Serialize;

use crate::clock::At;
use crate::ids::{ChatId, ConnectionId, EventId, NotificationId, UserId};
use crate::moment::redis::keys::{Channel, Keys};
use crate::moment::redis::steps::{self, Answer, Script, Step, read};
use crate::sockets::push::Outcome;
use crate::telemetry::{COUNTS_WINDOW_MS, Counts, Hint, MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt, Report};

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));
static REMEMBER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("remember.lua")));

const MINUTE_MS: i64 = 60_000;

/// A report on its way to Redis.
pub(crate) struct Reporting {
    pub(crate) steps: Vec<Step>,
    /// How many of the steps, from the first, publish a hint.
    hints: usize,
}

/// What Redis made of a report.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// How many hints the access list forbade.
    pub(crate) forbidden: u64,
    /// How many values were foreign.
    pub(crate) foreign: u64,
}

/// What other programs read: a format that never changes but gains members.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum PublishedHint<'a> {
    Notification { user_id: &'a UserId, id: NotificationId, r#type: &'a str },
    Message { chat_id: ChatId, seq: Option<i64>, sender_id: Option<&'a UserId> },
    Presence { user_id: &'a UserId, online: bool },
    Emitted { id: EventId, r#type: &'a str, name: Option<&'a str> },
}

impl Reporting {
    pub(crate) fn new(keys: &Keys, report: &Report<'_>, at: At) -> Self {
        let mut steps: Vec<Step> = report.hints.iter().map(|hint| publish(keys, *hint)).collect();
        let hints = steps.len();
        steps.extend(count(keys, &report.counts, at));
        steps.extend(remember(keys, &report.outcomes, at));
        Self { steps, hints }
    }

    pub(crate) fn result(&self, answers: Vec<Answer>) -> Reported {
        let mut reported = Reported::default();
        for (n, answer) in answers.into_iter().enumerate() {
            match answer {
                Some(Err(_)) => reported.forbidden += 1,
                Some(Ok(_)) if n < self.hints => {}
                answer => {
                    let foreign = read::<[u64; 1]>(answer).map_or(0, |[foreign]| foreign);
                    reported.foreign = reported.foreign.saturating_add(foreign);
                }
            }
        }
        reported
    }
}

fn publish(keys: &Keys, hint: Hint<'_>) -> Step {
    let (channel, published) = match hint {
        Hint::Notification { user, id, kind } => {
            (Channel::NotificationEvents, PublishedHint::Notification { user_id: user, id, r#type: kind })
        }
        Hint::Message { chat, seq, sender } => {
            (Channel::ChatMessages, PublishedHint::Message { chat_id: chat, seq, sender_id: sender })
        }
        Hint::Emitted { id, kind, name } => (Channel::SystemEvents, PublishedHint::Emitted { id, r#type: kind, name }),
        Hint::Presence { user, online } => (Channel::UserPresence, PublishedHint::Presence { user_id: user, online }),
    };
    let text = serde_json::to_string(&published).expect("strings and numbers are JSON");
    // A channel that the access list forbids says nothing about the server.
    Step::command("PUBLISH", keys.channel(channel)).arg(text).tolerating(is_forbidden)
}

/// Whether the access list forbids a command or channel.
pub(crate) fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}

/// Adds to the counts of the present minute; `None` if there is nothing to add.
fn count(keys: &Keys, counts: &Counts, at: At) -> Option<Step> {
    let Counts { accepted, delivered, retried, rate_limited, errors, accept_ms, deliver_ms } = counts;
    let plain = [
        ("accepted", *accepted),
        ("delivered", *delivered),
        ("retried", *retried),
        ("rateLimited", *rate_limited),
        ("errors", *errors),
    ];
    let plain = plain.into_iter().map(|(name, count)| (name.to_owned(), count));
    let accept = accept_ms.buckets().map(|(from, count)| (format!("acceptMs:{from}"), count));
    let deliver = deliver_ms.buckets().map(|(from, count)| (format!("deliverMs:{from}"), count));
    let added: Vec<(String, u64)> = plain.chain(accept).chain(deliver).filter(|(_, count)| *count > 0).collect();
    if added.is_empty() {
        return None;
    }
    let step = Step::script(&COUNT, vec![keys.counts(minute(at))]).arg(2 * COUNTS_WINDOW_MS);
    Some(added.into_iter().fold(step, |step, (name, count)| step.arg(name).arg(count)))
}

/// Remembers outcomes: one step per notification, since each may be in another partition.
fn remember(keys: &Keys, outcomes: &[(NotificationId, &ConnectionId, Outcome)], at: At) -> Vec<Step> {
    let mut by_notification: BTreeMap<NotificationId, Vec<String>> = BTreeMap::new();
    for (id, connection, outcome) in outcomes {
        by_notification.entry(*id).or_default().push(format!("{} {connection}", outcome.name()));
    }
    let remember = |(id, pushes): (NotificationId, Vec<String>)| {
        let latest = &pushes[pushes.len().saturating_sub(MAX_OUTCOMES)..];
        let step = Step::script(&REMEMBER, vec![keys.outcomes(id)]);
        step.arg(steps::now_ms(at)).arg(2 * OUTCOME_RETENTION_MS).arg(MAX_OUTCOMES).arg(latest)
    };
    by_notification.into_iter().map(remember).collect()
}

/// Reads the minutes of the window.
pub(crate) fn counts(keys: &Keys, at: At) -> Vec<Step> {
    let last = minute(at);
    let minutes = last - COUNTS_WINDOW_MS / MINUTE_MS + 1..=last;
    minutes.map(|minute| Step::command("HGETALL", keys.counts(minute)).tolerating(is_other_type)).collect()
}

/// The sum of those that are known, and how many values were foreign; `None` if none is.
pub(crate) fn read_counts(answers: Vec<Answer>) -> Option<(Counts, u64)> {
    if answers.iter().all(Option::is_none) {
        return None;
    }
    let (mut counts, mut foreign) = (Counts::default(), 0);
    for answer in answers {
        if matches!(answer, Some(Err(_))) {
            foreign += 1;
            continue;
        }
        for (name, value) in read::<Vec<(Vec<u8>, Vec<u8>)>>(answer).unwrap_or_default() {
            foreign += u64::from(!add(&mut counts, &name, &value));
        }
    }
    Some((counts, foreign))
}

/// Reads the outcomes of the pushes of a notification.
pub(crate) fn outcomes(keys: &Keys, id: NotificationId) -> Step {
    Step::command("LRANGE", keys.outcomes(id)).arg(0).arg(-1).tolerating(is_other_type)
}

/// The outcomes, oldest first, and how many values were foreign.
pub(crate) fn read_outcomes(answer: Answer, at: At) -> Option<(Vec<PushAttempt>, u64)> {
    if matches!(answer, Some(Err(_))) {
        return Some((Vec::new(), 1));
    }
    let entries = read::<Vec<Vec<u8>>>(answer)?;
    let mut pushes: Vec<PushAttempt> = entries.iter().filter_map(|entry| parse_attempt(entry)).collect();
    let foreign = (entries.len() - pushes.len()) as u64;
    pushes.retain(|push| push.at_ms > at.process_ms() - OUTCOME_RETENTION_MS);
    // Stable: pushes of one millisecond stay in the order in which they were reported.
    pushes.sort_by_key(|push| push.at_ms);
    Some((pushes, foreign))
}

/// Whether a key holds a value of another type than ours.
fn is_other_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// Adds a count by its name; false if the value is not a count. An unknown name may be that of a later version.
fn add(counts: &mut Counts, name: &[u8], value: &[u8]) -> bool {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let (histogram, from) = match (name.strip_prefix(b"acceptMs:"), name.strip_prefix(b"deliverMs:")) {
        (Some(from), _) => (&mut counts.accept_ms, from),
        (_, Some(from)) => (&mut counts.deliver_ms, from),
        (None, None) => {
            let sum = match name {
                b"accepted" => &mut counts.accepted,
                b"delivered" => &mut counts.delivered,
                b"retried" => &mut counts.retried,
                b"rateLimited" => &mut counts.rate_limited,
                b"errors" => &mut counts.errors,
                _ => return true,
            };
            *sum = sum.saturating_add(number(value).unwrap_or(0));
            return number(value).is_some();
        }
    };
    number(from).zip(number(value)).is_some_and(|(from, count)| histogram.add_bucket(from, count))
}

/// Reads `<ms> <outcome> <connection>`.
fn parse_attempt(entry: &[u8]) -> Option<PushAttempt> {
    let mut words = std::str::from_utf8(entry).ok()?.splitn(3, ' ');
    let at_ms = words.next()?.parse().ok()?;
    let outcome = Outcome::from_name(words.next()?)?;
    Some(PushAttempt { connection: ConnectionId::new(words.next()?), outcome, at_ms })
}

fn minute(at: At) -> i64 {
    at.process_ms().div_euclid(MINUTE_MS)
}
