//! Errors as the caller sees them, divided by what the caller can do about them, and errors of stores. The HTTP status
//! and body of an error are decided in `http/reply.rs`.

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
    #[error("{}", join_problems(.0))]
    ValidationFailed(Vec<Problem>),
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
    /// The database does not answer; nothing was stored.
    #[error("the database is unavailable")]
    StoreUnavailable,
    /// The database became unavailable during the commit. A retry with the same key returns what happened.
    #[error("it is unknown whether the change was stored; retry with the same idempotency key")]
    OutcomeUnknown,
}

impl Error {
    /// A [`ValidationFailed`](Self::ValidationFailed) for one member.
    pub fn field(name: impl Into<String>, required: impl Into<String>) -> Self {
        Self::ValidationFailed(vec![Problem { field: name.into(), required: required.into() }])
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
            Self::Forbidden(_) => "forbidden",
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
            Self::StoreUnavailable => "store_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether it is a server error (5xx). Only these are counted as errors in the metrics.
    pub fn is_server_error(&self) -> bool {
        matches!(self, Self::Internal | Self::StoreUnavailable | Self::OutcomeUnknown)
    }

    /// The wait after which the same call may succeed, in milliseconds; `None` if there is no such hint.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_ms } => Some(*retry_after_ms),
            Self::StoreUnavailable | Self::OutcomeUnknown => Some(1_000),
            _ => None,
        }
    }

    /// Whether the same call may succeed later, without being changed.
    pub fn is_retryable(&self) -> bool {
        self.retry_after_ms().is_some() || matches!(self, Self::Internal)
    }
}

/// A member or parameter that does not meet a requirement. Never contains its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member, as a path: `userIds[3]`.
    pub field: String,
    /// The requirement, as a predicate of the member: `must be a string`.
    pub required: String,
}

/// Why a store could not perform an operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or refuses for now; nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
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

impl From<StoreError> for Error {
    /// Logs the reason, since this is where it is handled, and keeps what the caller can act on.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a database operation failed");
        match error {
            StoreError::Unavailable(_) => Self::StoreUnavailable,
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown,
            StoreError::Refused(_) | StoreError::Broken(_) => Self::Internal,
        }
    }
}

fn join_problems(problems: &[Problem]) -> String {
    let parts: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.field, problem.required)).collect();
    parts.join("; ")
}
