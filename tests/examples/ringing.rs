//! The examples ring and are rung, each notification once.

use harness::{Caller, World};
use serde_json::{Value, json};

use crate::losing::LosingWay;
use crate::program::{Running, Tool, program, run, run_in_vain};

#[tokio::test]
async fn curl_rings_once_although_an_answer_is_lost() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let way = LosingWay::to(world.address()).await;
    let mut alice = world.user("alice").connects().await;
    let title = r#"A "quoted" title, with \ and é"#;
    let send = || program(Tool::Curl, &["examples/send.sh", "alice", title], &way.url());

    let first = run(send()).await;
    assert_eq!(way.keys(), ["report-123-approved"; 3]);
    let sent: Value = serde_json::from_str(&first[0]).unwrap();
    let frame = alice.sees(title).await;
    assert_eq!(frame["notification"]["id"], sent["notifications"][0]["id"]);

    assert_eq!(run(send()).await, first, "a later run gets the first answer");
    alice.sees_nothing().await;
    assert_eq!(world.user("alice").inbox().await.len(), 1);
    world.stops().await;
}

#[tokio::test]
async fn curl_does_not_repeat_what_was_refused() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let url = format!("http://{}", world.address());
    let complaint = run_in_vain(program(Tool::Curl, &["examples/send.sh", "alice", &"x".repeat(201)], &url)).await;
    assert!(complaint.contains("validation_failed") && complaint.contains("refused with 422"), "{complaint}");
    world.stops().await;
}

#[tokio::test]
async fn node_rings_once_although_an_answer_is_lost() {
    if Tool::Node.is_skipped() {
        return;
    }
    // With a socket where Node can, and without one everywhere.
    let mut ways = vec![vec![]];
    if program(Tool::Node, &["--experimental-websocket", "-e", "0"], "").output().await.unwrap().status.success() {
        ways = vec![vec!["--experimental-websocket"], vec!["--no-experimental-websocket"]];
    }
    for options in ways {
        let world = World::new().await;
        let way = LosingWay::to(world.address()).await;
        let alice = world.user("alice");
        world.service("shop").rings(&["alice"], "Before").await;

        let arguments: Vec<&str> = options.iter().copied().chain(["examples/ring.mjs"]).collect();
        let printed = run(program(Tool::Node, &arguments, &way.url())).await;
        assert_eq!(way.keys(), ["report-123-approved"; 3]);
        let inbox = alice.inbox().await;
        let [rung, before] = &inbox[..] else { panic!("{inbox:?}") };
        let rings: Vec<&String> = printed.iter().filter(|line| !line.starts_with("sent ")).collect();
        assert_eq!(
            rings,
            [&shown("Before", "greeting", before), &shown("Report approved", "REPORT_APPROVED", rung)],
            "{options:?}"
        );
        world.stops().await;
    }
}

#[tokio::test]
async fn node_does_not_repeat_what_was_refused() {
    if Tool::Node.is_skipped() {
        return;
    }
    let world = World::new().await;
    let url = format!("http://{}", world.address());
    let complaint = run_in_vain(program(Tool::Node, &["examples/ring.mjs", "alice", &"x".repeat(201)], &url)).await;
    assert!(complaint.contains("refused with 422") && complaint.contains("validation_failed"), "{complaint}");
    world.stops().await;
}

#[tokio::test]
async fn python_shows_everything_once_over_more_than_one_socket() {
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

    // As a network may do it: twice, after one that was lost, and after too long an absence.
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
        json!({"type": "error", "code": "cursor_expired", "message": "away for too long", "retryable": false}),
    ];
    for frame in odd {
        let path = format!("/live/@connections/{connection}");
        world.call("POST", &path, &[], &frame.to_string()).await.expect(200);
    }

    // A change without a ring moves the cursor, or the next frame would seem to follow a gap.
    alice.posts(&format!("/api/notifications/{now}/read"), json!({})).await.expect(204);
    let large = rings_too_large_for_a_frame(&shop).await;
    assert_eq!(listener.prints().await, shown("Large", "greeting", &large));

    world.call("DELETE", &format!("/live/@connections/{connection}"), &[], "").await.expect(204);
    let away = shop.rings(&["alice"], "While away").await;
    assert_eq!(listener.prints().await, shown("While away", "greeting", &away));
    // Whatever it said was understood, acknowledgements too: an error would be complained of.
    let complaints = listener.ends().await;
    assert!(complaints.len() == 1 && complaints[0].starts_with("opening again: "), "{complaints:?}");
    world.stops().await;
}

/// Sends what is within all limits and yet more than 32 KB, so that a frame only tells of it.
async fn rings_too_large_for_a_frame(shop: &Caller) -> String {
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

/// A notification as the examples print it.
fn shown(title: &str, kind: &str, id: &str) -> String {
    format!("{title} ({kind}, {id})")
}
