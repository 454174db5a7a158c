//! Reads the heads of HTTP requests safely: a valid Host, decoded text.

use std::net::IpAddr;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use url::Url;

/// Where a request comes from and which host it addresses.
pub(crate) struct Client<'a> {
    /// The Host header.
    pub(crate) host: &'a str,
    pub(crate) source_ip: IpAddr,
}

/// The Host header, `name` or `name:port`; `None` unless there is exactly one that can be part of a URL.
///
/// `lambda_http` builds a URL from it and panics if that fails.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::HOST).iter();
    let host = values.next()?.to_str().ok()?;
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    (values.next().is_none() && is_plain && Url::parse(&format!("http://{host}/")).is_ok()).then_some(host)
}

/// The host without its port: `[::1]` for `[::1]:3000`.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host, with or without port, names this machine: `localhost`, `127.0.0.1` or `[::1]`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// Whether an origin is on this machine: any port of `localhost`, `127.0.0.1` or `[::1]`, over http or https.
pub fn is_loopback_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(is_loopback)
}

/// Percent-decodes once. `None` if a `%` is not followed by two hex digits, or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let is_whole = text.split('%').skip(1).all(|after| after.len() >= 2 && is_hex(&after.as_bytes()[..2]));
    is_whole.then(|| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())).flatten()
}

fn is_hex(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_hexdigit)
}

/// The decoded names and values of a query, in order. Invalid escapes are kept, invalid UTF-8 is replaced.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(query_pair).collect()
}

fn query_pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    (decoded(name), decoded(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, value.parse().unwrap());
        host(&headers).map(str::to_owned)
    }

    #[test]
    fn a_host_that_cannot_be_part_of_a_url_is_refused() {
        for good in ["localhost", "localhost:3000", "127.0.0.1:1", "[::1]:3000", "api.example.com"] {
            assert_eq!(host_of(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a/b", "x@y", "local:host", "1.2.3.256", "[::1", "a:99999", "a%b", "xn--a", "a?b", "é"]
        {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:3000", "[::1]", "[::1]:3000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "127.0.0.1.example.com:3000", "::1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn only_origins_on_this_machine_are_loopback() {
        for origin in ["http://localhost:5173", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://localhost.evil.example",
            "http://localhost:1@evil.example",
            "file://localhost",
            "localhost",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }

    #[test]
    fn text_is_decoded_once_and_only_if_it_is_valid() {
        assert_eq!(percent_decode("a%252Fb").as_deref(), Some("a%2Fb"));
        assert_eq!(percent_decode("unicode-%CE%BB").as_deref(), Some("unicode-λ"));
        for broken in ["%", "a%2", "percent%zz", "%FF"] {
            assert_eq!(percent_decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_query_is_decoded_in_order() {
        let pairs = query_pairs("repeat=one&plus=a+b&encoded=a%2Bb&empty=&bare&repeat=two");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected =
            [("repeat", "one"), ("plus", "a b"), ("encoded", "a+b"), ("empty", ""), ("bare", ""), ("repeat", "two")];
        assert_eq!(pairs, expected);
    }
}
