//! Spending in Redis: the caller of `lua/gcra.lua`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, from_redis_value};

use crate::clock::At;
use crate::limits::{Rate, Spend, Verdict};
use crate::moment::redis::keys::{Keys, Partition};
use crate::moment::redis::scripts::{self, Call, Script};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));

/// Spends, as Redis is asked for them: by partition, and each budget once however often it is spent from.
#[derive(Debug)]
pub(crate) struct Spends {
    calls: Vec<Call>,
    /// For each call and each of its keys, where the spends stood in the list.
    places: Vec<Vec<Vec<usize>>>,
    count: usize,
}

/// What Redis answered.
#[derive(Debug)]
pub(crate) struct Spent {
    /// In the order of the spends.
    pub(crate) verdicts: Vec<Verdict>,
    /// How many keys held what is none of ours.
    pub(crate) foreign: u64,
}

impl Spends {
    pub(crate) fn new(keys: &Keys, spends: &[Spend], at: At) -> Self {
        let now_ms = scripts::now_ms(at);
        let mut budgets: BTreeMap<Partition, Vec<(Rate, String, Vec<usize>)>> = BTreeMap::new();
        let mut known: HashMap<(&str, u32, u32), (Partition, usize)> = HashMap::new();
        for (place, Spend { bucket, rate }) in spends.iter().enumerate() {
            let name = (bucket.as_str(), rate.count, rate.window_ms);
            if let Some((partition, n)) = known.get(&name) {
                if let Some(there) = budgets.get_mut(partition) {
                    there[*n].2.push(place);
                }
                continue;
            }
            let (partition, key) = keys.limit(bucket, *rate);
            let there = budgets.entry(partition).or_default();
            known.insert(name, (partition, there.len()));
            there.push((*rate, key, vec![place]));
        }
        let (mut calls, mut places) = (Vec::new(), Vec::new());
        for (_, budgets) in budgets {
            let mut call = Call { arguments: vec![now_ms.to_string()], ..Call::default() };
            let mut of_keys = Vec::new();
            for (rate, key, of_key) in budgets {
                let times = i64::try_from(of_key.len()).unwrap_or(i64::MAX);
                call.keys.push(key);
                let numbers = [i64::from(rate.count), i64::from(rate.window_ms), times];
                call.arguments.extend(numbers.map(|number| number.to_string()));
                of_keys.push(of_key);
            }
            calls.push(call);
            places.push(of_keys);
        }
        Self { calls, places, count: spends.len() }
    }

    /// One call of the script for each partition, all at once.
    pub(crate) async fn ask(&self, connection: &mut MultiplexedConnection) -> RedisResult<Spent> {
        let answers = SCRIPT.run(connection, &self.calls).await?;
        let mut spent = Spent { verdicts: vec![Verdict::Admitted; self.count], foreign: 0 };
        for (answer, places) in answers.into_iter().zip(&self.places) {
            let numbers: Vec<u64> = from_redis_value(answer)?;
            let [foreign, pairs @ ..] = numbers.as_slice() else {
                return Err((ErrorKind::UnexpectedReturnType, "a script answered nothing").into());
            };
            if pairs.len() != places.len() * 2 {
                return Err((ErrorKind::UnexpectedReturnType, "a script did not answer for each of its keys").into());
            }
            spent.foreign += foreign;
            for (pair, places) in pairs.chunks_exact(2).zip(places) {
                let admitted = usize::try_from(pair[0]).unwrap_or(usize::MAX);
                for place in places.iter().skip(admitted) {
                    spent.verdicts[*place] = Verdict::Limited { retry_after_ms: pair[1] };
                }
            }
        }
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_asked_for_once_and_a_partition_in_one_call() {
        let keys = Keys::new("carillon").unwrap();
        let (slow, fast) = (Rate { count: 30, window_ms: 60_000 }, Rate { count: 50, window_ms: 1_000 });
        let mut list: Vec<Spend> = (0..3_000).map(|n| Spend { bucket: format!("send A {n}"), rate: slow }).collect();
        list.push(Spend { bucket: "send A 7".into(), rate: slow });
        list.push(Spend { bucket: "send A 7".into(), rate: fast });
        let spends = Spends::new(&keys, &list, At::Fixed(1_234));
        assert!(spends.calls.len() <= 1_024);
        assert_eq!(spends.calls.iter().map(|call| call.keys.len()).sum::<usize>(), 3_001);
        for call in &spends.calls {
            let tags = call.keys.iter().map(|key| &key[..key.find('}').unwrap()]);
            assert_eq!(tags.collect::<std::collections::BTreeSet<_>>().len(), 1);
            assert_eq!((call.arguments[0].as_str(), call.arguments.len()), ("1234", 1 + 3 * call.keys.len()));
        }
        let seventh = spends.places.iter().flatten().find(|places| places.contains(&7)).unwrap();
        assert_eq!(*seventh, [7, 3_000]);
        assert_eq!(Spends::new(&keys, &list, At::Server).calls[0].arguments[0], "0");
    }
}
