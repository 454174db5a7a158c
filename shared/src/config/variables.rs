//! Parsing of environment variables. All problems are collected, and none of them contains a value.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use url::Url;

use super::database_role::DatabaseRole;
use super::origins::Origins;
use super::pooler::Pooler;
use super::redis_url::{RedisConfig, RedisInstance};
use super::secret::Secret;
use super::vapid::{PUBLIC_KEY_RULE, VapidKeys, is_public_key};
use crate::fast::accept::Accept;
use crate::inbox::notification::is_type;
use crate::inbox::send::DIGEST_MS;
use crate::limits::Rate;
use crate::web_push::endpoint::PushHosts;

/// The variables, and the problems found in them so far.
pub(super) struct Variables<F> {
    variable: F,
    pub(super) problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub(super) fn new(variable: F) -> Self {
        Self { variable, problems: Vec::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Whether another variable makes up for a missing one.
    pub(super) fn has_alternative(&self, name: &str) -> bool {
        match name {
            "JWT_SECRET" => ["JWT_ENCRYPTION_KEY", "JWT_JWKS_URL"].iter().any(|name| self.get(name).is_some()),
            "REDIS_URL" => {
                ["REDIS_HOST", "REDIS_URLS"].iter().any(|name| self.get(name).is_some()) || !self.redis_is_enabled()
            }
            _ => false,
        }
    }

    fn redis_is_enabled(&self) -> bool {
        self.get("QUEUE_REDIS_ENABLED").is_none_or(|enabled| enabled != "false")
    }

    pub(super) fn redis(&mut self) -> Option<RedisConfig> {
        for name in ["QUEUE_REDIS_ENABLED", "REDIS_TLS", "REDIS_CLUSTER"] {
            if self.get(name).is_some_and(|value| value != "true" && value != "false") {
                self.problem(name, "must be true or false");
            }
        }
        let is_cluster = self.get("REDIS_CLUSTER").is_some_and(|cluster| cluster == "true");
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
        });
        let several = self.get("REDIS_URLS");
        if url.is_some() && several.is_some() {
            self.problem("REDIS_URLS", "must not be set together with REDIS_URL or REDIS_HOST");
        }
        if is_cluster && several.is_some() {
            self.problem(
                "REDIS_CLUSTER",
                "must not be true together with REDIS_URLS: one server of a cluster knows the others",
            );
        }
        let (name, urls) = match (url, several) {
            (Some(url), _) => ("REDIS_URL", vec![url]),
            (None, Some(urls)) => ("REDIS_URLS", urls.split(',').map(|url| url.trim().to_owned()).collect()),
            (None, None) => return None,
        };
        let instances = self.redis_instances(name, urls);
        if is_cluster && instances.first().is_some_and(|instance| instance.database() != "0") {
            self.problem(name, "must not name a database of a cluster: it has only one");
        }
        Some(RedisConfig {
            instances,
            is_cluster,
            prefix: self.get("REDIS_KEY_PREFIX").unwrap_or_else(|| "carillon".into()),
            connect_timeout: Duration::from_millis(timeout_ms),
            attempts,
            authorities: self.get("SSL_CERT_FILE").map(PathBuf::from),
        })
    }

    fn redis_instances(&mut self, name: &str, urls: Vec<String>) -> Vec<RedisInstance> {
        let (user, password) = (self.get("REDIS_USERNAME"), self.get("REDIS_PASSWORD"));
        let mut instances: Vec<RedisInstance> = Vec::new();
        for url in urls {
            match RedisInstance::parse(&with_credentials(url, user.clone(), password.clone())) {
                Ok(instance) if instances.iter().any(|other| other.address() == instance.address()) => {
                    self.problem(name, "must not name an instance twice");
                }
                Ok(instance) => instances.push(instance),
                Err(required) => self.problem(name, required),
            }
        }
        instances
    }

    /// `ACCEPT`.
    pub(super) fn accept(&mut self) -> Accept {
        let Some(name) = self.get("ACCEPT") else { return Accept::default() };
        Accept::from_name(&name).unwrap_or_else(|| {
            self.problem("ACCEPT", "must be durable or fast");
            Accept::default()
        })
    }

    /// The keys of Web Push; `None` without any of its variables, and in functions that only publish the public key.
    pub(super) fn vapid(&mut self) -> Option<VapidKeys> {
        const NAMES: [&str; 3] = ["VAPID_PUBLIC_KEY", "VAPID_PRIVATE_KEY", "VAPID_SUBJECT"];
        let values = NAMES.map(|name| self.get(name));
        if let [Some(public), Some(private), Some(subject)] = &values {
            let keys = VapidKeys::new(public, private, subject);
            return keys
                .map_err(|found| found.into_iter().for_each(|(name, required)| self.problem(name, required)))
                .ok();
        }
        if let [Some(public), None, None] = &values {
            if !is_public_key(public) {
                self.problem(NAMES[0], PUBLIC_KEY_RULE);
            }
            return None;
        }
        let given = NAMES.into_iter().find(|name| self.get(name).is_some())?;
        for name in NAMES {
            if self.get(name).is_none() {
                self.problem(name, format_args!("is required with {given}"));
            }
        }
        None
    }

    /// `METRICS_NAMESPACE`.
    pub(super) fn metrics_namespace(&mut self) -> Option<String> {
        const NAME: &str = "METRICS_NAMESPACE";
        let namespace = self.get(NAME)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/#:-".contains(&byte);
        if namespace.len() > 255 || namespace.starts_with("AWS/") || !namespace.bytes().all(is_allowed) {
            self.problem(NAME, "must be at most 255 letters, digits and . _ / # : -, and must not begin with AWS/");
        }
        Some(namespace)
    }

    /// `OTEL_EXPORTER_OTLP_ENDPOINT`. Many programs read this variable, so a value that only they can use is no problem of a binary
    /// that exports nothing.
    pub(super) fn otlp_endpoint(&mut self) -> Option<Uri> {
        const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let is_plain = |url: &Uri| {
            let has_host = url.host().is_some_and(|host| !host.is_empty());
            let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
            url.scheme_str() == Some("http") && has_host && !has_user && url.query().is_none()
        };
        let url = self.get(NAME)?.parse().ok().filter(is_plain);
        if url.is_none() && cfg!(feature = "otlp") {
            self.problem(
                NAME,
                "must be an http:// URL such as http://localhost:4318, without a password and without a query",
            );
        }
        url
    }

    /// `WEB_PUSH_HOSTS`.
    pub(super) fn push_hosts(&mut self) -> PushHosts {
        const NAME: &str = "WEB_PUSH_HOSTS";
        let hosts = self.get(NAME).map(|hosts| hosts.parse()).transpose();
        hosts.map_err(|required| self.problem(NAME, required)).ok().flatten().unwrap_or_default()
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    pub(super) fn credentials(&self) -> Option<(String, Secret, Option<Secret>)> {
        let (id, key) = self.get("AWS_ACCESS_KEY_ID").zip(self.get("AWS_SECRET_ACCESS_KEY"))?;
        Some((id, Secret::new(key), self.get("AWS_SESSION_TOKEN").map(Secret::new)))
    }

    /// `DATABASE_URL`, with `DATABASE_PASSWORD` if it has no password.
    pub(super) fn database_url(&mut self) -> Option<Secret> {
        let password = self.password("DATABASE_PASSWORD", "DATABASE_URL");
        Some(Secret::new(with_credentials(self.get("DATABASE_URL")?, None, password)))
    }

    /// The password that belongs into a URL. One that would not be used is a problem: were it replaced, nothing would happen.
    fn password(&mut self, name: &str, of: &str) -> Option<String> {
        let (password, url) = self.get(name).zip(self.get(of))?;
        if url.starts_with("postgres") && !own_credentials(&url).contains(':') {
            return Some(password);
        }
        self.problem(name, format!("must only be set with a {of} of a Postgres, without a password of its own"));
        None
    }

    /// `FUNCTIONS_DATABASE_URL`, with `FUNCTIONS_DATABASE_PASSWORD` if it has no password.
    pub(super) fn functions_role(&mut self) -> Option<DatabaseRole> {
        const NAME: &str = "FUNCTIONS_DATABASE_URL";
        let password = self.password("FUNCTIONS_DATABASE_PASSWORD", NAME);
        let role = self.get(NAME).map(|url| DatabaseRole::of_url(&with_credentials(url, None, password))).transpose();
        role.map_err(|required| self.problem(NAME, required)).ok().flatten()
    }

    pub(super) fn pooler(&mut self) -> Pooler {
        match self.get("DATABASE_POOLER").as_deref() {
            None | Some("none") => Pooler::None,
            Some("transaction") => Pooler::Transaction,
            Some(_) => {
                self.problem("DATABASE_POOLER", "must be none or transaction");
                Pooler::None
            }
        }
    }

    pub(super) fn problem(&mut self, name: &str, required: impl fmt::Display) {
        self.problems.push(format!("{name} {required}"));
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, default: T, fits: impl Fn(&T) -> bool, range: &str) -> T {
        match self.get(name).map(|value| value.parse::<T>()) {
            None => default,
            Some(Ok(value)) if fits(&value) => value,
            Some(_) => {
                self.problem(name, format_args!("must be a whole number from {range}"));
                default
            }
        }
    }

    pub(super) fn rate(&mut self, name: &str, default: Rate) -> Rate {
        match self.get(name).map(|value| value.parse()) {
            None => default,
            Some(Ok(rate)) => rate,
            Some(Err(required)) => {
                self.problem(name, required);
                default
            }
        }
    }

    pub(super) fn rates_of_types(&mut self) -> HashMap<String, Option<Rate>> {
        const NAME: &str = "RATE_LIMIT_SEND_TYPES";
        let mut rates = HashMap::new();
        for entry in self.get(NAME).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once('=') {
                Some((kind, "off")) => {
                    rates.insert(kind.to_owned(), None);
                }
                Some((kind, rate)) => match rate.parse::<Rate>() {
                    Ok(rate) => {
                        rates.insert(kind.to_owned(), Some(rate));
                    }
                    Err(required) => self.problem(NAME, format_args!("has a rate that {required}")),
                },
                None => self.problem(NAME, "must be a list such as like=10/60s,REPORT_APPROVED=off"),
            }
        }
        rates
    }

    /// `DIGEST_TYPES`, in milliseconds.
    pub(super) fn digest_types(&mut self) -> HashMap<String, i64> {
        const NAME: &str = "DIGEST_TYPES";
        let mut windows = HashMap::new();
        for entry in self.get(NAME).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let window_ms = |text: &str| Some(text.strip_suffix('s')?.parse::<i64>().ok()?.saturating_mul(1_000));
            let found = entry.split_once('=').and_then(|(kind, window)| Some((kind, window_ms(window)?)));
            match found.filter(|(kind, window_ms)| is_type(kind) && DIGEST_MS.contains(window_ms)) {
                Some((kind, window_ms)) => {
                    windows.insert(kind.to_owned(), window_ms);
                }
                None => self.problem(NAME, "must be a list such as like=3600s, with windows of 60s to 86400s"),
            }
        }
        windows
    }

    pub(super) fn origins(&mut self, default: Origins) -> Origins {
        const NAME: &str = "ALLOWED_ORIGINS";
        let Some(list) = self.get(NAME) else {
            return default;
        };
        let origins: Vec<String> = list
            .split(',')
            .map(|origin| origin.trim().to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        // As browsers write it: without a path, a default port, or leading zeros.
        let exact = |origin: &String| {
            let is_http = origin.starts_with("https://") || origin.starts_with("http://");
            let written = Url::parse(origin).map(|url| url.origin().ascii_serialization());
            is_http && !origin.contains('*') && written.is_ok_and(|written| written == *origin)
        };
        if !origins.iter().all(exact) {
            self.problem(NAME, "must be a list of exact origins such as https://app.example.com");
        }
        Origins::Exact(origins)
    }

    pub(super) fn jwt_secret(&mut self) -> Option<Secret> {
        self.secret(if self.get("JWT_SECRET").is_some() { "JWT_SECRET" } else { "JWT_ENCRYPTION_KEY" })
    }

    /// A secret that signs or verifies tokens.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        let secret = self.get(name)?;
        if secret.len() < 32 {
            self.problem(name, "must be at least 32 bytes long");
        }
        Some(Secret::new(secret))
    }

    /// The URL of published keys, which take the place of all secrets.
    pub(super) fn jwks_url(&mut self) -> Option<Uri> {
        const NAME: &str = "JWT_JWKS_URL";
        let url = self.get(NAME)?;
        for secret in ["JWT_SECRET", "JWT_ENCRYPTION_KEY", "JWT_SECRET_PREVIOUS"] {
            if self.get(secret).is_some() {
                self.problem(secret, format_args!("must not be set together with {NAME}"));
            }
        }
        // A key set may serve many services: without these, a token for any of them would be valid here.
        for required in ["JWT_ISSUER", "JWT_AUDIENCE"] {
            if self.get(required).is_none() {
                self.problem(required, format_args!("is required with {NAME}"));
            }
        }
        let url = url.parse().ok().filter(is_trustworthy);
        if url.is_none() {
            self.problem(NAME, "must be an https:// URL without a password, or an http:// URL of this machine");
        }
        url
    }
}

/// Whether what comes from a URL can be trusted to come from its host: over TLS, or from this machine.
fn is_trustworthy(url: &Uri) -> bool {
    let has_user = url.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !has_user
        && !host.is_empty()
        && match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_loopback,
            _ => false,
        }
}

/// What a URL has before its host: nothing, `user` or `user:password`.
fn own_credentials(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or("", |(own, _)| own)
}

/// The URL with this password, and with this user if it has none. A URL with a password of its own stays as it is.
fn with_credentials(url: String, user: Option<String>, password: Option<String>) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encoded = |text: String| utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
    let Some(((scheme, rest), password)) = url.split_once("://").zip(password) else { return url };
    let own = own_credentials(&url);
    if own.contains(':') {
        return url;
    }
    let place = if own.is_empty() { rest } else { &rest[own.len() + 1..] };
    let user = if own.is_empty() { user.map(encoded).unwrap_or_default() } else { own.to_owned() };
    format!("{scheme}://{user}:{}@{place}", encoded(password))
}
