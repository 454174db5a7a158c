//! F. Web Push and other requests that go out.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use harness::World;
use harness::push_service::{Browser, PushService, Reply};
use serde_json::{Value, json};
use shared::ids::SubscriptionId;
use url::Url;

use crate::pushing::{self, Deployment, SUBSCRIPTIONS};
use crate::row::{CANARY, Call, Expected, Group, Row, call, get, invalid, post, refused, row, status};

const NOT_FOUND: Expected = refused(404, "not_found");
const NO_METHOD: Expected = refused(405, "method_not_allowed");

const ENDPOINT: &[&str] = &["endpoint"];

/// A good endpoint, and the keys of RFC 8291, appendix A.
const GOOD: &str = "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV";
const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

pub(crate) fn group() -> Group {
    Group {
        letter: 'F',
        title: "Web Push and other outgoing requests",
        variables: &[],
        rows: [endpoints(), services(), subscriptions()].into_iter().flatten().collect(),
    }
}

fn subscribe(subscription: &Value) -> Call {
    post(SUBSCRIPTIONS, subscription.to_string())
}

fn subscription(endpoint: &str) -> Value {
    json!({"endpoint": endpoint, "expirationTime": null, "keys": {"p256dh": P256DH, "auth": AUTH}})
}

/// A good subscription but for one of its keys.
fn with_key(name: &str, value: Value) -> Call {
    let mut subscription = subscription(GOOD);
    subscription["keys"][name] = value;
    subscribe(&subscription)
}

/// Removes the subscription with this endpoint: 404 if there is none.
fn unsubscribe(endpoint: &str) -> Call {
    let endpoint = Url::parse(endpoint).map_or(endpoint.to_owned(), String::from);
    call("DELETE", format!("{SUBSCRIPTIONS}/{}", SubscriptionId::of_endpoint(&endpoint)))
}

/// A row of endpoints that are refused, and not stored.
fn refused_endpoints<'a>(row: Row, endpoints: impl IntoIterator<Item = &'a str>) -> Row {
    endpoints.into_iter().fold(row, |row, endpoint| {
        row.call(subscribe(&subscription(endpoint)), invalid(ENDPOINT)).call(unsubscribe(endpoint), NOT_FOUND)
    })
}

fn endpoints() -> Vec<Row> {
    let long = format!("https://push.example.com/{}", "x".repeat(2_024));
    vec![
        refused_endpoints(
            row("S116", "an endpoint without https"),
            [
                "http://push.example.com/",
                "ftp://push.example.com/",
                "file:///etc/passwd",
                "//push.example.com/",
                "push.example.com",
                "https:push.example.com",
                "https:///push.example.com/",
                "ws://push.example.com/",
                "javascript:alert(1)",
                "",
            ],
        ),
        refused_endpoints(
            row("S117", "an endpoint on this machine"),
            [
                "https://127.0.0.1/",
                "https://localhost",
                "https://localhost/",
                "https://LOCALHOST/",
                "https://[::1]",
                "https://0.0.0.0",
                "https://0/",
                "https://[::]/",
            ],
        ),
        refused_endpoints(
            row("S118", "the address of a metadata service"),
            [
                "https://169.254.169.254/latest/meta-data",
                "http://169.254.169.254/latest/meta-data",
                "https://169.254.170.2/",
                "https://[fd00:ec2::254]/",
                "http://127.0.0.1:9001/2018-06-01/runtime",
                "https://127.0.0.1:9001/2018-06-01/runtime",
            ],
        ),
        refused_endpoints(
            row("S119", "addresses in other notations"),
            [
                "https://2130706433/",
                "https://0x7f.1",
                "https://0x7f000001/",
                "https://0177.0.0.1",
                "https://127.1",
                "https://%31%32%37.0.0.1/",
                "https://①②⑦.0.0.1/",
                "https://127。0。0。1/",
            ],
        ),
        refused_endpoints(
            row("S120", "addresses inside others"),
            [
                "https://[::ffff:127.0.0.1]",
                "https://[::ffff:a9fe:a9fe]",
                "https://[64:ff9b::7f00:1]",
                "https://[2002:7f00:1::]",
                "https://[fe80::1%25eth0]",
                "https://[fe80::1]",
                "https://[fd00::1]",
            ],
        ),
        refused_endpoints(
            row("S121", "private and reserved networks, and any other address"),
            [
                "https://10.0.0.5/",
                "https://172.16.0.1/",
                "https://172.31.255.255/",
                "https://192.168.0.1/",
                "https://100.64.0.1/",
                "https://198.18.0.1/",
                "https://192.0.2.1/",
                "https://203.0.113.1/",
                "https://224.0.0.1/",
                "https://240.0.0.1/",
                "https://255.255.255.255/",
                "https://93.184.216.34/",
                "https://[2a00:1450::1]/",
            ],
        ),
        refused_endpoints(
            row("S122", "a trusted name in another place of the URL")
                .note("Without WEB_PUSH_HOSTS no name is trusted, and any public host may be a push service."),
            [
                "https://user:pw@fcm.googleapis.com/",
                "https://user@fcm.googleapis.com/",
                "https://@fcm.googleapis.com/",
                "https://fcm.googleapis.com@evil.com/",
                "https://evil.com#fcm.googleapis.com",
                "https://evil.com/#",
                "https://evil.com\\@fcm.googleapis.com/",
                "https://evil.com\\fcm.googleapis.com/",
                "https://evil.com\t/",
                "https://evil.com/ fcm.googleapis.com",
            ],
        )
        .script(|_| trusted_names().boxed_local()),
        refused_endpoints(
            row("S123", "other ports, look-alikes, 2,049 characters"),
            [
                "https://push.example.com:22/",
                "https://push.example.com:6379/",
                "https://push.example.com:8443/",
                "https://push.example.com:80/",
                "https://push.example.com:0/",
                "https://push.example.com:65536/",
                "https://push.example.com./",
                "https://push..example.com/",
                "https://push/",
                "https://xn--fcm-googleapis-com-abc.example/",
                "https://fсm.googleapis.com/",
                "https://a*.example.com/",
                &long,
            ],
        ),
    ]
}

fn services() -> Vec<Row> {
    vec![
        row("S124", "a name whose address is private").script(|_| private_address().boxed_local()),
        row("S125", "a name whose second address is private").left_out(
            "each connection goes to addresses of a resolution of its own, which are checked as in S124: a test in connections.rs",
        ),
        row("S126", "a redirect to a private address").script(|_| redirects().boxed_local()),
        row("S127", "an answer without end").script(|_| endless_answers().boxed_local()),
        row("S129", "a notification that is too large to encrypt").script(|_| too_large().boxed_local()),
        row("S131", "a subscription that is gone").script(|_| gone().boxed_local()),
        row("S132", "an event that names another endpoint for pushes")
            .note("No function reads it: the endpoint is configuration.")
            .script(|_| endpoint_from_configuration().boxed_local()),
    ]
}

fn subscriptions() -> Vec<Row> {
    let bad_key = |change: fn(&mut Vec<u8>)| {
        let mut point = URL_SAFE_NO_PAD.decode(P256DH).unwrap();
        change(&mut point);
        with_key("p256dh", URL_SAFE_NO_PAD.encode(point).into())
    };
    let padded = STANDARD.encode(URL_SAFE_NO_PAD.decode(P256DH).unwrap());
    let bytes = |count: usize| json!(URL_SAFE_NO_PAD.encode(vec![7; count]));
    let with = |name: &str, value: Value| {
        let mut subscription = subscription(GOOD);
        subscription[name] = value;
        subscribe(&subscription)
    };
    vec![
        row("S128", "keys that are none")
            .calls(
                [
                    // Not on the curve, 64 and 66 bytes, zeros, infinity, compressed, hybrid.
                    bad_key(|point| point[64] ^= 1),
                    bad_key(|point| point.truncate(64)),
                    bad_key(|point| point.push(0)),
                    bad_key(|point| point[1..].fill(0)),
                    bad_key(|point| *point = vec![0]),
                    bad_key(|point| {
                        point[0] = 2 + (point[64] & 1);
                        point.truncate(33);
                    }),
                    bad_key(|point| point[0] = 6 + (point[64] & 1)),
                    with_key("p256dh", json!("")),
                    with_key("p256dh", json!(format!("{P256DH}="))),
                    with_key("p256dh", json!(padded)),
                    with_key("p256dh", json!(CANARY)),
                    with_key("p256dh", json!(null)),
                    with_key("p256dh", json!(65)),
                ],
                invalid(&["keys.p256dh"]),
            )
            .calls(
                [
                    bytes(15),
                    bytes(17),
                    bytes(0),
                    json!(format!("{AUTH}==")),
                    json!(AUTH.replace('_', "/")),
                    json!(null),
                ]
                .map(|auth| with_key("auth", auth)),
                invalid(&["keys.auth"]),
            )
            .calls([json!(null), json!([]), json!("keys")].map(|keys| with("keys", keys)), invalid(&["keys"]))
            .call(with("keys", json!({})), invalid(&["keys.p256dh", "keys.auth"]))
            .call(unsubscribe(GOOD), NOT_FOUND),
        row("subscriptions", "subscriptions with other members, and other calls of the routes")
            .call(subscribe(&json!({})), invalid(&["endpoint", "keys"]))
            .calls([json!(null), json!(5), json!([GOOD])].map(|endpoint| with("endpoint", endpoint)), invalid(ENDPOINT))
            .calls(
                [json!("never"), json!(-1), json!([])].map(|time| with("expirationTime", time)),
                invalid(&["expirationTime"]),
            )
            .call(with("userId", json!("victim")), invalid(&["userId"]))
            .call(with_key("p384", json!("")), invalid(&["keys.p384"]))
            .call(subscribe(&subscription(GOOD)).anonymous(), refused(401, "token_missing"))
            .call(subscribe(&subscription(GOOD)).without("content-type"), refused(415, "unsupported_media_type"))
            .calls(["", "[]", "null"].map(|body| post(SUBSCRIPTIONS, body)), refused(400, "invalid_json"))
            .call(post(format!("{SUBSCRIPTIONS}?userId=victim"), subscription(GOOD).to_string()), invalid(&["userId"]))
            .calls(["GET", "PUT", "DELETE"].map(|method| call(method, SUBSCRIPTIONS)), NO_METHOD)
            .calls(["GET", "PUT", "POST"].map(|method| call(method, format!("{SUBSCRIPTIONS}/x"))), NO_METHOD)
            .calls(
                ["x", "*", "%2e%2e", "push.example.net"].map(|id| call("DELETE", format!("{SUBSCRIPTIONS}/{id}"))),
                NOT_FOUND,
            )
            .call(call("POST", "/api/push/key"), NO_METHOD)
            .call(get("/api/push/key").anonymous(), refused(401, "token_missing"))
            .call(get("/api/push/key?format=der"), invalid(&["format"]))
            .call(unsubscribe(GOOD), NOT_FOUND),
        row("S130", "500 subscriptions of one user")
            .note("Each is accepted, and the eleventh replaces the oldest.")
            .script(|_| many_subscriptions().boxed_local()),
    ]
}

async fn trusted_names() {
    let world = World::with(&[("WEB_PUSH_HOSTS", "fcm.googleapis.com")]).await;
    for endpoint in [
        "https://fcm.googleapis.com.evil.com/",
        "https://evil.com/fcm.googleapis.com",
        "https://evil.com/?fcm.googleapis.com",
        "https://fcm.googleapis.com@evil.com/",
        "https://evil.com#fcm.googleapis.com",
        "https://x.fcm.googleapis.com/",
        "https://xfcm.googleapis.com/",
        "https://googleapis.com/",
        "https://fcm.googleapis.com:8443/",
        "http://fcm.googleapis.com/",
    ] {
        invalid(ENDPOINT).check(&subscribe(&subscription(endpoint)).send(&world).await, endpoint);
    }
    let trusted = "https://fcm.googleapis.com/fcm/send/abc";
    status(201).check(&subscribe(&subscription(trusted)).send(&world).await, trusted);
    status(204).check(&unsubscribe(trusted).send(&world).await, trusted);
    world.stops().await;
}

/// The only name with a private address that every machine knows. One that resolves to nothing, or where nothing listens,
/// would be asked again later.
async fn private_address() {
    let deployment = Deployment::sending_to("localhost", PushService::start().await).await;
    deployment.subscribes("alice", "https://localhost/push/1").await;
    let id = deployment.sends("alice", json!({})).await;
    assert_eq!(deployment.drains().await.web_pushed, 0);
    assert_eq!(deployment.steps(&id).await, ["push_failed"]);
}

async fn redirects() {
    let (deployment, elsewhere) = (Deployment::new().await, PushService::start().await);
    deployment.subscribes("alice", &deployment.service.endpoint("/push/1")).await;
    for url in ["http://169.254.169.254/latest/meta-data".to_owned(), elsewhere.endpoint("/"), "//evil.com/".to_owned()]
    {
        deployment.service.replies(&[Reply::Redirect(url.clone())]);
        let id = deployment.sends("alice", json!({})).await;
        deployment.drains().await;
        assert_eq!((deployment.service.taken().len(), deployment.steps(&id).await), (1, vec!["push_failed"]), "{url}");
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

async fn endless_answers() {
    let deployment = Deployment::new().await;
    for name in ["alice", "bob"] {
        deployment.subscribes(name, &deployment.service.endpoint(&format!("/push/{name}"))).await;
    }
    deployment.service.replies(&[Reply::EndlessBody]);
    let id = deployment.sends("alice", json!({})).await;
    deployment.drains().await;
    // The status was enough: read on, the answer would run into the time limit, and be asked again.
    assert_eq!(deployment.steps(&id).await, ["pushed"]);
    // The body of the first answer never ends; the second answer never comes.
    deployment.service.replies(&[Reply::NoBody, Reply::Nothing]);
    let ids = [deployment.sends("alice", json!({})).await, deployment.sends("bob", json!({})).await];
    assert_eq!(deployment.drains().await.web_pushed, 1);
    let mut steps = [deployment.steps(&ids[0]).await, deployment.steps(&ids[1]).await];
    steps.sort();
    assert_eq!(steps, [vec![], vec!["pushed"]], "what was not answered is asked again later");
}

/// What a push service must take (RFC 8030, section 7.2).
const MAX_BODY_BYTES: usize = 4_096;

async fn too_large() {
    let deployment = Deployment::new().await;
    let browser = deployment.subscribes("alice", &deployment.service.endpoint("/push/1")).await;
    let told = |pushed: &harness::push_service::Pushed| -> Value {
        assert!(pushed.body.len() <= MAX_BODY_BYTES, "{} bytes", pushed.body.len());
        serde_json::from_slice(&browser.decrypted(pushed)).unwrap()
    };
    let longest = json!({"title": "🔔".repeat(200), "body": "🔔".repeat(4_000), "data": {"d": "x".repeat(16_000)}});
    let id = deployment.sends("alice", longest).await;
    deployment.drains().await;
    let taken = deployment.service.taken();
    let [pushed] = &taken[..] else { panic!("{} pushes", taken.len()) };
    let tag = pushed.header("topic");
    assert_eq!(
        told(pushed),
        json!({"kind": "notification", "tag": tag, "id": id, "title": "🔔".repeat(200), "fetch": true,
            "acknowledge": true})
    );
    // A push service that takes less.
    deployment.service.replies(&[Reply::Status(413), Reply::Status(201)]);
    let id = deployment.sends("alice", json!({"body": "x".repeat(1_000)})).await;
    deployment.drains().await;
    let told: Vec<Value> = deployment.service.taken().iter().map(told).collect();
    assert_eq!(told.iter().map(|told| &told["fetch"]).collect::<Vec<_>>(), [&Value::Null, &json!(true)]);
    assert_eq!((&told[1]["id"], deployment.steps(&id).await), (&json!(id), vec!["pushed"]));
}

async fn gone() {
    let deployment = Deployment::new().await;
    for gone in [404, 410] {
        deployment.subscribes("alice", &deployment.service.endpoint("/push/1")).await;
        deployment.service.replies(&[Reply::Status(gone)]);
        let first = deployment.sends("alice", json!({})).await;
        deployment.drains().await;
        assert_eq!(deployment.service.taken().len(), 1, "{gone}");
        let second = deployment.sends("alice", json!({})).await;
        // As long as any retry would wait.
        deployment.test.clock.advance(Duration::from_secs(24 * 60 * 60));
        deployment.drains().await;
        assert_eq!(deployment.service.taken().len(), 0, "{gone}");
        assert!(deployment.steps(&first).await.is_empty() && deployment.steps(&second).await.is_empty());
    }
}

async fn many_subscriptions() {
    let service = PushService::start().await;
    let world = pushing::system(&service).await;
    let hoarder = world.user("hoarder");
    for n in 0..500 {
        let subscription = Browser::new().subscription(&service.endpoint(&format!("/{n}")));
        hoarder.posts(SUBSCRIPTIONS, subscription).await.expect(201);
    }
    world.service("shop").rings(&["hoarder"], "Hi").await;
    let mut paths: Vec<String> = pushing::next(&service, 10).await.into_iter().map(|pushed| pushed.path).collect();
    paths.sort();
    assert_eq!(paths, (490..500).map(|n| format!("/{n}")).collect::<Vec<_>>());
    world.drains().await;
    assert_eq!(service.taken().len(), 0, "more than ten were pushed to");
    world.stops().await;
}

/// No source of a function knows the member of the event.
async fn endpoint_from_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut folders, mut files) = (vec![root.join("functions"), root.join("shared/src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                assert!(!source.contains("domain_name") && !source.contains("domainName"), "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 100, "only {files} sources were found");
}
