//! What an error of Redis means for the next question.

use redis::{ErrorKind, RedisError};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is of no use: it was closed, as in a frozen sandbox, or leads to a server that became a replica.
    /// A new one may be.
    Connection,
    /// It does not serve: down, loading, full. It may be back by itself.
    Away,
    /// It does not let us in, until somebody changes that.
    Refused,
}

impl Trouble {
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("READONLY") => Self::Connection,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Refused,
            // LOADING, MASTERDOWN, CLUSTERDOWN, OOM, NOREPLICAS, BUSY, too many clients; and what nobody expects is
            // not asked for again at once either.
            Some(_) => Self::Away,
            None => match error.kind() {
                ErrorKind::AuthenticationFailed => Self::Refused,
                ErrorKind::Io if error.is_connection_dropped() && !error.is_connection_refusal() => Self::Connection,
                _ => Self::Away,
            },
        }
    }
}

/// An error in words for a log: a server's code, or what the system said. Never where Redis is.
pub(crate) fn told(error: &RedisError) -> String {
    match error.code() {
        // The one code that says nothing by itself.
        Some("ERR") => format!("ERR {}", error.detail().unwrap_or_default()),
        Some(code) => code.to_owned(),
        None => error.to_string(),
    }
}

/// An error in words for whoever asks over HTTP: never what a server or a certificate says, which may name anything.
/// `None` where it says nothing: nobody answered in time.
pub(crate) fn named(error: &RedisError) -> Option<String> {
    let named = match error.code() {
        Some(code) if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => code,
        _ if error.is_timeout() => return None,
        _ if error.is_connection_refusal() => "connection refused",
        _ if error.is_connection_dropped() => "connection closed",
        _ => error.category(),
    };
    Some(named.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_is_met_by_what_it_means() {
        let said = |code: &str| redis::make_extension_error(code.into(), Some("at 10.0.0.1".into()));
        for (code, trouble) in [
            ("READONLY", Trouble::Connection),
            ("LOADING", Trouble::Away),
            ("MASTERDOWN", Trouble::Away),
            ("CLUSTERDOWN", Trouble::Away),
            ("OOM", Trouble::Away),
            ("NOREPLICAS", Trouble::Away),
            ("BUSY", Trouble::Away),
            ("NOAUTH", Trouble::Refused),
            ("WRONGPASS", Trouble::Refused),
            ("NOPERM", Trouble::Refused),
        ] {
            assert_eq!((Trouble::of(&said(code)), told(&said(code))), (trouble, code.to_owned()));
        }
        let name = |error: &RedisError| named(error).unwrap_or_default();
        assert_eq!(name(&said("ERR")), "ERR");
        assert_eq!(named(&io::Error::from(io::ErrorKind::TimedOut).into()), None);
        assert_eq!(name(&io::Error::other("no such host: redis.internal").into()), "I/O error");
        assert_eq!(name(&io::Error::from(io::ErrorKind::ConnectionRefused).into()), "connection refused");
        for (kind, trouble) in [
            (io::ErrorKind::BrokenPipe, Trouble::Connection),
            (io::ErrorKind::ConnectionReset, Trouble::Connection),
            (io::ErrorKind::UnexpectedEof, Trouble::Connection),
            (io::ErrorKind::ConnectionRefused, Trouble::Away),
            (io::ErrorKind::TimedOut, Trouble::Away),
            (io::ErrorKind::HostUnreachable, Trouble::Away),
        ] {
            assert_eq!(Trouble::of(&io::Error::from(kind).into()), trouble, "{kind:?}");
        }
    }
}
