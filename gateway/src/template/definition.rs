//! What a template defines, as far as the gateway serves it, and why one cannot be served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::schedule_expression::ScheduleExpression;

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
    /// The function of that name or logical id.
    pub fn function(&self, name: &str) -> Option<&FunctionDefinition> {
        self.functions.iter().find(|function| function.name == name || function.logical_id == name)
    }
}
