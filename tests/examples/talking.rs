//! The scripts in `examples/` let two users talk, each in a program of its own.

use std::time::Duration;

use harness::{Caller, World};
use serde_json::{Value, json};

use crate::lossy_proxy::LossyProxy;
use crate::program::{Running, Tool, program, run, run_failing};

/// The only chat of a user.
async fn only_chat(user: &Caller) -> Value {
    let listed = user.gets("/api/chats").await.expect(200);
    let [only] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    only.clone()
}

#[tokio::test]
async fn two_users_talk_with_curl_although_an_answer_is_lost() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let proxy = LossyProxy::to(world.address()).await;
    let text = r#"A "quoted" text, with \ and é"#;
    let said = run(program(Tool::Curl, &["examples/talk.sh", "alice", "bob", text, "greeting"], &proxy.url())).await;
    assert_eq!(proxy.keys(), ["greeting"; 3]);
    let bodies = |said: &[String]| {
        let said: Value = serde_json::from_str(&said[0]).unwrap();
        said["items"].as_array().unwrap().iter().map(|item| item["body"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(&said), [text]);
    let asked = only_chat(&bob).await;
    assert_eq!((&asked["status"], &asked["unread"]), (&json!("PENDING"), &json!(1)));

    // The other accepts by asking, and has read what it prints.
    let said = run(program(Tool::Curl, &["examples/talk.sh", "bob", "alice", "Hi"], &proxy.url())).await;
    assert_eq!(bodies(&said), [text, "Hi"]);
    let (hers, his) = (only_chat(&alice).await, only_chat(&bob).await);
    assert_eq!((&hers["status"], &hers["unread"], &his["unread"]), (&json!("ACCEPTED"), &json!(1), &json!(0)));
    let said = run(program(Tool::Curl, &["examples/talk.sh", "alice", "bob"], &proxy.url())).await;
    assert_eq!(bodies(&said), [text, "Hi"], "without a text it says nothing");
    assert_eq!(only_chat(&alice).await["unread"], 0);
    world.stops().await;
}

#[tokio::test]
async fn curl_does_not_retry_a_refused_message() {
    if Tool::Curl.is_skipped() {
        return;
    }
    let world = World::new().await;
    let url = format!("http://{}", world.address());
    let error = run_failing(program(Tool::Curl, &["examples/talk.sh", "alice", "bob", &"x".repeat(4_001)], &url)).await;
    assert!(error.contains("validation_failed") && error.contains("refused with 422"), "{error}");
    world.stops().await;
}

#[tokio::test]
async fn two_users_talk_with_node_although_an_answer_is_lost() {
    if Tool::Node.is_skipped() {
        return;
    }
    // Without a socket on every Node, and with one if this Node has `WebSocket`.
    let mut variants = vec![vec![]];
    if program(Tool::Node, &["--experimental-websocket", "-e", "0"], "").output().await.unwrap().status.success() {
        variants = vec![vec!["--experimental-websocket"], vec!["--no-experimental-websocket"]];
    }
    for options in variants {
        let with = |me, other| [options.as_slice(), &["examples/talk.mjs", me, other]].concat();
        talk(Tool::Node, &with("alice", "bob"), &with("bob", "alice")).await;
    }
}

#[tokio::test]
async fn two_users_talk_with_python_although_an_answer_is_lost() {
    if Tool::Python.is_skipped() {
        return;
    }
    talk(Tool::Python, &["examples/talk.py"], &["examples/talk.py", "bob", "alice"]).await;
}

#[tokio::test]
async fn two_users_talk_with_go_although_an_answer_is_lost() {
    if Tool::Go.is_skipped() {
        return;
    }
    talk(Tool::Go, &["run", "examples/talk.go"], &["run", "examples/talk.go", "bob", "alice"]).await;
}

/// Lets alice and bob talk, whose programs these are: each prints everything once and in one order.
async fn talk(tool: Tool, hers: &[&str], his: &[&str]) {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let proxy = LossyProxy::to(world.address()).await;
    let mut hers = Running::start_with_input(program(tool, hers, &proxy.url()));
    hers.reads("Hi Bob").await;
    assert_eq!(hers.prints().await, "alice: Hi Bob");
    assert_eq!(only_chat(&bob).await["unread"], 1);

    let mut his = Running::start_with_input(program(tool, his, &proxy.url()));
    assert_eq!(his.prints().await, "alice: Hi Bob");
    for (text, other) in [("Hi Alice", "é \"quoted\" \\"), ("And this?", "Too.")] {
        his.reads(text).await;
        his.reads("").await;
        for program in [&mut hers, &mut his] {
            assert_eq!(program.prints().await, format!("bob: {text}"));
        }
        hers.reads(other).await;
        for program in [&mut hers, &mut his] {
            assert_eq!(program.prints().await, format!("alice: {other}"));
        }
    }
    // The first answer was lost, and the next message of the same user comes after its repeat.
    let keys = proxy.keys();
    assert!(keys.iter().filter(|key| **key == keys[0]).count() > 1, "{keys:?}");
    // What is too large for a frame, and frames of an unreliable network: a duplicate, and one after a lost frame.
    let chat = only_chat(&alice).await;
    let path = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
    let data = json!({"text": "x".repeat(16_373)});
    let large = json!({"clientId": "x".repeat(255), "body": "𝄞".repeat(4_000), "data": data});
    let large = alice.posts(&path, large).await.expect(201);
    for program in [&mut hers, &mut his] {
        // Long before the programs look for what a push has lost.
        let printed = tokio::time::timeout(Duration::from_secs(30), program.prints()).await.unwrap();
        assert_eq!(printed, format!("alice: {}", large["body"].as_str().unwrap()));
    }
    let old = alice.gets(&format!("{path}?limit=1&after=0")).await.expect(200)["items"][0].clone();
    let mut early = old.clone();
    early["seq"] = 99.into();
    let frame =
        |message: &Value| json!({"type": "message", "chatId": chat["id"], "seq": message["seq"], "message": message});
    let connections = world.call("GET", "/_gateway/connections", &[], "").await.expect(200);
    for connection in connections["connections"].as_array().unwrap() {
        let path = format!("/live/@connections/{}", connection["connectionId"].as_str().unwrap());
        for message in [&old, &early] {
            world.call("POST", &path, &[], &frame(message).to_string()).await.expect(200);
        }
    }
    let last = bob.posts(&path, json!({"clientId": "last", "body": "Bye"})).await.expect(201);
    for program in [&mut hers, &mut his] {
        assert_eq!(program.prints().await, "bob: Bye");
    }
    for program in [hers, his] {
        let errors = program.ends().await;
        assert!(
            errors.iter().all(|line| line.contains("ExperimentalWarning") || line.starts_with("(Use ")),
            "{errors:?}"
        );
    }
    let (hers, his) = (only_chat(&alice).await, only_chat(&bob).await);
    for chat in [hers, his] {
        assert_eq!((&chat["lastSeq"], &chat["readSeq"], &chat["unread"]), (&last["seq"], &last["seq"], &json!(0)));
    }
    world.stops().await;
}
