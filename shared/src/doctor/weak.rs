//! Variables that can be used, and should not: weak secrets, addresses without TLS, settings that contradict each other.

use std::collections::{BTreeSet, HashMap};

use super::extent::Extent;
use super::finding::Finding;
use super::remedies;
use crate::config::{Config, Origins, Secret};
use crate::fast::accept::Accept;
use crate::limits::Rate;
use crate::telemetry::spans::{CAN_EXPORT, CANNOT_EXPORT};

/// The fewest different bytes of a secret: 32 random hexadecimal digits practically never have fewer.
const MIN_DIFFERENT_BYTES: usize = 6;
/// How often a hidden client pings, in milliseconds.
const HIDDEN_PING_MS: i64 = 240_000;
/// The longest that a drain may stay, so that it ends before its timeout in the template.
const MAX_LINGER_MS: u128 = 75_000;
/// Shorter than a device is often offline, in milliseconds.
const SHORT_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// A client sends a few frames at once when it opens: ping, sync, acknowledgement.
const MIN_FRAMES: u32 = 5;

/// What is examined.
struct Given<'a> {
    variables: &'a HashMap<String, String>,
    config: &'a Config,
    is_production: bool,
    extent: Extent,
}

/// What should not stay as it is.
pub(super) fn findings(
    variables: &HashMap<String, String>,
    config: &Config,
    is_production: bool,
    extent: Extent,
) -> Vec<Finding> {
    let given = Given { variables, config, is_production, extent };
    let found = [
        environment(&given),
        secrets(&given),
        origins(&given),
        addresses(&given),
        stores(&given),
        web_push(&given),
        spans(&given),
    ];
    found.into_iter().flatten().chain(numbers(config)).collect()
}

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

fn environment(given: &Given<'_>) -> Vec<Finding> {
    let alike = given.get("ENV").filter(|env| {
        *env != "production" && ["prod", "prd", "live", "production"].contains(&env.to_ascii_lowercase().as_str())
    });
    let warn = |_| {
        let what = "it is not production, so what production requires is not checked";
        Finding::warning("ENV", what, "write production, in lower case")
    };
    alike.map(warn).into_iter().collect()
}

fn secrets(given: &Given<'_>) -> Vec<Finding> {
    let Config { jwt_secret, jwt_secret_previous, .. } = given.config;
    let is_weak = |secret: &Option<Secret>| {
        let bytes = secret.as_ref().map(|secret| secret.reveal().bytes().collect::<BTreeSet<u8>>());
        bytes.is_some_and(|bytes| bytes.len() < MIN_DIFFERENT_BYTES)
    };
    let mut found = Vec::new();
    for (name, secret) in [("JWT_SECRET", jwt_secret), ("JWT_SECRET_PREVIOUS", jwt_secret_previous)] {
        if is_weak(secret) {
            let what = "it is easily guessed: it has only a few different characters";
            found.push(Finding::problem(name, what, "make one with `openssl rand -hex 32`"));
        }
    }
    if jwt_secret.is_some() && jwt_secret == jwt_secret_previous {
        let what = "it is the same as JWT_SECRET, so no other secret takes its place";
        found.push(Finding::warning("JWT_SECRET_PREVIOUS", what, "leave it out, or set the secret from before"));
    }
    found
}

fn origins(given: &Given<'_>) -> Vec<Finding> {
    const NAME: &str = "ALLOWED_ORIGINS";
    if !given.is_production {
        return Vec::new();
    }
    match &given.config.allowed_origins {
        Origins::Exact(origins) => {
            let plain = origins.iter().filter(|origin| origin.starts_with("http://")).take(1);
            let warn = |origin: &String| {
                let what = format!("pages of {origin} come without TLS, so that they can be changed on the way");
                Finding::warning(NAME, what, "name the https origin")
            };
            plain.map(warn).collect()
        }
        Origins::Loopback if given.extent == Extent::Deployment => {
            let what = "it is not set, so no page of this deployment may open sockets or make calls";
            vec![Finding::warning(NAME, what, "list the origin of each page, such as https://app.example.com")]
        }
        Origins::Loopback => Vec::new(),
    }
}

/// Addresses of the wrong kind, and in production those without TLS.
fn addresses(given: &Given<'_>) -> Vec<Finding> {
    let Config { ws_endpoint, ws_url, events_url, .. } = given.config;
    let mut found = Vec::new();
    for (name, url, secure, plain) in [
        ("WS_ENDPOINT", ws_endpoint, "https://", "http://"),
        ("WS_URL", ws_url, "wss://", "ws://"),
        ("EVENTS_URL", events_url, "https://", "http://"),
    ] {
        let Some(url) = url else { continue };
        if url.starts_with(plain) && given.is_production {
            let what = format!(
                "it begins with {plain}: everything on the way can be read, and browsers refuse it on https pages"
            );
            found.push(Finding::problem(name, what, format!("begin it with {secure}")));
        } else if !url.starts_with(plain) && !url.starts_with(secure) {
            let what = format!("it must begin with {secure}");
            found.push(Finding::problem(name, what, format!("begin it with {secure}, or {plain} on this machine")));
        }
    }
    found
}

fn stores(given: &Given<'_>) -> Vec<Finding> {
    let Given { config, is_production, .. } = given;
    let mut found = Vec::new();
    if let Some(url) = config.database_url.as_ref().map(Secret::reveal) {
        let is_of = |schemes: &[&str]| schemes.iter().any(|scheme| url.starts_with(scheme));
        if !is_of(&["postgres://", "postgresql://", "sqlite://"]) {
            let what = "it must begin with postgres:// (or, on a laptop, with sqlite://)";
            found.push(Finding::problem("DATABASE_URL", what, remedies::of("DATABASE_URL")));
        } else if *is_production && is_of(&["sqlite://"]) {
            let what = "SQLite belongs to one process; functions share a Postgres";
            found.push(Finding::problem("DATABASE_URL", what, remedies::of("DATABASE_URL")));
        } else if *is_production && url.contains("sslmode=disable") {
            let what = "the connection to the database is not encrypted (sslmode=disable)";
            found.push(Finding::warning(
                "DATABASE_URL",
                what,
                "write sslmode=require, or verify-full with sslrootcert",
            ));
        }
    }
    if let Some(redis) = &config.redis {
        let is_away = |host: String| host != "localhost" && host != "::1" && !host.starts_with("127.");
        let is_plain = redis.instances.iter().any(|instance| !instance.is_tls() && is_away(instance.host()));
        if *is_production && is_plain {
            let what = "the connection is not encrypted: it begins with redis://";
            found.push(Finding::warning("REDIS_URL", what, "begin it with rediss://, if the server has TLS"));
        }
    } else {
        let is_given = ["REDIS_URL", "REDIS_URLS", "REDIS_HOST"].iter().any(|name| given.get(name).is_some());
        if is_given && given.get("QUEUE_REDIS_ENABLED") == Some("false") {
            let what = "Redis is configured, and QUEUE_REDIS_ENABLED=false leaves it unused";
            found.push(Finding::warning(
                "QUEUE_REDIS_ENABLED",
                what,
                "set it to true, or leave out the address of Redis",
            ));
        }
        if *is_production && config.accept == Accept::Fast {
            let what = "it is fast, and there is no Redis to accept anything: every accept is durable";
            found.push(Finding::warning("ACCEPT", what, "set REDIS_URL, or ACCEPT=durable"));
        }
    }
    found
}

fn web_push(given: &Given<'_>) -> Vec<Finding> {
    let Given { config, is_production, .. } = given;
    let mut found = Vec::new();
    if let Some(keys) = &config.vapid
        && *is_production
        && [".example.com", "@example.com", "/example.com"].iter().any(|host| keys.subject().contains(host))
    {
        let what = "it is the address of an example, at which push services cannot reach the operator";
        found.push(Finding::warning("VAPID_SUBJECT", what, "set a mailto: or https: URL of the operator"));
    }
    let is_without = config.push_key().is_none() && *is_production && given.extent == Extent::Deployment;
    for name in ["WEB_PUSH_HOSTS", "DIGEST_TYPES"] {
        if is_without && given.get(name).is_some() {
            let what = "it has no effect: there are no keys for Web Push";
            found.push(Finding::warning(name, what, remedies::of("VAPID_PUBLIC_KEY")));
        }
    }
    found
}

fn spans(given: &Given<'_>) -> Vec<Finding> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let is_without = given.config.otlp_endpoint.is_some() && !CAN_EXPORT;
    let found = is_without.then(|| Finding::warning(NAME, CANNOT_EXPORT, "build with FEATURES=otlp, or leave it out"));
    found.into_iter().collect()
}

/// Numbers within their ranges that do not fit each other, or the clients.
fn numbers(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let ping_every_ms = i64::try_from(config.ping_every_ms).unwrap_or(i64::MAX);
    if config.presence_lease_ms <= ping_every_ms {
        let what = "it is not longer than PING_EVERY_MS, so every user goes offline between two pings";
        found.push(Finding::problem(
            "PRESENCE_LEASE_MS",
            what,
            "set at least 300000, longer than any time between pings",
        ));
    } else if config.presence_lease_ms <= HIDDEN_PING_MS {
        let what = "hidden clients ping every 4 min, so they go offline between two pings";
        found.push(Finding::warning("PRESENCE_LEASE_MS", what, "set at least 300000"));
    }
    if config.drain_linger.as_millis() > MAX_LINGER_MS {
        let what = "a drain that stays longer than 75 s meets the timeout of its function, 90 s in template.yaml";
        found.push(Finding::warning("DRAIN_LINGER_MS", what, "set at most 75000"));
    }
    if config.retention_ms < SHORT_RETENTION_MS {
        let what = "a device that was offline for longer lists its inbox anew, and keys of sends may be used again";
        found.push(Finding::warning("RETENTION_DAYS", what, "set at least 7"));
    }
    let Rate { count, .. } = config.rate_limit_frames;
    if count < MIN_FRAMES {
        let what = "a client sends some frames at once when it opens, and sockets that exceed the rate are closed";
        found.push(Finding::warning("RATE_LIMIT_FRAMES", what, "allow a burst of 5 at least; the default is 50/1s"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::variables::examine;

    const SECRET: &str = "5f1b0e6a9c3d478812ab34cd56ef7890";

    /// What is found in production with these variables, besides what is missing.
    fn in_production(given: &[(&str, &str)]) -> Vec<(String, State)> {
        let sound = [
            ("ENV", "production"),
            ("DATABASE_URL", "postgres://u:hunter2@db/carillon"),
            ("REDIS_URL", "rediss://u:hunter2@redis:6379"),
            ("JWT_SECRET", SECRET),
            ("ALLOWED_ORIGINS", "https://app.example.com"),
        ];
        let variables = sound.iter().chain(given).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (_, findings) = examine(&variables.collect(), Extent::Deployment);
        assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
        findings.into_iter().map(|finding| (finding.check, finding.state)).collect()
    }

    #[test]
    fn what_is_sound_is_ok() {
        assert_eq!(in_production(&[]), [("variables".to_owned(), State::Ok)]);
    }

    #[test]
    fn a_collector_is_of_use_only_to_a_binary_that_exports() {
        let found = in_production(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
        let expected =
            if CAN_EXPORT { ("variables", State::Ok) } else { ("OTEL_EXPORTER_OTLP_ENDPOINT", State::Warning) };
        assert_eq!(found, [(expected.0.to_owned(), expected.1)]);
    }

    #[test]
    fn each_weakness_has_a_finding() {
        use State::{Problem, Warning};
        let same = "11111111111111111111111111111111";
        for (given, name, state) in [
            (&[("ENV", "Production")][..], "ENV", Warning),
            (&[("ENV", "prod")], "ENV", Warning),
            (&[("JWT_SECRET", same)], "JWT_SECRET", Problem),
            (&[("JWT_SECRET_PREVIOUS", same)], "JWT_SECRET_PREVIOUS", Problem),
            (&[("JWT_SECRET_PREVIOUS", SECRET)], "JWT_SECRET_PREVIOUS", Warning),
            (&[("ALLOWED_ORIGINS", "")], "ALLOWED_ORIGINS", Warning),
            (&[("ALLOWED_ORIGINS", "http://app.example.com")], "ALLOWED_ORIGINS", Warning),
            (&[("WS_ENDPOINT", "http://api.example.com/live")], "WS_ENDPOINT", Problem),
            (&[("WS_ENDPOINT", "api.example.com/live")], "WS_ENDPOINT", Problem),
            (&[("WS_URL", "ws://api.example.com/live")], "WS_URL", Problem),
            (&[("WS_URL", "https://api.example.com/live")], "WS_URL", Problem),
            (&[("EVENTS_URL", "http://api.example.com/api/events")], "EVENTS_URL", Problem),
            (&[("DATABASE_URL", "mysql://u:hunter2@db/x")], "DATABASE_URL", Problem),
            (&[("DATABASE_URL", "sqlite://x.db")], "DATABASE_URL", Problem),
            (&[("DATABASE_URL", "postgres://u:hunter2@db/x?sslmode=disable")], "DATABASE_URL", Warning),
            (&[("REDIS_URL", "redis://u:hunter2@redis")], "REDIS_URL", Warning),
            (&[("QUEUE_REDIS_ENABLED", "false")], "QUEUE_REDIS_ENABLED", Warning),
            (&[("QUEUE_REDIS_ENABLED", "false"), ("ACCEPT", "fast")], "ACCEPT", Warning),
            (&[("WEB_PUSH_HOSTS", "push.example.com")], "WEB_PUSH_HOSTS", Warning),
            (&[("DIGEST_TYPES", "like=3600s")], "DIGEST_TYPES", Warning),
            (&[("PRESENCE_LEASE_MS", "60000")], "PRESENCE_LEASE_MS", Problem),
            (&[("PRESENCE_LEASE_MS", "240000")], "PRESENCE_LEASE_MS", Warning),
            (&[("DRAIN_LINGER_MS", "80000")], "DRAIN_LINGER_MS", Warning),
            (&[("RETENTION_DAYS", "6")], "RETENTION_DAYS", Warning),
            (&[("RATE_LIMIT_FRAMES", "4/1s")], "RATE_LIMIT_FRAMES", Warning),
        ] {
            let found = in_production(given);
            assert!(found.contains(&(name.to_owned(), state)), "{given:?}: {found:?}");
        }
    }
}
