//! The slots of a cluster: which one a partition is in, and which server holds it, as a server says.

use std::collections::HashMap;

use crc::{CRC_16_XMODEM, Crc};
use redis::{Value, from_redis_value};

use crate::moment::redis::keys::Partition;

const SLOTS: u16 = 16_384;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host:port`, the host being empty or `?` if it is that of the server that said it.
    pub(crate) fn parse(text: &str, said_by: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() || host == "?" { said_by } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Consecutive slots that one server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) primary: Address,
}

/// The slot of a partition: the hash of its tag.
pub(crate) fn slot(partition: Partition) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let tag = partition.to_string();
    CRC.checksum(tag.trim_matches(['{', '}']).as_bytes()) % SLOTS
}

/// Reads the answer to `CLUSTER SLOTS`: ranges in ascending order. `said_by`: the host that was asked, for servers that do not
/// know their own. `None` if it is no such answer, or there is no slot in it.
pub(crate) fn parse(answer: Value, said_by: &str, needs_names: bool) -> Option<Vec<Range>> {
    let entries: Vec<Vec<Value>> = from_redis_value(answer).ok()?;
    let ranges = entries.into_iter().map(|entry| {
        let mut parts = entry.into_iter();
        let [first, last] = [(); 2].map(|()| parts.next().and_then(number));
        let primary = node(parts.next()?, said_by, needs_names)?;
        let (first, last) = (first?, last?);
        (first <= last && last < SLOTS).then_some(Range { first, last, primary })
    });
    let mut ranges = ranges.collect::<Option<Vec<Range>>>()?;
    ranges.sort_by_key(|range| range.first);
    (!ranges.is_empty()).then_some(ranges)
}

/// Reads `[endpoint, port, id, {hostname: …}]`. `needs_names`: takes the host name if there is one, since certificates rarely
/// contain addresses.
fn node(node: Value, said_by: &str, needs_names: bool) -> Option<Address> {
    let mut parts = from_redis_value::<Vec<Value>>(node).ok()?.into_iter();
    let endpoint = from_redis_value::<Option<String>>(parts.next()?).ok()?;
    let port = number(parts.next()?)?;
    let details = parts.nth(1).and_then(|details| from_redis_value::<HashMap<String, String>>(details).ok());
    let name = details.and_then(|mut details| details.remove("hostname")).filter(|name| !name.is_empty());
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty() && endpoint != "?");
    let host = if needs_names { name.or(endpoint) } else { endpoint.or(name) };
    Some(Address { host: host.unwrap_or_else(|| said_by.to_owned()), port })
}

/// Not as the client converts numbers, which cuts off what is too much.
fn number(value: Value) -> Option<u16> {
    u16::try_from(from_redis_value::<i64>(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn entry(first: i64, last: i64, node: Vec<Value>) -> Value {
        Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(node)])
    }

    #[test]
    fn the_slots_of_partitions_are_those_that_redis_computes() {
        // CLUSTER KEYSLOT {p0000}, {p1023}, {q00} and {queue}.
        let partitions = [Partition::Hashed(0), Partition::Hashed(1_023), Partition::Shard(0), Partition::Drains];
        assert_eq!(partitions.map(slot), [1_804, 10_169, 7_422, 13_011]);
    }

    #[test]
    fn ranges_are_read_with_their_primaries() {
        let details = |list: &[&str]| Value::Array(list.iter().map(|word| text(word)).collect());
        let answer = Value::Array(vec![
            entry(100, 199, vec![Value::Nil, Value::Int(7_002), text("b"), details(&["hostname", "b.example.com"])]),
            entry(0, 99, vec![text("10.0.0.1"), Value::Int(7_001), text("a"), details(&["hostname", "a.example.com"])]),
            entry(200, 16_383, vec![text("?"), Value::Int(7_003), text("c")]),
        ]);
        let hosts = |needs_names| -> Vec<(u16, String, u16)> {
            let ranges = parse(answer.clone(), "entry", needs_names).unwrap();
            ranges.into_iter().map(|range| (range.first, range.primary.host, range.primary.port)).collect()
        };
        let expected = |hosts: [&str; 3]| {
            vec![(0, hosts[0].to_owned(), 7_001), (100, hosts[1].to_owned(), 7_002), (200, hosts[2].to_owned(), 7_003)]
        };
        assert_eq!(hosts(false), expected(["10.0.0.1", "b.example.com", "entry"]));
        assert_eq!(hosts(true), expected(["a.example.com", "b.example.com", "entry"]));
    }

    #[test]
    fn other_answers_are_not_understood() {
        let node = || vec![text("h"), Value::Int(1)];
        for strange in [
            Value::Nil,
            text("OK"),
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![entry(5, 4, node())]),
            Value::Array(vec![entry(0, 16_384, node())]),
            Value::Array(vec![entry(0, 1, vec![text("h"), Value::Int(70_000)])]),
            Value::Array(vec![entry(0, 1, vec![])]),
        ] {
            assert_eq!(parse(strange.clone(), "entry", false), None, "{strange:?}");
        }
    }

    #[test]
    fn an_address_without_a_host_is_at_the_one_that_said_it() {
        let parsed = |text| Address::parse(text, "entry").map(|Address { host, port }| (host, port));
        assert_eq!(parsed("10.0.0.1:6379"), Some(("10.0.0.1".into(), 6_379)));
        assert_eq!(parsed(":6379"), Some(("entry".into(), 6_379)));
        assert_eq!(parsed("?:6379"), Some(("entry".into(), 6_379)));
        assert_eq!(parsed("::1:6379"), Some(("::1".into(), 6_379)));
        assert_eq!(parsed("10.0.0.1"), None);
    }
}
