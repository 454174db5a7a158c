//! Errors as the caller sees them, divided by what the caller can do about them, and errors of stores. The HTTP status
//! and body of an error are decided in `http/reply.rs`.

use std::fmt;

/// An error of a call or a frame. Its text is the message that the caller gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is not a strict JSON object.
    #[error("{0}")]
    InvalidJson(&'static str),
    /// A cursor or page token is malformed.
    #[error("{0}")]
    BadRequest(&'static str),
    /// There is no bearer token.
    #[error("a bearer token is required")]
    TokenMissing,
    /// The token has expired: get a new one.
    #[error("the token has expired")]
    TokenExpired,
    /// The token is malformed, not signed with the configured key, or meant for another audience. Only the log has the reason.
    #[error("the token is invalid")]
    InvalidToken,
    /// The ticket is unknown, has expired or was already used: get a new one.
    #[error("the ticket is invalid, has expired or was already used")]
    InvalidTicket,
    /// The token lacks this scope.
    #[error("the scope {0} is required")]
    Forbidden(&'static str),
    /// The caller may not do this, whatever its token.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The origin may not request tickets, or is not the one that the ticket was issued to.
    #[error("this origin is not allowed")]
    OriginNotAllowed,
    /// It does not exist, or belongs to another user.
    #[error("not found")]
    NotFound,
    /// The route exists and takes only these methods.
    #[error("allowed methods: {}", .0.join(", "))]
    MethodNotAllowed(&'static [&'static str]),
    /// The current state does not allow it.
    #[error("{0}")]
    Conflict(&'static str),
    /// The cursor is not part of the inbox's history: list the inbox, and continue from the cursor of that response.
    #[error("the cursor is from another epoch, ahead of the inbox, or older than the retained history")]
    CursorExpired,
    /// The body is too large: send less at once.
    #[error("{0}")]
    PayloadTooLarge(&'static str),
    /// The body has another content type, charset or encoding.
    #[error("the body must be application/json in UTF-8, without a content encoding")]
    UnsupportedMediaType,
    /// Members or parameters that are unknown, missing, of the wrong type or out of range.
    #[error("{0}")]
    ValidationFailed(Problems),
    /// The key already belongs to another send.
    #[error("the idempotency key was already used with a different request")]
    IdempotencyKeyReused,
    /// The rate limit is exceeded, and nothing was stored.
    #[error("rate limit exceeded")]
    RateLimited {
        /// The shortest wait after which the call can be admitted, in milliseconds.
        retry_after_ms: u64,
    },
    /// A server fault. Only the log has the reason.
    #[error("an internal error occurred")]
    Internal,
    /// The database works and has no room for this call; nothing was stored.
    #[error("the service has too much to do")]
    Overloaded,
    /// The database does not answer; nothing was stored.
    #[error("the database is unavailable")]
    StoreUnavailable,
    /// The keys that verify tokens cannot be fetched, so nothing is known about the token; nothing was stored.
    #[error("the keys of the identity provider are unavailable")]
    KeysUnavailable,
    /// The database became unavailable during the commit. A retry with the same key returns what happened.
    #[error("it is unknown whether the change was stored; retry with the same idempotency key")]
    OutcomeUnknown,
}

impl Error {
    /// A [`ValidationFailed`](Self::ValidationFailed) for one member.
    pub fn field(name: impl Into<String>, required: impl fmt::Display) -> Self {
        let mut problems = Problems::default();
        problems.add(name, required);
        Self::ValidationFailed(problems)
    }

    /// Its `code` on the wire. Codes never change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson(_) => "invalid_json",
            Self::BadRequest(_) => "bad_request",
            Self::TokenMissing => "token_missing",
            Self::TokenExpired => "token_expired",
            Self::InvalidToken => "invalid_token",
            Self::InvalidTicket => "invalid_ticket",
            Self::Forbidden(_) | Self::NotAllowed(_) => "forbidden",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::Conflict(_) => "conflict",
            Self::CursorExpired => "cursor_expired",
            Self::PayloadTooLarge(_) => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ValidationFailed(_) => "validation_failed",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::RateLimited { .. } => "rate_limited",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            // To the caller it is the same: something that this call needs is away, and a retry may succeed.
            Self::StoreUnavailable | Self::KeysUnavailable => "store_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether it is a server error (5xx). Only these are counted as errors in the metrics.
    pub fn is_server_error(&self) -> bool {
        matches!(
            self,
            Self::Internal | Self::Overloaded | Self::StoreUnavailable | Self::KeysUnavailable | Self::OutcomeUnknown
        )
    }

    /// The wait after which the same call may succeed, in milliseconds; `None` if there is no such hint.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_ms } => Some(*retry_after_ms),
            Self::Overloaded | Self::StoreUnavailable | Self::KeysUnavailable | Self::OutcomeUnknown => Some(1_000),
            _ => None,
        }
    }

    /// Whether the same call may succeed later, without being changed.
    pub fn is_retryable(&self) -> bool {
        self.retry_after_ms().is_some() || matches!(self, Self::Internal)
    }
}

/// Members or parameters that do not meet a requirement, each with the requirement as a predicate: `must be a string`. Never
/// contains a value.
///
/// The first ones are listed, the others are only counted, so that a large body cannot cause a larger answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    listed: Vec<(String, String)>,
    /// What the listed ones take in an answer.
    bytes: usize,
    more: usize,
}

/// How many problems are listed at most.
const MAX_LISTED: usize = 20;
/// How many bytes of an answer they take at most, so that the whole stays below 4 KB.
const MAX_LISTED_BYTES: usize = 3_500;
/// The longest that a member's path is listed. A longer one is cut.
const MAX_PATH_CHARS: usize = 120;

impl Problems {
    /// Adds a problem of a member, which is given as a path: `userIds[3]`.
    pub fn add(&mut self, field: impl Into<String>, required: impl fmt::Display) {
        if self.more > 0 || self.listed.len() == MAX_LISTED {
            self.more += 1;
            return;
        }
        let (field, required) = (cut(field.into()), required.to_string());
        // The field appears twice: in the message and by itself.
        let bytes = 2 * escaped_bytes(&field) + escaped_bytes(&required) + 8;
        if self.bytes + bytes > MAX_LISTED_BYTES {
            self.more += 1;
            return;
        }
        self.bytes += bytes;
        self.listed.push((field, required));
    }

    /// Adds problems that are only counted.
    pub fn add_unlisted(&mut self, problems: usize) {
        self.more += problems;
    }

    /// Whether further problems are only counted.
    pub fn is_full(&self) -> bool {
        self.more > 0 || self.listed.len() == MAX_LISTED
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.more == 0
    }

    /// The paths of the listed members.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(|(field, _)| field.as_str())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (field, required)) in self.listed.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {required}")?;
        }
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}

fn cut(path: String) -> String {
    match path.char_indices().nth(MAX_PATH_CHARS) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path,
    }
}

/// How many bytes a text takes inside a JSON string at most: quotes and backslashes are escaped, and nothing else that
/// appears in a path or a requirement.
fn escaped_bytes(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Why a store could not perform an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or refuses for now; nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// It works, and has no room for this now; nothing was changed.
    #[error("the database has too much to do: {0}")]
    Overloaded(String),
    /// It became unavailable during a commit: either everything was changed or nothing.
    #[error("the outcome of a commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// It refuses the data because of its value or of a conflict with what is stored; nothing was changed.
    #[error("the database refused the data: {0}")]
    Refused(String),
    /// Its answer or its contents are not what this code writes: a bug, or foreign data.
    #[error("the database returned unexpected data: {0}")]
    Broken(String),
}

impl StoreError {
    /// What a caller is told.
    pub fn as_told(&self) -> Error {
        match self {
            Self::Unavailable(_) => Error::StoreUnavailable,
            Self::Overloaded(_) => Error::Overloaded,
            Self::OutcomeUnknown(_) => Error::OutcomeUnknown,
            Self::Refused(_) | Self::Broken(_) => Error::Internal,
        }
    }
}

impl From<StoreError> for Error {
    /// Logs the reason, since this is where it is handled, and keeps what the caller can act on.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a database operation failed");
        error.as_told()
    }
}

/// The text of an error and its causes: that of an HTTP client says only that connecting failed.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_counted_instead_of_listed() {
        let mut problems = Problems::default();
        for n in 0..MAX_LISTED + 5 {
            problems.add(format!("userIds[{n}]"), "must be a string");
        }
        assert_eq!(problems.fields().count(), MAX_LISTED);
        assert!(problems.to_string().ends_with("; userIds[19]: must be a string; and 5 more"), "{problems}");
    }

    #[test]
    fn long_paths_are_cut_and_take_a_bounded_part_of_an_answer() {
        let mut problems = Problems::default();
        problems.add("\"".repeat(500), "is not a known field");
        assert_eq!(problems.fields().next().unwrap(), "\"".repeat(MAX_PATH_CHARS) + "…");
        for _ in 0..MAX_LISTED {
            problems.add("🔔".repeat(64), "is not a known field");
        }
        let fields = serde_json::to_string(&problems.fields().collect::<Vec<_>>()).unwrap();
        let message = serde_json::to_string(&problems.to_string()).unwrap();
        assert!(fields.len() + message.len() < 3_600, "{} + {}", fields.len(), message.len());
        assert!(problems.is_full());
    }
}
