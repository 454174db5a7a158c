//! Configuration: the only place that reads environment variables. Every problem is found at start, named,
//! and told at once; a secret is never part of what is told.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::Rate;

/// A value that must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for whoever really needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Which origins may ask for tickets and open sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any port of `localhost`, `127.0.0.1` and `[::1]`.
    Loopback,
    /// Exactly these, in lower case.
    Exact(Vec<String>),
}

impl Origins {
    /// Whether a page of this origin may connect. Scheme and host have no case (RFC 6454).
    pub fn allow(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        match self {
            Self::Exact(allowed) => allowed.contains(&origin),
            Self::Loopback => ["http://", "https://"].iter().any(|scheme| {
                let Some(authority) = origin.strip_prefix(scheme) else {
                    return false;
                };
                ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| match authority.strip_prefix(host) {
                    Some("") => true,
                    Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
                    None => false,
                })
            }),
        }
    }
}

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`, or one made of `REDIS_HOST`, `REDIS_PORT` and `REDIS_TLS`; `REDIS_USERNAME` and `REDIS_PASSWORD`
    /// fill what it lacks.
    pub url: Secret,
    /// `REDIS_KEY_PREFIX`: before every key and channel.
    pub prefix: String,
    /// `REDIS_CONNECT_TIMEOUT`: of one attempt.
    pub connect_timeout: Duration,
    /// `REDIS_MAX_RETRIES`: attempts of a connection.
    pub attempts: u32,
    /// `SSL_CERT_FILE`, as OpenSSL reads it: the certificate authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}

/// What a process was told about its surroundings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`.
    pub database_url: Option<Secret>,
    /// Redis, where it is used.
    pub redis: Option<RedisConfig>,
    /// `JWT_SECRET`, or its alias `JWT_ENCRYPTION_KEY`: at least 32 bytes.
    pub jwt_secret: Option<Secret>,
    /// `JWT_ISSUER`: what `iss` must be.
    pub jwt_issuer: Option<String>,
    /// `JWT_AUDIENCE`: what `aud` must be or hold.
    pub jwt_audience: Option<String>,
    /// `WS_ENDPOINT`: base of `@connections`.
    pub ws_endpoint: Option<String>,
    /// `WS_URL`: where clients open sockets.
    pub ws_url: Option<String>,
    /// `EVENTS_URL`: where clients open event streams.
    pub events_url: Option<String>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: Origins,
    /// `RATE_LIMIT_SEND`: per recipient and type.
    pub rate_limit_send: Rate,
    /// `RATE_LIMIT_SEND_TYPES`: types with another rate, or with none.
    pub rate_limit_send_types: HashMap<String, Option<Rate>>,
    /// `ENABLE_TEST_ENDPOINTS`: whether the test page and the sends for trying things out are there.
    pub test_endpoints: bool,
    /// `RATE_LIMIT_FRAMES`: per connection.
    pub rate_limit_frames: Rate,
    /// `DRAIN_FUNCTION`: the name of the function to wake where work is left for it.
    pub drain_function: Option<String>,
    /// `AWS_ENDPOINT_URL_LAMBDA`, as every AWS SDK reads it: where functions are invoked, if not at AWS.
    pub lambda_endpoint: Option<String>,
    /// `DRAIN_LINGER_MS`: the longest that a drain stays while there is work.
    pub drain_linger: Duration,
    /// `RETENTION_DAYS`, in milliseconds.
    pub retention_ms: i64,
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    pub credentials: Option<(String, Secret, Option<Secret>)>,
}

/// Variables that are missing or cannot be read, each with what is required of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads the environment of a function, which needs the variables named; an empty one counts as missing.
    pub fn from_env(needed: &[&str]) -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok(), needed, Origins::Exact(Vec::new()))
    }

    /// Reads variables from anywhere.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        needed: &[&str],
        default_origins: Origins,
    ) -> Result<Self, ConfigError> {
        let mut vars = Variables { variable, problems: Vec::new() };
        for name in needed {
            if vars.get(name).is_none() && !vars.has_instead(name) {
                vars.problem(name, "is required");
            }
        }
        for (name, instead) in NOT_YET {
            if vars.get(name).is_some() {
                vars.problem(name, format_args!("is not supported yet: {instead}"));
            }
        }
        if vars.get("ACCEPT").is_some_and(|accept| accept != "durable" && accept != "fast") {
            vars.problem("ACCEPT", "must be durable or fast");
        }
        let is_production = vars.get("ENV").is_some_and(|env| env == "production");
        // Only a gateway on a laptop lets every loopback origin in.
        let is_local = matches!(default_origins, Origins::Loopback);
        let test_endpoints = match vars.get("ENABLE_TEST_ENDPOINTS").as_deref() {
            None => is_local && !is_production,
            Some("true") if is_production => {
                vars.problem("ENABLE_TEST_ENDPOINTS", "must not be true where ENV is production");
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
            database_url: vars.get("DATABASE_URL").map(Secret),
            redis: vars.redis(),
            jwt_secret: vars.jwt_secret(),
            jwt_issuer: vars.get("JWT_ISSUER"),
            jwt_audience: vars.get("JWT_AUDIENCE"),
            ws_endpoint: vars.get("WS_ENDPOINT"),
            ws_url: vars.get("WS_URL"),
            events_url: vars.get("EVENTS_URL"),
            allowed_origins: vars.origins(default_origins),
            rate_limit_send: vars.rate("RATE_LIMIT_SEND", Rate { count: 30, window_ms: 60_000 }),
            rate_limit_send_types: vars.rates_of_types(),
            test_endpoints,
            rate_limit_frames: vars.rate("RATE_LIMIT_FRAMES", Rate { count: 50, window_ms: 1_000 }),
            drain_function: vars.get("DRAIN_FUNCTION"),
            lambda_endpoint: vars.get("AWS_ENDPOINT_URL_LAMBDA"),
            drain_linger: Duration::from_millis(linger_ms),
            retention_ms: days * 24 * 60 * 60 * 1_000,
            region: vars.get("AWS_REGION").unwrap_or_else(|| "us-east-1".into()),
            credentials: vars
                .get("AWS_ACCESS_KEY_ID")
                .zip(vars.get("AWS_SECRET_ACCESS_KEY"))
                .map(|(id, key)| (id, Secret(key), vars.get("AWS_SESSION_TOKEN").map(Secret))),
        };
        if vars.problems.is_empty() { Ok(config) } else { Err(ConfigError(vars.problems)) }
    }
}

impl Config {
    /// Which database `DATABASE_URL` names: `postgres`, or `sqlite`, which is what there is without it.
    pub fn database_kind(&self) -> &'static str {
        let is_postgres = self.database_url.as_ref().is_some_and(|url| url.reveal().starts_with("postgres"));
        if is_postgres { "postgres" } else { "sqlite" }
    }
}

/// Variables of the contract that this version cannot honour. Set, they are refused, never ignored.
const NOT_YET: [(&str, &str); 3] = [
    ("JWT_JWKS_URL", "set JWT_SECRET"),
    ("REDIS_URLS", "set REDIS_URL"),
    ("VAPID_PRIVATE_KEY", "unset it, there is no Web Push"),
];

struct Variables<F> {
    variable: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether something else stands for a variable that is missing.
    fn has_instead(&self, name: &str) -> bool {
        match name {
            "JWT_SECRET" => self.get("JWT_ENCRYPTION_KEY").is_some(),
            "REDIS_URL" => self.get("REDIS_HOST").is_some() || !self.redis_is_enabled(),
            _ => false,
        }
    }

    fn redis_is_enabled(&self) -> bool {
        self.get("QUEUE_REDIS_ENABLED").is_none_or(|enabled| enabled != "false")
    }

    fn redis(&mut self) -> Option<RedisConfig> {
        for name in ["QUEUE_REDIS_ENABLED", "REDIS_TLS", "REDIS_CLUSTER"] {
            if self.get(name).is_some_and(|value| value != "true" && value != "false") {
                self.problem(name, "must be true or false");
            }
        }
        if self.get("REDIS_CLUSTER").is_some_and(|cluster| cluster == "true") {
            self.problem("REDIS_CLUSTER", "is not supported yet: name one instance");
        }
        if !self.redis_is_enabled() {
            return None;
        }
        let timeout_ms = self.parsed("REDIS_CONNECT_TIMEOUT", 2_000, |ms| (1..=60_000).contains(ms), "1 to 60000");
        let attempts = self.parsed("REDIS_MAX_RETRIES", 3, |attempts| (1..=100).contains(attempts), "1 to 100");
        let port: u16 = self.parsed("REDIS_PORT", 6_379, |port| *port > 0, "1 to 65535");
        let tls = self.get("REDIS_TLS").is_some_and(|tls| tls == "true");
        let url = self.get("REDIS_URL").or_else(|| {
            let host = self.get("REDIS_HOST")?;
            Some(format!("{}://{host}:{port}", if tls { "rediss" } else { "redis" }))
        })?;
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            self.problem("REDIS_URL", "must begin with redis:// or rediss://");
        }
        Some(RedisConfig {
            url: Secret(with_credentials(url, self.get("REDIS_USERNAME"), self.get("REDIS_PASSWORD"))),
            prefix: self.get("REDIS_KEY_PREFIX").unwrap_or_else(|| "carillon".into()),
            connect_timeout: Duration::from_millis(timeout_ms),
            attempts,
            authorities: self.get("SSL_CERT_FILE").map(PathBuf::from),
        })
    }

    fn problem(&mut self, name: &str, required: impl fmt::Display) {
        self.problems.push(format!("{name} {required}"));
    }

    fn parsed<T: FromStr>(&mut self, name: &str, default: T, fits: impl Fn(&T) -> bool, required: &str) -> T {
        match self.get(name).map(|value| value.parse::<T>()) {
            None => default,
            Some(Ok(value)) if fits(&value) => value,
            Some(_) => {
                self.problem(name, format_args!("must be a whole number, {required}"));
                default
            }
        }
    }

    fn rate(&mut self, name: &str, default: Rate) -> Rate {
        match self.get(name).map(|value| value.parse()) {
            None => default,
            Some(Ok(rate)) => rate,
            Some(Err(required)) => {
                self.problem(name, required);
                default
            }
        }
    }

    fn rates_of_types(&mut self) -> HashMap<String, Option<Rate>> {
        const NAME: &str = "RATE_LIMIT_SEND_TYPES";
        let mut rates = HashMap::new();
        for entry in self.get(NAME).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once('=') {
                Some((kind, "off")) => {
                    rates.insert(kind.to_owned(), None);
                }
                Some((kind, rate)) if rate.parse::<Rate>().is_ok() => {
                    rates.insert(kind.to_owned(), rate.parse().ok());
                }
                _ => self.problem(NAME, "must be a list such as like=10/60s,REPORT_APPROVED=off"),
            }
        }
        rates
    }

    fn origins(&mut self, default: Origins) -> Origins {
        const NAME: &str = "ALLOWED_ORIGINS";
        let Some(list) = self.get(NAME) else {
            return default;
        };
        let origins: Vec<String> = list
            .split(',')
            .map(|origin| origin.trim().to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        let exact = |origin: &String| {
            let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            authority
                .is_some_and(|authority| !authority.is_empty() && !authority.contains(['/', '*', '?', '#', '@', ' ']))
        };
        if !origins.iter().all(exact) {
            self.problem(NAME, "must be a list of exact origins such as https://app.example.com");
        }
        Origins::Exact(origins)
    }

    fn jwt_secret(&mut self) -> Option<Secret> {
        let name = if self.get("JWT_SECRET").is_some() { "JWT_SECRET" } else { "JWT_ENCRYPTION_KEY" };
        let secret = self.get(name)?;
        if secret.len() < 32 {
            self.problem(name, "must be at least 32 bytes");
        }
        Some(Secret(secret))
    }
}

/// The URL with the user and password that it lacks.
fn with_credentials(url: String, user: Option<String>, password: Option<String>) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encoded = |text: String| utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.split('/').next().unwrap_or_default().contains('@') && password.is_some() => {
            let (user, password) = (user.map(encoded).unwrap_or_default(), password.map(encoded).unwrap_or_default());
            format!("{scheme}://{user}:{password}@{rest}")
        }
        _ => url,
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
    fn every_problem_is_named_at_once_and_no_secret_is_told() {
        let vars = [
            ("JWT_SECRET", "hunter2"),
            ("RATE_LIMIT_SEND", "much"),
            ("RETENTION_DAYS", "0"),
            ("ALLOWED_ORIGINS", "https://*.example.com"),
            ("RATE_LIMIT_SEND_TYPES", "like"),
            ("JWT_JWKS_URL", "https://x"),
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
            "JWT_JWKS_URL",
        ] {
            assert!(error.contains(name), "{name} is missing in: {error}");
        }
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn an_alias_and_empty_values_count_as_the_contract_says() {
        let secret = "0123456789abcdef0123456789abcdef";
        let config = read(&[("JWT_SECRET", ""), ("JWT_ENCRYPTION_KEY", secret)], &["JWT_SECRET"]).unwrap();
        assert_eq!(config.jwt_secret.as_ref().map(Secret::reveal), Some(secret));
        assert!(!format!("{config:?}").contains(secret));
        assert_eq!(config.rate_limit_send, Rate { count: 30, window_ms: 60_000 });
    }

    #[test]
    fn redis_may_be_named_by_url_or_by_parts_or_not_used() {
        let url = |vars: &[(&str, &str)]| read(vars, &[]).unwrap().redis.map(|redis| redis.url.reveal().to_owned());
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("REDIS_URL", "redis://h:1"), ("QUEUE_REDIS_ENABLED", "false")]), None);
        assert_eq!(url(&[("REDIS_HOST", "h"), ("REDIS_TLS", "true")]).as_deref(), Some("rediss://h:6379"));
        let filled = [("REDIS_URL", "redis://h:1/2"), ("REDIS_USERNAME", "u"), ("REDIS_PASSWORD", "p@ss")];
        assert_eq!(url(&filled).as_deref(), Some("redis://u:p%40ss@h:1/2"));
        let full = [("REDIS_URL", "redis://a:b@h:1"), ("REDIS_PASSWORD", "other")];
        assert_eq!(url(&full).as_deref(), Some("redis://a:b@h:1"));
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
    fn types_may_have_a_rate_of_their_own_or_none() {
        let config = read(&[("RATE_LIMIT_SEND_TYPES", "like=10/60s, REPORT_APPROVED=off")], &[]).unwrap();
        assert_eq!(config.rate_limit_send_types["like"], Some(Rate { count: 10, window_ms: 60_000 }));
        assert_eq!(config.rate_limit_send_types["REPORT_APPROVED"], None);
    }

    #[test]
    fn an_origin_that_only_resembles_an_allowed_one_is_refused() {
        let exact = Origins::Exact(vec!["https://app.example.com".into()]);
        assert!(exact.allow("https://app.example.com") && exact.allow("https://APP.example.com"));
        for origin in [
            "https://app.example.com.evil.com",
            "https://evilapp.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "null",
            "file://",
            "https://app.exampl\u{435}.com",
            "",
        ] {
            assert!(!exact.allow(origin), "{origin}");
        }
        for origin in ["http://localhost:5173", "http://127.0.0.1", "https://[::1]:3000"] {
            assert!(Origins::Loopback.allow(origin), "{origin}");
        }
        for origin in ["http://localhost.evil.com", "http://localhost:evil", "http://10.0.0.1:3000", "null"] {
            assert!(!Origins::Loopback.allow(origin), "{origin}");
        }
    }
}
