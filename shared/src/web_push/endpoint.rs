//! Endpoints: the URLs at push services that browsers name, and which of them this deployment sends to. A stranger chooses
//! them, so whatever they lead to must be meant to be reached.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use super::address::is_public;

/// The longest endpoint, in characters.
const MAX_CHARS: usize = 2_048;

/// The endpoint of a subscription. Who knows it may try to push there, so it is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// An endpoint from a caller; the error says what is required.
    pub fn new(text: &str, hosts: &PushHosts) -> Result<Self, &'static str> {
        let endpoint = Self::stored(text).ok_or(
            "must be an https URL of at most 2048 ASCII characters, without a user, a password and a fragment",
        )?;
        match hosts.reach(&endpoint) {
            Some(_) => Ok(endpoint),
            None if hosts.0.is_empty() => Err("must lead to a public host, by https at port 443"),
            None => Err("must lead to one of the push services that this deployment sends to"),
        }
    }

    /// An endpoint that was checked when it was stored, by the hosts of that time; `None` if it cannot be one.
    pub fn stored(text: &str) -> Option<Self> {
        let is_plain = text.len() <= MAX_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Parsing would look for a host after further slashes, and drop a user without a name.
        let names_only_a_host = !authority.is_empty() && !authority.contains('@');
        let url = Url::parse(text).ok().filter(|url| url.has_host() && url.fragment().is_none())?;
        // Normalised, it may be longer, and that is how it is stored.
        let is_plain = is_plain && url.as_str().len() <= MAX_CHARS;
        (is_plain && names_only_a_host).then_some(Self(url))
    }

    /// The URL, normalised.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port, the last only if it is not the scheme's: `https://push.example.com`.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}/…)", self.origin())
    }
}

/// The push services that this deployment sends to (`WEB_PUSH_HOSTS`). The default is every public host, by https at port 443.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushHosts(Vec<Named>);

/// One of several hosts that are the only ones.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// As it stands in a normalised URL.
    host: String,
    /// At this port, anything goes: a private address, and http without TLS.
    port: Option<u16>,
}

/// Which addresses of a host may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only public ones.
    Public,
    /// All, because the configuration names this host with this port.
    Any,
}

/// The text is not a list of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a list of hosts, with or without a port, such as fcm.googleapis.com,push.internal:8443")]
pub struct MalformedHosts;

impl PushHosts {
    /// Whether this deployment sends to an endpoint, and at which addresses; `None` if it does not.
    pub fn reach(&self, endpoint: &Endpoint) -> Option<Reach> {
        let url = &endpoint.0;
        let (host, port) = (url.host()?, url.port_or_known_default()?);
        let is_named = |port| self.0.iter().any(|named| Some(&*named.host) == url.host_str() && named.port == port);
        if is_named(Some(port)) {
            return Some(Reach::Any);
        }
        let is_allowed = match host {
            Host::Domain(name) => is_named(None) || (self.0.is_empty() && is_public_name(name)),
            // No push service is known by its address, so only one that is named is meant.
            Host::Ipv4(address) => is_named(None) && is_public(address.into()),
            Host::Ipv6(address) => is_named(None) && is_public(address.into()),
        };
        (is_allowed && url.scheme() == "https" && port == 443).then_some(Reach::Public)
    }
}

impl FromStr for PushHosts {
    type Err = MalformedHosts;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        list.split(',').map(|entry| named(entry.trim())).collect::<Option<_>>().map(Self).ok_or(MalformedHosts)
    }
}

fn named(entry: &str) -> Option<Named> {
    let (host, port) = match entry.rsplit_once(':') {
        // The last colon is one of an IPv6 address.
        Some((_, rest)) if rest.ends_with(']') => (entry, None),
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port: &u16| *port > 0)?)),
        None => (entry, None),
    };
    let host = Host::parse(host).ok()?;
    // A pattern would be a name that never matches.
    let is_host = !matches!(&host, Host::Domain(name) if !is_name(name));
    is_host.then(|| Named { host: host.to_string(), port })
}

/// Whether a name has only labels that names of hosts have.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a name can be that of a public push service. No such service has a name in another script, and one in which
/// a letter looks like another passes for a known one.
fn is_public_name(name: &str) -> bool {
    is_name(name) && name.contains('.') && !name.split('.').any(|label| label.starts_with("xn--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &str) -> PushHosts {
        list.parse().unwrap()
    }

    fn reach(hosts: &PushHosts, text: &str) -> Option<Reach> {
        Endpoint::new(text, hosts).ok().and_then(|endpoint| hosts.reach(&endpoint))
    }

    #[test]
    fn endpoints_of_browsers_are_accepted_as_they_are() {
        for text in [
            "https://fcm.googleapis.com/fcm/send/dpH5lCsTSSM:APA91bHqjZxM0VImWWqDRN7U0a3AycjUf4O-byuxb_wJsKRaKvV_iKw",
            "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABaSBI8",
            "https://web.push.apple.com/QGuQyavXutnMH9JoZ0",
            "https://wns2-par02p.notify.windows.com/w/?token=BQYAAADHBqPvLDjs%2bkq%2f%3d",
        ] {
            let endpoint = Endpoint::new(text, &PushHosts::default()).unwrap();
            assert_eq!(endpoint.as_str(), text);
            assert_eq!(PushHosts::default().reach(&endpoint), Some(Reach::Public));
        }
    }

    #[test]
    fn what_leads_anywhere_else_is_refused() {
        let long = format!("https://push.example.com/{}", "x".repeat(2_024));
        // Normalised, each of these takes three characters.
        let grows = format!("https://push.example.com/{}", "{".repeat(700));
        for text in [
            &grows,
            // S116
            "http://push.example.com/",
            "ftp://push.example.com/",
            "file:///etc/passwd",
            "//push.example.com/",
            "",
            "push.example.com",
            "HTTPS//push.example.com",
            "https:push.example.com",
            "https:///push.example.com/",
            // S117
            "https://127.0.0.1/",
            "https://localhost",
            "https://localhost/",
            "https://[::1]",
            "https://0.0.0.0",
            "https://0/",
            // S118
            "https://169.254.169.254/latest/meta-data",
            "https://169.254.170.2/",
            "http://127.0.0.1:9001/2018-06-01/runtime",
            // S119
            "https://2130706433/",
            "https://0x7f.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://%31%32%37.0.0.1/",
            // S120
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:a9fe:a9fe]",
            "https://[64:ff9b::7f00:1]",
            "https://[2002:7f00:1::]",
            "https://[fe80::1%25eth0]",
            "https://[fd00::1]",
            // S121
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://198.18.0.1/",
            "https://192.0.2.1/",
            "https://203.0.113.1/",
            "https://224.0.0.1/",
            "https://240.0.0.1/",
            "https://255.255.255.255/",
            "https://93.184.216.34/",
            "https://[2a00:1450::1]/",
            // S122
            "https://user:pw@fcm.googleapis.com/",
            "https://@fcm.googleapis.com/",
            "https://fcm.googleapis.com@evil.com/",
            "https://evil.com#fcm.googleapis.com",
            "https://evil.com/#",
            "https://evil.com\\@fcm.googleapis.com/",
            "https://evil.com\t/",
            "https://evil.com/ x",
            "https://evil.com/\n",
            // S123
            "https://push.example.com:22/",
            "https://push.example.com:6379/",
            "https://push.example.com:8443/",
            "https://push.example.com./",
            "https://push..example.com/",
            "https://.example.com/",
            "https://push/",
            "https://xn--fcm-googleapis-com-abc.example/",
            "https://fсm.googleapis.com/",
            "https://a*.example.com/",
            &long,
        ] {
            assert!(Endpoint::new(text, &PushHosts::default()).is_err(), "{text}");
        }
        assert!(Endpoint::new(&long[..2_048], &PushHosts::default()).is_ok());
    }

    #[test]
    fn with_a_list_only_its_hosts_are_reached() {
        let hosts = hosts("fcm.googleapis.com, Push.Example.Com, 93.184.216.34");
        for good in [
            "https://fcm.googleapis.com/x",
            "https://FCM.googleapis.com:443/x",
            "https://push.example.com/?x",
            "https://93.184.216.34/",
        ] {
            assert_eq!(reach(&hosts, good), Some(Reach::Public), "{good}");
        }
        for bad in [
            "https://fcm.googleapis.com.evil.com/",
            "https://evil.com/fcm.googleapis.com",
            "https://fcm.googleapis.com@evil.com/",
            "https://x.fcm.googleapis.com/",
            "https://googleapis.com/",
            "http://fcm.googleapis.com/",
            "http://fcm.googleapis.com:443/",
            "https://fcm.googleapis.com:8443/",
            "https://web.push.apple.com/",
        ] {
            assert_eq!(reach(&hosts, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_that_is_named_with_its_port_may_be_private() {
        let hosts = hosts("localhost:8080,push.internal:8443,[::1]:443,127.0.0.1:80,example.com,10.0.0.1");
        for (text, expected) in [
            ("http://localhost:8080/push/1", Some(Reach::Any)),
            ("https://localhost:8080/push/1", Some(Reach::Any)),
            ("https://push.internal:8443/", Some(Reach::Any)),
            ("https://[::1]/", Some(Reach::Any)),
            ("http://127.0.0.1/", Some(Reach::Any)),
            ("https://example.com/", Some(Reach::Public)),
            ("http://localhost/", None),
            ("https://localhost/", None),
            ("http://localhost:8081/", None),
            ("https://push.internal/", None),
            ("https://10.0.0.1/", None),
        ] {
            assert_eq!(reach(&hosts, text), expected, "{text}");
        }
    }

    #[test]
    fn a_list_names_hosts_and_nothing_else() {
        for bad in [
            "",
            "a,,b",
            "https://push.example.com",
            "push.example.com/",
            "*.example.com",
            "push.example.com:",
            "a:0",
            "a:65536",
            "a:b",
            "user@push.example.com",
            "::1",
            "[::1",
            "[::1]:",
            "a b",
            "a.",
            "a:1:2",
        ] {
            assert_eq!(bad.parse::<PushHosts>(), Err(MalformedHosts), "{bad}");
        }
    }

    #[test]
    fn a_log_shows_only_where_an_endpoint_is() {
        let endpoint = Endpoint::new("https://push.example.com/secret?token=x", &PushHosts::default()).unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://push.example.com/…)");
        assert_eq!(endpoint.origin(), "https://push.example.com");
    }
}
