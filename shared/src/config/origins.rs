//! The allow list of origins.

/// The origins whose pages may request tickets and open sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `localhost`, `127.0.0.1` and `[::1]`, at any port.
    Loopback,
    /// Exactly these, in lower case.
    Exact(Vec<String>),
}

impl Origins {
    /// Whether a page of this origin may connect. Scheme and host are case-insensitive (RFC 6454).
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
                    Some(port) => port.strip_prefix(':').is_some_and(is_port),
                    None => false,
                })
            }),
        }
    }
}

/// Whether it is a port as browsers write it in an origin: digits only, without leading zeros.
fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for origin in [
            "http://localhost.evil.com",
            "http://localhost:evil",
            "http://localhost:+80",
            "http://localhost:080",
            "http://localhost:",
            "http://localhost:0",
            "http://localhost:65536",
            "http://10.0.0.1:3000",
            "null",
        ] {
            assert!(!Origins::Loopback.allow(origin), "{origin}");
        }
    }
}
