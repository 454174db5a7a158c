//! Templates, which the gateway reads.

use gateway::Template;

use crate::target::{Target, shape, signature};

const WORDS: &[&str] = &[
    "!Ref",
    "!Sub",
    "!GetAtt",
    "!If",
    "Fn::Sub",
    "Ref",
    "${AWS::StackName}",
    "${",
    "Resources",
    "Type",
    "Properties",
    "Events",
    "AWS::Serverless::Function",
    "AWS::ApiGatewayV2::Route",
    "rate(1 minute)",
    "cron(0 0 * * ? *)",
    "Parameters",
    "Default",
    "Conditions",
    "\n  ",
    "- ",
    "&a",
    "*a",
    "? ",
    "|",
    ">",
    "!!binary",
    "<<",
];

pub(crate) fn target() -> Target {
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap();
    // Small ones are read often, the whole one shows how the parts belong together.
    let small = [
        "Parameters:\n  P:\n    Type: String\n    Default: x\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
         FunctionName: !Sub 'a-${P}'\n      Timeout: 5\n      Events:\n        A:\n          Type: HttpApi\n          Properties: {Path: /a/{id}, Method: GET}\n        \
         S:\n          Type: Schedule\n          Properties: {Schedule: rate(1 minute)}\n",
        "Resources:\n  W:\n    Type: AWS::ApiGatewayV2::Api\n    Properties: {Name: w, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}\n  \
         R:\n    Type: AWS::ApiGatewayV2::Route\n    Properties: {ApiId: !Ref W, RouteKey: $default, Target: !Join ['/', [integrations, !Ref I]]}\n",
    ];
    let seeds = small.into_iter().map(|text| text.as_bytes().to_vec()).chain([whole]).collect();
    Target { name: "templates", seeds, words: WORDS, attempt: Box::new(attempt) }
}

fn attempt(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    match Template::parse(&text) {
        Ok(template) => {
            let routes = template.http_api.as_ref().map_or(0, |api| api.routes.len());
            let sockets = template.websocket_api.as_ref().map_or(0, |api| api.routes.len());
            signature((
                template.functions.len().min(5),
                routes.min(5),
                sockets.min(5),
                template.schedules.len().min(3),
                template.warnings.len().min(5),
            ))
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty());
            signature(shape(&message))
        }
    }
}
