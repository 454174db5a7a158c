//! The environment of a function: its variables, servers and tokens.

use harness::sandbox::{Variables, required_variables};
use harness::{postgres_server, redis_server};
use shared::auth;
use shared::config::{Config, Origins};

/// Every variable that any function requires, with a new database and a new Redis key prefix.
pub(crate) async fn servers() -> Variables {
    let database = postgres_server::database().await.reveal().to_owned();
    let redis = redis_server::own_prefix();
    let variables =
        with(with(required_variables(), "DATABASE_URL", &database), "REDIS_URL", redis.instances[0].url.reveal());
    with(variables, "REDIS_KEY_PREFIX", &redis.prefix)
}

/// These variables with this value for one of them.
pub(crate) fn with(mut variables: Variables, name: &str, value: &str) -> Variables {
    variables.retain(|(own, _)| own != name);
    variables.push((name.to_owned(), value.to_owned()));
    variables
}

/// The `Authorization` header of a caller whose token is valid for an hour by the machine's clock.
pub(crate) fn bearer(variables: &Variables, sub: &str, scope: &str) -> String {
    bearer_for(variables, sub, scope, 3_600)
}

/// The same with a token that is valid for so many seconds.
pub(crate) fn bearer_for(variables: &Variables, sub: &str, scope: &str, ttl_s: i64) -> String {
    let variable = |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let config = Config::read(variable, &[], Origins::Loopback).unwrap();
    let now_s = shared::clock::Clock::system().now_ms() / 1_000;
    format!("Bearer {}", auth::sign(&config, sub, scope, now_s, now_s + ttl_s).unwrap())
}
