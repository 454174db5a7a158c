//! H. Idempotency, limits and exhaustion.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use harness::{Answer, Caller, TestApp, World, body, event, invoke};
use serde_json::{Value, json};
use shared::moment::none::NoMoment;

use crate::raw;
use crate::row::{Call, Expected, Group, Row, SEND, Who, admin, invalid, refused, row, send, send_with, status};

const REUSED: Expected = refused(422, "idempotency_key_reused");
const LIMITED: Expected = refused(429, "rate_limited");
const KEY: &[&str] = &["idempotencyKey"];
/// How many calls of a hundred Redis may not answer in time.
const MAX_UNCOUNTED: usize = 5;

pub(crate) fn group() -> Group {
    Group {
        letter: 'H',
        title: "Idempotency, limits, exhaustion",
        variables: &[],
        rows: [keys(), budgets(), costs()].into_iter().flatten().collect(),
    }
}

fn keyed(key: &str) -> Call {
    send(r#"{"type":"like","userIds":["victim"],"title":"Hi"}"#).header("idempotency-key", key)
}

fn keys() -> Vec<Row> {
    vec![
        row("S145", "keys that are empty, too long, or not visible ASCII")
            .note("The code is `validation_failed`, which names the member.")
            .calls(["", "a b", "clé", "🔔", "a\tb", &"k".repeat(256)].map(keyed), invalid(KEY))
            .calls(
                ["", "a b", "a\u{0}", "clé", "a\nb", &"k".repeat(256)].map(|key| send_with("idempotencyKey", key)),
                invalid(KEY),
            )
            .calls([json!(7), json!(null), json!(["k"])].map(|key| send_with("idempotencyKey", key)), invalid(KEY)),
        row("S146", "one key and body a hundred times at once").script(|_| hundredfold().boxed_local()),
        row("S147", "one key with another body").script(|world| other_body(world).boxed_local()),
        row("S148", "one key with the same body in another spelling")
            .script(|world| other_spelling(world).boxed_local()),
        row("S149", "one key on another route").script(|world| other_route(world).boxed_local()),
        row("S150", "a key after refusals").script(|_| after_refusals().boxed_local()),
        row("S151", "two keys")
            .call(
                send(r#"{"type":"like","userId":"victim","title":"Hi","idempotencyKey":"a"}"#)
                    .header("idempotency-key", "b"),
                invalid(KEY),
            )
            .call(keyed("a").header("idempotency-key", "b"), invalid(KEY))
            .call(keyed("a").header("idempotency-key", "a"), invalid(KEY)),
        row("S152", "one `clientId` with another text")
            .note("The code is that of a reused key.")
            .script(|world| other_text(world).boxed_local()),
        row("S153", "a key that ends in the time").left_out("the contract has no such hint"),
    ]
}

fn budgets() -> Vec<Row> {
    vec![
        row("S154", "ways around a limit")
            .note("A budget is of the recipient and the type: another spelling of either is another one, or 422.")
            .call(send_with("type", "like "), invalid(&["type"]))
            .script(|_| around_a_limit().boxed_local()),
        row("S155", "many recipients in one call, and in many").script(|_| many_recipients().boxed_local()),
        row("S156", "a limit without Redis")
            .note("Each process keeps its own; the contract has no header for it.")
            .script(|_| without_redis().boxed_local()),
        row("S157", "a byte a second").script(|world| slow_requests(world).boxed_local()),
        row("S158", "10,000 sends to one user")
            .note("The budget is of the recipient and the type.")
            .script(|_| many_sends().boxed_local()),
        row("S159", "a storm of replies in a chat")
            .note("The limit is the sender's, over all chats.")
            .script(|_| storm_of_replies().boxed_local()),
    ]
}

fn costs() -> Vec<Row> {
    vec![
        row("S160", "the longest input that each check takes").script(|world| worst_cases(world).boxed_local()),
        row("S161", "30,000 members in one object").script(|world| many_members(world).boxed_local()),
        row("S162", "an inbox as large as it can be made")
            .note("Reading has no limit; each answer has at most 1 MB and says if there is more.")
            .script(|_| poisoned_inbox().boxed_local()),
    ]
}

fn like(user: &str) -> Value {
    json!({"type": "like", "userIds": [user], "title": "Hi"})
}

fn like_with_key(user: &str, key: &str) -> Value {
    let mut body = like(user);
    body["idempotencyKey"] = key.into();
    body
}

async fn hundredfold() {
    // All of them are under way before the first is stored, and until then each takes its own unit.
    let world = World::with(&[("RATE_LIMIT_SEND", "100/60s")]).await;
    let shop = world.service("shop");
    // A hundred calls that wait for the first connection to Redis would be decided by this process instead. So many users are
    // at every instance of it.
    let users: Vec<String> = (0..20).map(|n| format!("user-{n}")).collect();
    let first = json!({"type": "like", "userIds": users, "title": "Hi"});
    status(202).check(&shop.posts(SEND, first).await, "the first send");
    let body = like_with_key("hundred", "hundred");
    let answers = join_all((0..100).map(|_| shop.posts(SEND, body.clone()))).await;
    let first = &answers[0].text;
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.text == *first), "{answers:?}");
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 99);
    assert_eq!(world.user("hundred").inbox().await.len(), 1);
    // The repeats have cost the recipient's budget nothing: 99 of 100 are left for others.
    let other = world.service("other");
    for n in 0..99 {
        status(202).check(&other.posts(SEND, like("hundred")).await, &format!("send {n} after a hundred repeats"));
    }
    // What Redis does not answer in time is decided by this process, and costs the budget in Redis nothing: few calls, if any.
    let mut further = other.posts(SEND, like("hundred")).await;
    for _ in 0..MAX_UNCOUNTED {
        if further.status == 202 {
            further = other.posts(SEND, like("hundred")).await;
        }
    }
    LIMITED.check(&further, "one too many");
    world.stops().await;
}

async fn other_body(world: &World) {
    let shop = world.service("shop");
    shop.posts(SEND, like_with_key("reused", "reused")).await.expect(202);
    for (member, value) in [
        ("title", json!("Other")),
        ("body", json!("")),
        ("type", json!("other")),
        ("userIds", json!(["reused", "victim"])),
        ("priority", json!("high")),
        ("delayMs", json!(1)),
        ("data", json!({"a": 1})),
        ("collapseKey", json!("c")),
    ] {
        let mut other = like_with_key("reused", "reused");
        other[member] = value;
        for _ in 0..5 {
            REUSED.check(&shop.posts(SEND, other.clone()).await, member);
        }
    }
    assert_eq!(world.user("reused").inbox().await.len(), 1);
    // Nor has that cost anything.
    for n in 0..29 {
        status(202).check(&shop.posts(SEND, like("reused")).await, &format!("send {n} after reused keys"));
    }
}

async fn other_text(world: &World) {
    let bob = world.user("bob");
    let chat = bob.posts("/api/chats", json!({"kind": "group", "participantIds": ["carol"]})).await.expect(201);
    let path = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
    let first = bob.posts(&path, json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    for other in [json!({"clientId": "1", "body": "Ho"}), json!({"clientId": "1", "body": "Hi", "data": {"a": 1}})] {
        REUSED.check(&bob.posts(&path, other).await, "another text");
    }
    let again = bob.posts(&path, json!({"clientId": "1", "body": "Hi"})).await.expect(200);
    assert_eq!(again, first);
    assert_eq!(bob.gets(&path).await.expect(200)["items"], json!([first]));
}

async fn storm_of_replies() {
    let world = World::with(&[("RATE_LIMIT_CHAT", "20/10s")]).await;
    let bob = world.user("bob");
    let chat = |name: &str| json!({"kind": "group", "participantIds": [name]});
    let mut paths = Vec::new();
    for name in ["carol", "dave"] {
        let chat = bob.posts("/api/chats", chat(name)).await.expect(201);
        paths.push(format!("/api/chats/{}/messages", chat["id"].as_str().unwrap()));
    }
    // Creating two chats has spent two.
    for n in 0..18 {
        let message = json!({"clientId": n.to_string(), "body": "Hi"});
        status(201).check(&bob.posts(&paths[n % 2], message).await, &format!("message {n}"));
    }
    for path in &paths {
        LIMITED.check(&bob.posts(path, json!({"clientId": "more", "body": "Hi"})).await, "one too many");
        assert_eq!(bob.gets(path).await.expect(200)["items"].as_array().map(Vec::len), Some(9));
    }
    world.stops().await;
}

async fn other_spelling(world: &World) {
    let shop = world.service("shop");
    let headers = [("content-type", "application/json"), ("idempotency-key", "spelled")];
    let spellings = [
        r#"{"type":"like","userIds":["speller"],"title":"Hi","data":{"a":1,"b":{"c":2,"d":3}}}"#,
        "{ \"title\" : \"\\u0048i\",\n\"data\":{\"b\":{\"d\":3,\"c\":2},\"a\":1}, \"userId\":\"speller\",\"type\":\"like\" }",
        r#"{"type":"like","userIds":["speller","speller"],"content":{"title":"Hi","a":1,"b":{"c":2,"d":3}},"delay":0}"#,
    ];
    let mut texts = Vec::new();
    for spelling in spellings {
        let answer = shop.calls("POST", SEND, &headers, spelling).await;
        assert_eq!(answer.status, 202, "{spelling}: {}", answer.text);
        texts.push(answer.text);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(world.user("speller").inbox().await.len(), 1);
}

async fn other_route(world: &World) {
    let root = admin(world);
    let body = like_with_key("router", "routed");
    let mut ids = HashSet::new();
    for route in [SEND, "/api/notifications/test", "/api/push/send"] {
        let sent = root.posts(route, body.clone()).await.expect(202);
        assert!(ids.insert(sent["sendId"].to_string()), "{route}: {sent}");
    }
    assert_eq!(world.user("router").inbox().await.len(), 3);
}

async fn after_refusals() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1/60s")]).await;
    let shop = world.service("shop");
    let with_key = |call: Call| call.header("idempotency-key", "again");
    invalid(&["title"]).check(&with_key(send_with("title", "")).send(&world).await, "422");
    status(401).check(&with_key(send("{}").bearer("x")).send(&world).await, "401");
    status(403).check(&with_key(send("{}").by(Who::User("eve"))).send(&world).await, "403");
    status(400).check(&with_key(send("{")).send(&world).await, "400");
    shop.posts(SEND, like("again")).await.expect(202);
    LIMITED.check(&shop.posts(SEND, like_with_key("again", "again")).await, "429");
    world.advances(Duration::from_secs(60));
    let first = shop.posts(SEND, like_with_key("again", "again")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""), "{}", first.text);
    assert_eq!(world.user("again").inbox().await.len(), 2);
    world.stops().await;
}

async fn send_from(caller: &Caller, headers: &[(&str, &str)], body: &Value) -> Answer {
    let all: Vec<_> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
    caller.calls("POST", SEND, &all, &body.to_string()).await
}

async fn around_a_limit() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1/60s")]).await;
    let shop = world.service("shop");
    shop.posts(SEND, like("target")).await.expect(202);
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "via"] {
        LIMITED.check(&send_from(&shop, &[(header, "192.0.2.77")], &like("target")).await, header);
    }
    world.advances(Duration::from_secs(1));
    LIMITED.check(&world.service("shop").posts(SEND, like("target")).await, "a new token");
    LIMITED.check(&world.service("another").posts(SEND, like("target")).await, "another service");
    LIMITED.check(&admin(&world).posts("/api/notifications/test", like("target")).await, "another route");
    let mut spelled = like("target");
    spelled["userId"] = spelled.as_object_mut().unwrap().remove("userIds").unwrap()[0].clone();
    LIMITED.check(&shop.posts(SEND, spelled).await, "another spelling of the recipient");
    assert_eq!(world.user("target").inbox().await.len(), 1);
    world.stops().await;
}

async fn many_recipients() {
    let world = World::with(&[("RATE_LIMIT_SEND", "2/60s")]).await;
    let shop = world.service("shop");
    let users: Vec<String> = (0..1_000).map(|n| format!("user-{n}")).collect();
    shop.posts(SEND, json!({"type": "like", "userIds": users, "title": "One call"})).await.expect(202);
    for user in ["user-0", "user-500", "user-999"] {
        shop.posts(SEND, like(user)).await.expect(202);
        LIMITED.check(&shop.posts(SEND, like(user)).await, user);
    }
    world.stops().await;
}

async fn without_redis() {
    let mut test = TestApp::new().await;
    test.uses_moment(Arc::new(NoMoment::default()));
    let mut statuses = Vec::new();
    for _ in 0..31 {
        let mut send = event("send");
        send["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
        send["headers"].as_object_mut().unwrap().remove("idempotency-key");
        send["body"] = like("alice").to_string().into();
        let answer = invoke(&test.app, send::handle, send).await;
        if answer.status() == 429 {
            assert_eq!(body(&answer)["error"]["code"], "rate_limited");
        }
        statuses.push(answer.status().as_u16());
    }
    assert_eq!((statuses.iter().filter(|status| **status == 202).count(), statuses[30]), (30, 429));
}

/// Each kind of request takes its client to an end, all at the same time.
async fn slow_requests(world: &World) {
    let token = world.service("shop");
    let token = token.authorization();
    let head =
        format!("POST {SEND} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-type: application/json\r\n");
    let starts = [
        "".to_owned(),
        "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned(),
        format!("{head}content-length: 100000\r\n\r\n{{"),
        format!("{head}transfer-encoding: chunked\r\n\r\n1000\r\n"),
    ];
    let begun = Instant::now();
    let answers = join_all(starts.iter().map(|start| raw::trickle(world, start))).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(answers.iter().all(|answer| !answer.contains(" 202 ") && !answer.contains(" 500 ")), "{answers:?}");
}

async fn many_sends() {
    let world = World::new().await;
    let shop = world.service("shop");
    let mut refused = 0;
    for _ in 0..200 {
        let answer = shop.posts(SEND, like("popular")).await;
        if answer.status == 429 {
            LIMITED.check(&answer, "a send too many");
            refused += 1;
        }
    }
    assert_eq!(refused, 170);
    let mut other = like("popular");
    other["type"] = "order".into();
    world.service("other").posts(SEND, other).await.expect(202);
    world.service("other").posts(SEND, like("somebody-else")).await.expect(202);
    assert_eq!(world.user("popular").inbox().await.len(), 31);
    world.stops().await;
}

/// Sends a call, which must be refused quickly.
async fn quickly(world: &World, sent: &str, call: Call, expected: Expected) {
    let begun = Instant::now();
    let answer = call.send(world).await;
    expected.check(&answer, sent);
    // Unoptimised, on a busy machine; what is not linear takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(2), "{sent} took {:?}", begun.elapsed());
}

async fn worst_cases(world: &World) {
    let text = |member: &str, text: String| send_with(member, text);
    let long = 250_000;
    for (sent, call, expected) in [
        (
            "a title of escapes",
            send(format!(r#"{{"title":"{}"}}"#, "\\u0041".repeat(long / 6))),
            invalid(&["userIds", "type", "title"]),
        ),
        ("a title of marks", text("title", "\u{301}".repeat(long / 2)), invalid(&["title"])),
        ("a type of dots", text("type", ".".repeat(long)), invalid(&["type"])),
        (
            "an id of marks",
            send_with("userIds", json!(["victim", "a\u{301}\u{323}".repeat(40)])),
            invalid(&["userIds[1]"]),
        ),
        ("a path of slashes", text("actionUrl", "/".repeat(long)), invalid(&["actionUrl"])),
        ("a host of at signs", text("actionUrl", format!("https://{}", "@".repeat(long))), invalid(&["actionUrl"])),
        ("a number of digits", send(format!(r#"{{"delayMs":{}}}"#, "9".repeat(long))), refused(400, "invalid_json")),
        ("a time of digits", text("expiresAt", "2".repeat(long)), invalid(&["expiresAt"])),
    ] {
        quickly(world, sent, call, expected).await;
    }
    let cursor = "a".repeat(6_000);
    for path in [format!("/api/sync?since={cursor}.1"), format!("/api/notifications?cursor={cursor}")] {
        quickly(world, "a long cursor", crate::row::get(path), refused(400, "bad_request")).await;
    }
}

async fn many_members(world: &World) {
    let members: Vec<String> = (0..40_000).map(|n| format!("\"{n:x}\":0")).collect();
    let members = members.join(",");
    // As many as fit into a body.
    let few = &members[..members[..250_000].rfind(',').unwrap()];
    let data = format!(r#"{{"type":"like","userIds":["victim"],"title":"Hi","data":{{{few}}}}}"#);
    quickly(world, "in data", send(data), invalid(&["data"])).await;
    quickly(world, "in the body", send(format!("{{{few}}}")), refused(422, "validation_failed")).await;
}

/// 205 sends of 16 KB of quotes, which JSON doubles, and 4,000 emoji.
async fn poisoned_inbox() {
    let world = World::with(&[("RATE_LIMIT_SEND_TYPES", "like=off")]).await;
    let (shop, target) = (world.service("shop"), world.user("target"));
    let poison = json!({"type": "like", "userId": "target", "title": "🔔".repeat(200), "body": "🔔".repeat(4_000),
        "data": {"q": "\"".repeat(8_180)}});
    let mut device = crate::socket::Socket::of(&world, "target").await;
    for _ in 0..205 {
        shop.posts(SEND, poison.clone()).await.expect(202);
    }

    let mut since = String::new();
    let mut synced = Vec::new();
    loop {
        let answer = target.gets(&format!("/api/sync{since}")).await;
        assert!(answer.text.len() <= 1_024 * 1_024, "a sync of {} bytes", answer.text.len());
        let page = answer.expect(200);
        let ids = page["notifications"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        let before = synced.len();
        synced.extend(ids);
        if page["complete"] == true {
            break;
        }
        assert!(synced.len() > before, "a part without a change");
        since = format!("?since={}", page["cursor"].as_str().unwrap());
    }
    assert_eq!(synced.len(), 205);

    let mut cursor = String::new();
    let mut listed = Vec::new();
    loop {
        let answer = target.gets(&format!("/api/notifications?limit=200{cursor}")).await;
        assert!(answer.text.len() <= 1_024 * 1_024, "a list of {} bytes", answer.text.len());
        let page = answer.expect(200);
        listed.extend(page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    listed.reverse();
    assert_eq!(listed, synced);

    // The socket gets what fits its frames, and no error.
    assert!(device.says(r#"{"action":"sync","ref":"poison"}"#).await);
    loop {
        let frame = device.hears().await.expect("the socket was closed");
        let bytes = frame.to_string().len();
        if frame["ref"] == "poison" {
            assert_eq!((&frame["type"], &frame["complete"]), (&json!("sync"), &json!(false)));
            assert!(bytes <= 96 * 1_024, "a sync of {bytes} bytes");
            break;
        }
        assert!(bytes <= 32 * 1_024, "a frame of {bytes} bytes");
    }
    drop(device);
    world.stops().await;
}
