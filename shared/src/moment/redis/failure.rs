//! What an error of Redis means for the next call.

use redis::{ErrorKind, RedisError};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection is useless, a new one may work: it was closed, as in a frozen sandbox, or its server became a replica.
    Connection,
    /// The server does not serve: down, loading, full. It may recover on its own.
    Unavailable,
    /// The server denies us access until an operator changes that.
    Refused,
}

impl Failure {
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("READONLY") => Self::Connection,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Refused,
            // LOADING, MASTERDOWN, CLUSTERDOWN, OOM, NOREPLICAS, BUSY, too many clients. An unexpected code is not retried
            // at once either.
            Some(_) => Self::Unavailable,
            None => match error.kind() {
                ErrorKind::AuthenticationFailed => Self::Refused,
                ErrorKind::Io if error.is_connection_dropped() && !error.is_connection_refusal() => Self::Connection,
                _ => Self::Unavailable,
            },
        }
    }
}

/// Whether a server denies us access.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    Failure::of(error) == Failure::Refused
}

/// An error as text for the log: the server's code, or what the system reported. Never contains an address.
pub(crate) fn log_text(error: &RedisError) -> String {
    match error.code() {
        // The one code that says nothing on its own.
        Some("ERR") => match error.detail().unwrap_or_default() {
            detail if detail.contains("cluster support disabled") => {
                "REDIS_CLUSTER is true, but this is no cluster".into()
            }
            detail => format!("ERR {detail}"),
        },
        Some("MOVED") => "it is a server of a cluster, so REDIS_CLUSTER must be true".into(),
        Some(code) => code.to_owned(),
        None => error.to_string(),
    }
}

/// An error as text for answers over HTTP: never the words of a server or certificate, which may contain anything.
/// `None` for a timeout, which says nothing.
pub(crate) fn public_text(error: &RedisError) -> Option<String> {
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
    fn errors_are_classified_by_what_they_mean() {
        let said = |code: &str| redis::make_extension_error(code.into(), Some("at 10.0.0.1".into()));
        for (code, failure) in [
            ("READONLY", Failure::Connection),
            ("LOADING", Failure::Unavailable),
            ("MASTERDOWN", Failure::Unavailable),
            ("CLUSTERDOWN", Failure::Unavailable),
            ("OOM", Failure::Unavailable),
            ("NOREPLICAS", Failure::Unavailable),
            ("BUSY", Failure::Unavailable),
            ("NOAUTH", Failure::Refused),
            ("WRONGPASS", Failure::Refused),
            ("NOPERM", Failure::Refused),
        ] {
            assert_eq!((Failure::of(&said(code)), log_text(&said(code))), (failure, code.to_owned()));
        }
        let name = |error: &RedisError| public_text(error).unwrap_or_default();
        assert_eq!(name(&said("ERR")), "ERR");
        assert_eq!(public_text(&io::Error::from(io::ErrorKind::TimedOut).into()), None);
        assert_eq!(name(&io::Error::other("no such host: redis.internal").into()), "I/O error");
        assert_eq!(name(&io::Error::from(io::ErrorKind::ConnectionRefused).into()), "connection refused");
        for (kind, failure) in [
            (io::ErrorKind::BrokenPipe, Failure::Connection),
            (io::ErrorKind::ConnectionReset, Failure::Connection),
            (io::ErrorKind::UnexpectedEof, Failure::Connection),
            (io::ErrorKind::ConnectionRefused, Failure::Unavailable),
            (io::ErrorKind::TimedOut, Failure::Unavailable),
            (io::ErrorKind::HostUnreachable, Failure::Unavailable),
        ] {
            assert_eq!(Failure::of(&io::Error::from(kind).into()), failure, "{kind:?}");
        }
    }
}
