//! Emitted events in Redis: the caller of `keep.lua`, `address.lua`, `list.lua` and `find.lua`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use redis::from_redis_value;
use serde_json::value::RawValue;

use crate::clock::At;
use crate::emit::{Addressees, KEPT_MS, Kept, MAX_KEPT, Newest};
use crate::ids::{EventId, UserId};
use crate::moment::redis::keys::{Key, Keys, by_partition};
use crate::moment::redis::steps::{self, Answer, Script, Step, read};

static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keep.lua")));
static ADDRESS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("address.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("list.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("find.lua")));

pub(crate) fn keep(keys: &Keys, id: EventId, event: &RawValue, at: At) -> Step {
    Step::script(&KEEP, vec![keys.event(id)]).arg(steps::now_ms(at)).arg(KEPT_MS).arg(event.get())
}

pub(crate) fn read_kept(answer: Answer) -> Option<(Kept, u64)> {
    let (foreign, is_new) = read::<(u64, u64)>(answer)?;
    Some((if is_new == 1 { Kept::Now } else { Kept::Before }, foreign))
}

/// A step per partition.
pub(crate) fn address(keys: &Keys, id: EventId, audience: Addressees<'_>, at: At) -> Vec<Step> {
    let keys: Vec<Key> = match audience {
        Addressees::All => vec![keys.events(None)],
        Addressees::Users(users) => users.iter().map(|user| keys.events(Some(user))).collect(),
    };
    let step =
        |keys| Step::script(&ADDRESS, keys).arg(steps::now_ms(at)).arg(KEPT_MS).arg(MAX_KEPT).arg(id.to_string());
    by_partition(keys).into_iter().map(|(keys, _)| step(keys)).collect()
}

/// How many values were foreign.
pub(crate) fn read_addressed(answers: Vec<Answer>) -> u64 {
    answers.into_iter().filter_map(read::<[u64; 1]>).fold(0, |sum, [foreign]| sum.saturating_add(foreign))
}

/// The newest events of a user, and those to all.
pub(crate) fn list(keys: &Keys, user: &UserId, most: usize, at: At) -> [Step; 2] {
    [keys.events(Some(user)), keys.events(None)]
        .map(|key| Step::script(&LIST, vec![key]).arg(steps::now_ms(at)).arg(KEPT_MS).arg(most))
}

/// The ids of both, the newest first and each once, and how many values were foreign; `None` unless both were answered.
pub(crate) fn read_list(answers: Vec<Answer>) -> Option<(Vec<EventId>, u64)> {
    // An event may be in both, noted at different times: it is as old as the first.
    let (mut found, mut foreign) = (BTreeMap::<EventId, i64>::new(), 0_u64);
    for answer in answers {
        let (of_list, events) = read::<(u64, Vec<(Vec<u8>, Vec<u8>)>)>(answer)?;
        foreign = foreign.saturating_add(of_list);
        for (id, ms) in events {
            let text = |bytes| String::from_utf8(bytes).ok();
            // Another program may have added something that is no id.
            match (text(id).and_then(|id| EventId::parse(&id)), text(ms).and_then(|ms| ms.parse::<i64>().ok())) {
                (Some(id), Some(ms)) => {
                    found.entry(id).and_modify(|first_ms| *first_ms = ms.min(*first_ms)).or_insert(ms);
                }
                _ => foreign = foreign.saturating_add(1),
            }
        }
    }
    let mut found: Vec<(i64, EventId)> = found.into_iter().map(|(id, ms)| (ms, id)).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Some((found.into_iter().map(|(_, id)| id).take(MAX_KEPT).collect(), foreign))
}

/// The newest of a list.
pub(crate) fn newest(ids: &[EventId]) -> Newest {
    ids.first().map_or(Newest::Nothing, |id| Newest::Event(*id))
}

/// A question for several events: a step per partition.
pub(crate) struct Finding {
    pub(crate) steps: Vec<Step>,
    /// For each step and each of its keys, the position of the event in the call.
    positions: Vec<Vec<usize>>,
    events: usize,
}

impl Finding {
    pub(crate) fn new(keys: &Keys, ids: &[EventId], at: At) -> Self {
        let (keys, positions): (Vec<_>, Vec<_>) =
            by_partition(ids.iter().map(|id| keys.event(*id)).collect()).into_iter().unzip();
        let step = |keys| Step::script(&FIND, keys).arg(steps::now_ms(at)).arg(KEPT_MS);
        Self { steps: keys.into_iter().map(step).collect(), positions, events: ids.len() }
    }

    /// Those that are kept, in the order of the call, and how many values were foreign.
    pub(crate) fn result(self, answers: Vec<Answer>) -> (Vec<Box<RawValue>>, u64) {
        let (mut events, mut foreign) = (vec![None; self.events], 0_u64);
        for (answer, positions) in answers.into_iter().zip(&self.positions) {
            let Some(words) = read::<Vec<redis::Value>>(answer) else { continue };
            let mut words = words.into_iter();
            let of_step = words.next().and_then(|word| from_redis_value::<u64>(word).ok()).unwrap_or_default();
            foreign = foreign.saturating_add(of_step);
            for (position, word) in positions.iter().zip(words) {
                // Empty if it is kept no more.
                let event = from_redis_value::<String>(word).ok().filter(|event| !event.is_empty());
                events[*position] = event.and_then(|event| RawValue::from_string(event).ok());
            }
        }
        (events.into_iter().flatten().collect(), foreign)
    }
}
