//! The REST API: events, paths, heads and refusals. How bodies are relayed is in `streaming.rs`.

use std::time::Duration;

use bytes::Bytes;
use gateway::FunctionError;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Request, RequestExt, Response};
use serde_json::{Value, json};

use crate::harness::{START_MS, Served};

async fn served() -> Served {
    Served::start_with(include_str!("rest.yaml"), |options| options).await
}

#[tokio::test]
async fn a_request_becomes_an_event_of_a_rest_api() {
    let served = served().await;
    let port = served.address().port().to_string();
    let answer = served
        .http("POST", "/v1/files/space%20value?repeat=one&repeat=two&plus=a+b&redirect=https%3A%2F%2Fa%2Fb&empty=")
        .header("Content-Type", "application/json")
        .header("Cookie", "session=abc123; theme=dark")
        .header("User-Agent", "curl/8.7.1")
        .header("X-Dup", "first")
        .header("X-Dup", "second")
        .header("X-Amzn-Trace-Id", "Root=1-a-b")
        .body(r#"{"message":"λ"}"#)
        .send()
        .await;
    let host = served.address().to_string();
    let mut event = served.stream.event().await;
    let context = &mut event["requestContext"];
    assert_eq!(context["requestId"].take(), answer.header("x-amzn-requestid").unwrap());
    assert_eq!(context["extendedRequestId"].take(), answer.header("x-amz-apigw-id").unwrap());
    let expected = json!({
        "resource": "/files/{proxy+}",
        "path": "/files/space%20value",
        "httpMethod": "POST",
        "headers": {
            "Content-Type": "application/json", "Cookie": "session=abc123; theme=dark", "Host": host,
            "User-Agent": "curl/8.7.1", "X-Amzn-Trace-Id": "Root=1-a-b", "X-Dup": "second",
            "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Port": port, "X-Forwarded-Proto": "http",
        },
        "multiValueHeaders": {
            "Content-Type": ["application/json"], "Cookie": ["session=abc123; theme=dark"], "Host": [host],
            "User-Agent": ["curl/8.7.1"], "X-Amzn-Trace-Id": ["Root=1-a-b"], "X-Dup": ["first", "second"],
            "X-Forwarded-For": ["127.0.0.1"], "X-Forwarded-Port": [port], "X-Forwarded-Proto": ["http"],
        },
        "queryStringParameters": { "repeat": "two", "plus": "a b", "redirect": "https://a/b", "empty": "" },
        "multiValueQueryStringParameters": {
            "repeat": ["one", "two"], "plus": ["a b"], "redirect": ["https://a/b"], "empty": [""],
        },
        "pathParameters": { "proxy": "space%20value" },
        "stageVariables": { "k": "v" },
        "requestContext": {
            "resourceId": "local0", "resourcePath": "/files/{proxy+}", "httpMethod": "POST",
            "extendedRequestId": null, "requestTime": "29/Nov/2023:08:04:01 +0000", "path": "/v1/files/space%20value",
            "accountId": "123456789012", "protocol": "HTTP/1.1", "stage": "v1", "domainPrefix": "127",
            "requestTimeEpoch": START_MS, "requestId": null,
            "identity": {
                "cognitoIdentityPoolId": null, "accountId": null, "cognitoIdentityId": null, "caller": null,
                "sourceIp": "127.0.0.1", "principalOrgId": null, "accessKey": null,
                "cognitoAuthenticationType": null, "cognitoAuthenticationProvider": null, "userArn": null,
                "userAgent": "curl/8.7.1", "user": null,
            },
            "domainName": host, "apiId": "Rest",
        },
        "body": "{\"message\":\"λ\"}",
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn absent_members_are_null_and_a_path_without_its_stage_stays_as_it_is() {
    let served = served().await;
    served.http("GET", "/api/events").send().await;
    let event = served.stream.event().await;
    for absent in ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body"] {
        assert_eq!(event.get(absent), Some(&Value::Null), "{absent}");
    }
    let context = &event["requestContext"];
    assert_eq!((&event["path"], &context["path"]), (&json!("/api/events"), &json!("/api/events")));
    assert_eq!((&context["stage"], &context["identity"]["userAgent"]), (&json!("v1"), &Value::Null));
}

#[tokio::test]
async fn a_route_is_served_below_the_stage_and_without_it_unless_the_http_api_has_its_own() {
    let served = served().await;
    for path in ["/v1/api/events", "/api/events", "/v1/rooms/7", "/v1/files/a/b", "/files/a"] {
        assert_eq!(served.http("GET", path).send().await.status, 200, "{path}");
        assert!(served.http.has_no_events().await, "{path}");
        served.stream.event().await;
    }
    for path in ["/rooms/7", "/", "/api", "/v11/api/events", "/api/events/"] {
        served.http("GET", path).send().await;
        assert_eq!(served.http.event().await["rawPath"], path);
    }
    assert!(served.stream.has_no_events().await);
}

#[tokio::test]
async fn lambda_http_reads_the_events_and_the_gateway_reads_its_answers() {
    let served = served().await;
    let function = gateway::streaming_function(|request: Request| async move {
        assert!(matches!(request.request_context_ref(), Some(RequestContext::ApiGatewayV1(_))));
        let proxy = request.path_parameters_ref().and_then(|path| path.first("proxy")).unwrap_or_default().to_owned();
        let query = request.query_string_parameters_ref().map(|query| query.all("a").unwrap_or_default().join("+"));
        let id = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let body = format!("{} {} {proxy} {query:?} {id}", request.method(), request.raw_http_path());
        let response = Response::builder().status(201).header("set-cookie", "a=1").header("set-cookie", "b=2");
        Ok(response.header("etag", "\"7\"").body(http_body_util::Full::new(Bytes::from(body)))?)
    });
    served.stream.does_streaming(move |event| {
        let function = function.clone();
        async move { function.invoke_streaming(Bytes::from(event.to_string()), Duration::from_secs(20)).await }
    });
    let mut answer = served.http("GET", "/v1/files/7?a=1&a=2").header("Last-Event-ID", "x.7").opens().await;
    assert_eq!(answer.sees().await, "GET /files/7 7 Some(\"1+2\") x.7");
    assert_eq!((answer.status, answer.header("etag")), (201, Some("\"7\"")));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
    answer.sees_end().await;
    let request: LambdaRequest = serde_json::from_value(served.stream.event().await).unwrap();
    assert!(matches!(request, LambdaRequest::ApiGatewayV1(_)));
}

#[tokio::test]
async fn a_function_that_does_not_stream_shows_its_answer_as_it_is() {
    let served = served().await;
    served.stream.answers(json!({ "statusCode": 404, "body": "none" }));
    let mut answer = served.http("GET", "/v1/api/events").opens().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(answer.sees().await, r#"{"statusCode":404,"body":"none"}"#);
    answer.sees_end().await;
}

#[tokio::test]
async fn refusals_are_those_of_a_rest_api() {
    let served = served().await;
    let refused = async |method: &str, path: &str| {
        let answer = served.http(method, path).send().await;
        assert!(answer.header("x-amzn-requestid").is_some() && answer.header("x-amz-apigw-id").is_some(), "{path}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        (answer.status, message, answer.header("x-amzn-errortype").unwrap_or_default().to_owned())
    };
    let expected = |status, message: &str, kind: &str| (status, message.to_owned(), kind.to_owned());
    let missing = expected(403, "Missing Authentication Token", "MissingAuthenticationTokenException");
    for (method, path) in [("GET", "/v1"), ("GET", "/v1/unknown"), ("POST", "/v1/api/events"), ("POST", "/api/events")]
    {
        assert_eq!(refused(method, path).await, missing, "{method} {path}");
    }
    assert_eq!(refused("GET", "/v1/files/percent%zz").await, expected(400, "Bad Request", ""));
    let error = FunctionError { error_type: "Unavailable".into(), message: "the store is down".into() };
    served.stream.does_streaming(move |_| {
        let error = error.clone();
        async move { Err(error) }
    });
    let failed = expected(502, "Internal server error", "InternalServerErrorException");
    assert_eq!(refused("GET", "/v1/api/events").await, failed);
    served.stream.does_streaming(|_| async { panic!("on purpose") });
    assert_eq!(refused("GET", "/v1/api/events").await, failed);
}

#[tokio::test]
async fn a_body_whose_event_lambda_does_not_take_is_413() {
    let served = served().await;
    let answer = served.http("POST", "/v1/files/a").body(vec![1; 1024 * 1024 + 1]).send().await;
    assert_eq!(answer.status, 413);
    assert!(served.stream.has_no_events().await);
}

/// The template with this `Cors`.
fn with_cors(cors: &str) -> String {
    include_str!("rest.yaml").replace("StageName: v1,", &format!("StageName: v1, Cors: {cors},"))
}

const CORS: &str = r#"{ AllowOrigin: "'https://app.example'", AllowHeaders: "'authorization'", MaxAge: "'600'", AllowCredentials: true }"#;

#[tokio::test]
async fn the_gateway_answers_options_where_the_rest_api_has_cors() {
    let served = Served::start_with(&with_cors(CORS), |options| options).await;
    for path in ["/v1/api/events", "/api/events"] {
        let answer = served.http("OPTIONS", path).header("Origin", "https://other.example").send().await;
        assert_eq!((answer.status, answer.text()), (200, "{}\n"));
        assert!(answer.header("x-amzn-requestid").is_some());
        let header = |name: &str| answer.header(&format!("access-control-{name}"));
        assert_eq!((header("allow-origin"), header("allow-credentials")), (Some("https://app.example"), Some("true")));
        assert_eq!((header("allow-methods"), header("max-age")), (Some("GET,OPTIONS"), Some("600")));
        assert_eq!(header("allow-headers"), Some("authorization"));
    }
    let any = served.http("OPTIONS", "/v1/files/a").send().await;
    assert_eq!(any.header("access-control-allow-methods"), Some("DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT"));
    assert_eq!(served.http("OPTIONS", "/v1/unknown").send().await.status, 403);
    assert!(served.stream.has_no_events().await && served.http.has_no_events().await);
}

#[tokio::test]
async fn all_other_answers_have_the_cors_headers_of_the_function() {
    let served = Served::start_with(&with_cors(CORS), |options| options).await;
    served.stream.does_streaming(|_| async {
        let answer = Response::builder().header("access-control-allow-origin", "https://mine.example");
        Ok(answer.body(futures_util::StreamExt::boxed(futures_util::stream::empty())).unwrap())
    });
    let answer = served.http("GET", "/v1/api/events").header("Origin", "https://app.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://mine.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let missing = served.http("GET", "/v1/unknown").header("Origin", "https://app.example").send().await;
    assert_eq!(missing.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn without_cors_or_with_a_route_of_its_own_the_function_answers_options() {
    let served = served().await;
    served.http("OPTIONS", "/v1/files/a").send().await;
    assert_eq!(served.stream.event().await["httpMethod"], "OPTIONS");
    assert_eq!(served.http("OPTIONS", "/v1/api/events").send().await.status, 403);

    let template = with_cors(CORS).replace("'/files/{proxy+}', Method: ANY", "'/files/{proxy+}', Method: OPTIONS");
    let served = Served::start_with(&template, |options| options).await;
    served.http("OPTIONS", "/v1/files/a").send().await;
    assert_eq!(served.stream.event().await["httpMethod"], "OPTIONS");
}

#[tokio::test]
async fn local_origins_replace_that_of_the_rest_api() {
    let served = Served::start_with(&with_cors(r#""'https://app.example'""#), |mut options| {
        options.cors_origins = Some(std::sync::Arc::new(|origin| origin.starts_with("http://localhost:")));
        options
    })
    .await;
    for (origin, allowed) in [("http://localhost:5173", Some("http://localhost:5173")), ("https://app.example", None)] {
        let answer = served.http("OPTIONS", "/v1/api/events").header("Origin", origin).send().await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed));
    }
}
