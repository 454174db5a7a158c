//! E. Ids that look like syntax: all of them work, and stay distinct.

use std::collections::HashSet;

use futures_util::FutureExt;
use harness::{TestApp, World, event, invoke};
use serde_json::json;
use shared::delivery::queue::Entry;
use shared::delivery::work::PushWork;
use shared::ids::UserId;
use shared::inbox::notification::Priority;

use crate::row::{Group, Row, SEND, invalid, refused, row, send, send_with};

pub(crate) fn group() -> Group {
    Group { letter: 'E', title: "Ids and injection", variables: &[], rows: rows() }
}

fn rows() -> Vec<Row> {
    let to = |user: &str| send_with("userIds", json!(["victim", user]));
    vec![
        row("S102", "parts that are alike when they are joined").script(|world| joined_parts(world).boxed_local()),
        row("S103", "braces")
            .script(|world| work_as_ids(world, &["{", "}", "{}", "a}b", "{x}{y}", "{p0001}"]).boxed_local()),
        row("S104", "ids with colons")
            .script(|world| work_as_ids(world, &["1:c9:at", "a:b:c", ":", "carillon:x"]).boxed_local()),
        row("S105", "patterns")
            .script(|world| work_as_ids(world, &["*", "?", "[a-z]", "user:*", "%", "_"]).boxed_local()),
        row("S106", "commands of Redis")
            .calls([to("\r\nFLUSHALL\r\n"), to("$5\r\nhello"), to("a\nb")], invalid(&["userIds[1]"])),
        row("S107", "statements of SQL").script(|world| {
            work_as_ids(world, &["'; DROP TABLE sends;--", "$1", "%s", "\\'", "\" OR 1=1", "a'||'b"]).boxed_local()
        }),
        row("S108", "a script for Redis")
            .script(|world| work_as_ids(world, &["\"]] redis.call('FLUSHALL') --[[", "]]", "KEYS[1]"]).boxed_local()),
        row("S109", "paths")
            .script(|world| work_as_ids(world, &["..", "/", "%2F", "\\", "../../etc/passwd", "a%00b"]).boxed_local()),
        row("S110", "ids that are empty, too long, or hold control characters")
            .note("A space is a character like any other, and so is U+FFFE.")
            .calls(
                [to(""), to("a\u{0}b"), to(&"x".repeat(257)), to(&"ä".repeat(129)), to("a\u{85}"), to("\u{202e}a")],
                invalid(&["userIds[1]"]),
            )
            .call(send(r#"{"type":"like","userIds":["victim","\ud800"],"title":"Hi"}"#), refused(400, "invalid_json"))
            .script(|world| work_as_ids(world, &[" a", "a ", "\u{fffe}", "a"]).boxed_local()),
        row("S111", "the same letters in other forms")
            .note("What is not in NFC is refused; nothing is mapped.")
            .call(to("e\u{301}"), invalid(&["userIds[1]"]))
            .script(|world| {
                work_as_ids(world, &["\u{e9}", "e", "\u{ff41}", "A", "straße", "strasse", "STRASSE"]).boxed_local()
            }),
        row("S112", "names that every object of JavaScript has").script(|world| {
            work_as_ids(world, &["constructor", "__proto__", "toString", "hasOwnProperty"]).boxed_local()
        }),
        row("S113", "a million names of channels").left_out("callers name no channels"),
        row("S114", "users that fall into one partition")
            .left_out("the contract promises no secret in the hash of partitions"),
        row("S115", "work in the queue that was edited by hand").script(|_| edited_work().boxed_local()),
    ]
}

/// Each id gets its own notification and nothing else, over HTTP and over a socket.
async fn work_as_ids(world: &World, ids: &[&str]) {
    let shop = world.service("shop");
    let sent = shop.posts(SEND, json!({"type": "like", "userIds": ids, "title": "For all"})).await.expect(202);
    for (id, notification) in ids.iter().zip(sent["notifications"].as_array().unwrap()) {
        assert_eq!(notification["userId"], *id);
        shop.posts(SEND, json!({"type": "like", "userId": id, "title": format!("For {}", id.trim())}))
            .await
            .expect(202);
    }
    let mut seen = HashSet::new();
    for id in ids {
        let user = world.user(id);
        let inbox = user.inbox().await;
        assert_eq!(inbox.len(), 2, "{id:?}");
        assert!(inbox.into_iter().all(|notification| seen.insert(notification)), "{id:?} has what another one has");
        let mut device = user.connects().await;
        shop.rings(&[id], "Rings").await;
        device.sees("Rings").await;
    }
}

async fn joined_parts(world: &World) {
    // The id of a send follows from its caller and key, that of a notification from send and user.
    let keyed = |caller: &str, key: &str| {
        let caller = world.service(caller);
        let body = json!({"type": "like", "userIds": ["joined"], "title": "Hi", "idempotencyKey": key});
        async move { caller.posts(SEND, body).await.expect(202)["sendId"].clone() }
    };
    assert_ne!(keyed("a:b", "c").await, keyed("a", "b:c").await);
    // Budgets are of a recipient and a type.
    let limited = World::with(&[("RATE_LIMIT_SEND", "1/60s")]).await;
    let shop = limited.service("shop");
    for (kind, user) in [("a:b", "c"), ("a", "b:c"), ("a:b:c", "c"), ("a", "b c"), ("a.b", "c")] {
        let answer = shop.posts(SEND, json!({"type": kind, "userId": user, "title": "Hi"})).await;
        assert_eq!(answer.status, 202, "{kind} {user}: {}", answer.text);
    }
    limited.stops().await;
}

async fn edited_work() {
    let test = TestApp::new().await;
    test.connect("alice", &["alices-phone"]).await;
    test.connect("mallory", &["mallorys-phone"]).await;
    let mut send = event("send");
    send["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
    send["body"] = json!({"type": "like", "userId": "alice", "title": "Private"}).to_string().into();
    invoke(&test.app, send::handle, send).await;
    assert_eq!(test.push.taken().len(), 1);
    // Work for rows that are not due, do not exist, or belong to another user.
    let work = |user: &str, offset: i64, fence_ms: i64| Entry {
        work: PushWork {
            user: UserId::new(user).unwrap(),
            offset,
            fence_ms,
            priority: Priority::Normal,
            throttled: 0,
            left: vec![shared::ids::ConnectionId::new("mallorys-phone")],
        }
        .into(),
        wait_ms: 0,
    };
    let entries = [
        work("alice", 1, harness::START_MS),
        work("alice", 1, i64::MAX),
        work("mallory", 1, 0),
        work("alice", -1, i64::MIN),
    ];
    test.app.moment.queue.add(&entries, test.clock.at()).await;
    drain::handle(&test.app, i64::MAX).await;
    assert!(test.push.taken().is_empty());
}
