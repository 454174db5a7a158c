//! J. What rings, and when: preferences, channels, digests, snoozes. The list has no rows on them; these follow the contract.

use futures_util::FutureExt;
use harness::World;
use serde_json::{Map, Value, json};

use crate::row::{
    CANARY, Call, Expected, Group, Row, SEND, Who, call, get, invalid, post, put, refused, row, send_with, status,
    to_victim,
};

const NOT_JSON: Expected = refused(400, "invalid_json");
const FORBIDDEN: Expected = refused(403, "forbidden");
const NOT_FOUND: Expected = refused(404, "not_found");
const NO_METHOD: Expected = refused(405, "method_not_allowed");
const UNSUPPORTED: Expected = refused(415, "unsupported_media_type");

const PREFERENCES: &str = "/api/preferences";
const PUSH: &str = "/api/push/send";
const A_CHAT: &str = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";

pub(crate) fn group() -> Group {
    Group {
        letter: 'J',
        title: "What rings",
        variables: &[],
        rows: [preferences(), sends(), snoozes()].into_iter().flatten().collect(),
    }
}

fn prefer(body: &Value) -> Call {
    put(PREFERENCES, body.to_string())
}

/// Preferences for one type.
fn of_type(name: &str, rule: Value) -> Call {
    prefer(&json!({"types": {name: rule}}))
}

/// Good quiet hours but for this member.
fn quiet(name: &str, value: impl Into<Value>) -> Call {
    let mut hours = json!({"from": "22:00", "to": "07:00", "timeZone": "Europe/Berlin", "days": [1, 7]});
    hours[name] = value.into();
    prefer(&json!({"quietHours": hours}))
}

fn mute(chat: &str, until: Value) -> Call {
    prefer(&json!({"mutedChats": {chat: until}}))
}

/// An object with so many good members.
fn many_types(count: usize) -> Value {
    (0..count).map(|n| (format!("type-{n}"), json!({"push": false}))).collect::<Map<_, _>>().into()
}

fn many_mutes(count: usize) -> Value {
    let chat = |n| (format!("d9a24cc6-f5c2-8bb7-a2a6-{n:012x}"), Value::Null);
    (0..count).map(chat).collect::<Map<_, _>>().into()
}

fn preferences() -> Vec<Row> {
    vec![
        row("preferences", "preferences with unknown members, wrong types, or 201 types")
            .calls(["", "[]", "null", "{", r#"{"types":{},"types":{}}"#].map(|body| put(PREFERENCES, body)), NOT_JSON)
            .call(prefer(&json!({})).without("content-type"), UNSUPPORTED)
            .call(prefer(&json!({})).anonymous(), refused(401, "token_missing"))
            .call(put(format!("{PREFERENCES}?userId=victim"), "{}"), invalid(&["userId"]))
            .call(get(format!("{PREFERENCES}?userId=victim")), invalid(&["userId"]))
            .calls(["POST", "PATCH", "DELETE"].map(|method| call(method, PREFERENCES)), NO_METHOD)
            .call(prefer(&json!({"sound": CANARY})), invalid(&["sound"]))
            .call(prefer(&json!({"userId": "victim"})), invalid(&["userId"]))
            .calls(
                [json!(null), json!([]), json!("like"), json!(1), many_types(201)]
                    .map(|types| prefer(&json!({"types": types}))),
                invalid(&["types"]),
            )
            .calls(
                [json!(null), json!(false), json!([]), json!("off")].map(|rule| of_type("a", rule)),
                invalid(&["types.a"]),
            )
            .calls(
                [json!(null), json!(0), json!("false"), json!({})].map(|on| of_type("a", json!({"push": on}))),
                invalid(&["types.a.push"]),
            )
            .call(of_type("a", json!({"sms": true, "realtime": 1})), invalid(&["types.a.realtime", "types.a.sms"]))
            .call(of_type("a b", json!({})), invalid(&["types.a b"]))
            .call(of_type("**", json!({})), invalid(&["types.**"]))
            .calls(
                ["", &"x".repeat(65), "a\u{202e}b"].map(|name| of_type(name, json!({}))),
                invalid(&["types.(unprintable name)"]),
            )
            .call(prefer(&json!({"types": {"\u{7}": {}}})), refused(422, "validation_failed"))
            .script(|world| many_wrong_types(world).boxed_local())
            .script(|world| what_is_refused_changes_nothing(world).boxed_local()),
        row("quietHours", "quiet hours whose zone, times or days do not exist")
            .calls(
                [json!([]), json!("22:00-07:00"), json!(false)].map(|hours| prefer(&json!({"quietHours": hours}))),
                invalid(&["quietHours"]),
            )
            .call(
                prefer(&json!({"quietHours": {}})),
                invalid(&["quietHours.from", "quietHours.to", "quietHours.timeZone"]),
            )
            .calls(
                [
                    "",
                    "7:00",
                    "24:00",
                    "22:60",
                    "-1:00",
                    "+1:00",
                    "22:00:00",
                    "22.00",
                    "22:00Z",
                    " 22:00",
                    "２２:00",
                    "10 pm",
                    "2٢:00",
                ]
                .map(|time| quiet("from", time)),
                invalid(&["quietHours.from"]),
            )
            .calls(
                [json!(22), json!(null), json!([22, 0])].map(|time| quiet("from", time)),
                invalid(&["quietHours.from"]),
            )
            .call(quiet("to", "22:00"), invalid(&["quietHours.to"]))
            .calls(
                [
                    "",
                    "Mars/Olympus",
                    "Europe",
                    "Europe/",
                    "../Europe/Berlin",
                    "/usr/share/zoneinfo/UTC",
                    "+02:00",
                    "CET-1CEST",
                    "localtime",
                    "Etc/Unknown",
                    "Europe/Berlin ",
                    "Europe\\Berlin",
                    &"Europe/".repeat(1_000),
                ]
                .map(|zone| quiet("timeZone", zone)),
                invalid(&["quietHours.timeZone"]),
            )
            .calls(
                [json!(1), json!(null), json!([])].map(|zone| quiet("timeZone", zone)),
                invalid(&["quietHours.timeZone"]),
            )
            .calls(
                [
                    json!([]),
                    json!([0]),
                    json!([8]),
                    json!([-1]),
                    json!([1.5]),
                    json!([1, 1]),
                    json!(["1"]),
                    json!([[1]]),
                    json!([u64::MAX]),
                    json!((1..=8).collect::<Vec<_>>()),
                    json!(1),
                    json!(null),
                ]
                .map(|days| quiet("days", days)),
                invalid(&["quietHours.days"]),
            )
            .call(quiet("until", "2027-01-16T08:00:00Z"), invalid(&["quietHours.until"])),
        row("mutes", "mutes of what is no chat, until what is no time, or 501 of them")
            .calls(
                [json!(null), json!([A_CHAT]), json!(A_CHAT), many_mutes(501)]
                    .map(|mutes| prefer(&json!({"mutedChats": mutes}))),
                invalid(&["mutedChats"]),
            )
            .call(mute("general", json!(null)), invalid(&["mutedChats.general"]))
            .call(mute("*", json!(null)), invalid(&["mutedChats.*"]))
            .call(
                mute("D9A24CC6-F5C2-8BB7-A2A6-3E0D1D39D4B1", json!(null)),
                invalid(&["mutedChats.D9A24CC6-F5C2-8BB7-A2A6-3E0D1D39D4B1"]),
            )
            .call(mute("", json!(null)), invalid(&["mutedChats.(unprintable name)"]))
            .calls(
                [json!("tomorrow"), json!("2027-01-16"), json!(1_900_000_000_000_i64), json!(true), json!("")]
                    .map(|until| mute(A_CHAT, until)),
                invalid(&["mutedChats.d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1"]),
            ),
    ]
}

/// However many types are wrong, the answer names some of them.
async fn many_wrong_types(world: &World) {
    let wrong: Map<String, Value> = (0..200).map(|n| (format!("{}{n}", "ä".repeat(60)), json!({}))).collect();
    let answer = prefer(&json!({"types": wrong})).send(world).await;
    refused(422, "validation_failed").check(&answer, "200 types that are none");
}

async fn what_is_refused_changes_nothing(world: &World) {
    let eve = world.user("eve");
    let nothing = json!({"types": {}, "quietHours": null, "mutedChats": {}});
    assert_eq!(eve.gets(PREFERENCES).await.expect(200), nothing);
    // Types and chats that do not exist are kept, as many as there may be.
    let hours = json!({"from": "22:00", "to": "07:00", "timeZone": "Europe/Berlin"});
    let most = json!({"types": many_types(200), "quietHours": hours, "mutedChats": many_mutes(500)});
    assert_eq!(prefer(&most).send(world).await.expect(200), most);
    for refused in [
        json!({"types": many_types(201)}),
        json!({"mutedChats": many_mutes(501)}),
        json!({"quietHours": null, "mutedChats": {"general": null}}),
        json!({"quietHours": {"from": "22:00", "to": "07:00", "timeZone": "Mars/Olympus"}}),
    ] {
        status(422).check(&prefer(&refused).send(world).await, "instead of good ones");
    }
    assert_eq!(eve.gets(PREFERENCES).await.expect(200), most);
    assert_eq!(world.user("victim").gets(PREFERENCES).await.expect(200), nothing);
    assert_eq!(prefer(&json!({})).send(world).await.expect(200), nothing);
}

fn sends() -> Vec<Row> {
    let push = |body: Value| post(PUSH, body.to_string()).by(Who::Service("shop"));
    vec![
        row("channels", "channels that do not exist")
            .calls(
                [
                    json!([]),
                    json!(null),
                    json!("push"),
                    json!({"push": true}),
                    json!(["sms"]),
                    json!(["push", "sms"]),
                    json!(["Push"]),
                    json!(["push", "push"]),
                    json!(["realtime", "push", "realtime"]),
                    json!([["push"]]),
                    json!([1]),
                    json!(vec!["push"; 10_000]),
                ]
                .map(|channels| send_with("channels", channels)),
                invalid(&["channels"]),
            )
            .call(send_with("channel", "push"), invalid(&["channel"])),
        row("digest", "windows of a digest that are none, or not between a minute and a day")
            .calls(
                [json!(null), json!(60_000), json!("60s"), json!([]), json!(true)]
                    .map(|digest| send_with("digest", digest)),
                invalid(&["digest"]),
            )
            .calls(
                [
                    json!({}),
                    json!({"windowMs": null}),
                    json!({"windowMs": "60000"}),
                    json!({"windowMs": 59_999}),
                    json!({"windowMs": 86_400_001}),
                    json!({"windowMs": 60_000.5}),
                    json!({"windowMs": -60_000}),
                    json!({"windowMs": 1e300}),
                    json!({"windowMs": u64::MAX}),
                ]
                .map(|digest| send_with("digest", digest)),
                invalid(&["digest.windowMs"]),
            )
            .call(send_with("digest", json!({"windowMs": 60_000, "count": 5})), invalid(&["digest.count"])),
        row("push", "sends by Web Push only: without the scope, and with another channel")
            .call(push(to_victim("channels", json!(["push"]))).anonymous(), refused(401, "token_missing"))
            .call(push(to_victim("channels", json!(["push"]))).by(Who::User("eve")), FORBIDDEN)
            .call(push(to_victim("channels", json!(["push"]))).by(Who::User("notify:send")), FORBIDDEN)
            .call(push(json!({})).by(Who::User("eve")), FORBIDDEN)
            .call(push(to_victim("title", json!("Hi"))).without("content-type"), UNSUPPORTED)
            .call(post(PUSH, "{").by(Who::Service("shop")), NOT_JSON)
            .calls(
                [json!(["realtime"]), json!(["realtime", "push"]), json!([]), json!(null), json!(["sms"])]
                    .map(|channels| push(to_victim("channels", channels))),
                invalid(&["channels"]),
            )
            .call(push(to_victim("title", json!(""))), invalid(&["title"]))
            .call(push(to_victim("silent", json!(true))), invalid(&["silent"]))
            .call(push(to_victim("userId", json!("eve"))), invalid(&["userId"]))
            .call(post(format!("{PUSH}?x=1"), "{}").by(Who::Service("shop")), invalid(&["x"]))
            .calls(["GET", "PUT", "DELETE"].map(|method| call(method, PUSH)), NO_METHOD),
    ]
}

/// A snooze of a notification that does not exist.
fn snooze(body: &str) -> Call {
    post("/api/notifications/d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1/snooze", body)
}

fn snoozes() -> Vec<Row> {
    vec![
        row("snooze", "the end of a snooze: missing, no time, without a zone, a number, or beyond a year")
            .calls(
                [
                    "{}",
                    r#"{"until":null}"#,
                    r#"{"until":""}"#,
                    r#"{"until":"tomorrow"}"#,
                    r#"{"until":"2027-01-16"}"#,
                    r#"{"until":"2027-01-16T08:00:00"}"#,
                    r#"{"until":"2027-13-16T08:00:00Z"}"#,
                    r#"{"until":"99999-01-01T00:00:00Z"}"#,
                    r#"{"until":"9999-12-31T23:59:59Z"}"#,
                    r#"{"until":"2028-01-15T08:00:01Z"}"#,
                    r#"{"until":1900000000000}"#,
                    r#"{"until":["2027-01-16T08:00:00Z"]}"#,
                ]
                .map(snooze),
                invalid(&["until"]),
            )
            .call(snooze(r#"{"until":"2027-01-16T08:00:00Z","userId":"victim"}"#), invalid(&["userId"]))
            .call(snooze(""), NOT_JSON)
            .call(snooze(r#"{"until":"2027-01-16T08:00:00Z"}"#), NOT_FOUND)
            .call(snooze(r#"{"until":"0000-01-01T00:00:00Z"}"#), NOT_FOUND)
            .script(|world| latest_snooze(world).boxed_local()),
    ]
}

async fn latest_snooze(world: &World) {
    let (shop, sleeper) = (world.service("shop"), world.user("sleeper"));
    let expiring = json!({"type": "like", "userId": "sleeper", "title": "Hi", "expiresAt": "2027-01-16T08:00:00Z"});
    let kept = json!({"type": "like", "userId": "sleeper", "title": "Hi"});
    for (body, end, last) in [
        (expiring, "2027-01-16T08:00:00.000Z", "2027-01-16T07:59:59.999Z"),
        (kept, "2027-04-15T08:00:00.000Z", "2027-04-15T07:59:59.999Z"),
    ] {
        let sent = shop.posts(SEND, body).await.expect(202);
        let path = format!("/api/notifications/{}/snooze", sent["notifications"][0]["id"].as_str().unwrap());
        for until in [end, "2027-12-31T00:00:00Z"] {
            invalid(&["until"]).check(&sleeper.posts(&path, json!({"until": until})).await, until);
        }
        status(204).check(&sleeper.posts(&path, json!({"until": last})).await, last);
        // Neither can a snooze be prolonged beyond it.
        invalid(&["until"]).check(&sleeper.posts(&path, json!({"until": end})).await, end);
    }
}
