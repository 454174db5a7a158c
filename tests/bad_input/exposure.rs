//! I. Exposure: what answers, headers and the log reveal.

use std::collections::HashMap;

use futures_util::FutureExt;
use harness::push_service::Reply;
use harness::{TestApp, World, body, event, invoke};
use serde_json::{Value, json};
use shared::config::{Config, Origins};
use shared::web_push::vapid;

use crate::journal;
use crate::pushing::{Deployment, SUBSCRIPTIONS};
use crate::row::{
    CANARY, Call, Expected, Feature, Group, Row, SEND, Who, admin, call, get, post, refused, row, send_with, status,
};
use crate::socket::Socket;

const NOT_FOUND: Expected = refused(404, "not_found");

pub(crate) fn group() -> Group {
    Group { letter: 'I', title: "Exposure", variables: &[], rows: rows() }
}

/// The routes that exist only with `ENABLE_TEST_ENDPOINTS`.
fn test_routes() -> [Call; 5] {
    [
        post("/api/test/redis-notification", "{}"),
        get("/api/test/redis-notification"),
        post("/api/notifications/test", r#"{"type":"like","userId":"victim","title":"Hi"}"#),
        post("/api/notifications/test", "{}"),
        post("/api/test/sse-notification", "{}"),
    ]
}

fn rows() -> Vec<Row> {
    vec![
        row("S163", "test routes in production").script(|_| production().boxed_local()),
        row("S164", "test routes without a token, and as a user")
            .calls(test_routes().map(Call::anonymous), refused(401, "token_missing"))
            .calls(test_routes(), refused(403, "forbidden"))
            .calls(test_routes().map(|call| call.by(Who::Service("shop"))), refused(403, "forbidden")),
        row("S165", "paths that reveal something elsewhere")
            .note("`/health` names its dependencies and their states.")
            .calls(
                [
                    "/debug",
                    "/.env",
                    "/api-docs",
                    "/.git/config",
                    "/actuator",
                    "/server-status",
                    "/swagger.json",
                    "/admin",
                ]
                .map(|path| get(path).anonymous()),
                NOT_FOUND,
            )
            .call(get("/metrics").anonymous(), refused(401, "token_missing"))
            .script(|world| health(world).boxed_local()),
        row("S166", "metrics after sends with marked contents").script(|world| metrics(world).boxed_local()),
        row("S167", "a database that fails").script(|_| failing_database().boxed_local()),
        row("S168", "cross-origin calls of pages that are not allowed")
            .script(|world| cross_origin(world).boxed_local()),
        row("S169", "the headers of every answer")
            .call(get("/api/notifications"), status(200))
            .call(get("/api/sync"), status(200))
            .call(get("/nowhere"), NOT_FOUND)
            .call(get("/health").anonymous(), status(200))
            .script(|world| headers(world).boxed_local()),
        row("S170", "marked tokens, tickets, contents and keys, and then a look into the log")
            .script(|world| marked(world).boxed_local())
            .script(|world| marked_subscriptions(world).boxed_local()),
        row("S171", "lines of a log, and escape sequences of a terminal, in what is sent")
            .call(send_with("title", "Hi\n{\"level\":\"ERROR\"}"), refused(422, "validation_failed"))
            .call(send_with("title", "\u{1b}[2J"), refused(422, "validation_failed"))
            .call(send_with("userIds", json!(["\u{1b}[31m"])), refused(422, "validation_failed"))
            .call(send_with("\n{\"level\":\"ERROR\"}", 1), refused(422, "validation_failed"))
            .call(get("/api/notifications/%0a{%22level%22:%22ERROR%22}"), NOT_FOUND)
            // This one is logged.
            .call(get("/api/notifications").bearer("\u{a0}{\"level\":\"ERROR\"}"), refused(401, "invalid_token"))
            .script(|_| lines_of_the_log().boxed_local()),
        row("S172", "secrets in the debug form of the configuration").script(|_| debug_form().boxed_local()),
        row("S173", "the history").script(|world| history(world).boxed_local()),
        row("S174", "what is left of a deleted user").waits_for(Feature::Erasure),
        row("S175", "the time that a refusal takes")
            .left_out("tickets are looked up by their hash and tokens compared by the cryptography library"),
    ]
}

async fn production() {
    for variables in [&[("ENV", "production")][..], &[("ENABLE_TEST_ENDPOINTS", "false")]] {
        let world = World::with(variables).await;
        for call in test_routes() {
            for who in [Who::Nobody, Who::User("eve"), Who::Admin] {
                NOT_FOUND.check(&call.clone().by(who).send(&world).await, &call.to_string());
            }
        }
        for path in ["/test/redis-notification", "/test/redis-notification/page.js"] {
            NOT_FOUND.check(&get(path).send(&world).await, path);
        }
        world.stops().await;
    }
    let variables = HashMap::from([("ENV", "production"), ("ENABLE_TEST_ENDPOINTS", "true")]);
    let refused = Config::read(|name| variables.get(name).map(ToString::to_string), &[], Origins::Exact(Vec::new()));
    assert!(refused.unwrap_err().to_string().contains("ENABLE_TEST_ENDPOINTS"));
}

async fn health(world: &World) {
    let health = get("/health").anonymous().send(world).await;
    for secret in ["127.0.0.1", "localhost", "://", "/tmp", ".db", "carillon"] {
        assert!(!health.text.contains(secret), "{secret}: {}", health.text);
    }
    assert_eq!(health.expect(200)["status"], "ok");
}

async fn metrics(world: &World) {
    let shop = world.service("marked-service-7");
    let body = json!({"type": "MARKED_TYPE_7", "userIds": ["marked-user-7"], "title": format!("{CANARY} title"),
        "body": format!("{CANARY} body"), "data": {"k": CANARY}, "idempotencyKey": format!("{CANARY}-key")});
    let sent = shop.posts(SEND, body).await.expect(202);
    shop.posts(SEND, json!({"type": 7})).await;
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    for path in ["/api/notifications/metrics/redis", "/metrics"] {
        let metrics = admin(world).gets(path).await;
        assert_eq!(metrics.status, 200);
        for secret in
            [CANARY, "marked-service-7", "marked-user-7", "MARKED_TYPE_7", id, "127.0.0.1", "localhost", "/tmp"]
        {
            assert!(!metrics.text.contains(secret), "{path} contains {secret}");
        }
        assert!(metrics.text.len() < 32 * 1_024, "{} bytes", metrics.text.len());
    }
}

async fn failing_database() {
    let test = TestApp::new().await;
    test.record.goes_away().await;
    let mut send = event("send");
    send["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
    let mut list = event("list");
    list["headers"]["authorization"] = test.bearer("alice", "").into();
    for answer in [invoke(&test.app, send::handle, send).await, invoke(&test.app, inbox::handle, list).await] {
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let error = &body(&answer)["error"];
        assert_eq!(error["code"], "store_unavailable");
        assert_eq!(error["requestId"], answer.headers()["x-request-id"].to_str().unwrap());
        let text = error.to_string().to_lowercase();
        for secret in ["sqlite", "sqlx", "pool", "select", "/tmp", ".rs", "closed"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

async fn cross_origin(world: &World) {
    let preflight = |origin: &str| {
        call("OPTIONS", SEND)
            .anonymous()
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key")
    };
    for origin in ["https://evil.com", "null", "http://localhost.evil.com", "http://localhost:+80", "file://"] {
        for call in [preflight(origin), get("/api/notifications").header("origin", origin)] {
            let answer = call.send(world).await;
            for header in ["access-control-allow-origin", "access-control-allow-credentials"] {
                assert_eq!(answer.header(header), "", "{header} for {origin}");
            }
            assert!(varies_by_origin(&answer), "{call}: {answer:?}");
        }
    }
    let allowed = "http://localhost:5173";
    let answer = preflight(allowed).send(world).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, allowed));
    assert!(answer.header("access-control-allow-headers").contains("idempotency-key"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert!(varies_by_origin(&answer), "{answer:?}");
    let answer = get("/api/notifications").header("origin", allowed).send(world).await;
    assert_eq!(answer.header("access-control-allow-origin"), allowed);
    assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert!(varies_by_origin(&answer), "{answer:?}");
}

fn varies_by_origin(answer: &harness::Answer) -> bool {
    let values = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("origin"))
}

async fn headers(world: &World) {
    for call in
        [get("/api/notifications"), get("/api/notifications").anonymous(), get("/nowhere"), get("/health").anonymous()]
    {
        let answer = call.send(world).await;
        assert_eq!(answer.header("x-request-id").len(), 16, "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        // It would promise TLS where there is none.
        assert!(!answer.headers.contains_key("strict-transport-security"), "{answer:?}");
    }
    let test = TestApp::new().await;
    let over = |name: &str, protocol: &str| {
        let mut event = event(name);
        event["headers"]["x-forwarded-proto"] = protocol.into();
        event
    };
    for protocol in ["https", "http"] {
        for answer in [
            invoke(&test.app, inbox::handle, over("list", protocol)).await,
            invoke(&test.app, health::handle, over("health", protocol)).await,
            invoke(&test.app, |_, request| notfound::handle(request), over("notfound", protocol)).await,
        ] {
            let promised = answer.headers().contains_key("strict-transport-security");
            assert_eq!(promised, protocol == "https", "{answer:?}");
        }
    }
}

/// Good and bad calls and frames with marked values, of which the log of the whole run has none.
async fn marked(world: &World) {
    let shop = world.service("shop");
    let contents = json!({"type": "like", "userIds": ["marked"], "title": format!("{CANARY} title"), "body": CANARY,
        "data": {CANARY: CANARY}, "actionUrl": format!("/{CANARY}"), "idempotencyKey": format!("{CANARY}-1")});
    shop.posts(SEND, contents.clone()).await.expect(202);
    let mut bad = contents;
    bad["title"] = format!("{CANARY}\n").into();
    shop.posts(SEND, bad).await.expect(422);
    shop.calls("POST", SEND, &[("content-type", "application/json")], &format!("{{{CANARY}")).await.expect(400);
    let token = format!("{CANARY}.{CANARY}.{CANARY}");
    get("/api/notifications").bearer(&token).send(world).await.expect(401);

    let marked = world.user("marked");
    let ticket = marked.ticket().await;
    let query = format!("?ticket={ticket}");
    let mut socket = Socket::open(world, &query, &[]).await.unwrap();
    assert!(Socket::open(world, &query, &[]).await.is_err());
    assert!(Socket::open(world, &format!("?ticket={CANARY}"), &[]).await.is_err());
    for text in [
        format!("{{\"action\":\"{CANARY}\"}}"),
        CANARY.to_owned(),
        format!("{{\"action\":\"auth\",\"ticket\":\"{CANARY}\"}}"),
    ] {
        assert!(socket.says(text).await);
    }
    socket.ends().await;

    let log = journal::since(0);
    let bearer = marked.authorization().replace("Bearer ", "");
    for (what, secret) in [("contents", CANARY), ("a ticket", &ticket), ("a token", &bearer), ("a bad token", &token)] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what} in the log");
    }
}

/// Good and bad subscriptions, and pushes that fail in every way, which is logged: without what lets others push there.
async fn marked_subscriptions(world: &World) {
    let marked = world.user("marked");
    for endpoint in [format!("https://push.example.com/{CANARY}"), format!("http://{CANARY}.example.com/")] {
        let keys = json!({"p256dh": CANARY, "auth": CANARY});
        let answer = marked.posts(SUBSCRIPTIONS, json!({"endpoint": endpoint, "keys": keys})).await;
        refused(422, "validation_failed").check(&answer, "a marked subscription");
    }
    let deployment = Deployment::new().await;
    let path = format!("/push/{CANARY}");
    let browser = deployment.subscribes("marked", &deployment.service.endpoint(&path)).await;
    let place = journal::now();
    let failures = [
        Reply::Status(400),
        Reply::Status(403),
        Reply::Status(413),
        Reply::Status(500),
        Reply::RetryAfter(429, CANARY.into()),
        Reply::Redirect(deployment.service.endpoint(&path)),
        Reply::Closed,
        Reply::Status(410),
    ];
    let mut sent_by = String::new();
    for reply in failures {
        deployment.service.replies(std::slice::from_ref(&reply));
        deployment.sends("marked", json!({"title": CANARY})).await;
        deployment.drains().await;
        let taken = deployment.service.taken();
        sent_by = taken.first().unwrap_or_else(|| panic!("{reply:?}")).header("authorization").to_owned();
    }
    assert!(journal::since(place).matches("a push was not accepted").count() >= 5, "{}", journal::since(place));
    let subscription = browser.subscription(&deployment.service.endpoint(&path));
    let log = journal::since(0);
    for (what, secret) in [
        ("contents", CANARY),
        ("the private key", &deployment.private_key),
        ("the token of a push", sent_by.strip_prefix("vapid t=").and_then(|rest| rest.split(',').next()).unwrap()),
        ("a public key", subscription["keys"]["p256dh"].as_str().unwrap()),
        ("a secret", subscription["keys"]["auth"].as_str().unwrap()),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what} in the log");
    }
}

/// Each line of the whole run is one JSON object, and none was made up by what was sent.
async fn lines_of_the_log() {
    let log = journal::since(0);
    assert!(log.lines().count() > 0, "nothing was logged");
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(parsed["fields"].is_object() && parsed["target"].is_string(), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        assert!(line.len() <= 4 * 1_024, "a line of {} bytes: {line:.300}", line.len());
    }
}

async fn debug_form() {
    let (public, private) = vapid::generate().unwrap();
    let secrets = [
        ("VAPID_PUBLIC_KEY", public.as_str()),
        ("VAPID_PRIVATE_KEY", private.reveal()),
        ("VAPID_SUBJECT", "mailto:ops@example.com"),
        ("JWT_SECRET", "0123456789-secret-of-tokens-abcdef"),
        ("DATABASE_URL", "postgres://u:secret-of-postgres@h/d"),
        ("REDIS_URL", "redis://u:secret-of-redis@h:1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-aws"),
        ("AWS_SESSION_TOKEN", "secret-of-session"),
    ];
    let variables = HashMap::from(secrets);
    let config =
        Config::read(|name| variables.get(name).map(ToString::to_string), &[], Origins::Exact(Vec::new())).unwrap();
    for shown in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!shown.contains("secret-of") && !shown.contains("0123456789"), "{shown}");
        assert!(!shown.contains(private.reveal()), "{shown}");
        assert!(shown.contains("retention_ms"), "{shown}");
    }
}

async fn history(world: &World) {
    let body = json!({"type": "like", "userId": "reader-7", "title": "A title", "body": "the body", "data": {"k": "the data"}});
    world.service("florist").posts(SEND, body).await.expect(202);
    let history = "/api/notifications/history";
    for reader in [admin(world), world.service("florist")] {
        let text = reader.gets(history).await.text;
        assert!(text.contains("A title") && !text.contains("the body") && !text.contains("the data"), "{text}");
    }
    assert_eq!(world.service("baker").gets(history).await.expect(200)["items"], json!([]));
}
