//! `carillon keys`: the Redis keys that concern a user or a chat, and what they have.

use std::fmt::Write;
use std::time::Duration;

use shared::clock::Clock;
use shared::config::{Config, ConfigError, RedisConfig};
use shared::ids::{ChatId, UserId};
use shared::limits::Spend;
use shared::moment::redis::RedisMoment;
use shared::moment::redis::inspect::{Content, Found, Inspected, Subject};

use crate::local::StartError;

/// How long an instance may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

const WITHOUT_REDIS: &str = "no Redis is configured: set REDIS_URL, REDIS_URLS or REDIS_HOST. Without Redis, all of this is \
                             in the memory of the gateway that runs, and has no keys";

/// The keys that concern a user, with its rate limits for these types and for those of `RATE_LIMIT_SEND_TYPES`.
pub async fn of_user(config: &Config, user: UserId, types: &[String]) -> Result<String, StartError> {
    let named = config.rate_limit_send_types.keys().filter(|kind| !types.contains(kind));
    let mut kinds: Vec<&String> = types.iter().chain(named).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_types = kinds.into_iter().filter_map(|kind| Some(Spend::of_send(kind, &user, config.send_rate(kind)?)));
    let spends: Vec<Spend> = of_types.chain([Spend::of_chat(&user, config.rate_limit_chat)]).collect();
    let title = format!("user {user}");
    told(config, &title, &Subject::User(user, spends)).await
}

/// The keys that concern a chat.
pub async fn of_chat(config: &Config, chat: ChatId) -> Result<String, StartError> {
    told(config, &format!("chat {chat}"), &Subject::Chat(chat)).await
}

async fn told(config: &Config, title: &str, subject: &Subject) -> Result<String, StartError> {
    let wrong = |problem: String| ConfigError(vec![problem]);
    let Some(redis) = &config.redis else { return Err(wrong(WITHOUT_REDIS.to_owned()).into()) };
    let moment =
        RedisMoment::with_timeout(redis, Clock::system(), TIMEOUT).map_err(|error| wrong(error.to_string()))?;
    let inspected = moment.inspect(subject).await;
    Ok(text(title, redis, &inspected))
}

/// What was found, as text: each key once, with every instance that has it.
fn text(title: &str, redis: &RedisConfig, inspected: &[Inspected]) -> String {
    let mut text = format!("Keys of {title}, with the prefix {}\n", redis.prefix);
    for Inspected { instance, .. } in inspected.iter().filter(|inspected| inspected.keys.is_none()) {
        line(&mut text, &format!("\n{} does not answer", name(redis, *instance)));
    }
    let answered: Vec<(usize, &Vec<Found>)> =
        inspected.iter().filter_map(|one| Some((one.instance, one.keys.as_ref()?))).collect();
    let Some((_, first)) = answered.first() else { return text };
    for (number, Found { purpose, key, is_shared, .. }) in first.iter().enumerate() {
        line(&mut text, &format!("\n{key}\n  {purpose}"));
        let values = answered.iter().filter_map(|(instance, keys)| Some((*instance, keys[number].value.as_ref()?)));
        let mut is_absent = true;
        for (instance, value) in values {
            is_absent = false;
            line(&mut text, &format!("  {}, at {}", described(value), name(redis, instance)));
            if *is_shared {
                line(&mut text, "    its content is not shown: most of it is of others");
            }
            for element in &value.elements {
                line(&mut text, &format!("    {element}"));
            }
            if value.kind != "string" && !is_shared && value.size > value.elements.len() as u64 {
                line(&mut text, &format!("    … {} in all", value.size));
            }
        }
        if is_absent {
            line(&mut text, "  does not exist");
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes any text");
}

/// What operators call an instance, and where it is, without credentials.
fn name(redis: &RedisConfig, instance: usize) -> String {
    let address = redis.instances.get(instance).map(|instance| instance.address()).unwrap_or_default();
    match redis.is_cluster {
        true => format!("the cluster ({address})"),
        false => format!("redis-{} ({address})", instance + 1),
    }
}

/// Type, size and lifetime.
fn described(Content { kind, ttl_ms, size, .. }: &Content) -> String {
    let unit = match (kind.as_str(), size) {
        ("string", 1) => "byte",
        ("string", _) => "bytes",
        (_, 1) => "element",
        (_, _) => "elements",
    };
    let lifetime = match ttl_ms {
        None => "does not expire".to_owned(),
        Some(ms) => format!("expires in {} s", (ms + 999) / 1_000),
    };
    format!("{kind} of {size} {unit}, {lifetime}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use shared::config::Origins;

    use super::*;

    fn redis(urls: &str) -> RedisConfig {
        let variables = HashMap::from([("REDIS_URLS", urls)]);
        let read = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        Config::read(read, &[], Origins::Loopback).unwrap().redis.unwrap()
    }

    fn found(key: &str, is_shared: bool, value: Option<Content>) -> Found {
        Found { purpose: "a purpose".into(), key: key.into(), is_shared, value }
    }

    #[test]
    fn each_key_is_told_once_with_the_instances_that_have_it_and_without_credentials() {
        let redis = redis("redis://u:hunter2@a:1,redis://b:2,redis://c:3");
        let set = Content { kind: "zset".into(), ttl_ms: Some(1_500), size: 21, elements: vec!["two 2".into()] };
        let queue = Content { kind: "stream".into(), ttl_ms: None, size: 3, elements: vec![] };
        let inspected = [
            Inspected { instance: 0, keys: Some(vec![found("k1", false, Some(set)), found("k2", true, Some(queue))]) },
            Inspected { instance: 1, keys: None },
            Inspected { instance: 2, keys: Some(vec![found("k1", false, None), found("k2", true, None)]) },
        ];
        let expected = "Keys of user alice, with the prefix carillon\n\n\
            redis-2 (b:2/0) does not answer\n\n\
            k1\n  a purpose\n  zset of 21 elements, expires in 2 s, at redis-1 (a:1/0)\n    two 2\n    … 21 in all\n\n\
            k2\n  a purpose\n  stream of 3 elements, does not expire, at redis-1 (a:1/0)\n    \
            its content is not shown: most of it is of others\n";
        assert_eq!(text("user alice", &redis, &inspected), expected);
    }

    #[test]
    fn a_key_that_no_instance_has_is_told_as_such() {
        let inspected = [Inspected { instance: 0, keys: Some(vec![found("k1", false, None)]) }];
        let told = text("chat 1", &redis("redis://a"), &inspected);
        assert!(told.ends_with("k1\n  a purpose\n  does not exist\n"), "{told}");
    }

    #[tokio::test]
    async fn without_redis_there_are_no_keys() {
        let config = Config::read(|_| None, &[], Origins::Loopback).unwrap();
        let error = of_user(&config, UserId::new("alice").unwrap(), &[]).await.unwrap_err();
        assert!(matches!(error, StartError::Config(_)) && error.to_string().contains("REDIS_URL"), "{error}");
    }
}
