//! Every binary answers a recorded event of API Gateway; all of them share the servers.

use std::collections::BTreeSet;

use harness::binaries::{self, Profile};
use harness::event;
use harness::sandbox::{Sandbox, Variables};
use serde_json::{Value, json};

use crate::environment::{bearer, bearer_for, servers};

/// Calls functions, each call in a new sandbox, and keeps track of which functions were called.
struct Deployment {
    variables: Variables,
    called: BTreeSet<&'static str>,
}

impl Deployment {
    async fn call(&mut self, function: &'static str, event: &Value) -> Value {
        self.called.insert(function);
        let mut sandbox = Sandbox::start(&binaries::built(Profile::Dev)[function], &self.variables).await;
        let answer = sandbox.invoke(event).await;
        answer.unwrap_or_else(|error| panic!("{function} failed: {error}"))
    }

    /// Calls a function and asserts the status of its answer; returns the body.
    async fn answers(&mut self, function: &'static str, event: &Value, status: u16) -> Value {
        let answer = self.call(function, event).await;
        assert_eq!(answer["statusCode"], status, "{function}: {answer}");
        answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }

    /// Calls a function that streams until it ends; returns the status and the whole body.
    async fn streams(&mut self, function: &'static str, event: &Value) -> (Value, String) {
        self.called.insert(function);
        let mut sandbox = Sandbox::start(&binaries::built(Profile::Dev)[function], &self.variables).await;
        let answer = sandbox.answers(event.to_string().into()).await.unwrap();
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        let (prelude, body) = answer.split_once(&"\0".repeat(8)).unwrap_or_else(|| panic!("{answer}"));
        let prelude: Value = serde_json::from_str(prelude).unwrap();
        (prelude["statusCode"].clone(), body.to_owned())
    }

    /// A recorded event with a token of this caller.
    fn event_by(&self, name: &str, sub: &str, scope: &str) -> Value {
        let mut event = event(name);
        event["headers"]["authorization"] = bearer(&self.variables, sub, scope).into();
        event
    }
}

#[tokio::test]
async fn every_binary_answers_a_recorded_event() {
    let mut deployment = Deployment { variables: servers().await, called: BTreeSet::new() };
    deployment.variables.push(("ENABLE_TEST_ENDPOINTS".into(), "true".into()));
    let functions_role = "postgres://made_by_migrate:secret@h/x";
    deployment.variables.push(("FUNCTIONS_DATABASE_URL".into(), functions_role.into()));
    let migrated = deployment.call("migrate", &json!({})).await;
    assert_eq!(migrated["functionsRole"], "made_by_migrate", "{migrated}");
    assert!(migrated["version"].as_i64().is_some() && migrated["epochRenewed"] == false, "{migrated}");

    let send = deployment.event_by("send", "shop", "notify:send");
    let payload: Value = serde_json::from_str(send["body"].as_str().unwrap()).unwrap();
    let user = payload["userIds"][0].as_str().unwrap().to_owned();
    let sent = deployment.answers("send", &send, 202).await;
    assert!(sent["notifications"][0]["id"].is_string(), "{sent}");
    let listed = deployment.answers("inbox", &deployment.event_by("list", &user, ""), 200).await;
    assert_eq!(listed["items"][0]["id"], sent["notifications"][0]["id"], "{listed}");

    let renewed = deployment.call("migrate", &json!({"renewEpoch": true})).await;
    assert_eq!((&renewed["version"], &renewed["epochRenewed"]), (&migrated["version"], &json!(true)), "{renewed}");
    let again = deployment.answers("inbox", &deployment.event_by("list", &user, ""), 200).await;
    assert!(again["items"][0]["id"] == listed["items"][0]["id"] && again["cursor"] != listed["cursor"], "{again}");

    let history = deployment.answers("history", &deployment.event_by("history", "shop", "notify:send"), 200).await;
    assert_eq!(history["items"][0]["sendId"], sent["sendId"], "{history}");

    let issued = deployment.answers("tickets", &deployment.event_by("ticket", &user, ""), 201).await;
    let mut opening = event("connect");
    opening["queryStringParameters"]["ticket"] = issued["ticket"].clone();
    opening["multiValueQueryStringParameters"]["ticket"] = json!([issued["ticket"]]);
    deployment.answers("connect", &opening, 200).await;
    let pong = deployment.answers("message", &event("message"), 200).await;
    assert_eq!(pong["type"], "pong", "{pong}");
    let asked = deployment.answers("presence", &deployment.event_by("presence", "operator", "notify:admin"), 200).await;
    assert_eq!(asked["users"].as_array().map(Vec::len), Some(2), "{asked}");
    deployment.answers("disconnect", &event("disconnect"), 200).await;

    let drained = deployment.call("drain", &event("schedule")).await;
    assert_eq!(drained["failed"], false, "{drained}");
    let health = deployment.answers("health", &event("health"), 200).await;
    assert_eq!(health["dependencies"]["database"], "ok", "{health}");
    let metrics = deployment.answers("metrics", &deployment.event_by("metrics", "ops", "notify:admin"), 200).await;
    assert_eq!((&metrics["accepted"], &metrics["degraded"]), (&json!(1), &json!(false)), "{metrics}");
    let dead_letters = deployment.event_by("dead_letters", "ops", "notify:admin");
    let dead_letters = deployment.answers("deadletters", &dead_letters, 200).await;
    assert_eq!(dead_letters["items"], json!([]), "{dead_letters}");
    let tested = deployment.answers("testing", &deployment.event_by("test", "operator", "notify:admin"), 202).await;
    assert_eq!(tested["notifications"][0]["userId"], "operator", "{tested}");
    deployment.answers("page", &event("page"), 200).await;
    let chat = deployment.answers("chats", &deployment.event_by("chat", "operator", ""), 201).await;
    assert_eq!(chat["status"], "PENDING", "{chat}");
    let emitted = deployment.answers("emit", &deployment.event_by("emit", "operator", "notify:admin"), 202).await;
    assert!(emitted["eventId"].is_string(), "{emitted}");
    deployment.answers("users", &deployment.event_by("revoke", "operator", "notify:admin"), 204).await;
    let mut listening = event("events");
    let (status, body) = deployment.streams("stream", &listening).await;
    assert_eq!(status, 401);
    assert!(body.contains("invalid_ticket"), "{body}");
    // It ends with its token.
    listening["headers"]["authorization"] = bearer_for(&deployment.variables, "listener", "", 2).into();
    let (status, body) = deployment.streams("stream", &listening).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(":\n\n") && body.contains("\"pong\"") && body.contains("token_expired"), "{body}");
    let preferences = deployment.answers("push", &deployment.event_by("preferences", &user, ""), 200).await;
    assert_eq!(preferences, json!({"types": {}, "quietHours": null, "mutedChats": {}}), "{preferences}");
    let refused = deployment.answers("notfound", &event("notfound"), 404).await;
    assert_eq!(refused["error"]["code"], "not_found", "{refused}");

    assert!(deployment.called.iter().copied().eq(binaries::functions()), "{:?}", deployment.called);
}
