//! The queue in Redis: the caller of `lua/queue_*.lua`. Each script touches one shard; all shards are asked in one
//! pipeline.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value, from_redis_value};

use crate::clock::At;
use crate::delivery::fair_share::{FairShare, PRIORITIES};
use crate::delivery::queue::{
    AWAKE_MS, Added, CLAIM_MS, ClaimId, Claimed, Claims, Depth, Entry, MAX_SHARD_ENTRIES, Resolution, SHARDS,
    WAKING_MS, found, rank, shard,
};
use crate::moment::redis::keys::Keys;
use crate::moment::redis::scripts::{self, Call, Script, Step};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_add.lua")));
static TELL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_tell.lua")));
static HOLD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_hold.lua")));
static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_look.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_claim.lua")));
static RECOVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_recover.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_settle.lua")));
static DEPTH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_depth.lua")));

/// How many of a shard's entries that have fallen due one claim moves at most: one script must not take long.
const MAX_MOVED: usize = 500;

/// Entries to be added, as Redis is told them.
#[derive(Debug)]
pub(crate) struct Adding {
    calls: Vec<Call>,
    tell: Call,
}

impl Adding {
    pub(crate) fn new(keys: &Keys, entries: &[Entry], at: At) -> Self {
        let mut by_shard: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for Entry { work, wait_ms } in entries {
            let rank = rank(work.priority) + 1;
            let entry = [rank.to_string(), (*wait_ms).max(0).to_string(), work.text()];
            by_shard.entry(shard(&work.user)).or_default().extend(entry);
        }
        let call = |(shard, entries): (usize, Vec<String>)| {
            let numbers = [scripts::now_ms(at).to_string(), MAX_SHARD_ENTRIES.to_string()];
            let arguments = numbers.into_iter().chain(entries).collect();
            Call { keys: keys.queue(shard).into(), arguments, ..Call::default() }
        };
        let arguments = vec![scripts::now_ms(at).to_string(), WAKING_MS.to_string()];
        let tell = Call { keys: keys.drains().into(), arguments, ..Call::default() };
        Self { calls: by_shard.into_iter().map(call).collect(), tell }
    }

    /// Adds all of them in one pipeline, and then tells drains of it; with how many values were none of ours.
    pub(crate) async fn ask(&self, connection: &mut MultiplexedConnection) -> RedisResult<(Added, u64)> {
        let adds = self.calls.iter().map(|call| Step::Script(&ADD, call));
        // Last, so that whoever hears it finds all of them.
        let steps: Vec<Step<'_>> = adds.chain([Step::Script(&TELL, &self.tell)]).collect();
        let mut answers = scripts::perform(connection, &steps).await?.into_iter();
        let (mut refused, mut foreign) = (0, 0);
        for answer in answers.by_ref().take(self.calls.len()) {
            let [strange, full]: [u64; 2] = from_redis_value(answer?)?;
            foreign += strange;
            refused += usize::try_from(full).unwrap_or(usize::MAX);
        }
        let told = answers.next().ok_or_else(|| unexpected("a pipeline was not answered"))??;
        let [strange, awake]: [u64; 2] = from_redis_value(told)?;
        Ok((Added { refused, drain_is_awake: Some(awake == 1) }, foreign + strange))
    }
}

/// Claims in all shards at once: one round trip to look, and one to take where there is something.
pub(crate) async fn claim(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    fair_share: &FairShare,
    limit: usize,
    at: At,
) -> RedisResult<(Claims, u64)> {
    let now_ms = scripts::now_ms(at).to_string();
    let looks = (0..SHARDS).map(|shard| {
        let arguments = vec![now_ms.clone(), MAX_MOVED.to_string()];
        Call { keys: keys.queue(shard).into(), arguments, ..Call::default() }
    });
    let looks: Vec<Call> = looks.collect();
    let hold = holding(keys, AWAKE_MS, at);
    let steps: Vec<Step<'_>> =
        [Step::Script(&HOLD, &hold)].into_iter().chain(looks.iter().map(|call| Step::Script(&LOOK, call))).collect();
    let mut answers = scripts::perform(connection, &steps).await?.into_iter();
    let held = answers.next().ok_or_else(|| unexpected("a pipeline was not answered"))??;
    let [mut foreign, generation]: [u64; 2] = from_redis_value(held)?;

    let (mut waiting, mut lapsed) = ([[0; PRIORITIES]; SHARDS], [0; SHARDS]);
    let mut next_in_ms: Option<i64> = None;
    for (shard, answer) in answers.enumerate() {
        let [strange, critical, high, normal, low, ended, next]: [i64; 7] = from_redis_value(answer?)?;
        let count = |count: i64| usize::try_from(count).unwrap_or(0);
        foreign += strange.unsigned_abs();
        waiting[shard] = [critical, high, normal, low].map(count);
        lapsed[shard] = count(ended);
        next_in_ms = next_in_ms.into_iter().chain((next >= 0).then_some(next)).min();
    }
    let total: usize = waiting.iter().flatten().sum();

    if limit > 0
        && let Some(shard) = fair_share.suspect(&waiting, &lapsed)
    {
        let [.., claimed_key] = keys.queue(shard);
        let arguments = vec![now_ms.clone(), CLAIM_MS.to_string()];
        let call = Call { keys: vec![claimed_key], arguments, ..Call::default() };
        let answer = RECOVER.run(connection, &[call]).await?.pop().unwrap_or(Value::Nil);
        let (claimed, strange) = claimed(shard, answer)?;
        foreign += strange;
        // Another may have been faster.
        if !claimed.is_empty() {
            return Ok((Claims { claimed, next_in_ms: Some(0), generation }, foreign));
        }
    }
    let taken = fair_share.allot(&waiting, limit);
    let shards: Vec<usize> = (0..SHARDS).filter(|shard| taken[*shard].iter().any(|count| *count > 0)).collect();
    let calls = shards.iter().map(|shard| {
        let [critical, high, normal, low, _, claimed] = keys.queue(*shard);
        let counts = taken[*shard].iter().map(ToString::to_string);
        let arguments = [now_ms.clone(), CLAIM_MS.to_string()].into_iter().chain(counts).collect();
        Call { keys: vec![critical, high, normal, low, claimed], arguments, ..Call::default() }
    });
    let calls: Vec<Call> = calls.collect();
    let mut all: Vec<Claimed> = Vec::new();
    for (shard, answer) in shards.iter().zip(CLAIM.run(connection, &calls).await?) {
        let (claimed, strange) = claimed(*shard, answer)?;
        foreign += strange;
        all.extend(claimed);
    }
    // A shard's are in order already, so that what has one rank keeps it.
    all.sort_by_key(|claimed| claimed.work.as_ref().map_or(PRIORITIES, |work| rank(work.priority)));
    let is_more = total > all.len() || lapsed.iter().any(|count| *count > 0);
    Ok((Claims { claimed: all, next_in_ms: if is_more { Some(0) } else { next_in_ms }, generation }, foreign))
}

/// Settles claims, those of each shard in one step; with how many values were none of ours.
pub(crate) async fn settle(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    settled: &[Resolution],
    at: At,
) -> RedisResult<u64> {
    let mut by_shard: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    for settled in settled {
        let (wait_ms, text) = match settled {
            Resolution::Done(_) => (0, String::new()),
            Resolution::Retry(_, Entry { work, wait_ms }) => ((*wait_ms).max(0), work.text()),
        };
        let ClaimId { shard, name } = settled.id();
        let arguments = [name.clone(), wait_ms.to_string().into_bytes(), text.into_bytes()];
        by_shard.entry(*shard).or_default().extend(arguments);
    }
    let call = |(shard, settled): (usize, Vec<Vec<u8>>)| {
        let [.., later, claimed] = keys.queue(shard);
        let arguments = vec![scripts::now_ms(at).to_string()];
        Call { keys: vec![claimed, later], arguments, bytes: settled }
    };
    let calls: Vec<Call> = by_shard.into_iter().map(call).collect();
    let mut foreign = 0;
    for answer in SETTLE.run(connection, &calls).await? {
        let [strange]: [u64; 1] = from_redis_value(answer)?;
        foreign += strange;
    }
    Ok(foreign)
}

/// Notes until when a drain is awake; what there is new, and how many values were none of ours.
pub(crate) async fn hold(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    awake_ms: i64,
    at: At,
) -> RedisResult<(u64, u64)> {
    let held = HOLD.run(connection, &[holding(keys, awake_ms, at)]).await?.pop().unwrap_or(Value::Nil);
    let [foreign, generation]: [u64; 2] = from_redis_value(held)?;
    Ok((generation, foreign))
}

/// How much there is in all shards, and how many values were none of ours.
pub(crate) async fn depth(connection: &mut MultiplexedConnection, keys: &Keys, at: At) -> RedisResult<(Depth, u64)> {
    let now_ms = scripts::now_ms(at).to_string();
    let call = |shard| Call { keys: keys.queue(shard).into(), arguments: vec![now_ms.clone()], ..Call::default() };
    let calls: Vec<Call> = (0..SHARDS).map(call).collect();
    let (mut depth, mut foreign) = (Depth::default(), 0);
    for answer in DEPTH.run(connection, &calls).await? {
        let [strange, waiting, processing, delayed, oldest_ms]: [u64; 5] = from_redis_value(answer)?;
        foreign += strange;
        depth.waiting += waiting;
        depth.processing += processing;
        depth.delayed += delayed;
        depth.oldest_ms = depth.oldest_ms.max(oldest_ms);
    }
    Ok((depth, foreign))
}

fn holding(keys: &Keys, awake_ms: i64, at: At) -> Call {
    let arguments = vec![scripts::now_ms(at).to_string(), awake_ms.to_string()];
    Call { keys: keys.drains().into(), arguments, ..Call::default() }
}

/// What a script claimed in a shard, and how many values were none of ours.
fn claimed(shard: usize, answer: Value) -> RedisResult<(Vec<Claimed>, u64)> {
    let Value::Array(answer) = answer else { return Err(unexpected("a script answered no list")) };
    let mut answer = answer.into_iter();
    let foreign = from_redis_value(answer.next().unwrap_or(Value::Nil))?;
    let names: Result<Vec<Vec<u8>>, _> = answer.map(from_redis_value).collect();
    Ok((names?.into_iter().map(|name| named(shard, name)).collect(), foreign))
}

/// `<claims> <priority> <id> <text>`, which the scripts make of whatever they find.
fn named(shard: usize, name: Vec<u8>) -> Claimed {
    let mut words = name.splitn(4, |byte| *byte == b' ');
    let attempts = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok()).unwrap_or(u32::MAX);
    let work = found(words.nth(2).unwrap_or_default());
    Claimed { id: ClaimId { shard, name }, work, attempts }
}

fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}
