//! When notifications are sent, to whom, how often, and what the push says.

use super::*;

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
    // Other pushes are sent meanwhile.
    pushing.subscribes("cem", SILENT, "phone").await;
    pushing.sends("cem", "three", json!({})).await;
    test.clock.advance(Duration::from_secs(1));
    until(&|| pushing.services.titles() == titles([("phone", "three")])).await;
    assert!(!draining.is_finished(), "it waits for the answer");
    answers.notify_one();
    let drained = draining.await.unwrap();
    assert_eq!((drained.pushed, drained.web_pushed, drained.failed), (1, 2, false));
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
