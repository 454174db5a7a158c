//! The configuration of the Redis connections.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// The port of a URL that names none.
const DEFAULT_PORT: &str = "6379";

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The instances, at least one, among which everything is divided: those of `REDIS_URLS`, or the one of `REDIS_URL`, or of
    /// `REDIS_HOST`, `REDIS_PORT` and `REDIS_TLS`. `REDIS_USERNAME` and `REDIS_PASSWORD` are added to URLs that lack them.
    pub instances: Vec<RedisInstance>,
    /// `REDIS_CLUSTER`: the instance is a server of a cluster, or the endpoint at which a cluster is found.
    pub is_cluster: bool,
    /// `REDIS_KEY_PREFIX`: the prefix of every key and channel.
    pub prefix: String,
    /// `REDIS_CONNECT_TIMEOUT`: the timeout of one attempt to connect.
    pub connect_timeout: Duration,
    /// `REDIS_MAX_RETRIES`: how often connecting is attempted, the first time included; at least 1.
    pub attempts: u32,
    /// `SSL_CERT_FILE`, as OpenSSL reads it: the certificate authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}

/// One Redis instance.
#[derive(Debug, Clone)]
pub struct RedisInstance {
    /// Where it is, with its credentials.
    pub url: Secret,
    /// How much it gets, compared with the others: 1 to 100.
    pub weight: u32,
}

impl RedisInstance {
    /// An instance by its URL, `redis://` or `rediss://`. Of several, each may say its weight as `?weight=2`; without it, it is 1.
    /// An error says what is required of the URL.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (url, parameters) = url.split_once('?').map_or((url, None), |(url, parameters)| (url, Some(parameters)));
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err("must begin with redis:// or rediss://");
        }
        let weight = match parameters {
            None => 1,
            Some(parameters) => {
                let weight = parameters.strip_prefix("weight=").and_then(|weight| weight.parse().ok());
                weight.filter(|weight| (1..=100).contains(weight)).ok_or("may end with ?weight=1 to 100")?
            }
        };
        Ok(Self { url: Secret::new(url), weight })
    }

    /// The same at another host and port.
    pub fn at(&self, host: &str, port: u16) -> Self {
        let (scheme, credentials, _) = self.parts();
        let credentials = credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Self { url: Secret::new(format!("{scheme}://{credentials}{host}:{port}")), weight: self.weight }
    }

    /// The same with the credentials of another instance.
    pub fn with_credentials_of(&self, other: &Self) -> Self {
        let ((scheme, _, place), (_, credentials, _)) = (self.parts(), other.parts());
        let credentials = credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default();
        Self { url: Secret::new(format!("{scheme}://{credentials}{place}")), weight: self.weight }
    }

    /// Its host, without brackets.
    pub fn host(&self) -> String {
        let address = self.address();
        let (host, _) = address.rsplit_once(':').unwrap_or((&address, ""));
        host.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.url.reveal().starts_with("rediss://")
    }

    /// Its database: 0 unless the URL names another.
    pub(super) fn database(&self) -> String {
        let address = self.address();
        address.rsplit_once('/').map_or("0", |(_, database)| database).to_owned()
    }

    /// Host, port and database: what tells it from other instances, whatever its credentials and weight are.
    pub fn address(&self) -> String {
        let (_, _, place) = self.parts();
        let (host, database) = place.split_once('/').unwrap_or((place, ""));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { String::new() } else { format!(":{DEFAULT_PORT}") };
        let database = if database.is_empty() { "0" } else { database };
        format!("{}{port}/{database}", host.to_ascii_lowercase())
    }

    /// The scheme of the URL, its credentials, and what follows.
    fn parts(&self) -> (&str, Option<&str>, &str) {
        let url = self.url.reveal();
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        match rest.rsplit_once('@') {
            Some((credentials, place)) => (scheme, Some(credentials), place),
            None => (scheme, None, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_by_host_port_and_database() {
        let address = |url| RedisInstance::parse(url).unwrap().address();
        for (url, expected) in [
            ("redis://H", "h:6379/0"),
            ("rediss://user:p%40ss@h:6380/2?weight=3", "h:6380/2"),
            ("redis://h:6379/0", "h:6379/0"),
            ("redis://[::1]", "[::1]:6379/0"),
            ("redis://[::1]:7000/", "[::1]:7000/0"),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }

    #[test]
    fn other_servers_of_a_cluster_are_reached_in_the_same_way() {
        let at = |url, host| RedisInstance::parse(url).unwrap().at(host, 7_001).url.reveal().to_owned();
        assert_eq!(at("rediss://user:p%40ss@h:6380", "10.0.0.1"), "rediss://user:p%40ss@10.0.0.1:7001");
        assert_eq!(at("redis://h", "::1"), "redis://[::1]:7001");
        let host = |url| RedisInstance::parse(url).unwrap().host();
        assert_eq!((host("redis://u:p@H:1/0"), host("redis://[::1]")), ("h".to_owned(), "::1".to_owned()));
    }

    #[test]
    fn an_instance_may_get_the_credentials_of_another() {
        let instance = |url| RedisInstance::parse(url).unwrap();
        for (own, other, expected) in [
            ("rediss://u:old@h:1/2?weight=3", "redis://v:new@other", "rediss://v:new@h:1/2"),
            ("redis://h", "redis://:new@other:7", "redis://:new@h"),
            ("redis://u:old@h", "redis://other", "redis://h"),
        ] {
            let renewed = instance(own).with_credentials_of(&instance(other));
            assert_eq!((renewed.url.reveal(), renewed.weight), (expected, instance(own).weight));
        }
    }

    #[test]
    fn a_weight_is_part_of_the_url() {
        let weight =
            |url: &str| RedisInstance::parse(url).map(|instance| (instance.url.reveal().to_owned(), instance.weight));
        assert_eq!(weight("redis://h"), Ok(("redis://h".into(), 1)));
        assert_eq!(weight("redis://h/2?weight=100"), Ok(("redis://h/2".into(), 100)));
        for wrong in ["?weight=0", "?weight=101", "?weight=", "?weight=x", "?", "?a=1", "?weight=2&a=1"] {
            assert_eq!(weight(&format!("redis://h{wrong}")), Err("may end with ?weight=1 to 100"), "{wrong}");
        }
    }
}
