//! What can go wrong for whoever calls us, by what he can do about it. Which status and which body an error
//! gets is decided in `reply.rs`.

/// An error in the words of the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is no strict JSON object: mend it.
    #[error("{0}")]
    InvalidJson(&'static str),
    /// A cursor or query is malformed: mend it.
    #[error("{0}")]
    BadRequest(&'static str),
    /// No bearer token came: get one.
    #[error("a bearer token is required")]
    TokenMissing,
    /// The token's time is over: get a new one.
    #[error("the token has expired")]
    TokenExpired,
    /// The token is not one of ours, or not what a token must be. Why, only the log knows.
    #[error("the token is not valid")]
    InvalidToken,
    /// The ticket is unknown, was used, or is too old: get a new one.
    #[error("the ticket is not valid")]
    InvalidTicket,
    /// The token's scopes do not allow it.
    #[error("this needs the scope {0}")]
    Forbidden(&'static str),
    /// A socket or ticket was asked for from an origin that it was not meant for.
    #[error("this origin is not allowed")]
    OriginNotAllowed,
    /// There is no such thing, or it is somebody else's.
    #[error("not found")]
    NotFound,
    /// The route exists, the method on it does not.
    #[error("this route takes {}", .0.join(", "))]
    MethodNotAllowed(&'static [&'static str]),
    /// It cannot be done any more, as things stand.
    #[error("{0}")]
    Conflict(&'static str),
    /// The cursor's history is no longer kept, or never was: list, and start from that answer's cursor.
    #[error("the cursor is of another epoch, ahead of the inbox, or older than what is kept")]
    CursorExpired,
    /// Send less at once.
    #[error("{0}")]
    PayloadTooLarge(&'static str),
    /// Send JSON.
    #[error("the body must be application/json in UTF-8, not encoded")]
    UnsupportedMediaType,
    /// Members or parameters that are unknown, missing, of the wrong type or out of range.
    #[error("{}", sentence(.0))]
    ValidationFailed(Vec<Problem>),
    /// The key names another send already.
    #[error("this idempotency key was used with another body")]
    IdempotencyKeyReused,
    /// Come back later; nothing was stored.
    #[error("too many at once")]
    RateLimited {
        /// The shortest wait after which it is admitted.
        retry_after_ms: u64,
    },
    /// A fault of ours. What it was, only the log knows.
    #[error("something went wrong here")]
    Internal,
    /// The database does not answer; nothing was stored.
    #[error("the store is not available")]
    StoreUnavailable,
    /// The database went away during the commit: repeat with the same key to learn what happened.
    #[error("whether this was stored is unknown; repeat it with the same key")]
    OutcomeUnknown,
}

impl Error {
    /// One member that is not as it should be.
    pub fn field(name: impl Into<String>, required: impl Into<String>) -> Self {
        Self::ValidationFailed(vec![Problem { field: name.into(), required: required.into() }])
    }

    /// The contract's name for it.
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

    /// Whether the fault is ours: what is counted among the errors.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Internal | Self::StoreUnavailable | Self::OutcomeUnknown)
    }

    /// After how long the same call may succeed; `None` where only another call can.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_ms } => Some(*retry_after_ms),
            Self::StoreUnavailable | Self::OutcomeUnknown => Some(1_000),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retry_after_ms().is_some() || matches!(self, Self::Internal)
    }
}

/// A member or parameter that is not as required. Names it, and never contains its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The member, as a path: `userIds[3]`.
    pub field: String,
    /// What is required.
    pub required: String,
}

/// Why a store could not keep its promise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or refuses for now; nothing was changed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It went away during a commit: the change was made or was not.
    #[error("the outcome of a commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// It does not take what was to be stored, because of what that is or meets there; nothing was changed.
    #[error("the store refuses what was to be stored: {0}")]
    Refused(String),
    /// What it answered or holds is not what we wrote: a fault of ours.
    #[error("the store holds or said what it should not: {0}")]
    Broken(String),
}

impl From<StoreError> for Error {
    /// Logs what happened, once, here, and leaves the caller what he can act on.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a store failed");
        match error {
            StoreError::Unavailable(_) => Self::StoreUnavailable,
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown,
            StoreError::Refused(_) | StoreError::Broken(_) => Self::Internal,
        }
    }
}

fn sentence(problems: &[Problem]) -> String {
    let parts: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.field, problem.required)).collect();
    parts.join("; ")
}
