//! Configuration. Environment variables are read only here. All problems are reported together at start, and no message
//! contains a secret.

mod database_role;
mod origins;
mod pooler;
mod redis_url;
mod secret;
mod secret_names;
mod vapid;
mod variables;

use std::collections::HashMap;
use std::time::Duration;

use http::Uri;

pub use self::database_role::DatabaseRole;
pub use self::origins::Origins;
pub use self::pooler::Pooler;
pub use self::redis_url::{RedisConfig, RedisInstance};
pub use self::secret::Secret;
pub use self::secret_names::{SecretName, SecretNames};
pub use self::vapid::VapidKeys;
use self::variables::Variables;
use crate::chat::cache::Room;
use crate::fast::accept::Accept;
use crate::limits::Rate;
use crate::web_push::endpoint::PushHosts;

/// The configuration of a process.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`, with `DATABASE_PASSWORD` if it has no password.
    pub database_url: Option<Secret>,
    /// `DATABASE_POOLER`: what stands between this process and Postgres.
    pub database_pooler: Pooler,
    /// `FUNCTIONS_DATABASE_URL`, with `FUNCTIONS_DATABASE_PASSWORD` if it has no password: the URL by which the functions reach
    /// the database, whose role `migrate` makes for them.
    pub functions_role: Option<DatabaseRole>,
    /// How to reach Redis; `None` if it is not used.
    pub redis: Option<RedisConfig>,
    /// `JWT_SECRET`, or its alias `JWT_ENCRYPTION_KEY`: at least 32 bytes.
    pub jwt_secret: Option<Secret>,
    /// `JWT_SECRET_PREVIOUS`: verifies too, while a secret is being replaced.
    pub jwt_secret_previous: Option<Secret>,
    /// `JWT_JWKS_URL`: where an identity provider publishes the keys that verify tokens, instead of a secret.
    pub jwks_url: Option<Uri>,
    /// `JWT_ISSUER`: the required `iss`; not checked if `None`.
    pub jwt_issuer: Option<String>,
    /// `JWT_AUDIENCE`: what `aud` must be or contain; not checked if `None`.
    pub jwt_audience: Option<String>,
    /// `JWT_SCOPE_PREFIX`: what every scope of this service begins with in tokens.
    pub jwt_scope_prefix: Option<String>,
    /// `WS_ENDPOINT`: the base URL of `@connections`.
    pub ws_endpoint: Option<String>,
    /// `WS_URL`: the URL at which clients open sockets.
    pub ws_url: Option<String>,
    /// `EVENTS_URL`: the URL at which clients open event streams.
    pub events_url: Option<String>,
    /// `PING_EVERY_MS`: how often clients that are visible ping. The default is once a minute.
    pub ping_every_ms: u64,
    /// `PRESENCE_LEASE_MS`: how long a connection counts as open after its last frame. The default is 5 min, longer than
    /// the longest time between two pings.
    pub presence_lease_ms: i64,
    /// `CACHE_MESSAGES_MAX` and `CACHE_MESSAGES_TTL_S`: how many of the last messages of a chat are cached, and how long. The
    /// default is 100, for 2 h; 0 caches none.
    pub message_cache: Room,
    /// `CACHE_CHAT_TTL_S`, in milliseconds: how long it is remembered at most who is in a chat, which decides only who hears of
    /// typing. The default is 24 h; 0 remembers nothing.
    pub chat_ttl_ms: i64,
    /// `ALLOWED_ORIGINS`, separated by commas.
    pub allowed_origins: Origins,
    /// `RATE_LIMIT_SEND`: notifications per recipient and type. The default is 30 in 60 s.
    pub rate_limit_send: Rate,
    /// `RATE_LIMIT_SEND_TYPES`: types with a rate of their own, or `None` for no limit.
    pub rate_limit_send_types: HashMap<String, Option<Rate>>,
    /// `RATE_LIMIT_CHAT`: messages per sender. The default is 20 in 10 s.
    pub rate_limit_chat: Rate,
    /// `ENABLE_TEST_ENDPOINTS`: whether the test page and the test sends are served.
    pub test_endpoints: bool,
    /// `RATE_LIMIT_FRAMES`: frames per connection. The default is 50 in 1 s.
    pub rate_limit_frames: Rate,
    /// `DRAIN_FUNCTION`: the function to wake when work is enqueued, by its name or ARN.
    pub drain_function: Option<String>,
    /// `AWS_ENDPOINT_URL_LAMBDA`, as every AWS SDK reads it: where functions are invoked, if not at AWS.
    pub lambda_endpoint: Option<String>,
    /// `DRAIN_LINGER_MS`: how long a drain runs at most while there is work. The default is 50 s.
    pub drain_linger: Duration,
    /// `ACCEPT`: how durable an accept is if the call does not say. The default is [`Accept::Durable`].
    pub accept: Accept,
    /// `VAPID_PUBLIC_KEY`, `VAPID_PRIVATE_KEY` and `VAPID_SUBJECT`; without them there is no Web Push.
    pub vapid: Option<VapidKeys>,
    /// `VAPID_PUBLIC_KEY`, which alone is enough for functions that send nothing.
    pub vapid_public_key: Option<String>,
    /// `WEB_PUSH_HOSTS`: the push services that may be sent to. The default is every public host.
    pub push_hosts: PushHosts,
    /// `DIGEST_TYPES`: for how long, in milliseconds, the first Web Push of a type waits for others. By type.
    pub digest_types: HashMap<String, i64>,
    /// `RETENTION_DAYS`, in milliseconds. The default is 90 days.
    pub retention_ms: i64,
    /// `METRICS_NAMESPACE`: the namespace of CloudWatch in which functions publish metrics; without it they publish none.
    pub metrics_namespace: Option<String>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base URL of the collector that spans are exported to, if this binary can.
    pub otlp_endpoint: Option<Uri>,
    /// `AWS_REGION`; `us-east-1` if it is missing.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    pub credentials: Option<(String, Secret, Option<Secret>)>,
}

/// All problems of the environment: each is a variable's name and the requirement that it does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The variables of this process, except those that are not Unicode.
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base URL of the collector that spans are exported to. `None` also if it cannot be used, which
/// [`Config`] tells: logging begins before the rest can be read.
pub fn collector(variables: &HashMap<String, String>) -> Option<Uri> {
    Variables::new(|name: &str| variables.get(name).cloned()).otlp_endpoint()
}

impl Config {
    /// Reads the environment of a function that requires the variables in `needed`. An empty variable counts as
    /// missing.
    pub fn from_env(needed: &[&str]) -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok(), needed, Origins::Exact(Vec::new()))
    }

    /// Reads variables from any source. `default_origins` applies without `ALLOWED_ORIGINS`.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        needed: &[&str],
        default_origins: Origins,
    ) -> Result<Self, ConfigError> {
        let mut vars = Variables::new(variable);
        for name in needed {
            if vars.get(name).is_none() && !vars.has_alternative(name) {
                let or = if *name == "JWT_SECRET" { ", or JWT_JWKS_URL with JWT_ISSUER and JWT_AUDIENCE" } else { "" };
                vars.problem(name, format_args!("is required{or}"));
            }
        }
        let is_production = vars.get("ENV").is_some_and(|env| env == "production");
        // Only the local gateway allows every loopback origin.
        let is_local = matches!(default_origins, Origins::Loopback);
        let test_endpoints = match vars.get("ENABLE_TEST_ENDPOINTS").as_deref() {
            None => is_local && !is_production,
            Some("true") if is_production => {
                vars.problem("ENABLE_TEST_ENDPOINTS", "must not be true when ENV is production");
                false
            }
            Some("true") => true,
            Some("false") => false,
            Some(_) => {
                vars.problem("ENABLE_TEST_ENDPOINTS", "must be true or false");
                false
            }
        };
        let days: i64 = vars.parsed("RETENTION_DAYS", 90, |days| (1..=3_650).contains(days), "1 to 3650");
        let linger_ms: u64 = vars.parsed("DRAIN_LINGER_MS", 50_000, |ms| *ms <= 840_000, "0 to 840000");
        let config = Self {
            database_url: vars.database_url(),
            database_pooler: vars.pooler(),
            functions_role: vars.functions_role(),
            redis: vars.redis(),
            jwt_secret: vars.jwt_secret(),
            jwt_secret_previous: vars.secret("JWT_SECRET_PREVIOUS"),
            jwks_url: vars.jwks_url(),
            jwt_issuer: vars.get("JWT_ISSUER"),
            jwt_audience: vars.get("JWT_AUDIENCE"),
            jwt_scope_prefix: vars.get("JWT_SCOPE_PREFIX"),
            ws_endpoint: vars.get("WS_ENDPOINT"),
            ws_url: vars.get("WS_URL"),
            events_url: vars.get("EVENTS_URL"),
            ping_every_ms: vars.parsed(
                "PING_EVERY_MS",
                60_000,
                |ms| (20_000..=240_000).contains(ms),
                "20000 to 240000",
            ),
            presence_lease_ms: vars.parsed(
                "PRESENCE_LEASE_MS",
                300_000,
                |ms| (60_000..=7_200_000).contains(ms),
                "60000 to 7200000",
            ),
            message_cache: Room {
                messages: vars.parsed("CACHE_MESSAGES_MAX", 100, |count| *count <= 1_000, "0 to 1000"),
                ttl_ms: 1_000
                    * vars.parsed("CACHE_MESSAGES_TTL_S", 7_200_i64, |s| (60..=604_800).contains(s), "60 to 604800"),
            },
            chat_ttl_ms: 1_000
                * vars.parsed("CACHE_CHAT_TTL_S", 86_400_i64, |s| (0..=604_800).contains(s), "0 to 604800"),
            allowed_origins: vars.origins(default_origins),
            rate_limit_send: vars.rate("RATE_LIMIT_SEND", Rate { count: 30, window_ms: 60_000 }),
            rate_limit_send_types: vars.rates_of_types(),
            rate_limit_chat: vars.rate("RATE_LIMIT_CHAT", Rate { count: 20, window_ms: 10_000 }),
            test_endpoints,
            rate_limit_frames: vars.rate("RATE_LIMIT_FRAMES", Rate { count: 50, window_ms: 1_000 }),
            drain_function: vars.get("DRAIN_FUNCTION"),
            lambda_endpoint: vars.get("AWS_ENDPOINT_URL_LAMBDA"),
            drain_linger: Duration::from_millis(linger_ms),
            accept: vars.accept(),
            vapid: vars.vapid(),
            vapid_public_key: vars.get("VAPID_PUBLIC_KEY"),
            push_hosts: vars.push_hosts(),
            digest_types: vars.digest_types(),
            retention_ms: days * 24 * 60 * 60 * 1_000,
            metrics_namespace: vars.metrics_namespace(),
            otlp_endpoint: vars.otlp_endpoint(),
            region: vars.get("AWS_REGION").unwrap_or_else(|| "us-east-1".into()),
            credentials: vars.credentials(),
        };
        if vars.problems.is_empty() { Ok(config) } else { Err(ConfigError(vars.problems)) }
    }
}

impl Config {
    /// The key with which browsers subscribe to Web Push; `None` if there is no Web Push.
    pub fn push_key(&self) -> Option<String> {
        self.vapid.as_ref().map(VapidKeys::public_key).or_else(|| self.vapid_public_key.clone())
    }

    /// The rate of a type of notifications; `None` if it has no limit.
    pub fn send_rate(&self, kind: &str) -> Option<Rate> {
        self.rate_limit_send_types.get(kind).copied().unwrap_or(Some(self.rate_limit_send))
    }

    /// The kind of database in `DATABASE_URL`: `postgres` or `sqlite`, which is also used without a URL.
    pub fn database_kind(&self) -> &'static str {
        let is_postgres = self.database_url.as_ref().is_some_and(|url| url.reveal().starts_with("postgres"));
        if is_postgres { "postgres" } else { "sqlite" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)], needed: &[&str]) -> Result<Config, ConfigError> {
        let vars: HashMap<&str, &str> = vars.iter().copied().collect();
        Config::read(|name| vars.get(name).map(|value| (*value).to_owned()), needed, Origins::Loopback)
    }

    #[test]
    fn every_variable_that_may_name_a_secret_is_read() {
        let asked = std::cell::RefCell::new(Vec::new());
        for answer in [None, Some("1".repeat(40))] {
            let variable = |name: &str| {
                asked.borrow_mut().push(name.to_owned());
                answer.clone()
            };
            // Only the names matter here.
            let _ = Config::read(variable, &[], Origins::Loopback);
        }
        for name in secret_names::VARIABLES {
            assert!(asked.borrow().iter().any(|asked| asked == name), "{name}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once_without_any_secret() {
        let vars = [
            ("JWT_SECRET", "hunter2"),
            ("RATE_LIMIT_SEND", "much"),
            ("RETENTION_DAYS", "0"),
            ("ALLOWED_ORIGINS", "https://*.example.com"),
            ("RATE_LIMIT_SEND_TYPES", "like"),
            ("PING_EVERY_MS", "1000"),
            ("PRESENCE_LEASE_MS", "5"),
            ("CACHE_CHAT_TTL_S", "-1"),
            ("CACHE_MESSAGES_MAX", "1001"),
            ("CACHE_MESSAGES_TTL_S", "59"),
            ("JWT_JWKS_URL", "http://hunter2.example"),
            ("JWT_SECRET_PREVIOUS", "hunter2"),
        ];
        let error = read(&vars, &["DATABASE_URL", "JWT_SECRET", "WS_URL"]).unwrap_err().to_string();
        for name in [
            "DATABASE_URL",
            "WS_URL",
            "JWT_SECRET",
            "RATE_LIMIT_SEND",
            "RETENTION_DAYS",
            "ALLOWED_ORIGINS",
            "RATE_LIMIT_SEND_TYPES",
            "PING_EVERY_MS",
            "PRESENCE_LEASE_MS",
            "CACHE_CHAT_TTL_S",
            "CACHE_MESSAGES_MAX",
            "CACHE_MESSAGES_TTL_S",
            "JWT_JWKS_URL",
            "JWT_SECRET_PREVIOUS",
            "JWT_ISSUER",
            "JWT_AUDIENCE",
        ] {
            assert!(error.contains(name), "{name} is missing in: {error}");
        }
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn an_empty_variable_is_missing_and_an_alias_replaces_it() {
        let secret = "0123456789abcdef0123456789abcdef";
        let config = read(&[("JWT_SECRET", ""), ("JWT_ENCRYPTION_KEY", secret)], &["JWT_SECRET"]).unwrap();
        assert_eq!(config.jwt_secret.as_ref().map(Secret::reveal), Some(secret));
        assert!(!format!("{config:?}").contains(secret));
        assert_eq!(config.rate_limit_send, Rate { count: 30, window_ms: 60_000 });
    }

    /// The problems of an environment that needs to verify tokens.
    fn token_problems(vars: &[(&str, &str)]) -> Vec<String> {
        read(vars, &["JWT_SECRET"]).err().map(|ConfigError(problems)| problems).unwrap_or_default()
    }

    #[test]
    fn tokens_are_verified_by_a_secret_or_by_published_keys_but_not_by_both() {
        const SECRET: &str = "0123456789abcdef0123456789abcdef";
        let published = [
            ("JWT_JWKS_URL", "https://id.example.com/.well-known/jwks.json"),
            ("JWT_ISSUER", "https://id.example.com/"),
            ("JWT_AUDIENCE", "carillon"),
        ];
        assert_eq!(token_problems(&published), [""; 0]);
        assert_eq!(token_problems(&[("JWT_SECRET", SECRET), ("JWT_SECRET_PREVIOUS", SECRET)]), [""; 0]);
        assert_eq!(
            token_problems(&published[..1]),
            ["JWT_ISSUER is required with JWT_JWKS_URL", "JWT_AUDIENCE is required with JWT_JWKS_URL"]
        );
        assert_eq!(token_problems(&[]), ["JWT_SECRET is required, or JWT_JWKS_URL with JWT_ISSUER and JWT_AUDIENCE"]);
        for name in ["JWT_SECRET", "JWT_ENCRYPTION_KEY", "JWT_SECRET_PREVIOUS"] {
            let both: Vec<_> = published.into_iter().chain([(name, SECRET)]).collect();
            assert_eq!(token_problems(&both), [format!("{name} must not be set together with JWT_JWKS_URL")]);
        }
    }

    #[test]
    fn published_keys_are_fetched_over_https_and_from_this_machine_over_http() {
        let problems = |url: &str| token_problems(&[("JWT_JWKS_URL", url), ("JWT_ISSUER", "i"), ("JWT_AUDIENCE", "a")]);
        for good in [
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC/.well-known/jwks.json",
            "HTTPS://id.example.com:8443/keys?tenant=a",
            "http://localhost:8080/keys",
            "http://127.0.0.1/keys",
            "http://127.9.9.9:1/keys",
            "http://[::1]:8080/keys",
        ] {
            assert_eq!(problems(good), [""; 0], "{good}");
        }
        for bad in [
            "http://id.example.com/keys",
            "http://localhost.example.com/keys",
            "http://127.0.0.1.example.com/keys",
            "http://10.0.0.1/keys",
            "https://user:hunter2@id.example.com/keys",
            "https:///keys",
            "id.example.com/keys",
            "/keys",
            "file:///etc/passwd",
            "ftp://localhost/keys",
            "https://id.example.com/a b",
        ] {
            let problems = problems(bad);
            assert!(problems.len() == 1 && problems[0].starts_with("JWT_JWKS_URL must be"), "{bad}: {problems:?}");
            assert!(!problems[0].contains("hunter2"));
        }
    }

    #[test]
    fn a_password_fills_what_the_url_of_a_database_lacks() {
        let url = |url, password| {
            let read = read(&[("DATABASE_URL", url), ("DATABASE_PASSWORD", password)], &[]).unwrap();
            read.database_url.map(|url| url.reveal().to_owned()).unwrap_or_default()
        };
        for (given, filled) in [
            ("postgres://u@h:5432/x?sslmode=require", "postgres://u:p%40ss@h:5432/x?sslmode=require"),
            ("postgresql://u@h", "postgresql://u:p%40ss@h"),
            ("postgres://h/x?options=a@b", "postgres://:p%40ss@h/x?options=a@b"),
        ] {
            assert_eq!(url(given, "p@ss"), filled);
            assert_eq!(url(given, ""), given);
        }
        for (name, of) in
            [("DATABASE_PASSWORD", "DATABASE_URL"), ("FUNCTIONS_DATABASE_PASSWORD", "FUNCTIONS_DATABASE_URL")]
        {
            let unused = read(&[(of, "postgres://u:own@h/x"), (name, "p@ss")], &[]).unwrap_err().to_string();
            assert_eq!(
                unused,
                format!("{name} must only be set with a {of} of a Postgres, without a password of its own")
            );
        }
        assert!(read(&[("DATABASE_URL", "sqlite:///x.db"), ("DATABASE_PASSWORD", "p@ss")], &[]).is_err());
        let functions = [("FUNCTIONS_DATABASE_URL", "postgres://f@h/x"), ("FUNCTIONS_DATABASE_PASSWORD", "p@ss")];
        let role = read(&functions, &[]).unwrap().functions_role.unwrap();
        assert_eq!((role.name.as_str(), role.password.reveal()), ("f", "p@ss"));
        let error = read(&functions[..1], &[]).unwrap_err().to_string();
        assert_eq!(error, "FUNCTIONS_DATABASE_URL must contain a password of visible ASCII characters");
    }

    #[test]
    fn redis_is_configured_by_url_or_by_parts_or_disabled() {
        let url = |vars: &[(&str, &str)]| {
            read(vars, &[]).unwrap().redis.map(|redis| redis.instances[0].url.reveal().to_owned())
        };
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("REDIS_URL", "redis://h:1"), ("QUEUE_REDIS_ENABLED", "false")]), None);
        assert_eq!(url(&[("REDIS_HOST", "h"), ("REDIS_TLS", "true")]).as_deref(), Some("rediss://h:6379"));
        let filled = [("REDIS_URL", "redis://h:1/2"), ("REDIS_USERNAME", "u"), ("REDIS_PASSWORD", "p@ss")];
        assert_eq!(url(&filled).as_deref(), Some("redis://u:p%40ss@h:1/2"));
        let full = [("REDIS_URL", "redis://a:b@h:1"), ("REDIS_PASSWORD", "other")];
        assert_eq!(url(&full).as_deref(), Some("redis://a:b@h:1"));
        let named = [("REDIS_URL", "redis://a@h:1"), ("REDIS_USERNAME", "u"), ("REDIS_PASSWORD", "p")];
        assert_eq!(url(&named).as_deref(), Some("redis://a:p@h:1"));
        assert!(read(&[("QUEUE_REDIS_ENABLED", "false")], &["REDIS_URL"]).is_ok());
        assert!(read(&[("REDIS_HOST", "h")], &["REDIS_URL"]).is_ok());
        for bad in
            [("REDIS_URL", "http://h"), ("REDIS_TLS", "yes"), ("REDIS_CONNECT_TIMEOUT", "soon"), ("REDIS_PORT", "0")]
        {
            let error = read(&[bad, ("REDIS_HOST", "h")], &[]).unwrap_err().to_string();
            assert!(error.contains(bad.0), "{error}");
        }
    }

    #[test]
    fn several_instances_of_redis_are_listed() {
        let read_urls =
            |urls, more: &[(&'static str, &'static str)]| read(&[&[("REDIS_URLS", urls)], more].concat(), &[]);
        let redis =
            read_urls("redis://a, rediss://u:p@b:7000/1?weight=3", &[("REDIS_PASSWORD", "x")]).unwrap().redis.unwrap();
        let found: Vec<(&str, u32)> =
            redis.instances.iter().map(|instance| (instance.url.reveal(), instance.weight)).collect();
        assert_eq!(found, [("redis://:x@a", 1), ("rediss://u:p@b:7000/1", 3)]);
        assert!(read(&[("REDIS_URLS", "redis://a")], &["REDIS_URL"]).is_ok());
        for (urls, more, problem) in [
            ("redis://a,redis://u:hunter2@A:6379/0", &[][..], "REDIS_URLS must not name an instance twice"),
            ("redis://a,hunter2", &[], "REDIS_URLS must begin with redis:// or rediss://"),
            ("redis://a,", &[], "REDIS_URLS must begin with redis:// or rediss://"),
            ("redis://a?weight=0", &[], "REDIS_URLS may end with ?weight=1 to 100"),
            (
                "redis://a",
                &[("REDIS_URL", "redis://b")],
                "REDIS_URLS must not be set together with REDIS_URL or REDIS_HOST",
            ),
            ("redis://a", &[("REDIS_HOST", "b")], "REDIS_URLS must not be set together with REDIS_URL or REDIS_HOST"),
            ("redis://a", &[("REDIS_CLUSTER", "true")], "REDIS_CLUSTER must not be true together with REDIS_URLS"),
        ] {
            let error = read_urls(urls, more).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("hunter2"), "{urls}: {error}");
        }
    }

    #[test]
    fn a_pooler_is_none_or_one_that_pools_transactions() {
        let pooler = |value| read(&[("DATABASE_POOLER", value)], &[]).map(|config| config.database_pooler);
        assert_eq!(pooler(""), Ok(Pooler::None));
        assert_eq!(pooler("none"), Ok(Pooler::None));
        assert_eq!(pooler("transaction"), Ok(Pooler::Transaction));
        for unknown in ["statement", "true", "TRANSACTION"] {
            let error = pooler(unknown).unwrap_err().to_string();
            assert!(error.contains("DATABASE_POOLER must be") && !error.contains(unknown), "{error}");
        }
    }

    /// RFC 8292 has no private key, so this pair is that of the sender in RFC 8291, appendix A.
    const VAPID: [(&str, &str); 3] = [
        ("VAPID_PUBLIC_KEY", "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
        ("VAPID_PRIVATE_KEY", "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
        ("VAPID_SUBJECT", "mailto:push@example.com"),
    ];

    #[test]
    fn web_push_needs_a_pair_of_keys_and_a_subject_or_none_of_them() {
        assert!(read(&[], &[]).unwrap().vapid.is_none());
        // A function that only publishes the key needs no other.
        let publishing = read(&VAPID[..1], &[]).unwrap();
        assert!(publishing.vapid.is_none());
        assert_eq!(publishing.push_key().as_deref(), Some(VAPID[0].1));
        let config = read(&VAPID, &[]).unwrap();
        assert_eq!(config.vapid.as_ref().map(VapidKeys::public_key).as_deref(), Some(VAPID[0].1));
        assert!(!format!("{config:?}").contains(VAPID[1].1));
        for (given, problems) in [
            (
                &VAPID[1..2],
                "VAPID_PUBLIC_KEY is required with VAPID_PRIVATE_KEY\nVAPID_SUBJECT is required with VAPID_PRIVATE_KEY",
            ),
            (&VAPID[1..], "VAPID_PUBLIC_KEY is required with VAPID_PRIVATE_KEY"),
            (&VAPID[..2], "VAPID_SUBJECT is required with VAPID_PUBLIC_KEY"),
        ] {
            assert_eq!(read(given, &[]).unwrap_err().to_string(), problems);
        }
    }

    #[test]
    fn keys_of_web_push_are_checked_and_never_repeated() {
        let other = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
        let point_off_the_curve = format!("{}A", &VAPID[0].1[..86]);
        for (name, value, problem) in [
            ("VAPID_PUBLIC_KEY", "hunter2", "VAPID_PUBLIC_KEY must be 65 bytes as base64url without padding"),
            ("VAPID_PUBLIC_KEY", &*format!("{}=", VAPID[0].1), "VAPID_PUBLIC_KEY must be 65 bytes"),
            ("VAPID_PUBLIC_KEY", &point_off_the_curve, "VAPID_PRIVATE_KEY must belong to VAPID_PUBLIC_KEY"),
            ("VAPID_PRIVATE_KEY", "hunter2", "VAPID_PRIVATE_KEY must be 32 bytes as base64url without padding"),
            ("VAPID_PRIVATE_KEY", &"A".repeat(43), "VAPID_PRIVATE_KEY must belong to VAPID_PUBLIC_KEY"),
            ("VAPID_PRIVATE_KEY", other, "VAPID_PRIVATE_KEY must belong to VAPID_PUBLIC_KEY"),
            ("VAPID_SUBJECT", "hunter2@example.com", "VAPID_SUBJECT must be a mailto: or https: URL"),
            ("VAPID_SUBJECT", "mailto:hunter2", "VAPID_SUBJECT must be"),
            ("VAPID_SUBJECT", "mailto:hunter2@", "VAPID_SUBJECT must be"),
            ("VAPID_SUBJECT", "http://hunter2.example.com", "VAPID_SUBJECT must be"),
            ("VAPID_SUBJECT", "https://", "VAPID_SUBJECT must be"),
            ("VAPID_SUBJECT", "mailto:hunter2 <a@example.com>", "VAPID_SUBJECT must be"),
            ("WEB_PUSH_HOSTS", "https://hunter2.example.com", "WEB_PUSH_HOSTS must be a list of hosts"),
        ] {
            let vars: Vec<_> = VAPID.into_iter().filter(|(other, _)| *other != name).chain([(name, value)]).collect();
            let error = read(&vars, &[]).unwrap_err().to_string();
            assert!(error.starts_with(problem) && !error.contains('\n'), "{name} {value}: {error}");
            assert!(!error.contains("hunter2") && !error.contains(other), "{error}");
        }
        let hosts = read(&[("WEB_PUSH_HOSTS", "push.example.com, localhost:8080")], &[]).unwrap().push_hosts;
        assert_eq!(Ok(hosts), "push.example.com,localhost:8080".parse());
    }

    #[test]
    fn a_type_may_be_told_in_digests() {
        let config = read(&[("DIGEST_TYPES", "like=3600s, a.b:c=60s,")], &[]).unwrap();
        assert_eq!(config.digest_types, [("like".to_owned(), 3_600_000), ("a.b:c".to_owned(), 60_000)].into());
        for bad in [
            "like",
            "like=3600",
            "like=59s",
            "like=86401s",
            "=60s",
            "a b=60s",
            "like=-60s",
            "like=99999999999999999999s",
        ] {
            let error = read(&[("DIGEST_TYPES", bad)], &[]).unwrap_err().to_string();
            assert!(error.starts_with("DIGEST_TYPES must be a list such as"), "{bad}: {error}");
        }
    }

    #[test]
    fn metrics_are_published_in_a_namespace_that_is_not_of_aws() {
        let namespace = |value: &str| read(&[("METRICS_NAMESPACE", value)], &[]).map(|config| config.metrics_namespace);
        assert_eq!(namespace(""), Ok(None));
        assert_eq!(namespace("Carillon/eu-1"), Ok(Some("Carillon/eu-1".into())));
        for bad in ["AWS/Lambda", "a b", "a\"b", "x".repeat(256).as_str()] {
            let error = namespace(bad).unwrap_err().to_string();
            assert!(error.starts_with("METRICS_NAMESPACE must be"), "{bad}: {error}");
        }
    }

    #[test]
    fn spans_are_exported_over_plain_http() {
        let endpoint =
            |value: &str| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)], &[]).map(|config| config.otlp_endpoint);
        assert_eq!(endpoint(""), Ok(None));
        for good in ["http://localhost:4318", "http://[::1]:4318/", "HTTP://collector/base"] {
            assert!(endpoint(good).unwrap().is_some(), "{good}");
        }
        for bad in [
            "https://localhost:4318",
            "localhost:4318",
            "localhost",
            "/v1/traces",
            "http://",
            "http://user:hunter2@localhost:4318",
            "http://localhost:4318?key=hunter2",
            "http://local host",
            "grpc://localhost:4317",
        ] {
            let read = endpoint(bad);
            if !cfg!(feature = "otlp") {
                assert_eq!(read, Ok(None), "{bad}");
                continue;
            }
            let error = read.unwrap_err().to_string();
            assert!(error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT must be an http:// URL"), "{bad}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_type_may_have_its_own_rate_or_no_limit() {
        let config = read(&[("RATE_LIMIT_SEND_TYPES", "like=10/60s, REPORT_APPROVED=off")], &[]).unwrap();
        assert_eq!(config.rate_limit_send_types["like"], Some(Rate { count: 10, window_ms: 60_000 }));
        assert_eq!(config.rate_limit_send_types["REPORT_APPROVED"], None);
    }
}
