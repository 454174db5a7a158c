//! Logs in Redis: what each operation sends, and what the answers mean. A log is in the partition of its number. It may be at
//! several instances after one of them was away, so all are asked for what it has.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

pub(crate) use self::reading::read_logs;
use crate::clock::At;
use crate::fast::log::{
    KEY_CLAIM_MS, KeyClaim, LogEntry, LogId, Logged, MAX_LOG_AGE_MS, MAX_LOG_BYTES, MAX_LOG_ENTRIES, Unwritten,
    UnwrittenLogs, WriterId,
};
use crate::ids::SendId;
use crate::moment::redis::keys::Keys;
use crate::moment::redis::steps::{self, Answer, Script, Step, read};

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("log_append.lua")));
static REMOVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("log_remove.lua")));
static SIZE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("log_size.lua")));

pub(crate) fn append(keys: &Keys, log: LogId, id: Uuid, text: &str, at: At) -> Step {
    let step = Step::script(&APPEND, keys.log(log).into()).arg(steps::now_ms(at));
    let step = step.arg(MAX_LOG_ENTRIES).arg(MAX_LOG_BYTES).arg(MAX_LOG_AGE_MS);
    step.arg(id.hyphenated().to_string()).arg(text)
}

/// The result, and how many values were foreign.
pub(crate) fn read_appended(answer: Answer) -> Option<(Logged, u64)> {
    let (foreign, result, detail) = read::<(u64, u64, Vec<u8>)>(answer)?;
    let detail = String::from_utf8(detail).ok()?;
    let logged = match result {
        1 => Logged::Added { oldest_ms: detail.parse().ok().filter(|ms| *ms >= 0) },
        2 => Logged::Known(detail),
        _ => Logged::Full,
    };
    Some((logged, foreign))
}

/// Claims a key; the answer is the claim that was there before.
pub(crate) fn claim_key(keys: &Keys, send: SendId, claim: &KeyClaim) -> Step {
    let step = Step::command("SET", keys.send_key(send)).arg(claim_text(claim));
    step.arg("NX").arg("GET").arg("PX").arg(KEY_CLAIM_MS)
}

/// Takes a key over; the answer is the claim that was there before.
pub(crate) fn take_key(keys: &Keys, send: SendId, claim: &KeyClaim) -> Step {
    Step::command("SET", keys.send_key(send)).arg(claim_text(claim)).arg("GET").arg("PX").arg(KEY_CLAIM_MS)
}

pub(crate) fn claimed_key(keys: &Keys, send: SendId) -> Step {
    Step::command("GET", keys.send_key(send))
}

/// A claim: the outer `None` without an answer, the inner one if there is none.
pub(crate) fn read_claim(answer: Answer) -> Option<Option<KeyClaim>> {
    let text: Option<Vec<u8>> = read(answer)?;
    Some(text.and_then(|text| parse_claim(std::str::from_utf8(&text).ok()?)))
}

/// The number of the log, or `-`, and the fingerprint, with a space between.
fn claim_text(KeyClaim { log, fingerprint }: &KeyClaim) -> String {
    let log = log.map_or_else(|| "-".to_owned(), |log| log.number().to_string());
    format!("{log} {}", URL_SAFE_NO_PAD.encode(fingerprint))
}

fn parse_claim(text: &str) -> Option<KeyClaim> {
    let (log, fingerprint) = text.split_once(' ')?;
    let log = if log == "-" { None } else { Some(LogId::from_number(log.parse().ok()?)?) };
    Some(KeyClaim { log, fingerprint: URL_SAFE_NO_PAD.decode(fingerprint).ok()?.try_into().ok()? })
}

/// Whether each of these logs exists.
pub(crate) fn exist(keys: &Keys, logs: &[LogId]) -> Vec<Step> {
    logs.iter().map(|log| Step::command("EXISTS", keys.log(*log)[0].clone())).collect()
}

/// Adds those of these logs that exist on an instance.
pub(crate) fn read_exist(logs: &[LogId], answers: Vec<Answer>, unwritten: &mut UnwrittenLogs) {
    for (log, answer) in logs.iter().zip(answers) {
        match read::<u64>(answer) {
            Some(1) => unwritten.logs.push(*log),
            Some(_) => {}
            None => unwritten.is_silent = true,
        }
    }
}

/// Removing entries of one instance: a step for each log.
pub(crate) fn remove(keys: &Keys, entries: &[&LogEntry], writer: WriterId) -> Vec<Step> {
    let mut by_log: BTreeMap<LogId, Vec<&LogEntry>> = BTreeMap::new();
    for entry in entries.iter().copied() {
        by_log.entry(entry.log).or_default().push(entry);
    }
    let remove = |(log, entries): (LogId, Vec<&LogEntry>)| {
        let step = removing(keys, log, entries.len(), writer);
        entries
            .into_iter()
            .fold(step, |step, entry| step.arg(entry.place.as_slice()).arg(entry.id.as_slice()).arg(entry.text.len()))
    };
    by_log.into_iter().map(remove).collect()
}

/// Ends the leases of a writer: a step for each log, which removes nothing.
pub(crate) fn release(keys: &Keys, logs: &[LogId], writer: WriterId) -> Vec<Step> {
    logs.iter().map(|log| removing(keys, *log, 0, writer)).collect()
}

fn removing(keys: &Keys, log: LogId, count: usize, writer: WriterId) -> Step {
    let [own, index] = keys.log(log);
    Step::script(&REMOVE, vec![own, index, keys.log_writer(log)]).arg(count).arg(writer.0)
}

/// Those of the logs of these entries that have more, and how many values were foreign; `None` without an answer.
pub(crate) fn read_removed(entries: &[&LogEntry], answers: Vec<Answer>) -> (Option<Vec<LogId>>, u64) {
    let logs: BTreeSet<LogId> = entries.iter().map(|entry| entry.log).collect();
    let (mut left, mut is_answered, mut foreign) = (Vec::new(), true, 0);
    for (log, answer) in logs.into_iter().zip(answers) {
        let Some([strange, more]) = read::<[u64; 2]>(answer) else {
            is_answered = false;
            continue;
        };
        foreign = u64::saturating_add(foreign, strange);
        left.extend((more > 0).then_some(log));
    }
    (is_answered.then_some(left), foreign)
}

pub(crate) fn size(keys: &Keys, at: At) -> Vec<Step> {
    LogId::all().map(|log| Step::script(&SIZE, keys.log(log).into()).arg(steps::now_ms(at))).collect()
}

/// What waits at one instance, and how many values were foreign; `None` without any answer.
pub(crate) fn read_size(answers: Vec<Answer>) -> Option<(Unwritten, u64)> {
    if answers.iter().all(Option::is_none) {
        return None;
    }
    let sizes = answers.into_iter().filter_map(read::<[u64; 4]>);
    Some(sizes.fold((Unwritten::default(), 0), |(sum, foreign), [strange, entries, bytes, oldest_ms]| {
        (sum.and(Unwritten { entries, bytes, oldest_ms }), u64::saturating_add(foreign, strange))
    }))
}
