//! Cross-origin requests to a REST API as `Cors` allows them: the gateway answers `OPTIONS`, and nothing else. The headers
//! of all other answers are the function's own.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::options::AllowsOrigin;
use crate::response::{self, GatewayResponse};
use crate::template;

/// The methods that SAM lists for a path with a route for any method.
const ANY_METHOD: &str = "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT";

/// The `Cors` of a REST API.
pub(crate) struct RestCors {
    configuration: template::RestCors,
    /// If set, decides instead of the configuration's origin.
    allows_origin: Option<AllowsOrigin>,
}

impl RestCors {
    pub(crate) fn new(configuration: template::RestCors, allows_origin: Option<AllowsOrigin>) -> Self {
        Self { configuration, allows_origin }
    }

    /// The answer to `OPTIONS` for a path whose routes have these methods, `None` standing for any method.
    ///
    /// It is that of a mock integration, which answers every origin alike, whether it is allowed or not.
    pub(crate) fn options(&self, methods: &[Option<&str>], headers: &HeaderMap) -> GatewayResponse {
        let configured = &self.configuration;
        let mut response = response::json_text(StatusCode::OK, "{}\n".into());
        let given = &mut |name: HeaderName, value: Option<&str>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(name, value);
            }
        };
        given(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin(headers));
        let methods = configured.allow_methods.clone().unwrap_or_else(|| list(methods));
        given(header::ACCESS_CONTROL_ALLOW_METHODS, Some(&methods));
        given(header::ACCESS_CONTROL_ALLOW_HEADERS, configured.allow_headers.as_deref());
        given(header::ACCESS_CONTROL_MAX_AGE, configured.max_age.as_deref());
        given(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, configured.allow_credentials.then_some("true"));
        response
    }

    fn origin<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        let Some(allows) = &self.allows_origin else {
            return Some(&self.configuration.allow_origin);
        };
        headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).filter(|origin| allows(origin))
    }
}

fn list(methods: &[Option<&str>]) -> String {
    let named: Option<Vec<&str>> = methods.iter().copied().collect();
    let Some(mut named) = named else {
        return ANY_METHOD.to_owned();
    };
    named.push("OPTIONS");
    named.sort_unstable();
    named.dedup();
    named.join(",")
}
