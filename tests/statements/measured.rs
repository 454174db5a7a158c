//! An app whose statements are counted.

use std::sync::Arc;
use std::time::Duration;

use harness::app::request;
use harness::{TestApp, body, event, postgres_server, socket_event};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::config::{Pooler, Secret};
use shared::ids::{SendId, UserId};
use shared::record::postgres::PostgresRecord;

use crate::wire::Wire;

/// What a drain without work costs.
pub(crate) const IDLE_DRAIN: usize = 5;

/// An app on Postgres, with a wire between them that counts.
pub(crate) struct Measured {
    pub(crate) test: TestApp,
    pub(crate) wire: Wire,
}

impl Measured {
    pub(crate) async fn new() -> Self {
        Self::of(&postgres_server::database().await, Pooler::None).await
    }

    /// The same on this database, as if it were behind this pooler.
    pub(crate) async fn of(database: &Secret, pooler: Pooler) -> Self {
        let (wire, url) = Wire::before(database).await;
        let mut test = TestApp::new().await;
        // One connection, as a function has; each statement is prepared on it once.
        test.uses_record(Arc::new(PostgresRecord::new(&url, 1).unwrap().behind(pooler)));
        // Where they are not in use, each process asks for that once in 10 s.
        test.accepts_fast().await;
        Self { test, wire }
    }

    /// Calls twice, and asserts that the second call costs this many statements and as many round trips.
    pub(crate) async fn costs(&self, statements: usize, call: impl AsyncFn()) {
        call().await;
        self.costs_prepared(statements, call()).await;
    }

    /// The same for a single call whose statements are already prepared.
    pub(crate) async fn costs_prepared(&self, statements: usize, call: impl Future<Output = ()>) {
        self.wire.taken();
        call.await;
        let report = self.wire.taken();
        let found = (report.statements.len(), report.round_trips);
        assert_eq!(found, (statements, statements), "{:#?}", report.statements);
    }

    /// Sends; returns the id of the first recipient's notification.
    pub(crate) async fn sends(&self, users: &[&str], key: Option<&str>) -> String {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        let mut request_body = json!({"type": "like", "userIds": users, "title": "Hi"});
        if let Some(key) = key {
            request_body["idempotencyKey"] = key.into();
        }
        send_event["body"] = request_body.to_string().into();
        let answer = send::handle(&self.test.app, request(send_event)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        body(&answer)["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Sends this body; returns the send's id.
    pub(crate) async fn sends_body(&self, send: Value) -> SendId {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        send_event["body"] = send.to_string().into();
        let answer = send::handle(&self.test.app, request(send_event)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        SendId::parse(body(&answer)["sendId"].as_str().unwrap()).unwrap()
    }

    /// Calls a route of the inbox as alice.
    pub(crate) async fn calls(&self, method: &str, route: &str, id: &str, query: &str, tag: Option<&str>) -> Value {
        let mut call = event(if method == "GET" { "sync" } else { "read" });
        let path = route.replace("{id}", id);
        call["routeKey"] = format!("ANY {route}").into();
        call["rawPath"] = path.as_str().into();
        call["rawQueryString"] = query.into();
        call["pathParameters"] = json!({"id": id});
        call["requestContext"]["routeKey"] = format!("ANY {route}").into();
        call["requestContext"]["http"]["method"] = method.into();
        call["requestContext"]["http"]["path"] = path.as_str().into();
        call["headers"]["authorization"] = self.test.bearer("alice", "").into();
        if let Some(tag) = tag {
            call["headers"]["if-none-match"] = tag.into();
        }
        let answer = inbox::handle(&self.test.app, request(call)).await;
        let is_expected = if tag.is_some() { answer.status() == 304 } else { answer.status().is_success() };
        assert!(is_expected, "{method} {path}: {answer:?}");
        body(&answer)
    }

    pub(crate) async fn gets(&self, route: &str, id: &str, query: &str) -> Value {
        self.calls("GET", route, id, query, None).await
    }

    /// Opens a socket for alice.
    pub(crate) async fn connects(&self, ticket: &str, connection: &str) {
        let mut connect_event = event("connect");
        connect_event["queryStringParameters"]["ticket"] = ticket.into();
        connect_event["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
        connect_event["requestContext"]["connectionId"] = connection.into();
        let reply = connect::handle(&self.test.app, socket_event(connect_event)).await;
        assert_eq!(serde_json::to_value(&reply).unwrap()["statusCode"], 200);
    }

    /// Opens an event stream for alice, and reads until its first pong; it lasts as long as what is returned.
    pub(crate) async fn streams(&self, ticket: &str, since: Option<&str>) -> (stream::Body, Value) {
        let mut call = event("events");
        call["queryStringParameters"] = json!({"ticket": ticket});
        call["multiValueQueryStringParameters"] = json!({"ticket": [ticket]});
        if let Some(since) = since {
            call["headers"]["last-event-id"] = since.into();
            call["multiValueHeaders"]["last-event-id"] = json!([since]);
        }
        let mut body = stream::handle(&self.test.app, request(call)).await.into_body();
        loop {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&frame).unwrap();
            if let Some((_, data)) = text.split_once("data: ")
                && let pong @ Value::Object(_) = serde_json::from_str(data).unwrap()
                && pong["type"] == "pong"
            {
                return (body, pong);
            }
        }
    }

    /// Sends a frame on a socket.
    pub(crate) async fn sends_frame(&self, connection: &str, frame: Value) {
        let mut frame_event = event("message");
        frame_event["requestContext"]["connectionId"] = connection.into();
        frame_event["body"] = frame.to_string().into();
        let reply = message::handle(&self.test.app, socket_event(frame_event)).await;
        let reply = serde_json::to_value(&reply).unwrap();
        assert_eq!(reply["statusCode"], 200);
        assert!(!reply.to_string().contains("error"), "{frame}: {reply}");
    }

    pub(crate) async fn drains(&self) {
        assert!(!drain::handle(&self.test.app, i64::MAX).await.failed);
    }

    /// Waits until alice has no stream: dropping one forgets it in the background.
    pub(crate) async fn forgets_streams(&self) {
        let alice = UserId::new("alice").unwrap();
        while !self
            .test
            .app
            .record
            .connections
            .of(std::slice::from_ref(&alice), self.test.app.clock.at())
            .await
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn ticket(&self) -> String {
        let mut call = event("ticket");
        call["headers"]["authorization"] = self.test.bearer("alice", "").into();
        let answer = tickets::handle(&self.test.app, request(call)).await;
        assert_eq!(answer.status(), 201, "{answer:?}");
        body(&answer)["ticket"].as_str().unwrap().to_owned()
    }
}
