//! D. Bodies, queries, methods and paths.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use harness::World;
use serde_json::{Value, json};

use crate::raw;
use crate::row::{
    CANARY, Call, Expected, Group, Row, SEND, Who, by_gateway, call, get, invalid, post, refused, row, send, send_with,
    status, to_victim,
};

const NOT_JSON: Expected = refused(400, "invalid_json");
const UNSUPPORTED: Expected = refused(415, "unsupported_media_type");
const TOO_LARGE: Expected = refused(413, "payload_too_large");
const NOT_FOUND: Expected = refused(404, "not_found");
const NO_METHOD: Expected = refused(405, "method_not_allowed");

pub(crate) fn group() -> Group {
    Group {
        letter: 'D',
        title: "Bodies",
        variables: &[],
        rows: [syntax(), members(), times(), values(), requests()].into_iter().flatten().collect(),
    }
}

fn good() -> String {
    to_victim("priority", json!("normal")).to_string()
}

/// A good send to the victim but for this text, which stands where a member would.
fn with_text(member: &str) -> Call {
    send(format!(r#"{{"type":"like","userIds":["victim"],"title":"Hi",{member}}}"#))
}

fn padded(bytes: usize) -> Vec<u8> {
    let mut body = good().into_bytes();
    body.resize(bytes, b' ');
    body
}

fn syntax() -> Vec<Row> {
    let of_type = |value: &str| send(good()).without("content-type").header("content-type", value);
    let utf_16: Vec<u8> = good().encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        row("S081", "bodies that are no JSON in UTF-8")
            .calls(
                ["", "{", "[]", "null", "\"x\"", "7", "{} {}", r#"{"type":"a",}"#, "{'type':'a'}", "{\"a\":1}x"]
                    .map(send),
                NOT_JSON,
            )
            .call(send(format!("\u{feff}{}", good())), NOT_JSON)
            .call(send(utf_16), NOT_JSON)
            .calls(
                [r#""title":"\ud800""#, r#""title":"\ude00\ud800""#, "\"body\":\"\u{0}\"", "\"body\":\"a\nb\""]
                    .map(with_text),
                NOT_JSON,
            )
            .call(send(b"{\"title\":\"\xff\"}".to_vec()), NOT_JSON)
            .call(send(b"{\"title\":\"\xed\xa0\x80\"}".to_vec()), NOT_JSON),
        row("S082", "other content types").calls(
            [
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "",
                "application/jsonp",
                "text/json",
            ]
            .map(of_type)
            .into_iter()
            .chain([send(good()).without("content-type")]),
            UNSUPPORTED,
        ),
        row("S083", "another charset")
            .calls(["application/json; charset=utf-16", "application/json; charset=latin1"].map(of_type), UNSUPPORTED),
        row("S084", "depth 33, and 100,000 brackets")
            .call(with_text(&format!(r#""data":{}1{}"#, "{\"a\":".repeat(32), "}".repeat(32))), NOT_JSON)
            .call(with_text(&format!(r#""data":{{"a":{}"#, "[".repeat(100_000))), NOT_JSON)
            .call(send("[".repeat(100_000)), NOT_JSON)
            .call(with_text(&format!(r#""data":{{"a":{}"#, "{\"a\":".repeat(40_000))), NOT_JSON),
        row("S085", "256 KB + 1, up to 11 MB, a false length, and a compressed body")
            .note("Above what Lambda takes (6 MB), API Gateway answers by itself.")
            .call(send(padded(256 * 1_024)).by(Who::Nobody), refused(401, "token_missing"))
            .call(send(padded(256 * 1_024 + 1)), TOO_LARGE)
            .call(send(padded(4 * 1_024 * 1_024)), TOO_LARGE)
            .calls(
                [7, 8, 9].into_iter().flat_map(|mb| {
                    let call = send(padded(mb * 1_024 * 1_024));
                    [call.clone(), call.anonymous()]
                }),
                by_gateway(413),
            )
            .call(send(padded(10 * 1_024 * 1_024 + 1)), by_gateway(413))
            .calls(
                ["gzip", "br", "deflate", "identity, gzip"]
                    .map(|encoding| send(good()).header("content-encoding", encoding)),
                UNSUPPORTED,
            )
            .script(|world| false_lengths(world).boxed_local()),
        row("S086", "a member twice").calls(
            [r#""type":"b""#, r#""data":{"a":1,"a":1}"#, r#""data":{"x":[{"k":1,"\u006b":2}]}"#].map(with_text),
            NOT_JSON,
        ),
    ]
}

fn members() -> Vec<Row> {
    let users = |users: Value| send_with("userIds", users);
    let many = |count: usize| users((0..count).map(|n| n.to_string()).collect());
    vec![
        row("S087", "unknown members")
            .call(send_with("tenant", CANARY), invalid(&["tenant"]))
            .call(send_with("__proto__", json!({})), invalid(&["__proto__"]))
            .call(send_with("Title", "x"), invalid(&["Title"]))
            .call(send_with("", 1), invalid(&["(unprintable name)"]))
            .call(send_with("a\u{202e}b", 1), invalid(&["(unprintable name)"]))
            .script(|world| many_problems(world).boxed_local()),
        row("S088", "a type that is missing or malformed")
            .call(send(r#"{"userIds":["victim"],"title":"Hi"}"#), invalid(&["type"]))
            .calls(
                [
                    json!(""),
                    json!("x".repeat(65)),
                    json!("a b"),
                    json!("a\n"),
                    json!("ä"),
                    json!(5),
                    json!(null),
                    json!("a/b"),
                ]
                .map(|kind| send_with("type", kind)),
                invalid(&["type"]),
            ),
        row("S089", "recipients: none, 1,001, nulls, nested")
            .calls(
                [users(json!([])), users(json!("victim")), users(json!({})), users(json!(null)), many(1_001)],
                invalid(&["userIds"]),
            )
            .call(users(json!(["victim", null])), invalid(&["userIds[1]"]))
            .call(users(json!(["victim", ["victim"]])), invalid(&["userIds[1]"]))
            .call(users(json!(["victim", 7, {}])), invalid(&["userIds[1]", "userIds[2]"]))
            .call(send(r#"{"type":"like","title":"Hi"}"#), invalid(&["userIds"]))
            .script(|world| repeated_recipients(world).boxed_local()),
        row("S090", "`userId` and `userIds`").call(send_with("userId", "victim"), invalid(&["userId"])),
        row("S091", "titles: too long, blank, invisible, on two lines, in disguise").calls(
            [
                json!("x".repeat(201)),
                json!("🔔".repeat(201)),
                json!(""),
                json!(" "),
                json!("\t"),
                json!("\u{3000}\u{2003}"),
                json!("\u{200b}"),
                json!("\u{200b}\u{200d}\u{2060}\u{feff}"),
                json!("\u{ad} \u{200b}"),
                json!("\u{202e}evil"),
                json!("a\u{2066}b"),
                json!("a\nb"),
                json!("a\rb"),
                json!("a\u{2028}b"),
                json!("a\u{2029}b"),
                json!("a\u{85}b"),
                json!(7),
                json!(null),
            ]
            .map(|title| send_with("title", title)),
            invalid(&["title"]),
        ),
        row("S092", "priorities that do not exist").calls(
            [json!("urgent!!"), json!(5), json!(null), json!("HIGH"), json!("")]
                .map(|value| send_with("priority", value)),
            invalid(&["priority"]),
        ),
    ]
}

fn times() -> Vec<Row> {
    vec![
        row("S093", "delays that are no whole number up to a year")
            .calls(
                [
                    json!(-1),
                    json!(1e12),
                    json!(1.5),
                    json!("5"),
                    json!(null),
                    json!(u64::MAX),
                    json!(1e300),
                    json!(i64::MIN),
                ]
                .map(|value| send_with("delayMs", value)),
                invalid(&["delayMs"]),
            )
            .call(send_with("delay", -1), invalid(&["delay"]))
            .calls(
                ["\"delayMs\":NaN", "\"delayMs\":Infinity", "\"delayMs\":05", "\"delayMs\":0x5"].map(with_text),
                NOT_JSON,
            )
            .call(
                send(json!({"type": "like", "userId": "victim", "title": "Hi", "delay": 1, "delayMs": 1}).to_string()),
                invalid(&["delay"]),
            ),
        row("S094", "an expiry in the past, in year 99999, without a zone, or far beyond what is kept")
            .calls(
                [
                    "2026-01-15T08:00:00Z",
                    "2027-01-15T08:00:00Z",
                    "99999-01-01T00:00:00Z",
                    "9999-12-31T23:59:59Z",
                    "2027-04-15T08:00:01Z",
                    "2027-01-16T08:00:00",
                    "2027-01-16",
                    "tomorrow",
                    "",
                ]
                .map(|time| send_with("expiresAt", time)),
                invalid(&["expiresAt"]),
            )
            .call(send_with("expiresAt", 1_900_000_000_000_i64), invalid(&["expiresAt"]))
            .script(|world| latest_expiry(world).boxed_local()),
    ]
}

fn values() -> Vec<Row> {
    vec![
        row("S095", "names in `data` that other languages give a meaning")
            .script(|world| names_in_data(world).boxed_local()),
        row("S096", "numbers at the edge")
            .call(with_text(r#""data":{"n":1e309}"#), NOT_JSON)
            .call(with_text(r#""data":{"n":-1e309}"#), NOT_JSON)
            .script(|world| numbers_in_data(world).boxed_local()),
        row("S097", "a body that API Gateway passes on in base64")
            .note("API Gateway itself encodes binary bodies, so a client cannot send a broken encoding.")
            .call(send(vec![0xff; 100]), NOT_JSON)
            .call(send([good().as_bytes(), &[0xff]].concat()), NOT_JSON),
    ]
}

fn requests() -> Vec<Row> {
    let list = |query: &str| get(format!("/api/notifications?{query}"));
    vec![
        row("S098", "paths with encoded separators")
            .note("The gateway refuses what is no UTF-8.")
            .calls(["%C3%28", "%d9a24cc6"].map(|id| get(format!("/api/notifications/{id}"))), by_gateway(400))
            .calls(
                ["%2e%2e%2f", "%00", "%252e%252e", "..%2f..%2fhealth", "%2F", "D9A24CC6-F5C2-8BB7-A2A6-3E0D1D39D4B1"]
                    .map(|id| get(format!("/api/notifications/{id}"))),
                NOT_FOUND,
            )
            .calls(
                ["/api/nowhere", "/API/NOTIFICATIONS", "/api/notifications/", "//api/notifications"].map(get),
                NOT_FOUND,
            ),
        row("S099", "queries")
            .calls(
                [
                    "limit=0",
                    "limit=-1",
                    "limit=201",
                    "limit=abc",
                    "limit=1e2",
                    "limit=",
                    "limit=5&limit=6",
                    "limit=%2B5",
                    "limit=5.0",
                    "limit=99999999999999999999",
                ]
                .map(list),
                invalid(&["limit"]),
            )
            .calls([list("userId=victim")], invalid(&["userId"]))
            .calls([list("unread=maybe"), list("unread=")], invalid(&["unread"]))
            .calls(
                [list("cursor=x"), list("cursor="), get("/api/sync?since=x"), get("/api/sync?since=")],
                refused(400, "bad_request"),
            )
            .call(get("/api/sync?limit=501"), invalid(&["limit"]))
            .call(get("/health?token=x").anonymous(), invalid(&["token"]))
            .call(get("/api/notifications/unread-count?x=1"), invalid(&["x"]))
            .calls(
                ["/api/ws/ticket?x=1", "/api/notifications/read-all?x=1"].map(|path| call("POST", path)),
                invalid(&["x"]),
            )
            .calls(
                ["/api/ws/ticket?x=1", "/api/notifications/read-all?x=1"].map(|path| post(path, "{}")),
                invalid(&["x"]),
            )
            .call(list(&format!("{CANARY}%00=1")), invalid(&["(unprintable name)"])),
        row("S100", "methods that a route has not")
            .calls(["PUT", "PATCH", "DELETE", "GET", "TRACE"].map(|method| call(method, SEND)), NO_METHOD)
            .calls(["TRACE", "PUT", "POST"].map(|method| call(method, "/api/notifications")), NO_METHOD)
            .call(get(SEND).header("x-http-method-override", "POST"), NO_METHOD)
            .call(get("/api/notifications").header("x-http-method-override", "DELETE"), status(200)),
        row("S101", "line breaks that may end up in a header")
            .note("An id that is no UUID is 404.")
            .calls(
                ["%0d%0aSet-Cookie:%20a=b", "%0d%0a%0d%0a%3Cscript%3E"]
                    .map(|id| get(format!("/api/notifications/{id}"))),
                NOT_FOUND,
            )
            .call(get("/api/sync?since=%0d%0aSet-Cookie:%20a=b"), refused(400, "bad_request"))
            .script(|world| line_breaks(world).boxed_local()),
        row("order", "several faults at once: the order of checks")
            .call(call("GET", "/api/nowhere").anonymous(), NOT_FOUND)
            .call(call("PUT", SEND).anonymous(), NO_METHOD)
            .call(post(SEND, "x").anonymous(), refused(401, "token_missing"))
            .call(post(SEND, "x").bearer("x.y.z"), refused(401, "invalid_token"))
            .call(post(SEND, "x"), refused(403, "forbidden"))
            .call(send(padded(257 * 1_024)).without("content-type"), UNSUPPORTED)
            .call(send(vec![b'{'; 257 * 1_024]), TOO_LARGE)
            .call(send("{"), NOT_JSON)
            .call(send(r#"{"type":"","tenant":"x"}"#), invalid(&["userIds", "type", "title", "tenant"])),
    ]
}

async fn false_lengths(world: &World) {
    let head = |bytes: usize| {
        let token = world.service("shop");
        let token = token.authorization();
        format!(
            "POST {SEND} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n"
        )
    };
    let body = good();
    // Longer than what follows: the request is never complete.
    let answer = raw::exchange(world, format!("{}\r\n{body}", head(body.len() + 10)).as_bytes()).await;
    assert!(!answer.contains(" 202 "), "{answer}");
    // Shorter: what is left is no request.
    let answer = raw::exchange(world, format!("{}\r\n{body}", head(10)).as_bytes()).await;
    assert!(!answer.contains(" 202 "), "{answer}");
    // Two lengths, and a length beside chunks: a way to smuggle requests past a proxy.
    for second in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", "transfer-encoding: xchunked\r\n"] {
        let request = format!("{}{second}\r\n0\r\n\r\n", head(1_000));
        let answer = raw::exchange(world, request.as_bytes()).await;
        assert!(!answer.contains(" 202 ") && !answer.contains(" 500 "), "{second}: {answer}");
    }
    for length in ["-1", "1e3", "99999999999999999999999", "0x10", "+5"] {
        let request = format!("POST {SEND} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        let answer = raw::exchange(world, request.as_bytes()).await;
        assert!(!answer.contains(" 202 ") && !answer.contains(" 500 "), "{length}: {answer}");
    }
}

/// However much is wrong, the answer is small and quick.
async fn many_problems(world: &World) {
    let members: String = (0..20_000).map(|n| format!(",\"m{n}\":1")).collect();
    let long: String = (0..30).map(|n| format!(",\"{n}{}\":1", "ä".repeat(62))).collect();
    let users: Vec<Value> = (0..60_000).map(|_| json!(1)).collect();
    let path = |depth: usize| (0..depth).fold(json!("\u{7}"), |inner, _| json!({"k".repeat(8_000 / depth): inner}));
    for (sent, call) in [
        (
            "20,000 unknown members",
            send(format!("{{\"type\":\"like\",\"userId\":\"victim\",\"title\":\"Hi\"{members}}}")),
        ),
        (
            "30 unknown members with long names",
            send(format!("{{\"type\":\"like\",\"userId\":\"victim\",\"title\":\"Hi\"{long}}}")),
        ),
        ("60,000 recipients that are numbers", send_with("userIds", users)),
        ("a bad string under long names", send_with("data", path(1))),
        ("a bad string, deep under long names", send_with("data", path(28))),
    ] {
        let begun = Instant::now();
        let answer = call.send(world).await;
        refused(422, "validation_failed").check(&answer, sent);
        assert!(begun.elapsed() < Duration::from_secs(2), "{sent} took {:?}", begun.elapsed());
    }
}

async fn repeated_recipients(world: &World) {
    let shop = world.service("shop");
    let repeated: Vec<String> = (0..1_001).map(|n| format!("repeated-{}", n % 3)).collect();
    let sent = shop.posts(SEND, json!({"type": "like", "userIds": repeated, "title": "Hi"})).await.expect(202);
    assert_eq!(sent["notifications"].as_array().map(Vec::len), Some(3));
    assert_eq!(world.user("repeated-0").inbox().await.len(), 1);
}

/// `RETENTION_DAYS` (90) after the due time, to the millisecond.
async fn latest_expiry(world: &World) {
    let shop = world.service("shop");
    let expiring = |due: Value, expires: &str| json!({"type": "like", "userId": "keeper", "title": "Hi", "delayMs": due, "expiresAt": expires});
    for (due, expires, status) in [
        (json!(0), "2027-04-15T08:00:00.000Z", 202),
        (json!(0), "2027-04-15T08:00:00.001Z", 422),
        (json!(86_400_000), "2027-04-16T08:00:00.000Z", 202),
        (json!(86_400_000), "2027-04-16T08:00:00.001Z", 422),
    ] {
        let answer = shop.posts(SEND, expiring(due, expires)).await;
        assert_eq!(answer.status, status, "{expires}: {}", answer.text);
        // The bound is named.
        assert!(status == 202 || answer.text.contains("90"), "{}", answer.text);
    }
}

async fn names_in_data(world: &World) {
    let data = json!({"__proto__": {"admin": true}, "constructor": {"prototype": 1}, "$where": "1", "$gt": "", "toString": 0,
        "a.b": 1, "": 2, "hasOwnProperty": [], "data": {"data": {}}});
    let body = json!({"type": "like", "userId": "namer", "title": "Hi", "data": data});
    let sent = world.service("shop").posts(SEND, body).await.expect(202);
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    let stored = world.user("namer").gets(&format!("/api/notifications/{id}")).await;
    assert_eq!(stored.json()["data"], data);
}

async fn numbers_in_data(world: &World) {
    // Integers of 64 bits and doubles survive as they are.
    let data = r#"{"a":9007199254740993,"b":0.1,"c":18446744073709551615,"d":-9223372036854775808,"e":1e300}"#;
    let body = format!(r#"{{"type":"like","userId":"counter","title":"Hi","data":{data}}}"#);
    let headers = [("content-type", "application/json")];
    let sent = world.service("shop").calls("POST", SEND, &headers, &body).await.expect(202);
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    let stored = world.user("counter").gets(&format!("/api/notifications/{id}")).await;
    for number in ["9007199254740993", "\"b\":0.1", "18446744073709551615", "-9223372036854775808"] {
        assert!(stored.text.contains(number), "{number}: {}", stored.text);
    }
    assert_eq!(stored.json()["data"], serde_json::from_str::<Value>(data).unwrap());
}

async fn line_breaks(world: &World) {
    for path in [
        "/api/notifications/%0d%0aset-cookie:%20a=b",
        "/%0d%0aset-cookie:%20a=b",
        "/api/sync?since=%0d%0aset-cookie:%20a=b",
    ] {
        let answer = world.user("eve").gets(path).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        assert!(!answer.text.contains("set-cookie"), "{}", answer.text);
    }
    let key = [("content-type", "application/json"), ("idempotency-key", "a%0d%0ab")];
    let body = json!({"type": "like", "userId": "breaker", "title": "Hi"}).to_string();
    let answer = world.service("shop").calls("POST", SEND, &key, &body).await;
    assert_eq!(answer.status, 202, "an encoded line break is a key like any other: {}", answer.text);
}
