//! Reads `AWS::Serverless::HttpApi` and the `HttpApi` events, which are its routes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::definition::{CorsConfiguration, HttpApi, HttpRoute, Template, TemplateError};
use super::functions::events;
use super::resource::{Resource, Resources};

/// Properties that are served, or that have no effect locally.
const KNOWN_PROPERTIES: [&str; 11] = [
    "AccessLogSettings",
    "CorsConfiguration",
    "Description",
    "DisableExecuteApiEndpoint",
    "Domain",
    "FailOnWarnings",
    "Name",
    "PropagateTags",
    "StageName",
    "StageVariables",
    "Tags",
];
const KNOWN_EVENT_PROPERTIES: [&str; 6] =
    ["ApiId", "Auth", "Method", "Path", "PayloadFormatVersion", "TimeoutInMillis"];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ANY"];
const IMPLICIT_API: &str = "ServerlessHttpApi";
/// The maximum and default integration timeout of an HTTP API.
const MAX_TIMEOUT_MS: u64 = 30_000;

pub(super) fn read(resources: &Resources<'_>, template: &mut Template) -> Result<(), TemplateError> {
    for resource in resources.of_type("AWS::Serverless::HttpApi") {
        if let Some(first) = &template.http_api {
            return Err(
                resource.invalid("Type", format!("only one HTTP API can be served, and {} is already one", first.id))
            );
        }
        template.http_api = Some(api(resource, template)?);
    }
    for function in resources.of_type("AWS::Serverless::Function") {
        for event in events(function).filter(|event| event.kind == "HttpApi") {
            let route = route(template, &function.id, &event)?;
            let id = event.string("ApiId")?.unwrap_or_else(|| IMPLICIT_API.into());
            let api = match &mut template.http_api {
                Some(api) => api,
                none => none.insert(implicit_api(resources)?),
            };
            if api.id != id {
                let problem = format!("must be the HTTP API that is served, {}, got {id}", api.id);
                return Err(event.invalid("ApiId", problem));
            }
            api.routes.push(route);
        }
    }
    Ok(())
}

fn api(resource: &Resource<'_>, template: &mut Template) -> Result<HttpApi, TemplateError> {
    template.warnings.extend(resource.unsupported_properties(&KNOWN_PROPERTIES));
    Ok(HttpApi {
        id: resource.id.clone(),
        stage: resource.string("StageName")?.unwrap_or_else(|| "$default".into()),
        stage_variables: resource.string_map("StageVariables")?,
        cors: cors(resource)?,
        routes: Vec::new(),
    })
}

/// The API that SAM generates for `HttpApi` events without an `ApiId`, with the settings from `Globals`.
fn implicit_api(resources: &Resources<'_>) -> Result<HttpApi, TemplateError> {
    let settings = Resource {
        id: IMPLICIT_API.into(),
        kind: "AWS::Serverless::HttpApi",
        properties: resources.global("HttpApi").clone(),
        metadata: serde_json::Value::Null,
    };
    Ok(HttpApi {
        id: settings.id.clone(),
        stage: "$default".into(),
        stage_variables: BTreeMap::new(),
        cors: cors(&settings)?,
        routes: Vec::new(),
    })
}

fn cors(resource: &Resource<'_>) -> Result<Option<CorsConfiguration>, TemplateError> {
    let member = "CorsConfiguration";
    match resource.member(member) {
        None => Ok(None),
        Some(value) if !value.is_object() => {
            let any_origin = || CorsConfiguration { allow_origins: vec!["*".into()], ..CorsConfiguration::default() };
            Ok(resource.boolean(member)?.filter(|wanted| *wanted).map(|_| any_origin()))
        }
        Some(_) => Ok(Some(CorsConfiguration {
            allow_origins: resource.strings("CorsConfiguration.AllowOrigins")?,
            allow_methods: resource.strings("CorsConfiguration.AllowMethods")?,
            allow_headers: resource.strings("CorsConfiguration.AllowHeaders")?,
            expose_headers: resource.strings("CorsConfiguration.ExposeHeaders")?,
            allow_credentials: resource.boolean("CorsConfiguration.AllowCredentials")?.unwrap_or(false),
            max_age_s: resource.number("CorsConfiguration.MaxAge")?,
        })),
    }
}

fn route(template: &mut Template, function: &str, event: &Resource<'_>) -> Result<HttpRoute, TemplateError> {
    template.warnings.extend(event.unsupported_properties(&KNOWN_EVENT_PROPERTIES));
    warn_about_authorizer(template, event)?;
    if event.string("PayloadFormatVersion")?.is_some_and(|version| version != "2.0") {
        return Err(event.invalid("PayloadFormatVersion", "must be 2.0, the only supported format"));
    }
    let path = event.string("Path")?.unwrap_or_else(|| "$default".into());
    if path != "$default" && !path.starts_with('/') {
        return Err(event.invalid("Path", format!("must be $default or begin with /, got {path}")));
    }
    if path.split('/').rev().skip(1).any(|segment| segment.ends_with("+}")) {
        return Err(event.invalid("Path", format!("a greedy variable must be the last segment, got {path}")));
    }
    let method = event.string("Method")?.unwrap_or_else(|| "ANY".into());
    let timeout_ms = event.number("TimeoutInMillis")?.unwrap_or(MAX_TIMEOUT_MS).min(MAX_TIMEOUT_MS);
    Ok(HttpRoute {
        method: if method == "*" { "ANY".into() } else { self::method(event, &method)? },
        path,
        function: event.function_name(template, "Type", function)?,
        timeout: Duration::from_millis(timeout_ms),
    })
}

/// The method of an event in capitals, or `ANY`.
pub(super) fn method(event: &Resource<'_>, method: &str) -> Result<String, TemplateError> {
    let method = method.to_ascii_uppercase();
    if METHODS.contains(&method.as_str()) {
        return Ok(method);
    }
    Err(event.invalid("Method", format!("must be an HTTP method or ANY, got {method}")))
}

/// Adds a warning if requests would need to pass an authorizer on AWS.
pub(super) fn warn_about_authorizer(template: &mut Template, event: &Resource<'_>) -> Result<(), TemplateError> {
    if event.string("Auth.Authorizer")?.is_some_and(|authorizer| authorizer != "NONE") {
        template.warnings.push(event.warning("Auth", "is not supported locally: every request is accepted"));
    }
    Ok(())
}
