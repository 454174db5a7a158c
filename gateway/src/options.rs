//! What the embedding program chooses: the template, the functions, the clock, and differences from a deployment.

use std::sync::Arc;

use shared::clock::Clock;

use crate::functions::Functions;
use crate::limits::Limits;
use crate::template::Template;

/// What to serve, and how.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The template, which defines routes, sockets and schedules.
    pub template: Template,
    /// The functions, by their names in the template.
    pub functions: Functions,
    /// The source of time for events, schedules and the lifetime of sockets.
    /// Timeouts of functions and [`Limits`] are in real time.
    pub clock: Clock,
    /// If set, decides which origins are allowed, instead of the template's `CorsConfiguration`, whose origins are
    /// those of a deployment. An example is [`is_loopback_origin`](crate::is_loopback_origin).
    pub cors_origins: Option<AllowsOrigin>,
    /// Signs the tokens that `/_gateway/token` returns. Without it that route is 404.
    pub sign_token: Option<SignToken>,
    /// Whether each schedule also fires once at the start. Default: true.
    pub fire_at_start: bool,
    /// Whether the invocation of a function that streams ends when its client has left, or gets no more of the stream.
    /// On AWS it runs on. Default: false.
    pub cancel_on_disconnect: bool,
    /// What clients may hold, and for how long.
    pub limits: Limits,
}

/// Decides whether pages of an origin may read answers.
pub type AllowsOrigin = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Signs a token, or returns what is wrong with the request.
pub type SignToken = Arc<dyn Fn(TokenRequest) -> Result<Token, String> + Send + Sync>;

/// The claims of a token to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The subject; never empty.
    pub sub: String,
    /// Scopes, separated by spaces; may be empty.
    pub scope: String,
    /// How long the token is valid, in seconds.
    pub ttl_s: u64,
}

/// A signed token, and when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token, a JWT.
    pub token: String,
    /// When the token expires, in RFC 3339.
    pub expires_at: String,
}

impl Options {
    /// Options with this template, these functions and this clock, and defaults for everything else.
    pub fn new(template: Template, functions: Functions, clock: Clock) -> Self {
        Self {
            template,
            functions,
            clock,
            cors_origins: None,
            sign_token: None,
            fire_at_start: true,
            cancel_on_disconnect: false,
            limits: Limits::default(),
        }
    }
}

/// Why a template cannot be served with these functions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ServeError {
    /// A route or a schedule needs a function that was not provided.
    #[error("{needed_by} needs the function {function}, which was not provided")]
    MissingFunction {
        /// The route or schedule that needs it.
        needed_by: String,
        /// The name of the missing function.
        function: String,
    },
    /// The `RouteSelectionExpression` cannot be read.
    #[error("RouteSelectionExpression: {0}")]
    RouteSelection(String),
}
