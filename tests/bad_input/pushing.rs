//! Systems that send Web Push to a push service of the test.

use std::time::Duration;

use drain::Drained;
use harness::push_service::{Browser, PushService, Pushed};
use harness::{TestApp, World, body, event, invoke};
use serde_json::{Value, json};
use shared::function;
use shared::ids::{NotificationId, UserId};
use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::Subscribed;
use shared::web_push::vapid;

pub(crate) const SUBSCRIPTIONS: &str = "/api/push/subscriptions";

/// Longer than a push takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A whole system that sends to this push service, whose drains wait for nothing that is due later.
pub(crate) async fn system(service: &PushService) -> World {
    World::with(&[("WEB_PUSH_HOSTS", &service.host()), ("DRAIN_LINGER_MS", "0")]).await
}

/// The next pushes, of which there are at least so many. A drain that was woken may be sending them still.
pub(crate) async fn next(service: &PushService, count: usize) -> Vec<Pushed> {
    let mut pushed = Vec::new();
    let all = async {
        while pushed.len() < count {
            pushed.extend(service.taken());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, all).await.expect("less was pushed");
    pushed
}

/// Functions without a gateway, whose drain runs when the test says so, and their push service.
pub(crate) struct Deployment {
    pub(crate) test: TestApp,
    pub(crate) service: PushService,
    /// The private key of VAPID.
    pub(crate) private_key: String,
}

impl Deployment {
    /// One that sends to its push service.
    pub(crate) async fn new() -> Self {
        let service = PushService::start().await;
        let hosts = service.host();
        Self::sending_to(&hosts, service).await
    }

    /// One that sends to these hosts.
    pub(crate) async fn sending_to(hosts: &str, service: PushService) -> Self {
        let (public, private) = vapid::generate().unwrap();
        let variables = [
            ("JWT_SECRET", "a secret of at least thirty-two bytes"),
            ("VAPID_PUBLIC_KEY", &public),
            ("VAPID_PRIVATE_KEY", private.reveal()),
            ("VAPID_SUBJECT", "mailto:ops@example.com"),
            ("WEB_PUSH_HOSTS", hosts),
        ];
        let mut test = TestApp::with(&variables).await;
        test.app.push_services = function::push_services(&test.app.config);
        Self { test, service, private_key: private.reveal().to_owned() }
    }

    /// Lets a user subscribe with a new browser at this endpoint.
    pub(crate) async fn subscribes(&self, name: &str, endpoint: &str) -> Browser {
        let browser = Browser::new();
        let Value::Object(members) = browser.subscription(endpoint) else { unreachable!() };
        let subscription = Subscription::read(members, &self.test.app.config.push_hosts).unwrap();
        let user = UserId::new(name).unwrap();
        let subscribed = self.test.app.record.subscriptions.subscribe(&user, None, &subscription).await.unwrap();
        assert_eq!(subscribed, Subscribed::Done);
        browser
    }

    /// Sends to a user, with these members beside the required ones; returns the notification's id.
    pub(crate) async fn sends(&self, name: &str, more: Value) -> String {
        let mut members = json!({"type": "like", "userId": name, "title": "Hi"});
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut call = event("send");
        call["headers"]["authorization"] = self.test.bearer("shop", "notify:send").into();
        call["headers"].as_object_mut().unwrap().remove("idempotency-key");
        call["body"] = members.to_string().into();
        let sent = invoke(&self.test.app, send::handle, call).await;
        assert_eq!(sent.status(), 202, "{}", body(&sent));
        body(&sent)["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Has the drain do what is due.
    pub(crate) async fn drains(&self) -> Drained {
        drain::handle(&self.test.app, self.test.clock.now_ms() + 10_000).await
    }

    /// What the trace of a notification says of Web Push.
    pub(crate) async fn steps(&self, id: &str) -> Vec<&'static str> {
        let id = NotificationId::parse(id).unwrap();
        let trace = self.test.app.record.history.trace(id, None, self.test.app.clock.at()).await.unwrap().unwrap();
        let steps = trace.steps(Some(&[]), self.test.clock.now_ms()).steps.into_iter();
        steps.filter(|step| step.status == Some("web_push")).map(|step| step.step).collect()
    }
}
