//! The scripts in `examples/` send and receive every notification exactly once.

use harness::{Caller, World};
use serde_json::{Value, json};

use crate::lossy_proxy::LossyProxy;
use crate::program::{Running, Tool, program, run, run_failing};

#[tokio::test]
async fn curl_sends_once_although_an_answer_is_lost() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let proxy = LossyProxy::to(world.address()).await;
    let mut alice = world.user("alice").connects().await;
    let title = r#"A "quoted" title, with \ and é"#;
    let send = || program(Tool::Curl, &["examples/send.sh", "alice", title, "report-123-approved"], &proxy.url());

    let first = run(send()).await;
    assert_eq!(proxy.keys(), ["report-123-approved"; 3]);
    let sent: Value = serde_json::from_str(&first[0]).unwrap();
    let frame = alice.sees(title).await;
    assert_eq!(frame["notification"]["id"], sent["notifications"][0]["id"]);

    assert_eq!(run(send()).await, first, "a second run gets the first answer");
    alice.sees_nothing().await;
    assert_eq!(world.user("alice").inbox().await.len(), 1);
    world.stops().await;
}

#[tokio::test]
async fn curl_sends_on_each_run_without_a_key() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let url = format!("http://{}", world.address());
    for title in ["First", "Second", "Second"] {
        run(program(Tool::Curl, &["examples/send.sh", "alice", title], &url)).await;
    }
    assert_eq!(world.user("alice").inbox().await.len(), 3);
    world.stops().await;
}

#[tokio::test]
async fn curl_does_not_retry_a_refused_send() {
    if Tool::Curl.is_skipped() {
        return;
    }
    does_not_repeat_a_refused_send(Tool::Curl, &["examples/send.sh"]).await;
}

#[tokio::test]
async fn node_sends_once_although_an_answer_is_lost() {
    if Tool::Node.is_skipped() {
        return;
    }
    // Without a socket on every Node, and with one if this Node has `WebSocket`.
    let mut variants = vec![vec![]];
    if program(Tool::Node, &["--experimental-websocket", "-e", "0"], "").output().await.unwrap().status.success() {
        variants = vec![vec!["--experimental-websocket"], vec!["--no-experimental-websocket"]];
    }
    for options in variants {
        let command: Vec<&str> = options.into_iter().chain(["examples/ring.mjs"]).collect();
        sends_once_and_prints_everything(Tool::Node, &command).await;
    }
}

#[tokio::test]
async fn node_does_not_retry_a_refused_send() {
    if Tool::Node.is_skipped() {
        return;
    }
    does_not_repeat_a_refused_send(Tool::Node, &["examples/ring.mjs"]).await;
}

#[tokio::test]
async fn go_sends_once_although_an_answer_is_lost() {
    if Tool::Go.is_skipped() {
        return;
    }
    sends_once_and_prints_everything(Tool::Go, &["run", "examples/ring.go"]).await;
}

#[tokio::test]
async fn go_does_not_retry_a_refused_send() {
    if Tool::Go.is_skipped() {
        return;
    }
    does_not_repeat_a_refused_send(Tool::Go, &["run", "examples/ring.go"]).await;
}

#[tokio::test]
async fn python_shows_every_notification_once_across_reconnects() {
    if Tool::Python.is_skipped() {
        return;
    }
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let before = shop.rings(&["alice"], "Before").await;
    let url = format!("http://{}", world.address());
    let mut listener = Running::start(program(Tool::Python, &["examples/ring.py", "alice", "4"], &url));
    assert_eq!(listener.prints().await, shown("Before", "greeting", &before));

    let now = shop.rings(&["alice"], "Now").await;
    assert_eq!(listener.prints().await, shown("Now", "greeting", &now));

    // Frames of an unreliable network: a duplicate, one after a lost frame, and an error after too long an absence.
    let connection = only_connection(&world).await;
    let known = alice.gets(&format!("/api/notifications/{now}")).await.expect(200);
    let mut early = known.clone();
    early["id"] = "00000000-0000-4000-8000-000000000000".into();
    let cursor = alice.cursor().await;
    let (epoch, _) = cursor.split_once('.').unwrap();
    let at = |offset: u32| format!("{epoch}.{offset}");
    let odd = [
        json!({"type": "notification", "prev": at(1), "cursor": at(2), "unreadCount": 2, "notification": known}),
        json!({"type": "notification", "prev": at(3), "cursor": at(4), "unreadCount": 4, "notification": early}),
        json!({"type": "error", "code": "cursor_expired", "message": "offline for too long", "retryable": false}),
    ];
    for frame in odd {
        let path = format!("/live/@connections/{connection}");
        world.call("POST", &path, &[], &frame.to_string()).await.expect(200);
    }

    // The change moves the cursor without a notification; otherwise the next frame would seem to follow a gap.
    alice.posts(&format!("/api/notifications/{now}/read"), json!({})).await.expect(204);
    let large = send_too_large_for_a_frame(&shop).await;
    assert_eq!(listener.prints().await, shown("Large", "greeting", &large));

    world.call("DELETE", &format!("/live/@connections/{connection}"), &[], "").await.expect(204);
    let offline = shop.rings(&["alice"], "While offline").await;
    assert_eq!(listener.prints().await, shown("While offline", "greeting", &offline));
    // Every frame of the listener was valid, including acknowledgements: it would have printed an error.
    let errors = listener.ends().await;
    assert!(errors.len() == 1 && errors[0].starts_with("opening again: "), "{errors:?}");
    world.stops().await;
}

/// Sends a notification that is within all limits but larger than 32 KB, so that its frame only asks to fetch it.
async fn send_too_large_for_a_frame(shop: &Caller) -> String {
    let body = json!({
        "type": "greeting", "userId": "alice", "title": "Large",
        "body": "𝄞".repeat(4_000), "data": {"text": "x".repeat(16_000)}, "actionUrl": format!("/{}", "x".repeat(1_000)),
    });
    let sent = shop.posts("/api/notifications/send", body).await.expect(202);
    sent["notifications"][0]["id"].as_str().unwrap().to_owned()
}

async fn only_connection(world: &World) -> String {
    let listed = world.call("GET", "/_gateway/connections", &[], "").await.expect(200);
    let [only] = &listed["connections"].as_array().unwrap()[..] else { panic!("{listed}") };
    only["connectionId"].as_str().unwrap().to_owned()
}

/// The arguments with which ring.mjs sends once, however often it runs.
/// Runs an example that sends with a key and prints what alice has received: answers are lost, and it arrives once.
async fn sends_once_and_prints_everything(tool: Tool, command: &[&str]) {
    let world = World::new().await;
    let proxy = LossyProxy::to(world.address()).await;
    let alice = world.user("alice");
    world.service("shop").rings(&["alice"], "Before").await;

    let arguments: Vec<&str> =
        command.iter().copied().chain(["alice", "Report approved", "report-123-approved"]).collect();
    let printed = run(program(tool, &arguments, &proxy.url())).await;
    assert_eq!(proxy.keys(), ["report-123-approved"; 3]);
    let inbox = alice.inbox().await;
    let [sent, before] = &inbox[..] else { panic!("{inbox:?}") };
    let received: Vec<&String> = printed.iter().filter(|line| !line.starts_with("sent ")).collect();
    assert_eq!(
        received,
        [&shown("Before", "greeting", before), &shown("Report approved", "REPORT_APPROVED", sent)],
        "{command:?}"
    );
    world.stops().await;
}

/// Runs an example with a title that is too long: it says why, and does not repeat the call.
async fn does_not_repeat_a_refused_send(tool: Tool, command: &[&str]) {
    let world = World::new().await;
    let (url, title) = (format!("http://{}", world.address()), "x".repeat(201));
    let arguments: Vec<&str> = command.iter().copied().chain(["alice", title.as_str()]).collect();
    let error = run_failing(program(tool, &arguments, &url)).await;
    assert!(error.contains("refused with 422") && error.contains("validation_failed"), "{error}");
    world.stops().await;
}

/// A notification as the examples print it.
fn shown(title: &str, kind: &str, id: &str) -> String {
    format!("{title} ({kind}, {id})")
}
