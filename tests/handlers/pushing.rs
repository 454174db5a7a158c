//! Web Push from the send to the push services, by the drain: when it is sent, to whom, how often, and what it says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drain::Drained;
use harness::{HttpAnswer, TestApp, body, event, request};
use serde_json::{Value, json};
use shared::chat::chats::Change;
use shared::chat::draft::Draft;
use shared::chat::{joining, reading, writing};
use shared::delivery::wake::Wake;
use shared::ids::{ChatId, UserId};
use shared::sockets::push::Outcome as Offered;
use shared::web_push::service::{Outcome, Push, PushServices};
use tokio::sync::Notify;

/// The pair of the sender in RFC 8291, appendix A, and the key of its receiver.
const VAPID: [(&str, &str); 3] = [
    ("VAPID_PUBLIC_KEY", "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
    ("VAPID_PRIVATE_KEY", "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
    ("VAPID_SUBJECT", "mailto:push@example.com"),
];
const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
/// A push service that may be sent what shows nothing, and one that may not.
const SILENT: &str = "https://updates.push.services.mozilla.com";
const SHOWING: &str = "https://fcm.googleapis.com";

/// Push services that only record what they are sent.
#[derive(Default)]
struct FakeServices {
    posts: Mutex<Vec<Post>>,
    /// The next outcomes of each browser, the last first; later ones are accepted.
    outcomes: Mutex<HashMap<String, Vec<Outcome>>>,
    /// The browsers whose push service answers only once it is told to.
    held: Mutex<HashMap<String, Arc<Notify>>>,
    wakes: AtomicUsize,
}

/// What a browser was sent.
#[derive(Debug, Clone)]
struct Post {
    browser: String,
    payload: Value,
    topic: String,
    urgency: &'static str,
    ttl_s: u32,
}

#[async_trait]
impl PushServices for FakeServices {
    async fn post(&self, push: &Push<'_>, _: i64) -> Outcome {
        let browser = push.subscription.endpoint.as_str().rsplit('/').next().unwrap().to_owned();
        let outcome = self.outcomes.lock().unwrap().get_mut(&browser).and_then(Vec::pop);
        self.posts.lock().unwrap().push(Post {
            browser: browser.clone(),
            payload: serde_json::from_slice(push.payload).unwrap(),
            topic: push.topic.unwrap().to_owned(),
            urgency: push.urgency.name(),
            ttl_s: push.ttl_s,
        });
        let held = self.held.lock().unwrap().get(&browser).cloned();
        if let Some(held) = held {
            held.notified().await;
        }
        outcome.unwrap_or(Outcome::Accepted)
    }
}

#[async_trait]
impl Wake for FakeServices {
    async fn wake_drain(&self, _: bool) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl FakeServices {
    fn taken(&self) -> Vec<Post> {
        std::mem::take(&mut self.posts.lock().unwrap())
    }

    /// The browsers and titles of what was sent since the last time, in the order of the browsers.
    fn titles(&self) -> Vec<(String, String)> {
        let title = |post: Post| (post.browser, post.payload["title"].as_str().unwrap_or("close").to_owned());
        let mut titles: Vec<_> = self.taken().into_iter().map(title).collect();
        titles.sort();
        titles
    }

    fn will(&self, browser: &str, outcomes: &[Outcome]) {
        self.outcomes.lock().unwrap().insert(browser.into(), outcomes.iter().rev().copied().collect());
    }

    /// From now on, the push service of this browser answers one push for each notification of what is returned.
    fn holds(&self, browser: &str) -> Arc<Notify> {
        Arc::clone(self.held.lock().unwrap().entry(browser.into()).or_default())
    }

    /// How often the drain was woken since the last time.
    fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::Relaxed)
    }
}

struct Pushing {
    test: TestApp,
    services: Arc<FakeServices>,
}

impl Pushing {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let variables = [&[("JWT_SECRET", "a secret of at least thirty-two bytes")], &VAPID[..], variables].concat();
        let mut test = TestApp::with(&variables).await;
        let services = Arc::new(FakeServices::default());
        test.app.push_services = Some(services.clone());
        test.app.wake = Some(services.clone());
        Self { test, services }
    }

    /// Calls a route as this user; the body may be null.
    async fn calls(&self, name: &str, method: &str, path: &str, payload: Value) -> HttpAnswer {
        let mut call = event("send");
        let template = match path.rsplit_once('/') {
            Some((parent @ "/api/push/subscriptions", id)) => {
                call["pathParameters"] = json!({"id": id});
                format!("{parent}/{{id}}")
            }
            _ => path.to_owned(),
        };
        call["headers"]["authorization"] = self.test.bearer(name, "notify:send").into();
        call["requestContext"]["http"]["method"] = method.into();
        call["requestContext"]["http"]["path"] = path.into();
        (call["rawPath"], call["routeKey"]) = (path.into(), format!("ANY {template}").into());
        call["requestContext"]["routeKey"] = call["routeKey"].clone();
        call["body"] = if payload.is_null() { Value::Null } else { payload.to_string().into() };
        match path {
            "/api/notifications/send" | "/api/push/send" => send::handle(&self.test.app, request(call)).await,
            _ => push::handle(&self.test.app, request(call)).await,
        }
    }

    async fn subscribes(&self, name: &str, service: &str, browser: &str) -> String {
        let subscribed = self.calls(name, "POST", "/api/push/subscriptions", subscription(service, browser)).await;
        assert_eq!(subscribed.status(), 201, "{}", body(&subscribed));
        body(&subscribed)["id"].as_str().unwrap().to_owned()
    }

    /// Sends to this user, and returns the notification's id.
    async fn sends(&self, name: &str, title: &str, more: Value) -> String {
        let mut payload = json!({"type": "like", "userId": name, "title": title});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = self.calls("billing", "POST", "/api/notifications/send", payload).await;
        assert_eq!(sent.status(), 202, "{}", body(&sent));
        body(&sent)["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn prefers(&self, name: &str, preferences: Value) {
        let answer = self.calls(name, "PUT", "/api/preferences", preferences).await;
        assert_eq!(answer.status(), 200, "{}", body(&answer));
    }

    async fn changes(&self, name: &str, method: &str, id: &str, what: &str) {
        let mut call = event("read");
        let (path, template) = (format!("/api/notifications/{id}{what}"), format!("/api/notifications/{{id}}{what}"));
        call["headers"]["authorization"] = self.test.bearer(name, "").into();
        (call["rawPath"], call["routeKey"]) = (path.into(), format!("ANY {template}").into());
        call["requestContext"]["http"]["method"] = method.into();
        call["requestContext"]["routeKey"] = call["routeKey"].clone();
        call["pathParameters"] = json!({"id": id});
        assert_eq!(inbox::handle(&self.test.app, request(call)).await.status(), 204);
    }

    /// Lets so much time pass, and the drain do what is due then.
    async fn drains_after(&self, ms: u64) -> Drained {
        self.test.clock.advance(Duration::from_millis(ms));
        // As late as possible: it does what is due and does not wait for more.
        drain::handle(&self.test.app, self.test.clock.now_ms() + 10_000).await
    }

    async fn steps(&self, id: &str) -> Vec<(String, Option<String>)> {
        let id = shared::ids::NotificationId::parse(id).unwrap();
        let trace = self.test.app.record.history.trace(id, None, self.test.app.clock.at()).await.unwrap().unwrap();
        let steps = trace.steps(Some(&[]), self.test.clock.now_ms()).steps.into_iter();
        steps.map(|step| (step.step.to_owned(), step.status.map(str::to_owned))).collect()
    }

    /// A chat of alice and bob, who has accepted it.
    async fn chat(&self) -> ChatId {
        let asked = json!({"kind": "direct", "participantIds": ["bob"]});
        let asked = joining::Request::read(asked.as_object().unwrap().clone(), &user("alice")).unwrap();
        let chat = joining::create(&self.test.app, &user("alice"), &asked).await.unwrap().chat.chat.id;
        joining::change(&self.test.app, &user("bob"), chat, &Change::Accept).await.unwrap();
        chat
    }

    async fn says(&self, chat: ChatId, name: &str, text: &str) {
        let draft = json!({"clientId": text, "body": text});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        writing::write(&self.test.app, &user(name), chat, &draft).await.unwrap();
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn subscription(service: &str, browser: &str) -> Value {
    json!({
        "endpoint": format!("{service}/{browser}"), "expirationTime": null,
        "keys": {"p256dh": P256DH, "auth": "BTBZMqHH6r4Tts7J_aSIgg"},
    })
}

fn titles<const N: usize>(of: [(&str, &str); N]) -> Vec<(String, String)> {
    of.map(|(browser, title)| (browser.to_owned(), title.to_owned())).to_vec()
}

#[tokio::test]
async fn every_browser_of_an_absent_user_is_pushed_to_once_and_at_once() {
    let pushing = Pushing::new().await;
    for browser in ["phone", "laptop"] {
        pushing.subscribes("alice", SHOWING, browser).await;
    }
    pushing.services.wakes();
    let id = pushing.sends("alice", "Hi", json!({"priority": "high", "body": "you", "actionUrl": "/a"})).await;
    assert_eq!(pushing.services.wakes(), 1);
    assert_eq!(pushing.drains_after(0).await.web_pushed, 2);
    let posts = pushing.services.taken();
    let Post { payload, topic, urgency, ttl_s, .. } = &posts[0];
    let said = [&payload["kind"], &payload["id"], &payload["title"], &payload["body"], &payload["actionUrl"]];
    assert_eq!(said, [&json!("notification"), &json!(id), &json!("Hi"), &json!("you"), &json!("/a")]);
    assert_eq!((payload["tag"].as_str(), *urgency, *ttl_s), (Some(&**topic), "high", 28 * 24 * 60 * 60));
    assert_eq!(posts.iter().map(|post| &*post.browser).collect::<Vec<_>>(), ["phone", "laptop"]);
    assert_eq!(pushing.drains_after(120_000).await.web_pushed, 0);
    let steps = [("accepted", None), ("pushed", Some("web_push"))];
    assert_eq!(pushing.steps(&id).await, steps.map(|(step, status)| (step.to_owned(), status.map(str::to_owned))));
}

#[tokio::test]
async fn without_a_subscription_no_drain_is_woken_and_nothing_is_pushed() {
    let pushing = Pushing::new().await;
    pushing.sends("alice", "Hi", json!({})).await;
    assert_eq!(pushing.services.wakes(), 0);
    assert_eq!(pushing.drains_after(60_000).await, Drained::default());
    assert!(pushing.services.taken().is_empty());
}

#[tokio::test]
async fn a_connected_user_is_pushed_to_only_if_no_device_acknowledges() {
    let pushing = Pushing::new().await;
    pushing.subscribes("alice", SHOWING, "phone").await;
    pushing.test.connect("alice", &["tab"]).await;
    pushing.sends("alice", "one", json!({})).await;
    assert_eq!(pushing.services.wakes(), 0, "the schedule finds it in time");
    let head = pushing.test.app.record.inbox.position(&user("alice"), pushing.test.app.clock.at()).await.unwrap();
    pushing
        .test
        .app
        .record
        .inbox
        .acknowledge(&user("alice"), head.cursor(), pushing.test.app.clock.at())
        .await
        .unwrap();
    pushing.sends("alice", "two", json!({})).await;
    pushing.sends("alice", "three", json!({"priority": "critical"})).await;
    assert_eq!(pushing.services.wakes(), 1, "10 s are too short for the schedule");
    pushing.drains_after(9_999).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.drains_after(1).await;
    assert_eq!(pushing.services.titles(), titles([("phone", "three")]));
    pushing.drains_after(50_000).await;
    assert_eq!(pushing.services.titles(), titles([("phone", "two")]));
}

#[tokio::test]
async fn a_push_service_that_does_not_answer_holds_up_nothing_else() {
    let pushing = Pushing::new().await;
    let test = &pushing.test;
    pushing.subscribes("bob", SILENT, "laptop").await;
    let answers = pushing.services.holds("laptop");
    pushing.sends("bob", "one", json!({})).await;
    test.connect("alice", &["tab"]).await;
    test.push.will("tab", &[Offered::Failed]);
    pushing.sends("alice", "two", json!({})).await;
    test.push.taken();
    let (app, end_ms) = (test.app.clone(), test.clock.now_ms() + 60_000);
    let draining = tokio::spawn(async move { drain::handle(&app, end_ms).await });
    let until = async |is_done: &dyn Fn() -> bool| {
        let polling = async {
            while !is_done() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), polling).await.unwrap();
    };
    until(&|| pushing.services.titles() == titles([("laptop", "one")])).await;
    test.clock.advance(Duration::from_secs(5));
    until(&|| !test.push.taken().is_empty()).await;
    assert!(!draining.is_finished(), "it waits for the answer");
    answers.notify_one();
    let drained = draining.await.unwrap();
    assert_eq!((drained.pushed, drained.web_pushed, drained.failed), (1, 1, false));
}

#[tokio::test]
async fn a_send_by_web_push_only_is_silent_on_open_devices_and_pushed_at_once() {
    let pushing = Pushing::new().await;
    pushing.subscribes("alice", SHOWING, "phone").await;
    pushing.test.connect("alice", &["tab"]).await;
    let payload = json!({"type": "like", "userId": "alice", "title": "Hi"});
    let sent = pushing.calls("billing", "POST", "/api/push/send", payload).await;
    assert_eq!(sent.status(), 202);
    let frames = pushing.test.push.taken();
    assert_eq!((&frames[0].1["silent"], &frames[0].1["notification"]["silent"]), (&json!(true), &json!(true)));
    pushing.drains_after(0).await;
    assert_eq!(pushing.services.taken()[0].payload["silent"], true);
    let both = json!({"type": "like", "userId": "alice", "title": "Hi", "channels": ["realtime", "push"]});
    let refused = pushing.calls("billing", "POST", "/api/push/send", both).await;
    let fields = body(&refused)["error"]["fields"].clone();
    assert_eq!((refused.status().as_u16(), fields), (422, json!(["channels"])));
}

#[tokio::test]
async fn preferences_decide_what_rings_where() {
    let pushing = Pushing::new().await;
    pushing.subscribes("alice", SHOWING, "phone").await;
    let types = json!({"like": {"push": false}, "chat": {"realtime": false}});
    pushing.prefers("alice", json!({"types": types})).await;
    let stored = pushing.calls("alice", "GET", "/api/preferences", Value::Null).await;
    assert_eq!(body(&stored), json!({"types": types, "quietHours": null, "mutedChats": {}}));
    pushing.test.connect("alice", &["tab"]).await;
    pushing.sends("alice", "off", json!({})).await;
    pushing.sends("alice", "critical", json!({"priority": "critical"})).await;
    pushing.sends("alice", "silent", json!({"type": "chat"})).await;
    let silent: Vec<bool> = pushing.test.push.taken().iter().map(|(_, frame)| frame["silent"] == true).collect();
    assert_eq!(silent, [false, false, true]);
    pushing.drains_after(120_000).await;
    assert_eq!(pushing.services.titles(), titles([("phone", "critical"), ("phone", "silent")]));
}

#[tokio::test]
async fn quiet_hours_hold_pushes_and_end_with_one() {
    let pushing = Pushing::new().await;
    for name in ["alice", "bob"] {
        pushing.subscribes(name, SHOWING, name).await;
    }
    // The clock of the tests shows 08:00 UTC.
    let quiet = json!({"quietHours": {"from": "10:00", "to": "12:00", "timeZone": "Africa/Johannesburg"}});
    for name in ["alice", "bob"] {
        pushing.prefers(name, quiet.clone()).await;
    }
    for (title, priority) in [("one", "normal"), ("two", "high"), ("now", "critical")] {
        pushing.sends("bob", title, json!({"priority": priority})).await;
    }
    let chat = pushing.chat().await;
    pushing.says(chat, "alice", "hello").await;
    pushing.sends("alice", "only", json!({})).await;
    pushing.drains_after(60_000).await;
    assert_eq!(pushing.services.titles(), titles([("bob", "now")]));
    pushing.drains_after(2 * 3_600_000 - 60_001).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.drains_after(1).await;
    let summary = "2 new notifications and 1 new message";
    assert_eq!(pushing.services.titles(), titles([("alice", "only"), ("bob", summary)]));
    pushing.drains_after(3_600_000).await;
    assert_eq!(pushing.services.titles(), []);
}

#[tokio::test]
async fn a_digest_tells_what_is_still_unread_at_its_end() {
    let pushing = Pushing::with(&[("DIGEST_TYPES", "like=120s")]).await;
    pushing.subscribes("alice", SILENT, "phone").await;
    let mut ids = Vec::new();
    for title in ["one", "two", "three"] {
        ids.push(pushing.sends("alice", title, json!({})).await);
        pushing.drains_after(10_000).await;
    }
    pushing.sends("alice", "other", json!({"type": "news", "digest": {"windowMs": 60_000}})).await;
    pushing.drains_after(0).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.changes("alice", "POST", &ids[2], "/read").await;
    pushing.drains_after(60_000).await;
    assert_eq!(pushing.services.titles(), titles([("phone", "other")]), "a digest of one says what that says");
    pushing.drains_after(40_000).await;
    let posts = pushing.services.taken();
    let Post { payload, .. } = &posts[0];
    assert_eq!(
        (&payload["title"], &payload["body"], &payload["count"], &payload["type"]),
        (&json!("2 new notifications"), &json!("two"), &json!(2), &json!("like"))
    );
    // Reading the last of them closes it, where push services allow that.
    pushing.changes("alice", "POST", &ids[0], "/read").await;
    pushing.drains_after(0).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.changes("alice", "DELETE", &ids[1], "").await;
    pushing.drains_after(0).await;
    let closed = pushing.services.taken();
    assert_eq!((&closed[0].payload["kind"], &closed[0].topic), (&json!("close"), &posts[0].topic));
}

#[tokio::test]
async fn what_was_pushed_is_closed_where_that_is_allowed() {
    let pushing = Pushing::new().await;
    pushing.subscribes("alice", SHOWING, "chrome").await;
    pushing.subscribes("alice", SILENT, "firefox").await;
    let id = pushing.sends("alice", "Hi", json!({})).await;
    pushing.drains_after(0).await;
    let topic = pushing.services.taken()[0].topic.clone();
    pushing.services.wakes();
    pushing.changes("alice", "POST", &id, "/read").await;
    assert_eq!(pushing.services.wakes(), 1);
    pushing.drains_after(0).await;
    let posts = pushing.services.taken();
    let [Post { browser, payload, topic: closing, urgency, .. }] = &posts[..] else { panic!("{posts:?}") };
    assert_eq!((&**browser, &payload["kind"], closing, *urgency), ("firefox", &json!("close"), &topic, "very-low"));
    pushing.drains_after(120_000).await;
    assert!(pushing.services.taken().is_empty());
}

#[tokio::test]
async fn each_answer_of_a_push_service_has_its_consequence() {
    let pushing = Pushing::new().await;
    let browsers = ["ok", "gone", "busy", "small", "refusing"];
    for browser in browsers {
        pushing.subscribes("alice", SHOWING, browser).await;
    }
    pushing.services.will("gone", &[Outcome::Gone]);
    pushing.services.will("busy", &[Outcome::Later { after_ms: Some(30_000) }, Outcome::Later { after_ms: None }]);
    pushing.services.will("small", &[Outcome::TooLarge]);
    pushing.services.will("refusing", &[Outcome::Refused { status: Some(301) }]);
    let id = pushing.sends("alice", "Hi", json!({"body": "a body"})).await;
    pushing.drains_after(0).await;
    let posts = pushing.services.taken();
    assert_eq!(posts.len(), 6);
    let small: Vec<&Value> =
        posts.iter().filter(|post| post.browser == "small").map(|post| &post.payload["fetch"]).collect();
    assert_eq!(small, [&Value::Null, &json!(true)], "what is too large is told by its title");
    // Only the one that was busy is asked again: as late as it asked for, and later with each failure.
    pushing.drains_after(29_999).await;
    assert!(pushing.services.taken().is_empty());
    pushing.drains_after(1).await;
    assert_eq!(pushing.services.titles(), titles([("busy", "Hi")]));
    pushing.drains_after(20_000).await;
    assert_eq!(pushing.services.titles(), titles([("busy", "Hi")]));
    assert_eq!(pushing.steps(&id).await[1].0, "pushed");
    pushing.drains_after(3_600_000).await;
    pushing.sends("alice", "Next", json!({})).await;
    pushing.drains_after(0).await;
    let next: Vec<String> = pushing.services.titles().into_iter().map(|(browser, _)| browser).collect();
    assert_eq!(next, ["busy", "ok", "refusing", "small"], "the one that was gone is forgotten");
}

#[tokio::test]
async fn a_push_that_nobody_takes_fails_in_the_end() {
    let pushing = Pushing::new().await;
    pushing.subscribes("alice", SHOWING, "phone").await;
    pushing.services.will("phone", &[Outcome::Later { after_ms: None }; 10]);
    let id = pushing.sends("alice", "Hi", json!({})).await;
    let mut attempts = 0;
    for _ in 0..20 {
        pushing.drains_after(3_600_000).await;
        attempts += pushing.services.taken().len();
    }
    assert_eq!(attempts, 6);
    let steps = pushing.steps(&id).await;
    assert_eq!(steps.last(), Some(&("push_failed".to_owned(), Some("web_push".to_owned()))), "{steps:?}");
}

#[tokio::test]
async fn absent_members_of_a_chat_hear_of_its_messages_together() {
    let pushing = Pushing::new().await;
    pushing.subscribes("bob", SILENT, "phone").await;
    let chat = pushing.chat().await;
    pushing.services.wakes();
    for text in ["one", "two"] {
        pushing.says(chat, "alice", text).await;
    }
    assert!(pushing.services.wakes() > 0);
    pushing.drains_after(29_999).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.drains_after(1).await;
    let posts = pushing.services.taken();
    let Post { payload, topic, .. } = &posts[0];
    assert_eq!((&payload["kind"], &payload["chatId"], &payload["count"]), (&json!("digest"), &json!(chat), &json!(2)));
    assert_eq!((&payload["title"], &payload["body"]), (&json!("2 new messages from alice"), &json!("two")));
    pushing.says(chat, "alice", "three").await;
    pushing.drains_after(30_000).await;
    let more = pushing.services.taken();
    assert_eq!((&more[0].payload["count"], &more[0].topic), (&json!(3), topic), "it replaces the one before");
    reading::read(&pushing.test.app, &user("bob"), chat, 3).await.unwrap();
    pushing.drains_after(0).await;
    let closed = pushing.services.taken();
    assert_eq!((&closed[0].payload["kind"], &closed[0].topic), (&json!("close"), topic));
    // A muted chat rings no more.
    pushing.prefers("bob", json!({"mutedChats": {chat.to_string(): null}})).await;
    pushing.says(chat, "alice", "four").await;
    pushing.drains_after(60_000).await;
    assert_eq!(pushing.services.titles(), []);
}

#[tokio::test]
async fn subscriptions_belong_to_their_callers() {
    let pushing = Pushing::new().await;
    let key = pushing.calls("alice", "GET", "/api/push/key", Value::Null).await;
    assert_eq!(body(&key), json!({"key": VAPID[0].1}));
    let id = pushing.subscribes("alice", SHOWING, "phone").await;
    assert_eq!(pushing.subscribes("alice", SHOWING, "phone").await, id);
    let mut other_keys = subscription(SHOWING, "phone");
    other_keys["keys"]["auth"] = "AAAAAAAAAAAAAAAAAAAAAA".into();
    let taken = pushing.calls("bob", "POST", "/api/push/subscriptions", other_keys).await;
    assert_eq!((taken.status().as_u16(), &body(&taken)["error"]["code"]), (409, &json!("conflict")));
    let path = format!("/api/push/subscriptions/{id}");
    assert_eq!(pushing.calls("bob", "DELETE", &path, Value::Null).await.status(), 404);
    assert_eq!(pushing.calls("alice", "DELETE", &path, Value::Null).await.status(), 204);
    assert_eq!(pushing.calls("alice", "DELETE", &path, Value::Null).await.status(), 404);
    assert_eq!(pushing.calls("alice", "DELETE", "/api/push/subscriptions/x", Value::Null).await.status(), 404);
    pushing.sends("alice", "Hi", json!({})).await;
    pushing.drains_after(60_000).await;
    assert!(pushing.services.taken().is_empty());
}

#[tokio::test]
async fn without_keys_there_is_no_web_push() {
    let test = TestApp::new().await;
    let pushing = Pushing { test, services: Arc::default() };
    assert_eq!(pushing.calls("alice", "GET", "/api/push/key", Value::Null).await.status(), 404);
    let subscribing = pushing.calls("alice", "POST", "/api/push/subscriptions", subscription(SHOWING, "phone")).await;
    assert_eq!(subscribing.status(), 404);
}
