//! Builds a site from a template and functions. Fails if the function of a route or a schedule is missing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::addresses::Addresses;
use crate::body::Bodies;
use crate::connections::Connections;
use crate::cors::Cors;
use crate::functions::Functions;
use crate::invocation::Target;
use crate::options::{AllowsOrigin, Options, ServeError};
use crate::refusals::Refusals;
use crate::rest_cors::RestCors;
use crate::route_selection::RouteSelection;
use crate::routing::Routes;
use crate::schedules::ServedSchedule;
use crate::site::{HttpApi, HttpIntegration, Phase, RestApi, Site, WebSocketApi, WebSocketIntegration};
use crate::task_group::TaskGroup;
use crate::template::{self, Template};

/// The site for this address. Starts no task.
pub(crate) fn site(address: SocketAddr, options: Options) -> Result<Site, ServeError> {
    let Options { template, functions, clock, cors_origins, sign_token, cancel_on_disconnect, limits, .. } = options;
    let available = AvailableFunctions::new(&template, &functions);
    let start_ms = clock.now_ms();
    let served = |schedule: template::Schedule| {
        let target = available.target(&schedule.function, &format!("schedule {}", schedule.name))?;
        Ok(Arc::new(ServedSchedule { schedule, target, start_ms }))
    };
    Ok(Site {
        address,
        schedules: template.schedules.into_iter().map(served).collect::<Result<_, _>>()?,
        rest_api: template.rest_api.map(|api| rest_api(api, &available, cors_origins.clone())).transpose()?,
        http_api: template.http_api.map(|api| http_api(api, &available, cors_origins)).transpose()?,
        websocket_api: template.websocket_api.map(|api| websocket_api(api, &available).map(Arc::new)).transpose()?,
        functions: available.0,
        clock,
        sign_token,
        cancel_on_disconnect,
        connections: Connections::default(),
        phase: watch::Sender::new(Phase::Serving),
        invocations: TaskGroup::default(),
        sockets: TaskGroup::default(),
        http_connections: TaskGroup::default(),
        addresses: Addresses::default(),
        bodies: Bodies::of_requests(&limits),
        push_bodies: Bodies::of_pushes(&limits),
        refusals: Refusals::default(),
        limits,
    })
}

/// The template's functions that the caller provided, by name.
struct AvailableFunctions(BTreeMap<String, Target>);

impl AvailableFunctions {
    fn new(template: &Template, functions: &Functions) -> Self {
        let target = |definition: &template::FunctionDefinition| {
            let function = functions.get(&definition.name)?;
            let target = Target::new(&definition.name, Arc::clone(function), definition.timeout);
            Some((definition.name.clone(), target))
        };
        Self(template.functions.iter().filter_map(target).collect())
    }

    fn target(&self, function: &str, needed_by: &str) -> Result<Target, ServeError> {
        self.0.get(function).cloned().ok_or_else(|| ServeError::MissingFunction {
            needed_by: needed_by.to_owned(),
            function: function.to_owned(),
        })
    }
}

fn http_api(
    api: template::HttpApi,
    available: &AvailableFunctions,
    cors_origins: Option<AllowsOrigin>,
) -> Result<HttpApi, ServeError> {
    Ok(HttpApi {
        id: api.id,
        stage: api.stage,
        stage_variables: api.stage_variables,
        cors: api.cors.map(|configuration| Cors::new(configuration, cors_origins)),
        routes: routes(api.routes, available)?,
    })
}

fn rest_api(
    api: template::RestApi,
    available: &AvailableFunctions,
    cors_origins: Option<AllowsOrigin>,
) -> Result<RestApi, ServeError> {
    Ok(RestApi {
        id: api.id,
        stage: api.stage,
        stage_variables: api.stage_variables,
        cors: api.cors.map(|configuration| RestCors::new(configuration, cors_origins)),
        idle_timeout: api.idle_timeout,
        routes: routes(api.routes, available)?,
    })
}

fn routes(
    routes: Vec<template::HttpRoute>,
    available: &AvailableFunctions,
) -> Result<Routes<HttpIntegration>, ServeError> {
    let route = |route: template::HttpRoute| {
        let function = available.target(&route.function, &format!("route {} {}", route.method, route.path))?;
        Ok((route.method, route.path, HttpIntegration { function, timeout: route.timeout }))
    };
    Ok(Routes::new(routes.into_iter().map(route).collect::<Result<Vec<_>, ServeError>>()?))
}

fn websocket_api(api: template::WebSocketApi, available: &AvailableFunctions) -> Result<WebSocketApi, ServeError> {
    let route = |(key, route): (String, template::WebSocketRoute)| {
        let function = available.target(&route.function, &format!("route {key}"))?;
        Ok((key, WebSocketIntegration { function, timeout: route.timeout, two_way: route.two_way }))
    };
    Ok(WebSocketApi {
        routes: api.routes.into_iter().map(route).collect::<Result<_, ServeError>>()?,
        selection: RouteSelection::parse(&api.route_selection_expression).map_err(ServeError::RouteSelection)?,
        id: api.id,
        stage: api.stage,
        stage_variables: api.stage_variables,
    })
}
