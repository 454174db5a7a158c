//! The HTTP API: events, responses, errors and CORS.

use bytes::Bytes;
use lambda_http::RequestExt;
use lambda_http::request::LambdaRequest;
use serde_json::{Value, json};

use crate::harness::{START_MS, Served};

#[tokio::test]
async fn a_request_becomes_an_event_in_payload_format_2() {
    let served = Served::start().await;
    let port = served.address().port().to_string();
    let query = "repeat=one&repeat=two&plus=a+b&empty=";
    let answer = served
        .http("POST", &format!("/rooms/space%20value?{query}"))
        .header("Content-Type", "application/json")
        .header("Cookie", "session=abc123; theme=dark")
        .header("User-Agent", "curl/8.7.1")
        .header("X-Dup", "first")
        .header("X-Dup", "second")
        .header("X-Amzn-Trace-Id", "Root=1-a-b")
        .body(r#"{"message":"hello"}"#)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let host = served.address().to_string();
    let mut event = served.http.event().await;
    let request_id = event["requestContext"]["requestId"].take();
    assert_eq!(request_id, answer.header("apigw-requestid").unwrap());
    let expected = json!({
        "version": "2.0",
        "routeKey": "ANY /rooms/{id}",
        "rawPath": "/rooms/space value",
        "rawQueryString": query,
        "cookies": ["session=abc123", "theme=dark"],
        "headers": {
            "content-length": "19", "content-type": "application/json", "host": host, "user-agent": "curl/8.7.1",
            "x-amzn-trace-id": "Root=1-a-b", "x-dup": "first,second",
            "x-forwarded-for": "127.0.0.1", "x-forwarded-port": port, "x-forwarded-proto": "http",
        },
        "queryStringParameters": { "repeat": "one,two", "plus": "a b", "empty": "" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "Api", "domainName": host, "domainPrefix": "127",
            "http": {
                "method": "POST", "path": "/rooms/space value", "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "curl/8.7.1",
            },
            "requestId": null, "routeKey": "ANY /rooms/{id}", "stage": "$default",
            "time": "29/Nov/2023:08:04:01 +0000", "timeEpoch": START_MS,
        },
        "body": "{\"message\":\"hello\"}",
        "pathParameters": { "id": "space value" },
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn the_event_of_a_minimal_request_has_no_empty_members() {
    let served = Served::start().await;
    served.http("GET", "/files/a/b").header("X-Forwarded-For", "203.0.113.7").send().await;
    let event = served.http.event().await;
    let names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "pathParameters",
        "isBase64Encoded",
    ];
    assert_eq!(names, expected);
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["headers"]["content-length"], "0");
    assert_eq!(event["headers"]["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
    assert_eq!(event["pathParameters"], json!({ "proxy": "a/b" }));
}

#[tokio::test]
async fn lambda_http_reads_the_events_and_the_gateway_reads_its_answers() {
    let served = Served::start().await;
    let function = gateway::http_function(|request: lambda_http::Request| async move {
        let id = request.path_parameters_ref().and_then(|path| path.first("id")).unwrap_or_default().to_owned();
        let query = request.query_string_parameters_ref().map(|query| query.all("a").unwrap_or_default().join("+"));
        let body = format!("{} {} {:?}", request.method(), id, query);
        Ok(lambda_http::Response::builder()
            .status(201)
            .header("set-cookie", "a=1")
            .header("etag", "\"7\"")
            .body(body.into())?)
    });
    served.http.does(move |event| {
        let function = function.clone();
        async move { function.invoke(Bytes::from(event.to_string())).await }
    });
    let answer = served.http("GET", "/rooms/%CE%BB?a=1&a=2").send().await;
    assert_eq!((answer.status, answer.text()), (201, "GET λ Some(\"1+2\")"));
    assert_eq!((answer.header("set-cookie"), answer.header("etag")), (Some("a=1"), Some("\"7\"")));
    let event = served.http.event().await;
    let request: LambdaRequest = serde_json::from_value(event).unwrap();
    assert!(matches!(request, LambdaRequest::ApiGatewayV2(_)));
}

#[tokio::test]
async fn a_binary_body_is_in_base64_in_both_directions() {
    let served = Served::start().await;
    served.http.answers(json!({ "statusCode": 200, "body": "/wD+", "isBase64Encoded": true }));
    for (content_type, body) in [("image/png", b"abc".as_slice()), ("text/plain", &[0xff, 0x00, 0xfe])] {
        let answer = served.http("POST", "/rooms/7").header("Content-Type", content_type).body(body).send().await;
        assert_eq!(answer.body, [0xff, 0x00, 0xfe]);
        assert_eq!(served.http.event().await["isBase64Encoded"], true, "{content_type}");
    }
}

#[tokio::test]
async fn answers_are_interpreted_by_payload_format_2() {
    let served = Served::start().await;
    served.http.answers(json!({
        "statusCode": 418, "headers": { "X-A": "1", "content-length": "999" }, "multiValueHeaders": { "x-b": ["2"] },
        "cookies": ["a=1", "b=2"], "body": "tea",
    }));
    let answer = served.http("GET", "/rooms/7").send().await;
    assert_eq!((answer.status, answer.text()), (418, "tea"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!((answer.header("x-a"), answer.header("x-b")), (Some("1"), None));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);

    served.http.answers_text(r#""Hello""#);
    let answer = served.http("GET", "/rooms/7").send().await;
    assert_eq!((answer.status, answer.text()), (200, r#""Hello""#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let served = Served::start().await;
    served.http.answers(json!({ "statusCode": 200, "body": "four" }));
    let answer = served.http("HEAD", "/rooms/7").send().await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("4"), 0));
}

#[tokio::test]
async fn errors_are_answered_by_the_gateway() {
    let served = Served::start().await;
    let cases: [(&str, &str, u16, Value); 5] = [
        ("GET", "/unknown", 404, json!({ "message": "Not Found" })),
        ("POST", "/quick", 404, json!({ "message": "Not Found" })),
        ("GET", "/rooms/percent%zz", 400, json!({ "message": "Bad Request" })),
        ("GET", "/rooms/%FF", 400, json!({ "message": "Bad Request" })),
        ("OPTIONS", "*", 400, json!({ "message": "Bad Request" })),
    ];
    for (method, path, status, body) in cases {
        let answer = served.http(method, path).send().await;
        assert_eq!((answer.status, answer.json()), (status, body), "{method} {path}");
    }
    served.http.fails();
    let answer = served.http("GET", "/rooms/7").send().await;
    assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    served.http.answers(json!({ "statusCode": 0 }));
    assert_eq!(served.http("GET", "/rooms/7").send().await.status, 500);
}

#[tokio::test]
async fn a_host_that_cannot_be_part_of_a_url_never_reaches_a_function() {
    let served = Served::start().await;
    for host in ["a b", "x@y", "[::1", "local:host", "1.2.3.999", ""] {
        assert_eq!(served.http("GET", "/rooms/7").host(host).send().await.status, 400, "{host}");
    }
    assert!(served.http.has_no_events().await);
}

#[tokio::test]
async fn a_panic_fails_the_function_and_the_gateway_continues() {
    let served = Served::start().await;
    served.http.does(|_| async { panic!("on purpose") });
    assert_eq!(served.http("GET", "/rooms/7").send().await.status, 500);
    served.http.answers(json!({ "statusCode": 200 }));
    assert_eq!(served.http("GET", "/rooms/7").send().await.status, 200);
}

#[tokio::test]
async fn a_function_continues_after_its_client_got_503() {
    let served = Served::start().await;
    let (finish, finished) = tokio::sync::watch::channel(false);
    let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
    served.http.does(move |_| {
        let (mut finished, done) = (finished.clone(), done.clone());
        async move {
            finished.wait_for(|finished| *finished).await.unwrap();
            done.send(()).unwrap();
            Ok(Bytes::new())
        }
    });
    let answer = served.http("GET", "/quick").send().await;
    assert_eq!((answer.status, answer.text()), (503, r#"{"message":"Service Unavailable"}"#));
    finish.send(true).unwrap();
    crate::harness::in_time(is_done.recv()).await.unwrap();
}

#[tokio::test]
async fn the_gateway_sets_the_cors_headers() {
    let served = Served::start().await;
    served.http.answers(
        json!({ "statusCode": 200, "headers": { "access-control-allow-origin": "*", "access-control-max-age": "1" } }),
    );

    let preflight = served
        .http("OPTIONS", "/rooms/7")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .send()
        .await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("https://app.example")));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    assert!(served.http.has_no_events().await);

    let allowed = served.http("GET", "/rooms/7").header("Origin", "https://app.example").send().await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(allowed.header("access-control-expose-headers"), Some("etag"));
    assert_eq!(allowed.header("access-control-max-age"), None);

    let foreign = served.http("GET", "/rooms/7").header("Origin", "https://other.example").send().await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));
    let without = served.http("GET", "/rooms/7").send().await;
    let refused = served
        .http("OPTIONS", "/rooms/7")
        .header("Origin", "https://other.example")
        .header("Access-Control-Request-Method", "POST")
        .send()
        .await;
    assert_eq!((refused.status, refused.header("access-control-allow-methods")), (204, None));
    for answer in [&preflight, &allowed, &foreign, &without, &refused] {
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn local_origins_replace_those_of_the_template() {
    let served = Served::start_with(include_str!("template.yaml"), |mut options| {
        options.cors_origins = Some(std::sync::Arc::new(|origin| origin.starts_with("http://localhost:")));
        options
    })
    .await;
    let local = served.http("GET", "/unknown").header("Origin", "http://localhost:5173").send().await;
    assert_eq!((local.status, local.header("access-control-allow-origin")), (404, Some("http://localhost:5173")));
    let deployed = served.http("GET", "/unknown").header("Origin", "https://app.example").send().await;
    assert_eq!(deployed.header("access-control-allow-origin"), None);
}
