//! template.yaml and migrate.yaml agree with the folders of the functions, their routes, and the environment variables that they read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::config::{Config, Origins};
use shared::http::call::Route;

use crate::template::{members, of_type};
use crate::{access, template, tree};

/// What a function declares in its library.
#[derive(Clone)]
struct Function {
    name: &'static str,
    /// The paths that it answers; empty for a function that is not called over HTTP.
    routes: &'static [Route],
    /// The environment variables without which it does not start.
    needs: &'static [&'static str],
}

const FUNCTIONS: [Function; 21] = [
    function("chats", chats::ROUTES, chats::NEEDS),
    function("connect", &[], connect::NEEDS),
    function("deadletters", deadletters::ROUTES, deadletters::NEEDS),
    function("disconnect", &[], disconnect::NEEDS),
    function("drain", &[], drain::NEEDS),
    function("emit", emit::ROUTES, emit::NEEDS),
    function("health", health::ROUTES, health::NEEDS),
    function("history", history::ROUTES, history::NEEDS),
    function("inbox", inbox::ROUTES, inbox::NEEDS),
    function("message", &[], message::NEEDS),
    function("metrics", metrics::ROUTES, metrics::NEEDS),
    function("migrate", &[], migrate::NEEDS),
    function("notfound", &[], &[]),
    function("page", page::ROUTES, page::NEEDS),
    function("presence", presence::ROUTES, presence::NEEDS),
    function("push", push::ROUTES, push::NEEDS),
    function("send", send::ROUTES, send::NEEDS),
    function("stream", stream::ROUTES, stream::NEEDS),
    function("testing", testing::ROUTES, testing::NEEDS),
    function("tickets", tickets::ROUTES, tickets::NEEDS),
    function("users", users::ROUTES, users::NEEDS),
];
/// The routes of the WebSocket API and their functions.
const SOCKET_ROUTES: [(&str, &str); 3] =
    [("$connect", "connect"), ("$disconnect", "disconnect"), ("$default", "message")];
/// The variables that decide which tokens are valid. A function that verifies tokens has all of them, so that all
/// functions accept the same ones.
const OF_TOKENS: [&str; 6] =
    ["JWT_SECRET", "JWT_SECRET_PREVIOUS", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_SCOPE_PREFIX"];
/// The variables that fill what a URL lacks.
const PASSWORDS: [(&str, &str); 3] = [
    ("DATABASE_URL", "DATABASE_PASSWORD"),
    ("FUNCTIONS_DATABASE_URL", "FUNCTIONS_DATABASE_PASSWORD"),
    ("REDIS_URL", "REDIS_PASSWORD"),
];
/// Variables that no code of ours reads: one describes a deployment to operators, and those of sampling are read by the library that
/// exports spans.
const NOT_READ: [&str; 3] = ["ENV", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];

const fn function(name: &'static str, routes: &'static [Route], needs: &'static [&'static str]) -> Function {
    Function { name, routes, needs }
}

/// template.yaml, with the parameters and resources of migrate.yaml, which is a stack of its own only to be deployed first.
fn parsed() -> Value {
    let mut template = template::parse(&tree::read("template.yaml"));
    let migrate = template::parse(&tree::read("migrate.yaml"));
    let parameters = template["Parameters"].as_object_mut().unwrap();
    parameters.extend(members(&migrate["Parameters"]).map(|(name, parameter)| (name.to_owned(), parameter.clone())));
    let resources = template["Resources"].as_object_mut().unwrap();
    for (name, resource) in members(&migrate["Resources"]) {
        let replaced = resources.insert(name.to_owned(), resource.clone());
        assert!(replaced.is_none(), "{name} is a resource of both templates");
    }
    template
}

fn source_of(function: &str) -> String {
    let texts = tree::rust_under(&[&format!("functions/{function}/src")]);
    assert!(!texts.is_empty(), "functions/{function} has no source");
    texts.into_iter().map(|text| text.text).collect()
}

/// Every function is a resource with a binary of the same name, and there is no other function resource.
fn resource_problems(template: &Value, functions: &[Function]) -> Vec<String> {
    let resources: BTreeMap<&str, &Value> = of_type(template, "AWS::Serverless::Function").collect();
    let mut problems = Vec::new();
    for Function { name, .. } in functions {
        let Some(resource) = resources.get(name) else {
            problems.push(format!("{name}: no resource of that name"));
            continue;
        };
        let metadata = &resource["Metadata"];
        if metadata["BuildProperties"]["Binary"] != *name {
            problems.push(format!("{name}: its Binary is not {name}"));
        }
        if metadata["BuildMethod"] != "rust-cargolambda" {
            problems.push(format!("{name}: its BuildMethod is not rust-cargolambda"));
        }
    }
    for name in resources.keys() {
        if !functions.iter().any(|function| function.name == *name) {
            problems.push(format!("{name}: no folder of that name"));
        }
    }
    problems
}

/// The paths of a function in the HTTP API and the REST API are those of its `ROUTES`, each with `ANY`. The routes of the
/// REST API stream, for as long as they may.
fn route_problems(template: &Value, functions: &[Function]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken = BTreeSet::new();
    let rest: Vec<Value> = of_type(template, "AWS::Serverless::Api").map(|(id, _)| json!({ "Ref": id })).collect();
    for function in functions {
        let name = function.name;
        let mut expected: BTreeSet<&str> = function.routes.iter().map(|r| r.path).collect();
        if name == "notfound" {
            expected.insert("$default");
        }
        let mut found = BTreeSet::new();
        let events = &template["Resources"][name]["Properties"]["Events"];
        for (event, value) in members(events) {
            let properties = &value["Properties"];
            let path = properties["Path"].as_str().unwrap_or_default();
            let is_in_api = match value["Type"].as_str() {
                Some("HttpApi") => properties["ApiId"] == json!({ "Ref": "Http" }),
                Some("Api") => rest.contains(&properties["RestApiId"]),
                _ => continue,
            };
            if properties["Method"] != "ANY" {
                problems.push(format!("{name}/{event}: the method of {path} is not ANY"));
            }
            if !is_in_api {
                problems.push(format!("{name}/{event}: {path} belongs to another API"));
            }
            if value["Type"] == "Api" && properties["ResponseTransferMode"] != "RESPONSE_STREAM" {
                problems.push(format!("{name}/{event}: {path} does not stream"));
            }
            if value["Type"] == "Api" && properties["TimeoutInMillis"] != 900_000 {
                problems.push(format!("{name}/{event}: {path} is cut off before 15 min"));
            }
            if !taken.insert(path) {
                problems.push(format!("{name}/{event}: {path} appears twice"));
            }
            found.insert(path);
        }
        let directions = [(&expected, &found, "is not in the template"), (&found, &expected, "is in no ROUTES")];
        for (paths, others, problem) in directions {
            let missing = paths.difference(others);
            problems.extend(missing.map(|path| format!("{name}: {path} {problem}")));
        }
        for route in function.routes {
            let upper = |method: &&str| method.bytes().all(|byte| byte.is_ascii_uppercase());
            if route.methods.is_empty() || !route.methods.iter().all(upper) {
                problems.push(format!("{name}: {} needs upper-case methods", route.path));
            }
        }
    }
    problems
}

/// Pages of other origins may use every method of a route, and of every call and answer the same headers.
fn cors_problems(template: &Value, functions: &[Function]) -> Vec<String> {
    let cors = &template["Resources"]["Http"]["Properties"]["CorsConfiguration"]["Fn::If"][1];
    let allowed = cors["AllowMethods"].as_array().map(Vec::as_slice).unwrap_or_default();
    let methods: BTreeSet<&str> =
        functions.iter().flat_map(|function| function.routes).flat_map(|route| route.methods).copied().collect();
    let refused = methods.into_iter().filter(|method| !allowed.iter().any(|allowed| allowed == method));
    let mut problems: Vec<String> = refused.map(|method| format!("Http: AllowMethods lacks {method}")).collect();
    let listed = |name: &str| {
        let names: Vec<&str> = cors[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        names.join(",")
    };
    if listed("ExposeHeaders") != stream::EXPOSED_HEADERS {
        problems.push("Http: ExposeHeaders differs from EXPOSED_HEADERS of stream".into());
    }
    if template["Resources"]["Streams"]["Properties"]["Cors"]["AllowHeaders"] != format!("'{}'", listed("AllowHeaders"))
    {
        problems.push("Streams: AllowHeaders differs from that of Http".into());
    }
    problems
}

/// The WebSocket API has exactly the expected routes, and the route response without which replies are dropped.
fn socket_problems(template: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let apis: Vec<_> = of_type(template, "AWS::Serverless::WebSocketApi").collect();
    let [(id, api)] = apis.as_slice() else {
        return vec!["there must be exactly one WebSocketApi".into()];
    };
    let found: BTreeMap<&str, &Value> = members(&api["Properties"]["Routes"]).collect();
    let expected = BTreeMap::from(SOCKET_ROUTES);
    for (route, function) in &expected {
        // The alias, so that a deployment can move sockets to the new version step by step.
        let arn = json!({ "Ref": format!("{function}.Alias") });
        if found.get(route).is_none_or(|route| route["FunctionArn"] != arn) {
            problems.push(format!("{id}: {route} does not go to {function}"));
        }
    }
    for route in found.keys().filter(|route| !expected.contains_key(*route)) {
        problems.push(format!("{id}: {route} is not a known route"));
    }
    let answers = of_type(template, "AWS::ApiGatewayV2::RouteResponse").any(|(_, response)| {
        let properties = &response["Properties"];
        properties["ApiId"] == json!({ "Ref": id })
            && properties["RouteId"] == json!({ "Ref": format!("{id}DefaultRoute") })
    });
    if !answers {
        problems.push(format!("{id}: $default has no route response"));
    }
    problems
}

/// Every environment variable that the configuration reads.
fn readable() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    for answer in [None, Some(String::new()), Some("1".repeat(40))] {
        let variable = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            answer.clone()
        };
        // Only the names matter here, so errors about the values are ignored.
        let _ = Config::read(variable, &[], Origins::Loopback);
    }
    asked.into_inner()
}

/// Every variable that a function needs is set in the template, and every variable that is set is read.
fn variable_problems(template: &Value, functions: &[Function], readable: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let global = &template["Globals"]["Function"]["Environment"]["Variables"];
    for Function { name, needs, .. } in functions {
        let own = &template["Resources"][name]["Properties"]["Environment"]["Variables"];
        let set: BTreeSet<&str> = members(global).chain(members(own)).map(|(n, _)| n).collect();
        let of_tokens: &[&str] = if needs.contains(&"JWT_SECRET") { &OF_TOKENS[1..] } else { &[] };
        let missing = needs.iter().chain(of_tokens).filter(|needed| !set.contains(*needed));
        problems.extend(missing.map(|needed| format!("{name}: {needed} is not set")));
        // Each URL has its password, which may be apart.
        for (url, password) in PASSWORDS {
            if set.contains(url) != set.contains(password) {
                problems.push(format!("{name}: {password} belongs to {url}"));
            }
        }
        // Migrations go past the pooler.
        if set.contains("DATABASE_URL") && set.contains("DATABASE_POOLER") == (*name == "migrate") {
            problems.push(format!("{name}: DATABASE_POOLER belongs to DATABASE_URL, except for migrations"));
        }
        for variable in set.iter().chain(*needs) {
            if !readable.contains(*variable) && !NOT_READ.contains(variable) {
                problems.push(format!("{name}: no function reads {variable}"));
            }
        }
    }
    problems
}

fn problems(template: &Value, functions: &[Function]) -> Vec<String> {
    let mut problems = resource_problems(template, functions);
    problems.extend(route_problems(template, functions));
    problems.extend(cors_problems(template, functions));
    problems.extend(socket_problems(template));
    problems.extend(variable_problems(template, functions, &readable()));
    for Function { name, .. } in functions {
        let policies = &template["Resources"][name]["Properties"]["Policies"];
        problems.extend(access::ungranted(name, policies, &access::used(&source_of(name))));
        problems.extend(access::unreadable(name, template));
    }
    problems
}

#[test]
fn template_routes_functions_and_configuration_agree() {
    let problems = problems(&parsed(), &FUNCTIONS);
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_folder_is_a_function_with_one_name_and_declares_its_routes_and_needs() {
    let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(tree::folders_in("functions"), names);
    for function in &FUNCTIONS {
        let name = function.name;
        let manifest = tree::read(&format!("functions/{name}/Cargo.toml"));
        let named: Vec<&str> = manifest.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
        // The names of the package, and of the library and the binary if they are given.
        assert!(!named.is_empty(), "{name}");
        assert!(named.iter().all(|named| *named == format!("\"{name}\"")), "{name}: {named:?}");
        let source = source_of(name);
        let declares = |constant: &str| source.contains(&format!("pub const {constant}: "));
        assert_eq!(declares("ROUTES"), !function.routes.is_empty(), "{name}");
        assert_eq!(declares("NEEDS"), !function.needs.is_empty(), "{name}");
        let main = tree::read(&format!("functions/{name}/src/main.rs"));
        assert_eq!(main.contains(&format!("({name}::NEEDS)")), declares("NEEDS"), "{name}");
    }
}

#[test]
fn the_configuration_reads_the_variables_that_the_contract_names() {
    let readable = readable();
    for name in ["DATABASE_URL", "ALLOWED_ORIGINS", "RETENTION_DAYS"].iter().chain(&OF_TOKENS) {
        assert!(readable.contains(*name), "{name} not in {readable:?}");
    }
}

#[test]
fn every_disagreement_is_reported() {
    let set = |path: &str, value: Value| {
        let mut template = parsed();
        *template.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        problems(&template, &FUNCTIONS)
    };
    let added = |path: &str, name: &str, value: Value| {
        let mut template = parsed();
        let object = template.pointer_mut(path).and_then(Value::as_object_mut);
        object.unwrap().insert(name.into(), value);
        problems(&template, &FUNCTIONS)
    };
    let streaming = |changed: &str, value: Value| {
        let mut properties = json!({
            "RestApiId": { "Ref": "Rest" }, "Method": "ANY", "Path": "/api/other", "TimeoutInMillis": 900_000,
            "ResponseTransferMode": "RESPONSE_STREAM",
        });
        properties[changed] = value;
        let mut template = parsed();
        template["Resources"]["Rest"] = json!({ "Type": "AWS::Serverless::Api" });
        template["Resources"]["inbox"]["Properties"]["Events"]["Other"] =
            json!({ "Type": "Api", "Properties": properties });
        route_problems(&template, &FUNCTIONS)
    };
    let manage = |resource: &str| {
        let action = "execute-api:ManageConnections";
        json!({ "Statement": [{ "Effect": "Allow", "Action": action, "Resource": resource }] })
    };
    let send = "/Resources/send";
    let ack = "/Resources/inbox/Properties/Events/Ack/Properties";
    for (found, expected) in [
        (set(send, Value::Null), "send: no resource of that name"),
        (set(&format!("{send}/Metadata/BuildProperties/Binary"), json!("sends")), "send: its Binary is not send"),
        (added("/Resources", "extra", json!({ "Type": "AWS::Serverless::Function" })), "extra: no folder of that name"),
        (set(&format!("{ack}/Path"), json!("/api/acks")), "inbox: /api/ack is not in the template"),
        (set(&format!("{ack}/Path"), json!("/api/acks")), "inbox: /api/acks is in no ROUTES"),
        (set(&format!("{ack}/Path"), json!("/api/sync")), "inbox/Ack: /api/sync appears twice"),
        (set(&format!("{ack}/Method"), json!("POST")), "inbox/Ack: the method of /api/ack is not ANY"),
        (streaming("Method", json!("GET")), "inbox/Other: the method of /api/other is not ANY"),
        (streaming("RestApiId", json!({ "Ref": "Http" })), "inbox/Other: /api/other belongs to another API"),
        (streaming("ResponseTransferMode", Value::Null), "inbox/Other: /api/other does not stream"),
        (streaming("TimeoutInMillis", Value::Null), "inbox/Other: /api/other is cut off before 15 min"),
        (streaming("Path", json!("/api/sync")), "inbox/Other: /api/sync appears twice"),
        (streaming("Path", json!("/api/unknown")), "inbox: /api/unknown is in no ROUTES"),
        (
            set(
                "/Resources/Http/Properties/CorsConfiguration/Fn::If/1/AllowMethods",
                json!(["GET", "POST", "DELETE", "PATCH"]),
            ),
            "Http: AllowMethods lacks PUT",
        ),
        (
            set("/Resources/Http/Properties/CorsConfiguration/Fn::If/1/ExposeHeaders", json!(["etag"])),
            "Http: ExposeHeaders differs",
        ),
        (
            set("/Resources/Streams/Properties/Cors/AllowHeaders", json!("'authorization'")),
            "Streams: AllowHeaders differs",
        ),
        (set("/Resources/notfound/Properties/Events", json!({})), "notfound: $default is not in the template"),
        (
            set("/Resources/Live/Properties/Routes/$default/FunctionArn", json!({ "Fn::GetAtt": ["connect", "Arn"] })),
            "Live: $default does not go to message",
        ),
        (added("/Resources/Live/Properties/Routes", "ping", json!({})), "Live: ping is not a known route"),
        (set("/Resources/LiveDefaultRouteResponse", Value::Null), "Live: $default has no route response"),
        (set("/Resources/connect/Properties/Environment", Value::Null), "connect: DATABASE_URL is not set"),
        (set("/Resources/tickets/Properties/Environment", Value::Null), "tickets: JWT_JWKS_URL is not set"),
        (
            added("/Resources/health/Properties/Environment/Variables", "DATABASE_URI", json!("x")),
            "health: no function reads DATABASE_URI",
        ),
        (
            added("/Resources/migrate/Properties/Environment/Variables", "DATABASE_POOLER", json!("none")),
            "migrate: DATABASE_POOLER belongs to DATABASE_URL",
        ),
        (
            set("/Resources/health/Properties/Environment/Variables", json!({"DATABASE_URL": "x", "REDIS_URL": "x"})),
            "health: DATABASE_POOLER belongs to DATABASE_URL",
        ),
        (
            added("/Globals/Function/Environment/Variables", "LOG_LEVEL", json!("x")),
            "notfound: no function reads LOG_LEVEL",
        ),
        (
            added("/Resources/health/Properties", "Policies", manage("x/live/POST/@connections/*")),
            "health: has an unused right: POST",
        ),
        (set("/Resources/inbox/Properties/Policies", json!([])), "inbox: lacks a right: POST"),
        (set("/Resources/history/Properties/Policies", json!([])), "history: may not read the secret of DatabaseUrl"),
        (
            set(
                "/Resources/TokenSecrets/Properties/PolicyDocument/Statement/0/Resource",
                json!([{ "Ref": "JwtSecret" }]),
            ),
            "send: may not read the secret of JwtSecretPrevious",
        ),
        (
            set("/Resources/health/Properties/Policies", json!([{ "Ref": "StoreSecrets" }, { "Ref": "TokenSecrets" }])),
            "health: may read the secret of JwtSecret",
        ),
        (
            set("/Resources/users/Properties/Environment/Variables", json!({"REDIS_URL": "x"})),
            "users: REDIS_PASSWORD belongs to REDIS_URL",
        ),
        (set("/Resources/connect/Properties/Policies", json!([])), "connect: lacks a right: DELETE"),
        (added("/Resources/send/Properties", "Policies", manage("x/live/*")), "send: has more rights than it needs"),
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected:?} not in {found:?}");
    }
}
