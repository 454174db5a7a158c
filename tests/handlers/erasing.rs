//! Erasing a user.

use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::chat::messages::Range;
use shared::ids::{ConnectionId, UserId};
use shared::presence::Settled;
use shared::users::erasing::erase;

use crate::accepting_fast::{chat, say};

async fn erases(test: &TestApp, scope: &str, payload: Value) -> HttpAnswer {
    let mut erasing = event("erase");
    erasing["headers"]["authorization"] = test.bearer("ops", scope).into();
    erasing["body"] = payload.to_string().into();
    invoke(&test.app, users::handle, erasing).await
}

#[tokio::test]
async fn only_administrators_erase_and_invalid_calls_are_refused() {
    let test = TestApp::new().await;
    for scope in ["", "notify:send"] {
        assert_eq!(erases(&test, scope, json!({"userId": "alice"})).await.status(), 403);
    }
    for payload in [json!({}), json!({"userId": ""}), json!({"userId": 7}), json!({"userId": "a", "x": 1})] {
        assert_eq!(erases(&test, "notify:admin", payload.clone()).await.status(), 422, "{payload}");
    }
}

#[tokio::test]
async fn an_erasure_closes_sockets_revokes_tokens_and_is_complete() {
    let test = TestApp::new().await;
    test.connect("alice", &["tab"]).await;
    let bearer = test.bearer("alice", "");
    // An administrator may erase a user again, and one of whom nothing is stored.
    for user in ["alice", "alice", "stranger"] {
        let answer = erases(&test, "notify:admin", json!({ "userId": user })).await;
        assert_eq!((answer.status().as_u16(), body(&answer)), (202, json!({"complete": true})));
    }
    assert_eq!(test.push.closed().len(), 1);
    let mut listing = event("list");
    listing["headers"]["authorization"] = bearer.into();
    assert_eq!(invoke(&test.app, inbox::handle, listing).await.status(), 401);
}

#[tokio::test]
async fn a_call_whose_time_is_over_takes_one_step_and_a_repeat_goes_on() {
    let test = TestApp::new().await;
    test.connect("alice", &["tab"]).await;
    let alice = UserId::new("alice").unwrap();
    assert!(!erase(&test.app, &alice, 0).await.unwrap());
    assert_eq!(test.push.closed().len(), 1);
    assert!(!erase(&test.app, &alice, 0).await.unwrap());
    let answer = erases(&test, "notify:admin", json!({"userId": "alice"})).await;
    assert_eq!(body(&answer), json!({"complete": true}));
}

#[tokio::test]
async fn the_moment_forgets_the_leases_of_the_user_and_the_messages_of_the_chats() {
    let test = TestApp::new().await;
    let (chat, alice, tab) = (chat(&test).await, UserId::new("alice").unwrap(), ConnectionId::new("tab"));
    say(&test, chat, "alice", "mine", "durable").await;
    let kept = async || {
        let run = test.app.moment.message_cache.run(chat, Range::Last, 10, test.app.clock.at()).await;
        run.iter().map(|message| message.seq).collect::<Vec<_>>()
    };
    assert_eq!(kept().await, [1]);
    test.app.moment.presence.renew(&alice, &tab, 60_000, test.app.clock.at()).await.unwrap();
    let erased = erases(&test, "notify:admin", json!({"userId": "alice"})).await;
    assert_eq!(body(&erased), json!({"complete": true}));
    assert_eq!(kept().await, [0_i64; 0]);
    test.clock.advance(std::time::Duration::from_secs(120));
    assert_eq!(test.app.moment.presence.settle(&alice, test.app.clock.at()).await, Some(Settled::Unknown));
}
