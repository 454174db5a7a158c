//! How pushes reach push services, and how their answers become outcomes.

use std::collections::HashMap;
use std::time::Duration;

use harness::START_MS;
use harness::push_service::{Browser, PushService, Pushed, Reply};
use serde_json::{Value, json};
use shared::config::{Config, Origins};
use shared::web_push::encryption::MAX_PAYLOAD_BYTES;
use shared::web_push::http_service::HttpPushServices;
use shared::web_push::service::{Outcome, Push, PushServices, Urgency};
use shared::web_push::subscription::Subscription;
use shared::web_push::vapid;

/// Long enough for every answer that comes on this machine.
const PATIENT: Duration = Duration::from_secs(30);
/// For answers that never come.
const IMPATIENT: Duration = Duration::from_secs(1);
const PAYLOAD: &[u8] = br#"{"kind":"close","tag":"x"}"#;

/// A deployment that sends to one host, and its public key.
struct Deployment {
    services: HttpPushServices,
    config: Config,
}

impl Deployment {
    fn sending_to(hosts: &str, timeout: Duration) -> Self {
        let (public, private) = vapid::generate().unwrap();
        let variables = HashMap::from([
            ("VAPID_PUBLIC_KEY", public.as_str()),
            ("VAPID_PRIVATE_KEY", private.reveal()),
            ("VAPID_SUBJECT", "mailto:ops@example.com"),
            ("WEB_PUSH_HOSTS", hosts),
        ]);
        let variable = |name: &str| variables.get(name).map(ToString::to_string);
        let config = Config::read(variable, &[], Origins::Loopback).unwrap();
        let services = HttpPushServices::new(config.vapid.clone().unwrap(), config.push_hosts.clone());
        Self { services: services.with_timeout(timeout), config }
    }

    /// A browser's subscription, if this deployment may send to its endpoint.
    fn read(&self, subscription: Value) -> Option<Subscription> {
        let Value::Object(members) = subscription else { panic!("{subscription}") };
        Subscription::read(members, &self.config.push_hosts).ok()
    }

    async fn pushes(&self, subscription: &Subscription, payload: &[u8], now_ms: i64) -> Outcome {
        let push = Push { subscription, payload, ttl_s: 3_600, urgency: Urgency::Normal, topic: None };
        self.services.post(&push, now_ms).await
    }
}

/// A push service, a deployment that sends to it, and a subscription at it.
async fn subscribed(timeout: Duration) -> (PushService, Deployment, Subscription) {
    let service = PushService::start().await;
    let deployment = Deployment::sending_to(&service.host(), timeout);
    let subscription = deployment.read(Browser::new().subscription(&service.endpoint("/push/1"))).unwrap();
    (service, deployment, subscription)
}

/// The outcome of a push that is answered so, and how often it was sent.
async fn pushed(reply: Reply, timeout: Duration) -> (Outcome, usize) {
    let (service, deployment, subscription) = subscribed(timeout).await;
    service.replies(&[reply]);
    (deployment.pushes(&subscription, PAYLOAD, START_MS).await, service.taken().len())
}

#[tokio::test]
async fn a_push_arrives_signed_and_only_its_browser_can_read_it() {
    let (service, deployment, _) = subscribed(PATIENT).await;
    let browser = Browser::new();
    let subscription = deployment.read(browser.subscription(&service.endpoint("/push/1?token=a%2Fb"))).unwrap();
    let topic = "abcdefghijklmnopqrstuvwxyz-_0123";
    let push =
        Push { subscription: &subscription, payload: PAYLOAD, ttl_s: 60, urgency: Urgency::High, topic: Some(topic) };
    assert_eq!(deployment.services.post(&push, START_MS).await, Outcome::Accepted);
    let taken = service.taken();
    let [pushed] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!(pushed.path, "/push/1?token=a%2Fb");
    assert_eq!(browser.decrypted(pushed), PAYLOAD);
    let headers = ["ttl", "urgency", "topic", "content-encoding", "content-type"].map(|name| pushed.header(name));
    assert_eq!(headers, ["60", "high", topic, "aes128gcm", "application/octet-stream"]);

    let (claims, key) = pushed.sender();
    assert_eq!(key, deployment.config.vapid.as_ref().unwrap().public_key());
    let exp = START_MS / 1_000 + 12 * 60 * 60;
    let aud = format!("http://{}", service.host());
    assert_eq!(claims, json!({"aud": aud, "exp": exp, "sub": "mailto:ops@example.com"}));

    assert_eq!(deployment.pushes(&subscription, &[b'x'; MAX_PAYLOAD_BYTES], START_MS + 1_000).await, Outcome::Accepted);
    let taken = service.taken();
    assert_eq!(browser.decrypted(&taken[0]), [b'x'; MAX_PAYLOAD_BYTES]);
    assert_eq!((taken[0].header("authorization"), taken[0].header("topic")), (pushed.header("authorization"), ""));
    assert_eq!(service.connections(), 1);
}

#[tokio::test]
async fn each_answer_has_its_outcome_and_no_request_is_repeated() {
    let later = |after_ms| Outcome::Later { after_ms };
    let wait = |status, wait: &str| Reply::RetryAfter(status, wait.into());
    // START_MS and 90 s.
    let date = wait(429, "Fri, 15 Jan 2027 08:01:30 GMT");
    for (reply, outcome) in [
        (Reply::Status(200), Outcome::Accepted),
        (Reply::Status(201), Outcome::Accepted),
        (Reply::Status(202), Outcome::Accepted),
        (Reply::Status(204), Outcome::Accepted),
        (Reply::Status(404), Outcome::Gone),
        (Reply::Status(410), Outcome::Gone),
        (Reply::Status(413), Outcome::TooLarge),
        (Reply::Status(429), later(None)),
        (wait(429, "120"), later(Some(120_000))),
        (date, later(Some(90_000))),
        (Reply::Status(500), later(None)),
        (wait(503, "7"), later(Some(7_000))),
        (wait(503, "soon"), later(None)),
        (Reply::Status(400), Outcome::Refused { status: Some(400) }),
        (Reply::Status(403), Outcome::Refused { status: Some(403) }),
        (wait(403, "7"), Outcome::Refused { status: Some(403) }),
    ] {
        assert_eq!(pushed(reply.clone(), PATIENT).await, (outcome, 1), "{reply:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = PushService::start().await;
    for url in ["http://169.254.169.254/latest/meta-data".to_owned(), elsewhere.endpoint("/")] {
        let outcome = pushed(Reply::Redirect(url.clone()), PATIENT).await;
        assert_eq!(outcome, (Outcome::Refused { status: Some(307) }, 1), "{url}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_only_so_long() {
    assert_eq!(pushed(Reply::Nothing, IMPATIENT).await, (Outcome::Later { after_ms: None }, 1));
}

#[tokio::test]
async fn a_body_without_end_is_not_read_and_changes_nothing() {
    let (service, deployment, subscription) = subscribed(PATIENT).await;
    service.replies(&[Reply::EndlessBody, Reply::Status(201)]);
    assert_eq!(deployment.pushes(&subscription, PAYLOAD, START_MS).await, Outcome::Accepted);
    // The rest of that body must not be taken for the next answer.
    assert_eq!(deployment.pushes(&subscription, PAYLOAD, START_MS).await, Outcome::Accepted);
    assert_eq!((service.taken().len(), service.connections()), (2, 2));
    // What was not read is in the buffers of two sockets.
    assert!(service.endless_bytes() < 32 * 1_024 * 1_024, "{} bytes", service.endless_bytes());
    assert_eq!(pushed(Reply::NoBody, IMPATIENT).await, (Outcome::Accepted, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_is_replaced_once() {
    let (service, deployment, subscription) = subscribed(PATIENT).await;
    service.replies(&[Reply::Closed, Reply::Status(201)]);
    assert_eq!(deployment.pushes(&subscription, PAYLOAD, START_MS).await, Outcome::Accepted);
    assert_eq!(service.taken().len(), 2);
    assert_eq!(pushed(Reply::Closed, PATIENT).await, (Outcome::Later { after_ms: None }, 2));
}

#[tokio::test]
async fn connections_are_kept_but_not_over_a_pause() {
    let (service, deployment, subscription) = subscribed(PATIENT).await;
    let mut connections = Vec::new();
    for after_ms in [0, 20_000, 40_001, 60_001, 0] {
        assert_eq!(deployment.pushes(&subscription, PAYLOAD, START_MS + after_ms).await, Outcome::Accepted);
        connections.push(service.connections());
    }
    assert_eq!(connections, [1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn a_service_that_is_down_is_asked_later() {
    let (service, deployment, subscription) = subscribed(PATIENT).await;
    drop(service);
    let outcome = deployment.pushes(&subscription, PAYLOAD, START_MS).await;
    assert_eq!(outcome, Outcome::Later { after_ms: None });
}

#[tokio::test]
async fn a_name_is_not_followed_to_a_private_address() {
    let service = PushService::start().await;
    let (_, port) = service.host().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let subscription = |endpoint: &str| {
        let Value::Object(members) = Browser::new().subscription(endpoint) else { unreachable!() };
        Subscription::read(members, &"localhost,127.0.0.1:80".parse().unwrap()).unwrap()
    };
    // With its port, the operator means the machine itself.
    let named = Deployment::sending_to(&format!("localhost:{port}"), PATIENT);
    let endpoint = format!("http://localhost:{port}/push/1");
    let reachable = named.read(Browser::new().subscription(&endpoint)).unwrap();
    assert_eq!(named.pushes(&reachable, PAYLOAD, START_MS).await, Outcome::Accepted);
    let refused = Outcome::Refused { status: None };
    // By itself, the name must lead to the internet, and nothing listens at a private address.
    let public = Deployment::sending_to("localhost", PATIENT);
    assert_eq!(public.pushes(&subscription("https://localhost/push/1"), PAYLOAD, START_MS).await, refused);
    // What was stored when another list was in force is not sent to.
    for endpoint in ["https://localhost/push/1", "http://127.0.0.1/push/1"] {
        let unnamed = Deployment::sending_to("push.example.com", PATIENT);
        assert_eq!(unnamed.pushes(&subscription(endpoint), PAYLOAD, START_MS).await, refused, "{endpoint}");
    }
    assert_eq!((service.taken().len(), service.connections()), (1, 1));
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let (service, deployment, subscription) = subscribed(PATIENT).await;
    let outcome = deployment.pushes(&subscription, &[b'x'; MAX_PAYLOAD_BYTES + 1], START_MS).await;
    assert_eq!((outcome, service.connections()), (Outcome::TooLarge, 0));
}

#[tokio::test]
async fn many_pushes_at_once_go_to_their_own_browsers() {
    let (service, deployment, _) = subscribed(PATIENT).await;
    let browsers: Vec<Browser> = (0..20).map(|_| Browser::new()).collect();
    let subscriptions: Vec<Subscription> = (0..)
        .zip(&browsers)
        .map(|(n, browser)| deployment.read(browser.subscription(&service.endpoint(&format!("/{n}")))).unwrap())
        .collect();
    let payloads: Vec<String> = (0..browsers.len()).map(|n| format!("payload {n}")).collect();
    let pushes = subscriptions
        .iter()
        .zip(&payloads)
        .map(|(subscription, payload)| deployment.pushes(subscription, payload.as_bytes(), START_MS));
    let outcomes = futures_util::future::join_all(pushes).await;
    assert_eq!(outcomes, vec![Outcome::Accepted; browsers.len()]);
    let taken = service.taken();
    assert_eq!(taken.len(), browsers.len());
    let payload_of = |pushed: &Pushed| {
        let n: usize = pushed.path.trim_start_matches('/').parse().unwrap();
        (n, browsers[n].decrypted(pushed))
    };
    for (n, payload) in taken.iter().map(payload_of) {
        assert_eq!(payload, payloads[n].as_bytes());
    }
}
