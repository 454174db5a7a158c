//! When digests are sent, to whom, and what they say.

use std::time::Duration;

use serde_json::json;
use shared::chat::reading;
use shared::web_push::service::Outcome;

use super::{Offered, Post, Pushing, SHOWING, SILENT, titles, user};

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
async fn quiet_hours_that_begin_during_a_retry_lose_and_repeat_nothing() {
    let pushing = Pushing::new().await;
    for browser in ["phone", "laptop"] {
        pushing.subscribes("alice", SILENT, browser).await;
    }
    // They begin a minute after the clock of the tests does.
    pushing.prefers("alice", json!({"quietHours": {"from": "08:01", "to": "10:00", "timeZone": "UTC"}})).await;
    pushing.services.will("laptop", &[Outcome::Later { after_ms: Some(90_000) }]);
    let id = pushing.sends("alice", "one", json!({})).await;
    pushing.drains_after(0).await;
    let topic = pushing.services.taken()[0].topic.clone();
    pushing.drains_after(90_000).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.drains_after(2 * 3_600_000 - 90_000).await;
    assert_eq!(pushing.services.titles(), titles([("laptop", "one")]));
    // Both are closed under the tag that they show.
    pushing.changes("alice", "POST", &id, "/read").await;
    pushing.drains_after(0).await;
    let closed = pushing.services.taken();
    assert_eq!(
        closed.iter().map(|post| (&*post.browser, &post.topic)).collect::<Vec<_>>(),
        [("phone", &topic), ("laptop", &topic)]
    );
}

#[tokio::test]
async fn what_is_told_together_again_goes_to_those_that_have_not_heard_it() {
    let pushing = Pushing::new().await;
    for browser in ["phone", "laptop"] {
        pushing.subscribes("bob", SILENT, browser).await;
    }
    pushing.prefers("bob", json!({"quietHours": {"from": "08:00", "to": "10:00", "timeZone": "UTC"}})).await;
    let chat = pushing.chat().await;
    pushing.says(chat, "alice", "hello").await;
    pushing.sends("bob", "one", json!({})).await;
    pushing.drains_after(60_000).await;
    pushing.services.will("laptop", &[Outcome::Later { after_ms: None }]);
    pushing.drains_after(2 * 3_600_000 - 60_000).await;
    let summary = "1 new notification and 1 new message";
    assert_eq!(pushing.services.titles(), titles([("laptop", summary), ("phone", summary)]));
    // New, and due with the retry: told to both by itself.
    let other = json!({"digest": {"windowMs": 60_000}});
    pushing.sends("bob", "two", other).await;
    pushing.drains_after(0).await;
    pushing.drains_after(60_000).await;
    assert_eq!(pushing.services.titles(), titles([("laptop", summary), ("laptop", "two"), ("phone", "two")]));
    pushing.drains_after(3_600_000).await;
    assert_eq!(pushing.services.titles(), []);
}

#[tokio::test]
async fn a_digest_that_one_browser_took_was_sent_whatever_becomes_of_the_others() {
    let pushing = Pushing::new().await;
    for browser in ["phone", "laptop"] {
        pushing.subscribes("alice", SILENT, browser).await;
    }
    pushing.services.will("laptop", &[Outcome::Later { after_ms: None }; 6]);
    let id = pushing.sends("alice", "one", json!({"digest": {"windowMs": 60_000}})).await;
    for _ in 0..8 {
        pushing.drains_after(3_600_000).await;
    }
    assert_eq!(pushing.services.titles().len(), 7, "one to the phone, six attempts at the laptop");
    assert_eq!(pushing.steps(&id).await.last(), Some(&("pushed".to_owned(), Some("web_push".to_owned()))));
    pushing.changes("alice", "POST", &id, "/read").await;
    pushing.drains_after(0).await;
    assert_eq!(pushing.services.titles(), titles([("laptop", "close"), ("phone", "close")]));
    // A digest that no browser takes has failed.
    for browser in ["phone", "laptop"] {
        pushing.services.will(browser, &[Outcome::Later { after_ms: None }; 6]);
    }
    let id = pushing.sends("alice", "two", json!({"digest": {"windowMs": 60_000}})).await;
    for _ in 0..8 {
        pushing.drains_after(3_600_000).await;
    }
    assert_eq!(pushing.steps(&id).await.last(), Some(&("push_failed".to_owned(), Some("web_push".to_owned()))));
}

#[tokio::test]
async fn a_member_whose_only_socket_turns_out_to_be_gone_is_told() {
    let pushing = Pushing::new().await;
    pushing.subscribes("bob", SILENT, "phone").await;
    let chat = pushing.chat().await;
    pushing.test.connect("bob", &["gone", "other"]).await;
    pushing.test.clock.advance(Duration::from_secs(10));
    pushing.test.push.will("gone", &[Offered::Gone]);
    pushing.says(chat, "alice", "one").await;
    pushing.drains_after(60_000).await;
    assert_eq!(pushing.services.titles(), [], "another socket took it");
    assert_eq!(pushing.test.push.taken().len(), 2, "and it is not pushed again");
    pushing.test.push.will("other", &[Offered::Gone]);
    pushing.says(chat, "alice", "two").await;
    pushing.drains_after(5_000).await;
    assert_eq!(pushing.services.titles(), []);
    pushing.drains_after(25_000).await;
    assert_eq!(pushing.services.titles(), titles([("phone", "2 new messages from alice")]));
    pushing.drains_after(3_600_000).await;
    assert_eq!(pushing.services.titles(), []);
    assert_eq!(pushing.test.push.taken().len(), 1);
}

#[tokio::test]
async fn digests_and_many_pushes_that_are_due_together_all_go() {
    let pushing = Pushing::new().await;
    let names: Vec<String> = (0..100).map(|n| format!("user-{n:02}")).collect();
    for name in &names {
        pushing.subscribes(name, SILENT, name).await;
    }
    let (told_apart, told_together) = names.split_at(80);
    for name in told_apart {
        pushing.sends(name, "one", json!({})).await;
    }
    for name in told_together {
        pushing.sends(name, "one", json!({"digest": {"windowMs": 60_000}})).await;
    }
    pushing.drains_after(0).await;
    assert_eq!(pushing.services.titles().len(), told_apart.len());
    for name in told_apart {
        pushing.sends(name, "two", json!({})).await;
    }
    pushing.drains_after(60_000).await;
    let titled =
        |names: &[String], title: &str| names.iter().map(|name| (name.clone(), title.to_owned())).collect::<Vec<_>>();
    let expected = [titled(told_apart, "two"), titled(told_together, "one")].concat();
    assert_eq!(pushing.services.titles(), expected);
}
