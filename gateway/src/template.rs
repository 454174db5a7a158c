//! A SAM template, read down to what the gateway serves: functions, routes, sockets and schedules.
//! What it does not serve but would change behaviour on AWS becomes a warning, never silence.

mod functions;
mod http_api;
pub(crate) mod resolve;
mod resource;
mod schedules;
mod websocket_api;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::schedule_expression::ScheduleExpression;
use resource::Resources;

/// What a template says, with parameters' defaults, conditions and `Globals` resolved.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// The functions, in the template's order.
    pub functions: Vec<FunctionDefinition>,
    /// The HTTP API, where there is one.
    pub http_api: Option<HttpApi>,
    /// The WebSocket API, where there is one.
    pub websocket_api: Option<WebSocketApi>,
    /// The schedules, disabled ones too.
    pub schedules: Vec<Schedule>,
    /// Sentences about what AWS would do and this gateway does not.
    pub warnings: Vec<String>,
}

/// An `AWS::Serverless::Function`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDefinition {
    /// The resource's name in the template.
    pub logical_id: String,
    /// `FunctionName` where there is one, else the logical id.
    pub name: String,
    /// `Metadata.BuildProperties.Binary`: which binary of the workspace it is.
    pub binary: Option<String>,
    /// How long an invocation may last before Lambda ends it.
    pub timeout: Duration,
    /// The names of its environment variables.
    pub environment: Vec<String>,
}

/// An `AWS::Serverless::HttpApi` with the routes that functions' events give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApi {
    /// The resource's name in the template, `ServerlessHttpApi` for the implicit one.
    pub id: String,
    /// `$default`, or the name that is the first segment of every path.
    pub stage: String,
    /// What events carry as `stageVariables`.
    pub stage_variables: BTreeMap<String, String>,
    /// `CorsConfiguration`.
    pub cors: Option<CorsConfiguration>,
    /// The routes, in the template's order.
    pub routes: Vec<HttpRoute>,
}

/// The members of `CorsConfiguration`, as they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfiguration {
    /// Exact origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Header names, or `*`.
    pub allow_headers: Vec<String>,
    /// Header names that pages may read.
    pub expose_headers: Vec<String>,
    /// Whether cookies and credentials are allowed.
    pub allow_credentials: bool,
    /// How many seconds browsers remember a preflight.
    pub max_age_s: Option<u64>,
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// The method in capitals, or `ANY`.
    pub method: String,
    /// The path with `{variables}`, or `$default`.
    pub path: String,
    /// The function's name.
    pub function: String,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
}

/// A WebSocket API: `AWS::Serverless::WebSocketApi`, or `AWS::ApiGatewayV2::Api` with its routes and stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketApi {
    /// The resource's name in the template.
    pub id: String,
    /// The path that clients connect to, without its slash.
    pub stage: String,
    /// What events carry as `stageVariables`.
    pub stage_variables: BTreeMap<String, String>,
    /// How a message's route is found, `$request.body.action` for instance.
    pub route_selection_expression: String,
    /// The routes by key: `$connect`, `$disconnect`, `$default` and custom ones.
    pub routes: BTreeMap<String, WebSocketRoute>,
}

/// One route of the WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRoute {
    /// The function's name.
    pub function: String,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
    /// Whether the answer's body goes back to the client.
    ///
    /// True only with both `RouteResponseSelectionExpression: $default` and a `RouteResponse` resource, as on AWS.
    pub two_way: bool,
}

/// An event of type `Schedule` or `ScheduleV2`.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `Name` where there is one, else the function's and the event's logical ids joined.
    pub name: String,
    /// When it fires.
    pub expression: ScheduleExpression,
    /// The function's name.
    pub function: String,
    /// `Input`: JSON that replaces the whole event.
    pub input: Option<String>,
    /// Whether it fires by the clock.
    pub enabled: bool,
    /// Which service fires it, since their events differ.
    pub kind: ScheduleKind,
}

/// Which service keeps a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKind {
    /// An EventBridge rule: SAM's `Schedule`.
    Rule,
    /// EventBridge Scheduler: SAM's `ScheduleV2`.
    Scheduler,
}

/// Why a template cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("the template {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a YAML document that CloudFormation would take.
    #[error("the template is not valid YAML: {0}")]
    NotYaml(String),
    /// A member says something that cannot be served.
    #[error("{resource}: {member}: {problem}")]
    Invalid {
        /// The resource's name in the template.
        resource: String,
        /// The path of the member inside the resource.
        member: String,
        /// What was required and what was met.
        problem: String,
    },
}

impl Template {
    /// Reads a template from its file.
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        Self::read_with(path, &[])
    }

    /// Reads a template from its file, with values for parameters in place of their defaults.
    pub fn read_with(path: &Path, parameters: &[(&str, &str)]) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TemplateError::Unreadable { path: path.to_owned(), source })?;
        Self::parse_with(&text, parameters)
    }

    /// Reads a template from its text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, &[])
    }

    /// Reads a template from its text, with values for parameters in place of their defaults.
    pub fn parse_with(text: &str, parameters: &[(&str, &str)]) -> Result<Self, TemplateError> {
        let mut document = yaml::parse(text).map_err(TemplateError::NotYaml)?;
        for (name, value) in parameters {
            let Some(parameter) = document["Parameters"][name].as_object_mut() else {
                return Err(TemplateError::Invalid {
                    resource: "Parameters".into(),
                    member: (*name).into(),
                    problem: "is not a parameter of this template".into(),
                });
            };
            parameter.insert("Default".into(), (*value).into());
        }
        let resources = Resources::resolved(&document)?;
        let mut template = Self { warnings: resources.not_served(), ..Self::default() };
        functions::read(&resources, &mut template)?;
        http_api::read(&resources, &mut template)?;
        websocket_api::read(&resources, &mut template)?;
        schedules::read(&resources, &mut template)?;
        template.warnings.extend(template.hidden_routes());
        Ok(template)
    }

    /// The function of that name or logical id.
    pub fn function(&self, name: &str) -> Option<&FunctionDefinition> {
        self.functions.iter().find(|function| function.name == name || function.logical_id == name)
    }

    /// Warnings about HTTP routes that cannot be reached, since both APIs share a port here.
    fn hidden_routes(&self) -> Vec<String> {
        let stage = self.websocket_api.as_ref().map(|api| api.stage.as_str());
        let is_hidden = |route: &&HttpRoute| {
            let first = route.path.split('/').nth(1);
            first.is_some() && (first == stage || first == Some("_gateway"))
        };
        let routes = self.http_api.iter().flat_map(|api| &api.routes).filter(is_hidden);
        routes.map(|route| format!("route {} is hidden here by what the gateway serves there", route.path)).collect()
    }

    /// The name of the function that an ARN, an integration URI or a `Ref` means.
    fn function_name(
        &self,
        resource: &resource::Resource<'_>,
        member: &str,
        reference: &str,
    ) -> Result<String, TemplateError> {
        let after_kind = reference.rsplit_once(":function:").map_or(reference, |(_, name)| name);
        let name = after_kind.split([':', '/']).next().unwrap_or(after_kind);
        match self.function(name) {
            Some(function) => Ok(function.name.clone()),
            None => Err(resource.invalid(member, format!("must be a function of this template, met {reference}"))),
        }
    }
}
