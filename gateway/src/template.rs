//! Reads from a SAM template what the gateway serves: functions, routes, sockets and schedules.
//! Anything else that would change behaviour on AWS becomes a warning.

mod definition;
mod functions;
mod http_api;
pub(crate) mod resolve;
mod resource;
mod rest_api;
mod schedules;
mod websocket_api;
mod yaml;

use std::path::Path;

pub use definition::{
    CorsConfiguration, FunctionDefinition, HttpApi, HttpRoute, RestApi, RestCors, Schedule, ScheduleKind, Template,
    TemplateError, WebSocketApi, WebSocketRoute,
};
use resource::Resources;
pub(crate) use resource::function_in;
use serde_json::Value;

impl Template {
    /// Reads a template from its file, with the default of every parameter.
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        Self::read_with(path, |_| None)
    }

    /// Reads a template from its file. A parameter has the value that is given for its name, or else its default.
    pub fn read_with(path: &Path, given: impl Fn(&str) -> Option<String>) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TemplateError::Unreadable { path: path.to_owned(), source })?;
        Self::parse_with(&text, given)
    }

    /// Reads a template from its text, with the default of every parameter.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, |_| None)
    }

    /// Reads a template from its text. A parameter has the value that is given for its name, or else its default.
    pub fn parse_with(text: &str, given: impl Fn(&str) -> Option<String>) -> Result<Self, TemplateError> {
        let mut document = yaml::parse(text).map_err(TemplateError::NotYaml)?;
        let parameters = document.get_mut("Parameters").and_then(Value::as_object_mut);
        for (name, parameter) in parameters.into_iter().flatten() {
            if let (Some(value), Some(parameter)) = (given(name), parameter.as_object_mut()) {
                parameter.insert("Default".into(), value.into());
            }
        }
        let resources = Resources::read(&document)?;
        let mut template = Self { warnings: resources.unsupported_resources(), ..Self::default() };
        functions::read(&resources, &mut template)?;
        http_api::read(&resources, &mut template)?;
        rest_api::read(&resources, &mut template)?;
        websocket_api::read(&resources, &mut template)?;
        schedules::read(&resources, &mut template)?;
        template.warnings.extend(template.hidden_routes());
        Ok(template)
    }

    /// Warnings about paths that cannot be reached, since all APIs share a port and another one is matched first.
    fn hidden_routes(&self) -> Vec<String> {
        let hides = "is hidden locally, where the gateway serves something else at that path";
        let socket_stage = self.websocket_api.as_ref().map(|api| api.stage.as_str());
        let rest_stage = self.rest_api.as_ref().map(|api| api.stage.as_str());
        let is_hidden = |route: &&HttpRoute| {
            let first = route.path.split('/').nth(1);
            first.is_some() && (first == socket_stage || first == rest_stage || first == Some("_gateway"))
        };
        let routes = self.http_api.iter().flat_map(|api| &api.routes).filter(is_hidden);
        let mut warnings: Vec<String> = routes.map(|route| format!("route {} {hides}", route.path)).collect();
        if let Some(stage) = rest_stage.filter(|stage| Some(*stage) == socket_stage || *stage == "_gateway") {
            warnings.push(format!("stage {stage} of the REST API {hides}"));
        }
        warnings
    }
}
