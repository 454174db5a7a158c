//! Reads the WebSocket API, defined by SAM or by plain CloudFormation resources.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::definition::{Template, TemplateError, WebSocketApi, WebSocketRoute};
use super::resolve::members;
use super::resource::{Resource, Resources};
use crate::route_selection::RouteSelection;

/// Properties that are served, or that have no effect locally.
const KNOWN_PROPERTIES: [&str; 20] = [
    "AccessLogSettings",
    "Auth",
    "DefaultRouteSettings",
    "Description",
    "DisableExecuteApiEndpoint",
    "DisableSchemaValidation",
    "Domain",
    "FailOnWarnings",
    "IpAddressType",
    "Name",
    "PropagateTags",
    "ProtocolType",
    "RouteSelectionExpression",
    "RouteSettings",
    "Routes",
    "StageName",
    "StageVariables",
    "Tags",
    "Version",
    "CredentialsArn",
];
const KNOWN_ROUTE_PROPERTIES: [&str; 10] = [
    "ApiId",
    "ApiKeyRequired",
    "AuthorizationType",
    "FunctionArn",
    "IntegrationTimeout",
    "OperationName",
    "RequestParameters",
    "RouteKey",
    "RouteResponseSelectionExpression",
    "Target",
];
/// The maximum and default integration timeout of a WebSocket API.
const MAX_TIMEOUT_MS: u64 = 29_000;

pub(super) fn read(resources: &Resources<'_>, template: &mut Template) -> Result<(), TemplateError> {
    let with_response = routes_with_response(resources)?;
    for resource in resources.of_type("AWS::Serverless::WebSocketApi") {
        let api = sam_api(resource, &with_response, template)?;
        set_api(resource, api, template)?;
    }
    for resource in resources.of_type("AWS::ApiGatewayV2::Api") {
        if resource.required_string("ProtocolType")? == "WEBSOCKET" {
            let api = cloudformation_api(resource, resources, &with_response, template)?;
            set_api(resource, api, template)?;
        } else {
            template.warnings.push(resource.warning("ProtocolType", "is supported locally only for WEBSOCKET"));
        }
    }
    Ok(())
}

fn set_api(resource: &Resource<'_>, api: WebSocketApi, template: &mut Template) -> Result<(), TemplateError> {
    if let Some(first) = &template.websocket_api {
        return Err(
            resource.invalid("Type", format!("only one WebSocket API can be served, and {} is already one", first.id))
        );
    }
    if api.stage.contains('/') || api.stage.starts_with('$') {
        return Err(
            resource.invalid("StageName", format!("must consist of letters, digits, - and _, got {}", api.stage))
        );
    }
    RouteSelection::parse(&api.route_selection_expression)
        .map_err(|problem| resource.invalid("RouteSelectionExpression", problem))?;
    template.websocket_api = Some(api);
    Ok(())
}

/// The logical ids of the routes that have a `$default` route response.
fn routes_with_response(resources: &Resources<'_>) -> Result<BTreeSet<String>, TemplateError> {
    let mut routes = BTreeSet::new();
    for resource in resources.of_type("AWS::ApiGatewayV2::RouteResponse") {
        if resource.required_string("RouteResponseKey")? == "$default" {
            routes.insert(reference(resource, "RouteId")?);
        }
    }
    Ok(routes)
}

fn sam_api(
    resource: &Resource<'_>,
    with_response: &BTreeSet<String>,
    template: &mut Template,
) -> Result<WebSocketApi, TemplateError> {
    warn_about_api(resource, template);
    let mut routes = BTreeMap::new();
    for (key, properties) in members(&resource.properties["Routes"]) {
        let route = Resource {
            id: format!("{}/{key}", resource.id),
            kind: "AWS::ApiGatewayV2::Route",
            properties: properties.clone(),
            metadata: serde_json::Value::Null,
        };
        let function = route.required_string("FunctionArn")?;
        let function = route.function_name(template, "FunctionArn", &function)?;
        let timeout = timeout(&route, "IntegrationTimeout")?;
        let two_way = two_way(&route, &generated_route_id(&resource.id, key), with_response, template)?;
        routes.insert(key.to_owned(), WebSocketRoute { function, timeout, two_way });
    }
    Ok(WebSocketApi {
        id: resource.id.clone(),
        stage: resource.string("StageName")?.unwrap_or_else(|| "default".into()),
        stage_variables: resource.string_map("StageVariables")?,
        route_selection_expression: resource.required_string("RouteSelectionExpression")?,
        routes,
    })
}

fn cloudformation_api(
    resource: &Resource<'_>,
    resources: &Resources<'_>,
    with_response: &BTreeSet<String>,
    template: &mut Template,
) -> Result<WebSocketApi, TemplateError> {
    warn_about_api(resource, template);
    let mut routes = BTreeMap::new();
    for route in resources.of_type("AWS::ApiGatewayV2::Route") {
        if reference(route, "ApiId")? != resource.id {
            continue;
        }
        let target = route.required_string("Target")?;
        let integration = target.strip_prefix("integrations/").unwrap_or(&target);
        let Some(integration) =
            resources.of_type("AWS::ApiGatewayV2::Integration").find(|candidate| candidate.id == integration)
        else {
            return Err(route.invalid("Target", format!("must refer to an integration of this template, got {target}")));
        };
        let uri = integration.required_string("IntegrationUri")?;
        let function = integration.function_name(template, "IntegrationUri", &uri)?;
        let timeout = timeout(integration, "TimeoutInMillis")?;
        let two_way = two_way(route, &route.id, with_response, template)?;
        routes.insert(route.required_string("RouteKey")?, WebSocketRoute { function, timeout, two_way });
    }
    let mut stages = resources.of_type("AWS::ApiGatewayV2::Stage");
    let stage = loop {
        let stage = stages.next().ok_or_else(|| resource.invalid("Type", "must have an AWS::ApiGatewayV2::Stage"))?;
        if reference(stage, "ApiId")? == resource.id {
            break stage;
        }
    };
    Ok(WebSocketApi {
        id: resource.id.clone(),
        stage: stage.required_string("StageName")?,
        stage_variables: stage.string_map("StageVariables")?,
        route_selection_expression: resource.required_string("RouteSelectionExpression")?,
        routes,
    })
}

fn two_way(
    route: &Resource<'_>,
    route_id: &str,
    with_response: &BTreeSet<String>,
    template: &mut Template,
) -> Result<bool, TemplateError> {
    warn_about_route(route, template)?;
    let member = "RouteResponseSelectionExpression";
    let selects = route.string(member)?.is_some_and(|expression| expression == "$default");
    if selects && !with_response.contains(route_id) {
        let sentence = format!("has no effect without an AWS::ApiGatewayV2::RouteResponse for {route_id}");
        template.warnings.push(route.warning(member, &sentence));
    }
    Ok(selects && with_response.contains(route_id))
}

fn warn_about_api(api: &Resource<'_>, template: &mut Template) {
    template.warnings.extend(api.unsupported_properties(&KNOWN_PROPERTIES));
    if api.string("Auth.AuthType").is_ok_and(|kind| kind.is_some_and(|kind| kind != "NONE")) {
        template.warnings.push(api.warning("Auth", "is not supported locally: every handshake is accepted"));
    }
    for settings in ["DefaultRouteSettings.ThrottlingRateLimit", "DefaultRouteSettings.ThrottlingBurstLimit"] {
        if api.member(settings).is_some() {
            template.warnings.push(api.warning(settings, "is not supported locally"));
        }
    }
}

fn warn_about_route(route: &Resource<'_>, template: &mut Template) -> Result<(), TemplateError> {
    template.warnings.extend(route.unsupported_properties(&KNOWN_ROUTE_PROPERTIES));
    if route.boolean("ApiKeyRequired")?.unwrap_or(false) {
        template.warnings.push(route.warning("ApiKeyRequired", "is not supported locally"));
    }
    if route.string("AuthorizationType")?.is_some_and(|kind| kind != "NONE") {
        template
            .warnings
            .push(route.warning("AuthorizationType", "is not supported locally: every handshake is accepted"));
    }
    Ok(())
}

fn timeout(resource: &Resource<'_>, member: &str) -> Result<Duration, TemplateError> {
    let timeout_ms = resource.number(member)?.unwrap_or(MAX_TIMEOUT_MS);
    Ok(Duration::from_millis(timeout_ms.min(MAX_TIMEOUT_MS)))
}

/// The logical id that SAM generates for a route, such as `WsConnectRoute` for `$connect` of `Ws`.
fn generated_route_id(api: &str, key: &str) -> String {
    let key = key.trim_start_matches('$');
    let (first, rest) = key.split_at(key.chars().next().map_or(0, char::len_utf8));
    format!("{api}{}{rest}Route", first.to_uppercase())
}

/// The logical id in a `Ref`. A `Ref` to a resource that SAM generates is unresolved, as it is not in the template.
fn reference(resource: &Resource<'_>, member: &str) -> Result<String, TemplateError> {
    let unresolved = resource.member(member).and_then(|value| value.get("Ref")?.as_str());
    match unresolved {
        Some(id) => Ok(id.to_owned()),
        None => resource.required_string(member),
    }
}
