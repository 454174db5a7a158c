//! Cross-origin requests as `CorsConfiguration` allows them: the gateway answers preflights and sets the CORS headers.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::options::AllowsOrigin;
use crate::response::{self, GatewayResponse};
use crate::template::CorsConfiguration;

/// Headers that a function cannot set if the API has a CORS configuration.
const CORS_HEADERS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The CORS configuration of an HTTP API.
pub(crate) struct Cors {
    configuration: CorsConfiguration,
    /// If set, decides instead of the configuration's origins.
    allows_origin: Option<AllowsOrigin>,
}

impl Cors {
    pub(crate) fn new(configuration: CorsConfiguration, allows_origin: Option<AllowsOrigin>) -> Self {
        Self { configuration, allows_origin }
    }

    /// The answer to a preflight: 204, with the allow headers if its origin is allowed. `None` for any other request.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<GatewayResponse> {
        let is_preflight = method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut response = response::empty(StatusCode::NO_CONTENT);
        if self.allow_origin(headers.get(header::ORIGIN), response.headers_mut()) {
            let configured = &self.configuration;
            put_list(response.headers_mut(), header::ACCESS_CONTROL_ALLOW_METHODS, &configured.allow_methods);
            put_list(response.headers_mut(), header::ACCESS_CONTROL_ALLOW_HEADERS, &configured.allow_headers);
            if let Some(max_age_s) = configured.max_age_s {
                response.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, max_age_s.into());
            }
        }
        Some(response)
    }

    /// Replaces the function's CORS headers with the configuration's.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in CORS_HEADERS {
            headers.remove(name);
        }
        if self.allow_origin(origin, headers) {
            put_list(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.configuration.expose_headers);
        }
    }

    /// If the origin is allowed to read the answer, adds the headers that say so. Returns whether it is allowed.
    fn allow_origin(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        let is_any = self.allows_origin.is_none() && self.configuration.allow_origins.iter().any(|own| own == "*");
        let names_origin = !is_any || self.configuration.allow_credentials;
        if names_origin {
            // Even where no origin is named: a cache could serve that answer to an origin that is allowed.
            vary_by_origin(headers);
        }
        let Some(origin) = origin else { return false };
        if !is_any && !origin.to_str().is_ok_and(|origin| self.allows(origin)) {
            return false;
        }
        let allowed = if names_origin { origin.clone() } else { HeaderValue::from_static("*") };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.configuration.allow_credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }

    fn allows(&self, origin: &str) -> bool {
        match &self.allows_origin {
            Some(allows) => allows(origin),
            None => self.configuration.allow_origins.iter().any(|own| own.eq_ignore_ascii_case(origin)),
        }
    }
}

/// Adds `Origin` to `Vary`, unless the function has.
fn vary_by_origin(headers: &mut HeaderMap) {
    let values = headers.get_all(header::VARY).into_iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

fn put_list(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if values.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(values.join(",")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_allows_any_origin_and_names_it_if_credentials_are_allowed() {
        let origin = HeaderValue::from_static("https://a.example");
        for (allow_credentials, expected) in [(false, "*"), (true, "https://a.example")] {
            let allow_origins = vec!["*".into()];
            let configuration = CorsConfiguration { allow_origins, allow_credentials, ..CorsConfiguration::default() };
            let mut headers = HeaderMap::new();
            Cors::new(configuration, None).apply(Some(&origin), &mut headers);
            assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], expected);
            assert_eq!(headers.contains_key(header::VARY), allow_credentials);
        }
    }

    #[test]
    fn answers_vary_by_origin_even_where_none_is_allowed_or_sent() {
        let allow_origins = vec!["https://a.example".into()];
        let cors = Cors::new(CorsConfiguration { allow_origins, ..CorsConfiguration::default() }, None);
        let allowed = HeaderValue::from_static("https://a.example");
        let foreign = HeaderValue::from_static("https://b.example");
        for origin in [Some(&allowed), Some(&foreign), None] {
            for (own, expected) in [
                (None, vec!["Origin"]),
                (Some("accept-encoding"), vec!["accept-encoding", "Origin"]),
                (Some("accept-encoding, origin"), vec!["accept-encoding, origin"]),
                (Some("*"), vec!["*"]),
            ] {
                let mut headers = HeaderMap::new();
                if let Some(own) = own {
                    headers.insert(header::VARY, HeaderValue::from_static(own));
                }
                cors.apply(origin, &mut headers);
                assert_eq!(headers.get_all(header::VARY).iter().collect::<Vec<_>>(), expected, "{origin:?}");
            }
        }
    }
}
