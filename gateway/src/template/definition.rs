//! The parts of a template that the gateway serves, and the errors of a template that it cannot serve.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::schedule_expression::ScheduleExpression;

/// A template, with parameters, conditions and `Globals` resolved.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// The functions, in the order of the template.
    pub functions: Vec<FunctionDefinition>,
    /// The HTTP API, if there is one.
    pub http_api: Option<HttpApi>,
    /// The REST API, if there is one.
    pub rest_api: Option<RestApi>,
    /// The WebSocket API, if there is one.
    pub websocket_api: Option<WebSocketApi>,
    /// The schedules, including disabled ones.
    pub schedules: Vec<Schedule>,
    /// What AWS would do and this gateway does not, one sentence each.
    pub warnings: Vec<String>,
}

/// An `AWS::Serverless::Function`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDefinition {
    /// The logical id of the resource.
    pub logical_id: String,
    /// `FunctionName`, or the logical id if there is none.
    pub name: String,
    /// `Metadata.BuildProperties.Binary`: the name of its binary in the workspace.
    pub binary: Option<String>,
    /// How long an invocation may take before Lambda ends it.
    pub timeout: Duration,
    /// Its memory in MB, to which its share of a processor is proportional.
    pub memory_mb: u64,
    /// How many of its invocations may run at the same time, if `ReservedConcurrentExecutions` says so.
    pub reserved_concurrency: Option<usize>,
    /// Its environment variables. A value is `None` if it is known only after a deployment, or has no default.
    pub environment: BTreeMap<String, Option<String>>,
}

/// An `AWS::Serverless::HttpApi` with the routes that the events of functions add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApi {
    /// The logical id of the resource; `ServerlessHttpApi` for the implicit API.
    pub id: String,
    /// `$default`, or the name of the stage, which is then the first segment of every path.
    pub stage: String,
    /// The `stageVariables` of events.
    pub stage_variables: BTreeMap<String, String>,
    /// `CorsConfiguration`.
    pub cors: Option<CorsConfiguration>,
    /// The routes, in the order of the template.
    pub routes: Vec<HttpRoute>,
}

/// The members of `CorsConfiguration`, with the values of the headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfiguration {
    /// Exact origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Header names, or `*`.
    pub allow_headers: Vec<String>,
    /// Names of the headers that pages may read.
    pub expose_headers: Vec<String>,
    /// Whether pages may send credentials, such as cookies.
    pub allow_credentials: bool,
    /// How long browsers may cache a preflight, in seconds.
    pub max_age_s: Option<u64>,
}

/// An `AWS::Serverless::Api`, a REST API, with those routes that the events of functions add to it and that stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestApi {
    /// The logical id of the resource; `ServerlessRestApi` for the implicit API.
    pub id: String,
    /// The name of the stage, which is the first segment of every path.
    pub stage: String,
    /// The `stageVariables` of events.
    pub stage_variables: BTreeMap<String, String>,
    /// `Cors`: how API Gateway itself answers `OPTIONS`.
    pub cors: Option<RestCors>,
    /// How long a stream may be silent, which depends on the type of the endpoint.
    pub idle_timeout: Duration,
    /// The routes, in the order of the template.
    pub routes: Vec<HttpRoute>,
}

/// The members of `Cors`, as the values of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestCors {
    /// The origin that may make calls, or `*`.
    pub allow_origin: String,
    /// Methods, separated by commas; `None` for those of the path.
    pub allow_methods: Option<String>,
    /// Header names, separated by commas.
    pub allow_headers: Option<String>,
    /// How long browsers may cache a preflight, in seconds.
    pub max_age: Option<String>,
    /// Whether pages may send credentials, such as cookies.
    pub allow_credentials: bool,
}

/// One route of the HTTP API or of the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// The method in capitals, or `ANY`.
    pub method: String,
    /// The path with `{variables}`, or, of the HTTP API, `$default`.
    pub path: String,
    /// The name of the function.
    pub function: String,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
}

/// A WebSocket API: `AWS::Serverless::WebSocketApi`, or `AWS::ApiGatewayV2::Api` with its routes and stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketApi {
    /// The logical id of the resource.
    pub id: String,
    /// The name of the stage, which is the path that clients connect to.
    pub stage: String,
    /// The `stageVariables` of events.
    pub stage_variables: BTreeMap<String, String>,
    /// Selects the route of a message, such as `$request.body.action`.
    pub route_selection_expression: String,
    /// The routes by key: `$connect`, `$disconnect`, `$default` and custom ones.
    pub routes: BTreeMap<String, WebSocketRoute>,
}

/// One route of the WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRoute {
    /// The name of the function.
    pub function: String,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
    /// Whether the body that the function returns is sent to the client.
    ///
    /// True only with both `RouteResponseSelectionExpression: $default` and a `RouteResponse` resource, as on AWS.
    pub two_way: bool,
}

/// An event of type `Schedule` or `ScheduleV2`.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `Name`, or the logical ids of the function and the event joined.
    pub name: String,
    /// When it fires.
    pub expression: ScheduleExpression,
    /// The name of the function.
    pub function: String,
    /// `Input`: JSON that the function receives instead of the usual event.
    pub input: Option<String>,
    /// Whether it fires by the clock.
    pub enabled: bool,
    /// The service that fires it, which determines the event.
    pub kind: ScheduleKind,
}

/// The service that runs a schedule.
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
    #[error("cannot read the template {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The text is not a YAML document that CloudFormation would accept.
    #[error("the template is not valid YAML: {0}")]
    NotYaml(String),
    /// A member has a value that is invalid or cannot be served.
    #[error("{resource}: {member}: {problem}")]
    Invalid {
        /// The logical id of the resource.
        resource: String,
        /// The path of the member inside the resource.
        member: String,
        /// What is required and what was found.
        problem: String,
    },
}

impl Template {
    /// The function with this name or logical id.
    pub fn function(&self, name: &str) -> Option<&FunctionDefinition> {
        self.functions.iter().find(|function| function.name == name || function.logical_id == name)
    }
}
