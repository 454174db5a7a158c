//! Reads `AWS::Serverless::Api` and the `Api` events, which are the routes of a REST API.

use std::collections::BTreeMap;
use std::time::Duration;

use super::definition::{HttpRoute, RestApi, RestCors, Template, TemplateError};
use super::functions::events;
use super::http_api::{method, warn_about_authorizer};
use super::resource::{Resource, Resources};

/// Properties that are served, or that have no effect locally.
const KNOWN_PROPERTIES: [&str; 15] = [
    "AccessLogSetting",
    "AlwaysDeploy",
    "Cors",
    "Description",
    "DisableExecuteApiEndpoint",
    "Domain",
    "EndpointConfiguration",
    "FailOnWarnings",
    "Name",
    "OpenApiVersion",
    "PropagateTags",
    "StageName",
    "Tags",
    "TracingEnabled",
    "Variables",
];
const KNOWN_EVENT_PROPERTIES: [&str; 6] =
    ["Auth", "Method", "Path", "ResponseTransferMode", "RestApiId", "TimeoutInMillis"];
const IMPLICIT_API: &str = "ServerlessRestApi";
/// The integration timeout of a REST API if the event has none.
const DEFAULT_TIMEOUT_MS: u64 = 29_000;
/// The longest integration timeout of a route that streams.
const MAX_TIMEOUT_MS: u64 = 900_000;
/// How long a stream may be silent: an edge-optimised endpoint, SAM's default, cuts it earlier than others.
const EDGE_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn read(resources: &Resources<'_>, template: &mut Template) -> Result<(), TemplateError> {
    for resource in resources.of_type("AWS::Serverless::Api") {
        if let Some(first) = &template.rest_api {
            return Err(
                resource.invalid("Type", format!("only one REST API can be served, and {} is already one", first.id))
            );
        }
        template.warnings.extend(resource.unsupported_properties(&KNOWN_PROPERTIES));
        template.rest_api = Some(api(resource, resource.required_string("StageName")?)?);
    }
    for function in resources.of_type("AWS::Serverless::Function") {
        for event in events(function).filter(|event| event.kind == "Api") {
            let Some(route) = route(template, &function.id, &event)? else { continue };
            let id = event.string("RestApiId")?.unwrap_or_else(|| IMPLICIT_API.into());
            let api = match &mut template.rest_api {
                Some(api) => api,
                none => none.insert(implicit_api(resources)?),
            };
            if api.id != id {
                let problem = format!("must be the REST API that is served, {}, got {id}", api.id);
                return Err(event.invalid("RestApiId", problem));
            }
            api.routes.push(route);
        }
    }
    Ok(())
}

fn api(resource: &Resource<'_>, stage: String) -> Result<RestApi, TemplateError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if stage.is_empty() || !stage.bytes().all(is_name) {
        return Err(resource.invalid("StageName", format!("must consist of a-z, A-Z, 0-9, - and _, got {stage:?}")));
    }
    let endpoint = match resource.member("EndpointConfiguration") {
        Some(configuration) if configuration.is_object() => resource.string("EndpointConfiguration.Type")?,
        _ => resource.string("EndpointConfiguration")?,
    };
    let is_edge = endpoint.is_none_or(|endpoint| endpoint == "EDGE");
    Ok(RestApi {
        id: resource.id.clone(),
        stage,
        stage_variables: resource.string_map("Variables")?,
        cors: cors(resource)?,
        idle_timeout: if is_edge { EDGE_IDLE_TIMEOUT } else { IDLE_TIMEOUT },
        routes: Vec::new(),
    })
}

/// The API that SAM generates for `Api` events without a `RestApiId`, with the settings from `Globals`.
fn implicit_api(resources: &Resources<'_>) -> Result<RestApi, TemplateError> {
    let settings = Resource {
        id: IMPLICIT_API.into(),
        kind: "AWS::Serverless::Api",
        properties: resources.global("Api").clone(),
        metadata: serde_json::Value::Null,
    };
    Ok(RestApi { stage_variables: BTreeMap::new(), ..api(&settings, "Prod".into())? })
}

fn cors(resource: &Resource<'_>) -> Result<Option<RestCors>, TemplateError> {
    let Some(value) = resource.member("Cors") else {
        return Ok(None);
    };
    let cors = if value.is_object() {
        RestCors {
            allow_origin: quoted(resource, "Cors.AllowOrigin")?.unwrap_or_else(|| "*".into()),
            allow_methods: quoted(resource, "Cors.AllowMethods")?,
            allow_headers: quoted(resource, "Cors.AllowHeaders")?,
            max_age: quoted(resource, "Cors.MaxAge")?,
            allow_credentials: resource.boolean("Cors.AllowCredentials")?.unwrap_or(false),
        }
    } else {
        RestCors { allow_origin: quoted(resource, "Cors")?.unwrap_or_default(), ..RestCors::default() }
    };
    if cors.allow_credentials && cors.allow_origin == "*" {
        return Err(resource.invalid("Cors.AllowOrigin", "must name an origin, because AllowCredentials is true"));
    }
    Ok(Some(cors))
}

/// The value of a header, which must be in quotes inside the string: SAM makes it an expression of a mapping.
fn quoted(resource: &Resource<'_>, member: &str) -> Result<Option<String>, TemplateError> {
    let Some(text) = resource.string(member)? else {
        return Ok(None);
    };
    match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(value) if value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Ok(Some(value.into())),
        Some(_) => Err(resource.invalid(member, "must consist of printable ASCII characters")),
        None => Err(resource.invalid(member, format!("must be in single quotes inside the string, got {text}"))),
    }
}

/// The route of an event; `None` if it does not stream, which only gets a warning.
fn route(template: &mut Template, function: &str, event: &Resource<'_>) -> Result<Option<HttpRoute>, TemplateError> {
    if event.string("ResponseTransferMode")?.is_none_or(|mode| mode != "RESPONSE_STREAM") {
        let sentence = "must be RESPONSE_STREAM for a route to be served locally";
        template.warnings.push(event.warning("ResponseTransferMode", sentence));
        return Ok(None);
    }
    template.warnings.extend(event.unsupported_properties(&KNOWN_EVENT_PROPERTIES));
    warn_about_authorizer(template, event)?;
    let path = event.required_string("Path")?;
    if !path.starts_with('/') {
        return Err(event.invalid("Path", format!("must begin with /, got {path}")));
    }
    if path.split('/').rev().skip(1).any(|segment| segment.ends_with("+}")) {
        return Err(event.invalid("Path", format!("a greedy variable must be the last segment, got {path}")));
    }
    let method = method(event, &event.required_string("Method")?)?;
    let timeout_ms = event.number("TimeoutInMillis")?.unwrap_or(DEFAULT_TIMEOUT_MS).min(MAX_TIMEOUT_MS);
    Ok(Some(HttpRoute {
        method,
        // API Gateway removes a trailing slash from the path of a resource.
        path: path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(&path).to_owned(),
        function: event.function_name(template, "Type", function)?,
        timeout: Duration::from_millis(timeout_ms),
    }))
}
