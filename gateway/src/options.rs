//! What a caller decides: the template, the functions, the clock, and what differs from a deployment.

use std::sync::Arc;

use shared::clock::Clock;

use crate::functions::Functions;
use crate::template::Template;

/// What to serve, and by what rules.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which routes, sockets and schedules there are.
    pub template: Template,
    /// The functions, by the names that the template gives them.
    pub functions: Functions,
    /// The only source of time for events, the limits of sockets, and schedules.
    /// Time-outs of functions and bodies are real time.
    pub clock: Clock,
    /// Replaces the origins of the template's `CorsConfiguration`, which name a deployment's pages;
    /// [`is_loopback_origin`](crate::is_loopback_origin) for instance.
    pub cors_origins: Option<AllowsOrigin>,
    /// Signs what `/_gateway/token` gives out; without it there is no such route.
    pub sign_token: Option<SignToken>,
    /// Whether schedules fire once when serving begins, before their first time comes. They do by default.
    pub fire_at_start: bool,
}

/// Whether pages of an origin may read answers.
pub type AllowsOrigin = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Signs a token, or says what was wrong with the request.
pub type SignToken = Arc<dyn Fn(TokenRequest) -> Result<Token, String> + Send + Sync>;

/// What a token shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The subject; never empty.
    pub sub: String,
    /// Scopes, separated by spaces; may be empty.
    pub scope: String,
    /// For how many seconds it is valid.
    pub ttl_s: u64,
}

/// A signed token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub token: String,
    /// When it ends, in RFC 3339.
    pub expires_at: String,
}

impl Options {
    /// Serves the template with these functions, by this clock, with everything else by default.
    pub fn new(template: Template, functions: Functions, clock: Clock) -> Self {
        Self { template, functions, clock, cors_origins: None, sign_token: None, fire_at_start: true }
    }
}

/// Why a template cannot be served with these functions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServeError {
    /// A route or a schedule names a function that is not there.
    #[error("{needed_by} needs the function {function}, which is not among the functions")]
    MissingFunction {
        /// The route or schedule.
        needed_by: String,
        /// The function's name.
        function: String,
    },
    /// The `RouteSelectionExpression` cannot be read.
    #[error("RouteSelectionExpression: {0}")]
    RouteSelection(String),
}
