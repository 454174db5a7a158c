//! Web Push from the send to the push services, by the drain.

mod digests;
mod pushes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drain::Drained;
use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::chat::chats::Change;
use shared::chat::draft::Draft;
use shared::chat::{joining, writing};
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
            "/api/notifications/send" | "/api/push/send" => invoke(&self.test.app, send::handle, call).await,
            _ => invoke(&self.test.app, push::handle, call).await,
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
        assert_eq!(invoke(&self.test.app, inbox::handle, call).await.status(), 204);
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
