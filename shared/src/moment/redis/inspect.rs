//! What Redis has about a user or a chat, for operators. Keys are hashes, so they cannot be found by hand.

use futures_util::future::join_all;
use redis::{RedisError, Value};

use super::RedisMoment;
use super::keys::{Key, Keys};
use super::link::Patience;
use super::steps::{Answer, Step, read};
use crate::delivery::work::shard;
use crate::fast::log::LogId;
use crate::ids::{ChatId, UserId};
use crate::limits::Spend;

/// The most elements of a value that are read.
const MAX_ELEMENTS: usize = 20;
/// The most characters of a value that are told, all elements together.
const MAX_CHARACTERS: usize = 1_024;

/// Whom or what keys concern.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A user, and the rates that limit what is sent to it and what it says.
    User(UserId, Vec<Spend>),
    /// A chat.
    Chat(ChatId),
}

/// What one instance has.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its number in the configuration, from 0. A cluster counts as one instance.
    pub instance: usize,
    /// Every key that concerns the subject, also those that do not exist; `None` if the instance did not answer.
    pub keys: Option<Vec<Found>>,
}

/// A key, and what is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it is for.
    pub purpose: String,
    /// Its name.
    pub key: String,
    /// Whether it has something of others too. Its content is not read then.
    pub is_shared: bool,
    /// What it has; `None` if it does not exist.
    pub value: Option<Content>,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Its type, as Redis names it.
    pub kind: String,
    /// The time until it expires, in milliseconds; `None` if it does not.
    pub ttl_ms: Option<i64>,
    /// Bytes of a string, otherwise elements.
    pub size: u64,
    /// The first elements, or of a sorted set the last, bounded to 1,024 characters together.
    pub elements: Vec<String>,
}

impl RedisMoment {
    /// Reads the keys that concern a user or a chat, at every instance. Changes nothing.
    pub async fn inspect(&self, subject: &Subject) -> Vec<Inspected> {
        let concerned = &concerned(&self.keys, subject);
        let inspecting = self
            .router
            .instances()
            .map(|instance| async move { Inspected { instance, keys: self.inspect_at(instance, concerned).await } });
        join_all(inspecting).await
    }

    async fn inspect_at(&self, instance: usize, concerned: &[Concerned]) -> Option<Vec<Found>> {
        let asking = concerned
            .iter()
            .flat_map(|Concerned { key, .. }| [Step::command("TYPE", key.clone()), Step::command("PTTL", key.clone())]);
        let asking: Vec<Step> = asking.collect();
        let mut answers = self.router.ask_at(instance, &asking, Patience::Retrying).await.into_iter();
        let mut kinds: Vec<(String, i64)> = Vec::with_capacity(concerned.len());
        for _ in concerned {
            kinds.push((read(answers.next()?)?, read(answers.next()?)?));
        }
        let readings: Vec<Vec<Step>> =
            concerned.iter().zip(&kinds).map(|(concerned, (kind, _))| reading(concerned, kind)).collect();
        let answers = self.router.ask_at(instance, &readings.concat(), Patience::Retrying).await;
        let mut answers = answers.into_iter();
        let found = concerned.iter().zip(kinds).zip(&readings).map(|((concerned, (kind, ttl_ms)), reading)| {
            let mut answers = answers.by_ref().take(reading.len());
            let (size, elements) = (answers.next().flatten(), answers.next().flatten());
            let value = (kind != "none").then(|| Content {
                size: read(size).unwrap_or_default(),
                elements: elements_of(&kind, elements),
                ttl_ms: (ttl_ms >= 0).then_some(ttl_ms),
                kind,
            });
            let Concerned { purpose, key, is_shared } = concerned;
            Found { purpose: purpose.clone(), key: key.name().to_owned(), is_shared: *is_shared, value }
        });
        Some(found.collect())
    }
}

/// A key that concerns the subject.
struct Concerned {
    purpose: String,
    key: Key,
    is_shared: bool,
}

fn concerned(keys: &Keys, subject: &Subject) -> Vec<Concerned> {
    let own = |purpose: &str, key| Concerned { purpose: purpose.to_owned(), key, is_shared: false };
    let log = match subject {
        Subject::User(user, _) => LogId::of_user(user),
        Subject::Chat(chat) => LogId::of_chat(*chat),
    };
    let mut all = match subject {
        Subject::User(user, spends) => {
            let mut all = vec![
                own("connections: a lease for each", keys.leases(user)),
                own("events that were emitted to the user", keys.events(Some(user))),
            ];
            all.extend(spends.iter().map(|Spend { bucket, rate }| Concerned {
                purpose: format!("rate limit of: {bucket}"),
                key: keys.limit(bucket, *rate),
                is_shared: false,
            }));
            all.extend(keys.shard(shard(user)).all().into_iter().map(|key| Concerned {
                purpose: "work in the queue, of this user and of others".to_owned(),
                key,
                is_shared: true,
            }));
            all
        }
        Subject::Chat(chat) => vec![
            own("the last messages of the chat", keys.messages(*chat)),
            own("who hears of typing in the chat", keys.audience(*chat)),
        ],
    };
    let of_the_log = keys.log(log).into_iter().chain([keys.log_writer(log)]);
    all.extend(of_the_log.map(|key| Concerned {
        purpose: "fast accepts that are not in the database yet, and who writes them".to_owned(),
        key,
        is_shared: true,
    }));
    all
}

/// What is asked of a value of this type: its size, and unless it is shared its elements.
fn reading(Concerned { key, is_shared, .. }: &Concerned, kind: &str) -> Vec<Step> {
    let step = |name| Step::command(name, key.clone()).tolerating(is_of_another_type);
    let [size, elements] = match kind {
        "string" => [step("STRLEN"), step("GETRANGE").arg(0).arg(MAX_CHARACTERS)],
        "hash" => [step("HLEN"), step("HSCAN").arg(0).arg("COUNT").arg(MAX_ELEMENTS)],
        "list" => [step("LLEN"), step("LRANGE").arg(0).arg(MAX_ELEMENTS - 1)],
        "zset" => [step("ZCARD"), step("ZRANGE").arg(0).arg(MAX_ELEMENTS - 1).arg("REV").arg("WITHSCORES")],
        "stream" => [step("XLEN"), step("XRANGE").arg("-").arg("+").arg("COUNT").arg(MAX_ELEMENTS)],
        _ => return Vec::new(),
    };
    if *is_shared { vec![size] } else { vec![size, elements] }
}

/// The value has been replaced between the two questions.
fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// The elements of a value as text, within the bounds.
fn elements_of(kind: &str, answer: Answer) -> Vec<String> {
    let Some(Ok(value)) = answer else { return Vec::new() };
    let elements = match (kind, value) {
        // The cursor of the scan, and the fields with their values.
        ("hash", Value::Array(mut parts)) if parts.len() == 2 => match parts.pop() {
            Some(Value::Array(fields)) => fields.chunks(2).map(|field| text(&Value::Array(field.to_vec()))).collect(),
            _ => Vec::new(),
        },
        // RESP2 has no pairs of an element and its score.
        ("zset", Value::Array(parts)) if !parts.iter().any(|part| matches!(part, Value::Array(_))) => {
            parts.chunks(2).map(|pair| text(&Value::Array(pair.to_vec()))).collect()
        }
        (_, Value::Array(parts)) => parts.iter().map(text).collect(),
        (_, value) => vec![text(&value)],
    };
    bounded(elements)
}

/// As many of these as fit.
fn bounded(elements: Vec<String>) -> Vec<String> {
    let mut left = MAX_CHARACTERS;
    let mut kept = Vec::new();
    for element in elements.into_iter().take(MAX_ELEMENTS) {
        let count = element.chars().count();
        if count > left {
            kept.push(format!("{}…", element.chars().take(left).collect::<String>()));
            break;
        }
        left -= count;
        kept.push(element);
    }
    kept
}

/// A value on one line. Control characters are escaped: a terminal would obey them.
fn text(value: &Value) -> String {
    let printable = |text: &str| {
        let mut printable = String::new();
        for character in text.chars() {
            match character.is_control() {
                true => printable.extend(character.escape_default()),
                false => printable.push(character),
            }
        }
        printable
    };
    match value {
        Value::BulkString(bytes) => printable(&String::from_utf8_lossy(bytes)),
        Value::SimpleString(text) => printable(text),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Array(parts) | Value::Set(parts) => parts.iter().map(text).collect::<Vec<String>>().join(" "),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| format!("{} {}", text(name), text(value)));
            pairs.collect::<Vec<String>>().join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_keys_of_a_user_and_of_a_chat_are_those_that_the_stores_use() {
        let keys = Keys::new("carillon").unwrap();
        let names = |subject: &Subject| -> Vec<String> {
            concerned(&keys, subject).iter().map(|concerned| concerned.key.name().to_owned()).collect()
        };
        let alice = UserId::new("alice").unwrap();
        let rate = crate::limits::Rate { count: 30, window_ms: 60_000 };
        let of_alice = names(&Subject::User(alice.clone(), vec![Spend::of_send("LIKE", &alice, rate)]));
        assert_eq!(of_alice[0], "carillon:{p0148}:on:1zWG-b133zYY9LBx");
        assert_eq!(of_alice[1], "carillon:{p0662}:events:_YFjbHWYQFwZqlXmx-qDFA");
        assert_eq!(of_alice[2], "carillon:{p0408}:limit:30/60000:uTQDKKtHcUMC1vhrc4jttA");
        assert!(of_alice.contains(&"carillon:{p0207}:log".to_owned()), "{of_alice:?}");
        let chat = ChatId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        assert_eq!(names(&Subject::Chat(chat))[0], "carillon:{p0126}:messages:lIGUrk1ILBCbIwjq");
    }

    #[test]
    fn values_are_told_on_lines_that_a_terminal_shows_as_they_are() {
        let told = |kind: &str, value: Value| elements_of(kind, Some(Ok(value)));
        assert_eq!(told("string", bulk("a\u{1b}[31m\nb")), ["a\\u{1b}[31m\\nb"]);
        let pairs = vec![
            Value::Array(vec![bulk("two"), Value::Double(2.0)]),
            Value::Array(vec![bulk("one"), Value::Double(1.0)]),
        ];
        assert_eq!(told("zset", Value::Array(pairs)), ["two 2", "one 1"]);
        assert_eq!(told("zset", Value::Array(vec![bulk("two"), bulk("2")])), ["two 2"]);
        let scanned = vec![bulk("0"), Value::Array(vec![bulk("id"), bulk("1-1"), bulk("bytes"), bulk("9")])];
        assert_eq!(told("hash", Value::Array(scanned)), ["id 1-1", "bytes 9"]);
        let entry = Value::Array(vec![bulk("1-1"), Value::Array(vec![bulk("w"), bulk("text")])]);
        assert_eq!(told("stream", Value::Array(vec![entry])), ["1-1 w text"]);
        assert_eq!(elements_of("string", None), [""; 0]);
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = told_characters(bounded(vec!["ä".repeat(2_000), "never".into()]));
        assert_eq!(long, [1_025]);
        assert_eq!(told_characters(bounded(vec!["x".repeat(1_000); 3])), [1_000, 25]);
        assert_eq!(bounded(vec!["x".into(); 30]).len(), MAX_ELEMENTS);
    }

    fn told_characters(elements: Vec<String>) -> Vec<usize> {
        elements.iter().map(|element| element.chars().count()).collect()
    }
}
