//! Notes in Redis: the caller of `lua/count.lua` and `lua/remember.lua`, and the reader of what they keep.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, from_redis_value};
use serde::Serialize;

use crate::clock::At;
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::moment::redis::keys::Keys;
use crate::moment::redis::scripts::{self, Call, Script, Step};
use crate::sockets::push::Outcome;
use crate::telemetry::{COUNTS_WINDOW_MS, Counts, Hint, MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt, Report};

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));
static REMEMBER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("remember.lua")));

const MINUTE_MS: i64 = 60_000;

/// What is to be noted, as Redis is told it.
#[derive(Debug)]
pub(crate) struct Telling {
    channel: String,
    hints: Vec<String>,
    counts: Option<Call>,
    outcomes: Vec<Call>,
}

/// What Redis made of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many hints an access list forbade.
    pub(crate) forbidden: u64,
    /// How many values were none of ours.
    pub(crate) foreign: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotificationEvent<'a> {
    user_id: &'a UserId,
    id: NotificationId,
    r#type: &'a str,
}

impl Telling {
    pub(crate) fn new(keys: &Keys, report: &Report<'_>, at: At) -> Self {
        let event = |Hint { user, id, kind }: &Hint<'_>| {
            serde_json::to_string(&NotificationEvent { user_id: user, id: *id, r#type: kind }).ok()
        };
        Self {
            channel: keys.notification_events(),
            hints: report.hints.iter().filter_map(event).collect(),
            counts: count(keys, &report.counts, at),
            outcomes: remember(keys, &report.outcomes, at),
        }
    }

    /// Tells all of it in one pipeline.
    pub(crate) async fn tell(&self, connection: &mut MultiplexedConnection) -> RedisResult<Told> {
        let publish = |hint: &String| {
            let mut command = redis::cmd("PUBLISH");
            command.arg(&self.channel).arg(hint);
            Step::Plain(command)
        };
        let hints = self.hints.iter().map(publish);
        let counts = self.counts.iter().map(|call| Step::Script(&COUNT, call));
        let outcomes = self.outcomes.iter().map(|call| Step::Script(&REMEMBER, call));
        let steps: Vec<Step<'_>> = hints.chain(counts).chain(outcomes).collect();
        let mut told = Told::default();
        for (step, answer) in steps.iter().zip(scripts::perform(connection, &steps).await?) {
            match (step, answer) {
                // A channel's matter, not the server's.
                (Step::Plain(_), Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                    told.forbidden += 1;
                }
                (Step::Plain(_), answer) => drop(answer?),
                (Step::Script(..), answer) => {
                    let [foreign]: [u64; 1] = from_redis_value(answer?)?;
                    told.foreign += foreign;
                }
            }
        }
        Ok(told)
    }
}

/// The call that adds to the counts of the present minute; `None` where there is nothing to add.
fn count(keys: &Keys, counts: &Counts, at: At) -> Option<Call> {
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
    let mut arguments = vec![(2 * COUNTS_WINDOW_MS).to_string()];
    arguments.extend(added.into_iter().flat_map(|(name, count)| [name, count.to_string()]));
    Some(Call { keys: vec![keys.counts(minute(at))], arguments, ..Call::default() })
}

/// One call for each notification, which may lie anywhere.
fn remember(keys: &Keys, outcomes: &[(NotificationId, &ConnectionId, Outcome)], at: At) -> Vec<Call> {
    let mut by_notification: BTreeMap<NotificationId, Vec<String>> = BTreeMap::new();
    for (id, connection, outcome) in outcomes {
        by_notification.entry(*id).or_default().push(format!("{} {connection}", outcome.name()));
    }
    let call = |(id, mut pushes): (NotificationId, Vec<String>)| {
        let too_many = pushes.len().saturating_sub(MAX_OUTCOMES);
        pushes.drain(..too_many);
        let numbers = [scripts::now_ms(at), 2 * OUTCOME_RETENTION_MS, MAX_OUTCOMES as i64];
        let arguments = numbers.map(|number| number.to_string()).into_iter().chain(pushes).collect();
        Call { keys: vec![keys.outcomes(id)], arguments, ..Call::default() }
    };
    by_notification.into_iter().map(call).collect()
}

/// The minutes that are counted now, and how many values in them were none of ours.
pub(crate) async fn counts(connection: &mut MultiplexedConnection, keys: &Keys, at: At) -> RedisResult<(Counts, u64)> {
    let last = minute(at);
    let commands = (last - COUNTS_WINDOW_MS / MINUTE_MS + 1..=last).map(|minute| {
        let mut command = redis::cmd("HGETALL");
        command.arg(keys.counts(minute));
        command
    });
    let (mut counts, mut foreign) = (Counts::default(), 0);
    for answer in scripts::pipe(connection, commands).await? {
        let Some(answer) = ours(answer)? else {
            foreign += 1;
            continue;
        };
        for (name, value) in from_redis_value::<Vec<(Vec<u8>, Vec<u8>)>>(answer)? {
            foreign += u64::from(!add(&mut counts, &name, &value));
        }
    }
    Ok((counts, foreign))
}

/// What became of the pushes of a notification, and how many values were none of ours.
pub(crate) async fn outcomes(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    id: NotificationId,
    at: At,
) -> RedisResult<(Vec<PushAttempt>, u64)> {
    let mut command = redis::cmd("LRANGE");
    command.arg(keys.outcomes(id)).arg(0).arg(-1);
    let Some(answer) = ours(command.query_async(connection).await)? else { return Ok((Vec::new(), 1)) };
    let (mut pushes, mut foreign) = (Vec::new(), 0);
    for entry in from_redis_value::<Vec<Vec<u8>>>(answer)? {
        match pushed(&entry) {
            Some(push) => pushes.push(push),
            None => foreign += 1,
        }
    }
    pushes.retain(|push| push.at_ms > at.process_ms() - OUTCOME_RETENTION_MS);
    // Of pushes at one instant, the one that was noted first.
    pushes.sort_by_key(|push| push.at_ms);
    Ok((pushes, foreign))
}

/// `None` where a key holds another type than ours.
fn ours(answer: RedisResult<Value>) -> Result<Option<Value>, RedisError> {
    match answer {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        answer => answer.map(Some),
    }
}

/// Adds a count by its name; false where it is none. A name that is not known may be a later version's.
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

/// `<ms> <outcome> <connection>`.
fn pushed(entry: &[u8]) -> Option<PushAttempt> {
    let mut words = std::str::from_utf8(entry).ok()?.splitn(3, ' ');
    let at_ms = words.next()?.parse().ok()?;
    let outcome = Outcome::named(words.next()?)?;
    Some(PushAttempt { connection: ConnectionId::new(words.next()?), outcome, at_ms })
}

fn minute(at: At) -> i64 {
    at.process_ms().div_euclid(MINUTE_MS)
}
