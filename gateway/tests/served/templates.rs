//! Reading templates, and the warnings and errors about what cannot be served.

use std::time::Duration;

use gateway::Template;
use gateway::template::{HttpRoute, RestCors, WebSocketRoute};

fn with(resources: &str) -> Template {
    Template::parse(&format!("Resources:\n{resources}")).unwrap()
}

#[track_caller]
fn is_refused(resources: &str, message: &str) {
    let error = Template::parse(&format!("Resources:\n{resources}")).unwrap_err();
    assert_eq!(error.to_string(), message);
}

const FUNCTION: &str = "  F: { Type: AWS::Serverless::Function, Metadata: { BuildProperties: { Binary: f } }, Properties: { CodeUri: . } }\n";

#[test]
fn a_template_is_read_with_globals_parameters_and_names() {
    let template = Template::parse(include_str!("template.yaml")).unwrap();
    assert_eq!(template.warnings, Vec::<String>::new());
    let socket = template.function("Socket").unwrap();
    assert_eq!((socket.name.as_str(), socket.timeout), ("local-socket", Duration::from_secs(29)));
    assert_eq!((socket.memory_mb, socket.reserved_concurrency), (128, None));
    assert_eq!(socket.environment["RUST_LOG"].as_deref(), Some("info"));
    let http = template.http_api.unwrap();
    assert_eq!((http.stage.as_str(), http.routes.len()), ("$default", 3));
    let quick = HttpRoute {
        method: "GET".into(),
        path: "/quick".into(),
        function: "Http".into(),
        timeout: Duration::from_millis(50),
    };
    assert_eq!(http.routes[1], quick);
    let ws = template.websocket_api.unwrap();
    assert_eq!(ws.stage, "live");
    assert!(ws.routes["ask"].two_way && !ws.routes["tell"].two_way);
    let schedules: Vec<_> = template.schedules.iter().map(|one| (one.name.as_str(), one.enabled)).collect();
    assert_eq!(schedules, [("minute", true), ("TickNoon", false)]);
}

#[test]
fn a_parameter_has_the_value_that_is_given_for_it() {
    const TEMPLATE: &str = r"
Parameters: { Url: { Type: String }, Most: { Type: Number, Default: 7 }, Region: { Type: String } }
Conditions: { HasUrl: !Not [!Equals [!Ref Url, '']] }
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      MemorySize: 512
      ReservedConcurrentExecutions: !Ref Most
      Environment: { Variables: { URL: !Ref Url, HAS_URL: !If [HasUrl, true, false], REGION: !Ref Region } }
";
    let read = |given: &[(&str, &str)]| {
        let value = |name: &str| given.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Template::parse_with(TEMPLATE, value).unwrap().functions.remove(0)
    };
    let function = read(&[("Url", "redis://a"), ("Other", "x")]);
    let variable = |name: &str| function.environment[name].as_deref();
    assert_eq!((variable("URL"), variable("HAS_URL"), variable("REGION")), (Some("redis://a"), Some("true"), None));
    assert_eq!((function.memory_mb, function.reserved_concurrency), (512, Some(7)));
    assert_eq!(read(&[("Most", "9")]).reserved_concurrency, Some(9));
}

#[test]
fn plain_cloudformation_is_read_like_sam() {
    let ws = with(&format!(
        "{FUNCTION}{}",
        r#"
  Ws: { Type: AWS::ApiGatewayV2::Api, Properties: { Name: chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action } }
  Int: { Type: AWS::ApiGatewayV2::Integration, Properties: { ApiId: !Ref Ws, IntegrationType: AWS_PROXY, TimeoutInMillis: 5000,
    IntegrationUri: !Sub "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${F.Arn}/invocations" } }
  ConnectRoute: { Type: AWS::ApiGatewayV2::Route, Properties: { ApiId: !Ref Ws, RouteKey: $connect, Target: !Sub "integrations/${Int}" } }
  AskRoute: { Type: AWS::ApiGatewayV2::Route, Properties: { ApiId: !Ref Ws, RouteKey: ask, RouteResponseSelectionExpression: $default, Target: !Join [/, [integrations, !Ref Int]] } }
  AskResponse: { Type: AWS::ApiGatewayV2::RouteResponse, Properties: { ApiId: !Ref Ws, RouteId: !Ref AskRoute, RouteResponseKey: $default } }
  Stage: { Type: AWS::ApiGatewayV2::Stage, Properties: { ApiId: !Ref Ws, StageName: prod, AutoDeploy: true } }
"#
    ))
    .websocket_api
    .unwrap();
    assert_eq!((ws.id.as_str(), ws.stage.as_str()), ("Ws", "prod"));
    let route = |two_way| WebSocketRoute { function: "F".into(), timeout: Duration::from_secs(5), two_way };
    assert_eq!(ws.routes["$connect"], route(false));
    assert_eq!(ws.routes["ask"], route(true));
}

#[test]
fn a_two_way_route_needs_a_selection_expression_and_a_route_response() {
    let template = with(&format!(
        "{FUNCTION}{}",
        r"
  Ws: { Type: AWS::Serverless::WebSocketApi, Properties: { StageName: live, RouteSelectionExpression: $request.body.action,
    Routes: { ask: { FunctionArn: !GetAtt F.Arn, RouteResponseSelectionExpression: $default } } } }
"
    ));
    assert!(!template.websocket_api.unwrap().routes["ask"].two_way);
    let warning = "Ws/ask: RouteResponseSelectionExpression has no effect without an AWS::ApiGatewayV2::RouteResponse for WsAskRoute";
    assert_eq!(template.warnings, [warning]);
}

#[test]
fn everything_that_is_not_served_gets_a_warning() {
    let template = with(
        r"
  F: { Type: AWS::Serverless::Function, Properties: { CodeUri: ., FunctionUrlConfig: { AuthType: NONE }, MemorySize: 256,
    Events: { Queue: { Type: SQS, Properties: { Queue: q } }, Get: { Type: HttpApi, Properties: { Path: /, Method: get, Auth: { Authorizer: Jwt } } } } } }
  Graph: { Type: AWS::Serverless::GraphQLApi }
  Database: { Type: AWS::RDS::DBCluster }
",
    );
    let expected = [
        "Graph: AWS::Serverless::GraphQLApi is not supported locally",
        "F: FunctionUrlConfig is not supported locally",
        "F/Queue: events of type SQS are not supported locally",
        "F/Get: Auth is not supported locally: every request is accepted",
    ];
    assert_eq!(template.warnings, expected);
    assert_eq!(template.http_api.unwrap().id, "ServerlessHttpApi");
}

#[test]
fn a_route_below_the_stage_of_the_websocket_api_gets_a_warning() {
    let template = include_str!("template.yaml").replace("/quick", "/live/now");
    let warnings = Template::parse(&template).unwrap().warnings;
    assert_eq!(warnings, ["route /live/now is hidden locally, where the gateway serves something else at that path"]);
}

/// A template with a REST API, whose properties these are, and a function that streams.
fn rest(properties: &str, event: &str) -> String {
    format!(
        "  Rest: {{ Type: AWS::Serverless::Api, Properties: {{ {properties} }} }}
  F: {{ Type: AWS::Serverless::Function, Properties: {{ CodeUri: ., Events: {{
    Http: {{ Type: HttpApi, Properties: {{ Path: /buffered, Method: GET }} }},
    Rest: {{ Type: Api, Properties: {{ RestApiId: !Ref Rest, {event} }} }} }} }} }}\n"
    )
}

const STREAMS: &str = "Path: /api/events/, Method: any, ResponseTransferMode: RESPONSE_STREAM";

#[test]
fn a_rest_api_is_read_with_its_streaming_routes_beside_an_http_api() {
    let template = with(&rest(
        "StageName: prod, EndpointConfiguration: { Type: REGIONAL }, Variables: { k: v }",
        &format!("{STREAMS}, TimeoutInMillis: 900001"),
    ));
    assert_eq!(template.warnings, Vec::<String>::new());
    assert_eq!(template.http_api.unwrap().routes.len(), 1);
    let rest = template.rest_api.unwrap();
    assert_eq!((rest.id.as_str(), rest.stage.as_str(), rest.stage_variables["k"].as_str()), ("Rest", "prod", "v"));
    assert_eq!((rest.idle_timeout, rest.cors), (Duration::from_secs(300), None));
    let route = HttpRoute {
        method: "ANY".into(),
        path: "/api/events".into(),
        function: "F".into(),
        timeout: Duration::from_secs(900),
    };
    assert_eq!(rest.routes, [route]);
}

#[test]
fn a_rest_api_has_the_defaults_of_aws() {
    let rest = with(&rest("StageName: prod", STREAMS)).rest_api.unwrap();
    assert_eq!((rest.idle_timeout, rest.routes[0].timeout), (Duration::from_secs(30), Duration::from_secs(29)));
    let implicit = with(
        "  F: { Type: AWS::Serverless::Function, Properties: { Events: { E: { Type: Api, Properties: {
    Path: /, Method: GET, ResponseTransferMode: RESPONSE_STREAM } } } } }\n",
    );
    let implicit = implicit.rest_api.unwrap();
    assert_eq!((implicit.id.as_str(), implicit.stage.as_str()), ("ServerlessRestApi", "Prod"));
    assert_eq!(implicit.routes[0].path, "/");
}

#[test]
fn cors_of_a_rest_api_is_a_quoted_origin_or_a_mapping_of_quoted_values() {
    let cors = |value: &str| with(&rest(&format!("StageName: prod, Cors: {value}"), STREAMS)).rest_api.unwrap().cors;
    let any = RestCors { allow_origin: "*".into(), ..RestCors::default() };
    assert_eq!(cors(r#""'*'""#), Some(any));
    let named = RestCors {
        allow_origin: "https://a.example".into(),
        allow_methods: Some("GET".into()),
        allow_headers: Some("authorization".into()),
        max_age: Some("600".into()),
        allow_credentials: true,
    };
    let given = r#"{ AllowOrigin: "'https://a.example'", AllowMethods: "'GET'", AllowHeaders: "'authorization'",
        MaxAge: "'600'", AllowCredentials: true }"#;
    assert_eq!(cors(given), Some(named));
}

#[test]
fn what_is_not_served_of_a_rest_api_gets_a_warning() {
    let template = with(&rest(
        "StageName: prod, Auth: { DefaultAuthorizer: A }, BinaryMediaTypes: [image~1png]",
        "Path: /, Method: GET",
    ));
    let expected = [
        "Rest: Auth is not supported locally",
        "Rest: BinaryMediaTypes is not supported locally",
        "F/Rest: ResponseTransferMode must be RESPONSE_STREAM for a route to be served locally",
    ];
    assert_eq!(template.warnings, expected);
    assert_eq!(template.rest_api.unwrap().routes, []);
    let authorized =
        with(&rest("StageName: prod", &format!("{STREAMS}, Auth: {{ Authorizer: A }}, RequestModel: {{}}")));
    let expected = [
        "F/Rest: RequestModel is not supported locally",
        "F/Rest: Auth is not supported locally: every request is accepted",
    ];
    assert_eq!(authorized.warnings, expected);
}

#[test]
fn a_route_or_a_stage_that_another_api_hides_gets_a_warning() {
    let hidden = |template: &str| Template::parse(template).unwrap().warnings;
    let below = format!("Resources:\n{}", rest("StageName: prod", STREAMS).replace("/buffered", "/prod/buffered"));
    let hides = "is hidden locally, where the gateway serves something else at that path";
    assert_eq!(hidden(&below), [format!("route /prod/buffered {hides}")]);
    let same = "  Ws: { Type: AWS::Serverless::WebSocketApi, Properties: { StageName: live, Routes: {}, RouteSelectionExpression: $request.body.action } }\n";
    let same = format!("Resources:\n{same}{}", rest("StageName: live", STREAMS));
    assert_eq!(hidden(&same), [format!("stage live of the REST API {hides}")]);
}

#[test]
fn a_rest_api_that_cannot_be_served_is_refused() {
    is_refused(&rest("Name: x", STREAMS), "Rest: StageName: is required");
    is_refused(
        &rest("StageName: a/b", STREAMS),
        r#"Rest: StageName: must consist of a-z, A-Z, 0-9, - and _, got "a/b""#,
    );
    is_refused(
        &rest("StageName: prod, Cors: '*'", STREAMS),
        "Rest: Cors: must be in single quotes inside the string, got *",
    );
    is_refused(
        &rest(r#"StageName: prod, Cors: "'a\nb'""#, STREAMS),
        "Rest: Cors: must consist of printable ASCII characters",
    );
    is_refused(
        &rest("StageName: prod, Cors: { AllowCredentials: true }", STREAMS),
        "Rest: Cors.AllowOrigin: must name an origin, because AllowCredentials is true",
    );
    is_refused(
        &rest("StageName: prod", &STREAMS.replace("/api/events/", "events")),
        "F/Rest: Path: must begin with /, got events",
    );
    is_refused(
        &rest("StageName: prod", &STREAMS.replace("any", "FETCH")),
        "F/Rest: Method: must be an HTTP method or ANY, got FETCH",
    );
    let other = rest("StageName: prod", STREAMS).replace("RestApiId: !Ref Rest,", "");
    is_refused(&other, "F/Rest: RestApiId: must be the REST API that is served, Rest, got ServerlessRestApi");
    let second = format!(
        "{}  Second: {{ Type: AWS::Serverless::Api, Properties: {{ StageName: x }} }}\n",
        rest("StageName: prod", STREAMS)
    );
    is_refused(&second, "Second: Type: only one REST API can be served, and Rest is already one");
}

#[test]
fn a_false_condition_removes_a_resource() {
    let text = format!(
        "Parameters: {{ Env: {{ Type: String, Default: dev }} }}\nConditions: {{ IsProd: !Equals [!Ref Env, prod] }}\nResources:\n{FUNCTION}  G: {{ Type: AWS::Serverless::Function, Condition: IsProd, Properties: {{ CodeUri: . }} }}\n"
    );
    let template = Template::parse(&text).unwrap();
    let names: Vec<_> = template.functions.iter().map(|function| function.logical_id.as_str()).collect();
    assert_eq!(names, ["F"]);
    assert_eq!(template.functions[0].binary.as_deref(), Some("f"));
}

#[test]
fn errors_name_the_resource_and_the_member() {
    is_refused(
        "  F: { Type: AWS::Serverless::Function, Properties: { Timeout: soon } }\n",
        r#"F: Timeout: must be a whole number, got "soon""#,
    );
    is_refused(
        "  F: { Type: AWS::Serverless::Function, Properties: { Events: { T: { Type: Schedule, Properties: { Schedule: rate(1 minutes) } } } } }\n",
        "F/T: Schedule: a rate must be like rate(1 minute) or rate(2 hours), got rate(1 minutes)",
    );
    is_refused(
        "  F: { Type: AWS::Serverless::Function, Properties: { Events: { T: { Type: Schedule, Properties: { Schedule: rate(1 day), Input: '{' } } } } }\n",
        "F/T: Input: must be JSON: EOF while parsing an object at line 1 column 1",
    );
    is_refused(
        "  F: { Type: AWS::Serverless::Function, Properties: { FunctionName: !GetAtt Other.Name } }\n",
        r#"F: FunctionName: must be a string, got {"Fn::GetAtt":["Other","Name"]}, which is known only after a deployment or has no default"#,
    );
    is_refused(
        "  Ws: { Type: AWS::Serverless::WebSocketApi, Properties: { RouteSelectionExpression: $request.body.action, Routes: { $default: { FunctionArn: !GetAtt Missing.Arn } } } }\n",
        r#"Ws/$default: FunctionArn: must be a string, got {"Fn::GetAtt":["Missing","Arn"]}, which is known only after a deployment or has no default"#,
    );
    is_refused(
        "  Ws: { Type: AWS::Serverless::WebSocketApi, Properties: { Routes: {} } }\n",
        "Ws: RouteSelectionExpression: is required",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Template::read("missing/template.yaml".as_ref()).unwrap_err();
    assert!(error.to_string().contains("missing/template.yaml"), "{error}");
    assert!(Template::parse("Resources: [").unwrap_err().to_string().starts_with("the template is not valid YAML: "));
}
