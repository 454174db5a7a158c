//! The line that each invocation leaves in the log: exactly one, with names of this code and ids of ours, and with nothing
//! of what a caller sent.

use std::io;
use std::sync::{Arc, Mutex};

use harness::app::request;
use harness::{TestApp, body, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::app::App;
use shared::http::call::Route;
use shared::telemetry::invocation::{self, Origin};
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Every function of the HTTP API, with its routes.
const HTTP: [(&str, &[Route]); 16] = [
    ("chats", chats::ROUTES),
    ("deadletters", deadletters::ROUTES),
    ("emit", emit::ROUTES),
    ("health", health::ROUTES),
    ("history", history::ROUTES),
    ("inbox", inbox::ROUTES),
    ("metrics", metrics::ROUTES),
    ("notfound", &[Route { path: "/canary", methods: &["GET", "CANARY"] }]),
    ("page", page::ROUTES),
    ("presence", presence::ROUTES),
    ("push", push::ROUTES),
    ("send", send::ROUTES),
    ("stream", stream::ROUTES),
    ("testing", testing::ROUTES),
    ("tickets", tickets::ROUTES),
    ("users", users::ROUTES),
];
/// Every member of a line beside its message.
const MEMBERS: [&str; 18] = [
    "function",
    "route",
    "method",
    "action",
    "status",
    "code",
    "serverErrors",
    "requestId",
    "connectionId",
    "sendId",
    "notificationId",
    "chatId",
    "traceId",
    "durationMs",
    "recordMs",
    "momentMs",
    "pushMs",
    "cold",
];
/// What no line contains: it is in every token, body, query, path, name and address that is sent here.
const CANARIES: [&str; 2] = ["canary", "203.0.113.77"];
const USER: &str = "canary@example.org";
const REAL_ID: &str = "6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18";

/// The log of this thread, as functions write it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .without_time()
            .with_max_level(Level::INFO)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// What was written since the last call.
    pub(crate) fn taken(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }

    /// The members of the only line of an invocation since the last call, after a look for canaries in all lines.
    fn line(&self, what: &str) -> Value {
        let text = self.taken();
        for canary in CANARIES {
            assert!(!text.contains(canary), "{what}: {text}");
        }
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut lines: Vec<Value> = lines.filter(|line| line["target"] == "invocation").collect();
        assert_eq!(lines.len(), 1, "{what}: {text}");
        let members = lines.remove(0)["fields"].take();
        for name in members.as_object().unwrap().keys() {
            assert!(name == "message" || MEMBERS.contains(&name.as_str()), "{what}: {name}");
        }
        for name in ["durationMs", "recordMs", "momentMs", "pushMs"] {
            assert!(members[name].as_f64().is_some_and(|ms| ms >= 0.0), "{what}: {name} of {members}");
        }
        assert!(members["cold"].is_boolean(), "{what}: {members}");
        members
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Calls a function of the HTTP API; returns the status of its answer.
async fn call(app: &App, function: &str, event: Value) -> u16 {
    let answer = match function {
        "chats" => invoke(app, chats::handle, event).await,
        "deadletters" => invoke(app, deadletters::handle, event).await,
        "emit" => invoke(app, emit::handle, event).await,
        "health" => invoke(app, health::handle, event).await,
        "history" => invoke(app, history::handle, event).await,
        "inbox" => invoke(app, inbox::handle, event).await,
        "metrics" => invoke(app, metrics::handle, event).await,
        "notfound" => invoke(app, |_, request| notfound::handle(request), event).await,
        "page" => invoke(app, |app, request| page::handle(&app.config, request), event).await,
        "presence" => invoke(app, presence::handle, event).await,
        "push" => invoke(app, push::handle, event).await,
        "send" => invoke(app, send::handle, event).await,
        "stream" => return stream::handle(app, request(event)).await.status().as_u16(),
        "testing" => invoke(app, testing::handle, event).await,
        "tickets" => invoke(app, tickets::handle, event).await,
        "users" => invoke(app, users::handle, event).await,
        other => panic!("{other}"),
    };
    answer.status().as_u16()
}

/// An event with canaries in everything that a client decides.
fn marked(route: &str, method: &str, id: &str, bearer: &str, body: &Value) -> Value {
    let mut event = event("list");
    let path = route.replace("{id}", id).replace("{sendId}", id);
    event["routeKey"] = format!("ANY {route}").into();
    event["requestContext"]["routeKey"] = format!("ANY {route}").into();
    event["requestContext"]["http"] = json!({
        "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.77", "userAgent": "canary agent",
    });
    event["rawPath"] = path.into();
    event["rawQueryString"] = "".into();
    event["queryStringParameters"] = json!({});
    event["pathParameters"] = json!({ "id": id, "sendId": id });
    event["headers"]["authorization"] = bearer.into();
    event["headers"]["user-agent"] = "canary agent".into();
    event["headers"]["x-forwarded-for"] = "203.0.113.77".into();
    event["headers"]["x-canary"] = "canary".into();
    event["headers"]["traceparent"] = "00-canary-canary-01".into();
    if !["GET", "CANARY"].contains(&method) {
        event["body"] = body.to_string().into();
    }
    event
}

/// A body that fits a route, or is refused by it.
fn content(route: &str) -> Value {
    let text = |length: usize| "canary".repeat(length);
    match route {
        "/api/notifications/send" | "/api/push/send" | "/api/notifications/test" => json!({
            "type": "canary", "userIds": [USER, "canary-2"], "title": text(1), "body": text(20),
            "data": {"canary": text(1)}, "actionUrl": "/canary", "idempotencyKey": "canary-key",
        }),
        "/api/chats" => json!({"participantIds": ["canary-2"], "kind": "direct"}),
        "/api/chats/{id}/messages" => json!({"clientId": "canary-client", "body": text(3), "data": {"k": text(1)}}),
        "/api/events/emit" => json!({"type": "system", "name": "canary", "title": text(1), "userIds": [USER]}),
        "/api/users/revoke" => json!({"userId": "canary-3"}),
        _ => json!({"canary": text(5)}),
    }
}

#[tokio::test]
async fn an_invocation_that_panics_leaves_its_line_and_panics() {
    let (log, _guard) = Log::start();
    let panicking = async { panic!("by the test") };
    let invoked = tokio::spawn(invocation::run(Origin::internal("drain"), panicking, |&()| None));
    assert!(invoked.await.unwrap_err().is_panic());
    let line = log.line("a panic");
    assert_eq!(
        (&line["function"], &line["code"], &line["serverErrors"]),
        (&json!("drain"), &json!("internal"), &json!(1))
    );
}

#[tokio::test]
async fn every_call_leaves_one_line_without_anything_that_the_caller_sent() {
    let test = TestApp::new().await;
    let all = test.bearer(USER, "notify:send notify:admin");
    let (log, _guard) = Log::start();
    for (function, routes) in HTTP {
        let calls = routes.iter().flat_map(|route| route.methods.iter().map(move |method| (route.path, *method)));
        for (route, method) in calls {
            for (id, bearer) in
                [("canary-id", "Bearer canary.canary.canary"), ("canary-id", all.as_str()), (REAL_ID, all.as_str())]
            {
                let what = format!("{function}: {method} {route} {id}");
                let event = marked(route, method, id, bearer, &content(route));
                let status = call(&test.app, function, event).await;
                let line = log.line(&what);
                assert_eq!((&line["function"], &line["status"]), (&json!(function), &json!(status)), "{what}");
                assert_eq!(
                    (&line["requestId"], &line["traceId"]),
                    (&json!("ATfSmjLgPHcESJw="), &Value::Null),
                    "{what}"
                );
                let expected = if function == "notfound" { Value::Null } else { route.into() };
                assert_eq!(line["route"], expected, "{what}");
                let expected = if method == "CANARY" { Value::Null } else { method.into() };
                assert_eq!(line["method"], expected, "{what}");
                assert_eq!(line["code"].is_string(), status >= 400, "{what}: {line}");
                assert_eq!(line["serverErrors"], u8::from(status >= 500), "{what}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_line_names_what_the_call_was_about() {
    let test = TestApp::new().await;
    let (log, _guard) = Log::start();
    let all = test.bearer(USER, "notify:send");
    let sending = |route| marked(route, "POST", REAL_ID, &all, &content(route));
    let sent = invoke(&test.app, send::handle, sending("/api/notifications/send")).await;
    assert_eq!(log.line("a send")["sendId"], body(&sent)["sendId"]);
    let created = invoke(&test.app, chats::handle, sending("/api/chats")).await;
    let (line, chat) = (log.line("a chat"), body(&created)["id"].as_str().unwrap().to_owned());
    assert_eq!((&line["status"], &line["chatId"]), (&json!(201), &Value::Null));
    let saying = marked("/api/chats/{id}/messages", "POST", &chat, &all, &content("/api/chats/{id}/messages"));
    assert_eq!(call(&test.app, "chats", saying).await, 201);
    assert_eq!(log.line("a message")["chatId"], *chat);
    let reading = marked("/api/notifications/{id}", "GET", REAL_ID, &all, &Value::Null);
    assert_eq!(call(&test.app, "inbox", reading).await, 404);
    let line = log.line("an unknown notification");
    assert_eq!((&line["notificationId"], &line["code"]), (&json!(REAL_ID), &json!("not_found")));
}

/// A frame of the connection in `tests/events`.
fn frame(frame: &Value) -> Value {
    let mut event = event("message");
    event["requestContext"]["identity"]["sourceIp"] = "203.0.113.77".into();
    event["body"] = frame.to_string().into();
    event
}

#[tokio::test]
async fn every_event_of_a_socket_leaves_one_line() {
    const CONNECTION: &str = "PJqB0fHsqRcCHlw=";
    let test = TestApp::new().await;
    let (log, _guard) = Log::start();
    let mut opening = event("connect");
    opening["queryStringParameters"]["ticket"] = "canary".into();
    opening["multiValueQueryStringParameters"]["ticket"] = json!(["canary"]);
    opening["headers"]["X-Forwarded-For"] = "203.0.113.77".into();
    connect::handle(&test.app, socket_event(opening)).await;
    let line = log.line("a handshake");
    assert_eq!((&line["function"], &line["route"]), (&json!("connect"), &json!("$connect")));
    assert_eq!((&line["status"], &line["code"]), (&json!(401), &json!("invalid_ticket")));
    assert_eq!(line["connectionId"], CONNECTION);

    test.connect(USER, &[CONNECTION]).await;
    log.taken();
    for (sent, action, code) in [
        (json!({"action": "ping", "ref": "canary"}), json!("ping"), Value::Null),
        (json!({"action": "canary", "ref": "canary"}), Value::Null, json!("validation_failed")),
        (json!({"action": "auth", "ticket": "canary"}), json!("auth"), json!("invalid_ticket")),
    ] {
        message::handle(&test.app, socket_event(frame(&sent))).await;
        let line = log.line("a frame");
        assert_eq!((&line["function"], &line["route"]), (&json!("message"), &json!("$default")));
        assert_eq!((&line["action"], &line["code"], &line["status"]), (&action, &code, &json!(200)), "{line}");
        assert_eq!(line["connectionId"], CONNECTION);
    }

    test.connect("canary-2", &["another0000000w="]).await;
    log.taken();
    let said = json!({"action": "sendMessage", "chatId": REAL_ID, "clientId": "canary", "body": "canary"});
    let mut saying = frame(&said);
    saying["requestContext"]["connectionId"] = "another0000000w=".into();
    message::handle(&test.app, socket_event(saying)).await;
    let line = log.line("a message");
    assert_eq!((&line["chatId"], &line["code"]), (&json!(REAL_ID), &json!("not_found")));

    disconnect::handle(&test.app, socket_event(event("disconnect"))).await;
    let line = log.line("the end of a socket");
    assert_eq!((&line["function"], &line["route"]), (&json!("disconnect"), &json!("$disconnect")));
    assert_eq!((&line["status"], &line["connectionId"]), (&json!(200), &json!(CONNECTION)));
}

#[tokio::test]
async fn a_run_of_the_drain_leaves_one_line() {
    let test = TestApp::new().await;
    let (log, _guard) = Log::start();
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let line = log.line("a drain");
    assert_eq!((&line["function"], &line["status"], &line["code"]), (&json!("drain"), &Value::Null, &Value::Null));
    assert!(line["recordMs"].as_f64().unwrap() > 0.0, "{line}");
    test.record.goes_away().await;
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let line = log.line("a drain without a record");
    assert_eq!((&line["code"], &line["serverErrors"]), (&json!("store_unavailable"), &json!(1)));
}
