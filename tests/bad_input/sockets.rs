//! B. Sockets, event streams and polling.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use harness::{Listener, TestApp, World, event, socket_event};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::forgery::{AUDIENCE, ISSUER, SECRET};
use crate::row::{CANARY, Group, get, post, refused, row};
use crate::socket::{Refusal, Socket};

const APP: &str = "https://app.example.com";

pub(crate) fn group() -> Group {
    let ticket_from = |origin: &str| post("/api/ws/ticket", "").header("origin", origin);
    let not_allowed = refused(403, "origin_not_allowed");
    let rows = vec![
        row("S035", "a handshake without a ticket").script(|world| without_ticket(world).boxed_local()),
        row("S036", "one ticket in 50 handshakes at once").script(|world| shared_ticket(world).boxed_local()),
        row("S037", "a ticket after 31 s").script(|_| old_ticket().boxed_local()),
        row("S038", "a ticket of another origin").script(|world| other_origin(world).boxed_local()),
        row("S039", "an origin that is not allowed").call(ticket_from("https://evil.com"), not_allowed),
        row("S040", "origins that resemble an allowed one")
            .calls(
                [
                    "https://app.example.com.evil.com",
                    "https://evilapp.example.com",
                    "http://app.example.com",
                    "https://app.example.com:8443",
                    "https://app.example.com:+443",
                    "https://app.example.com/",
                    "https://app.example.com@evil.com",
                    "https://app.example.com ,https://evil.com",
                ]
                .map(ticket_from),
                not_allowed,
            )
            .script(|_| loopback_ports().boxed_local()),
        row("S041", "`null`, a file, and the letters of another alphabet")
            .calls(["null", "file://", "https://app.\u{435}xample.com"].map(ticket_from), not_allowed)
            .call(ticket_from("HTTPS://APP.example.COM"), crate::row::status(201)),
        row("S042", "no origin").script(|world| no_origin(world).boxed_local()),
        row("S043", "a token in the query")
            .note("On the socket every parameter but the ticket is 422.")
            .call(get("/api/sync?token=x").anonymous(), refused(401, "token_missing"))
            .script(|world| token_in_query(world).boxed_local()),
        row("S044", "a token as a subprotocol")
            .note("Only tickets open sockets.")
            .script(|world| token_as_protocol(world).boxed_local()),
        row("S045", "the 21st connection").script(|_| too_many().boxed_local()),
        row("S046", "a frame of a connection that is not known")
            .note("The code is `invalid_ticket`.")
            .script(|_| unknown_connection().boxed_local()),
        row("S047", "frames that are no JSON object or too large").script(|world| malformed(world).boxed_local()),
        row("S048", "a binary frame")
            .note("It is closed with 1003, as on AWS.")
            .script(|world| binary(world).boxed_local()),
        row("S049", "actions that do not exist")
            .note("The code is `validation_failed`.")
            .script(|world| unknown_actions(world).boxed_local()),
        row("S050", "200 frames a second").script(|_| flood().boxed_local()),
        row("S051", "a frame after the end of the token").script(|_| after_the_end().boxed_local()),
        row("S052", "the connection id of somebody else in a frame")
            .note("An unknown member is 422.")
            .script(|world| other_connection(world).boxed_local()),
        row("S053", "acknowledgements of what does not exist")
            .script(|world| false_acknowledgements(world).boxed_local()),
        row("S054", "an acknowledgement for a device of somebody else")
            .note("Devices have no ids: an unknown member is 422.")
            .call(
                post("/api/ack", r#"{"cursor":"00000000000000aa.0","deviceId":"x"}"#),
                crate::row::invalid(&["deviceId"]),
            ),
        row("S055", "an invented event, past API Gateway")
            .note("A policy of the function refuses it; without one it is an unknown connection.")
            .script(|_| invented_event().boxed_local()),
        row("S056", "a bad `Last-Event-ID`")
            .note("One of another epoch, or ahead of the head, is a `resync`.")
            .script(|world| bad_last_event_id(world).boxed_local()),
        row("S057", "the cursor of somebody else").script(|world| cursor_of_another(world).boxed_local()),
        row("S058", "an event stream of a text with line breaks")
            .script(|world| line_breaks_in_a_stream(world).boxed_local()),
        row("S059", "an event stream from another origin")
            .script(|world| stream_of_another_origin(world).boxed_local()),
        row("S060", "a thousand waiting polls").left_out("no poll waits; of event streams a user has two"),
    ];
    Group {
        letter: 'B',
        title: "Sockets, event streams, polling",
        variables: &[
            ("JWT_SECRET", SECRET),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", AUDIENCE),
            ("ALLOWED_ORIGINS", "https://app.example.com,https://b.example.com"),
        ],
        rows,
    }
}

#[track_caller]
fn assert_refused(outcome: Result<Socket, Refusal>, status: u16, code: &str) {
    let refusal = outcome.err().expect("the handshake was accepted");
    assert_eq!((refusal.status, &refusal.body["error"]["code"]), (status, &json!(code)), "{}", refusal.body);
    assert!(!refusal.body.to_string().contains(CANARY));
}

async fn bad_last_event_id(world: &World) {
    let bob = world.user("bob");
    let bearer = bob.authorization().to_owned();
    let opens = async |id: &str| {
        Listener::open(world.address(), "", &[("authorization", bearer.as_str()), ("last-event-id", id)]).await
    };
    for id in ["x", "-1", "00000000000000aa.-1", "null", &"7".repeat(8_000)] {
        assert_eq!(opens(id).await.err(), Some(400), "{id}");
    }
    let (epoch, _) = bob.cursor().await.split_once('.').map(|(epoch, at)| (epoch.to_owned(), at.to_owned())).unwrap();
    for id in ["00000000000000aa.0".to_owned(), format!("{epoch}.999999")] {
        assert_eq!(opens(&id).await.unwrap().next().await.unwrap(), json!({"type": "resync"}));
    }
}

async fn line_breaks_in_a_stream(world: &World) {
    let (carol, shop) = (world.user("carol"), world.service("shop"));
    let bearer = carol.authorization().to_owned();
    let mut tab = Listener::open(world.address(), "", &[("authorization", &bearer)]).await.unwrap();
    tab.hears("pong").await;
    let body = "\n\nevent: x\ndata: {\"type\":\"forged\"}\n\n";
    let send = json!({"type": "like", "userId": "carol", "title": "Breaks", "body": body});
    shop.posts("/api/notifications/send", send).await.expect(202);
    assert_eq!(tab.hears_of("Breaks").await["notification"]["body"], body);
    shop.posts("/api/events/emit", json!({"type": "system", "userIds": ["carol"], "body": body})).await.expect(202);
    assert_eq!(tab.hears("system").await["body"], body);
}

async fn stream_of_another_origin(world: &World) {
    let dave = world.user("dave");
    let bearer = dave.authorization().to_owned();
    let of_app = ticket_of(world, "https://app.example.com").await;
    let stolen = Listener::open(world.address(), &of_app, &[("origin", "https://evil.example")]);
    assert_eq!(stolen.await.err(), Some(403));
    // With a token it is answered, but no browser lets the page read it.
    let headers = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    let answer = world.call("GET", "/api/events?since=x", &headers, "").await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", "Origin"));
    let headers = [("authorization", bearer.as_str()), ("origin", "https://app.example.com")];
    let answer = world.call("GET", "/api/events?since=x", &headers, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    let exposed = answer.header("access-control-expose-headers");
    assert!(["retry-after", "x-request-id"].iter().all(|name| exposed.contains(name)), "{exposed}");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

async fn without_ticket(world: &World) {
    for query in ["", "?", "?ticket", "?ticket=", "?ticket=x", &format!("?ticket={CANARY}")] {
        assert_refused(Socket::open(world, query, &[]).await, 401, "invalid_ticket");
    }
}

async fn shared_ticket(world: &World) {
    let query = format!("?ticket={}", world.user("eve").ticket().await);
    let outcomes = join_all((0..50).map(|_| Socket::open(world, &query, &[]))).await;
    let (opened, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    for outcome in refused {
        assert_refused(outcome, 401, "invalid_ticket");
    }
}

async fn old_ticket() {
    let world = World::new().await;
    let ticket = world.user("eve").ticket().await;
    world.advances(Duration::from_secs(31));
    assert_refused(Socket::open(&world, &format!("?ticket={ticket}"), &[]).await, 401, "invalid_ticket");
    world.stops().await;
}

/// The query with a ticket that this origin asked for.
async fn ticket_of(world: &World, origin: &str) -> String {
    let issued = world.user("eve").calls("POST", "/api/ws/ticket", &[("origin", origin)], "").await.expect(201);
    format!("?ticket={}", issued["ticket"].as_str().unwrap())
}

async fn other_origin(world: &World) {
    for other in ["https://b.example.com", "https://evil.com", "null", "https://app.example.com:443"] {
        let query = ticket_of(world, APP).await;
        assert_refused(Socket::open(world, &query, &[("origin", other)]).await, 403, "origin_not_allowed");
        // The attempt has spent it.
        assert_refused(Socket::open(world, &query, &[("origin", APP)]).await, 401, "invalid_ticket");
    }
    let query = ticket_of(world, APP).await;
    assert!(Socket::open(world, &query, &[("origin", APP)]).await.is_ok());
}

async fn loopback_ports() {
    let world = World::new().await;
    let eve = world.user("eve");
    for (origin, status) in [
        ("http://localhost:80", 201),
        ("http://localhost:+80", 403),
        ("http://localhost:080", 403),
        ("http://localhost:", 403),
        ("http://localhost:65536", 403),
        ("http://localhost:8080/", 403),
        ("http://localhost:8080@evil.com", 403),
        ("http://127.0.0.1.evil.com", 403),
        ("http://[::1]:+1", 403),
    ] {
        let answer = eve.calls("POST", "/api/ws/ticket", &[("origin", origin)], "").await;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text);
    }
    world.stops().await;
}

async fn no_origin(world: &World) {
    let native = format!("?ticket={}", world.user("eve").ticket().await);
    assert!(Socket::open(world, &native, &[]).await.is_ok());
    let of_a_browser = ticket_of(world, APP).await;
    assert_refused(Socket::open(world, &of_a_browser, &[]).await, 403, "origin_not_allowed");
}

async fn token_in_query(world: &World) {
    let eve = world.user("eve");
    let token = eve.authorization().replace("Bearer ", "");
    assert_refused(Socket::open(world, &format!("?token={token}"), &[]).await, 422, "validation_failed");
    let both = format!("?ticket={}&token={token}", eve.ticket().await);
    assert_refused(Socket::open(world, &both, &[]).await, 422, "validation_failed");
}

async fn token_as_protocol(world: &World) {
    let eve = world.user("eve");
    let protocols = format!("notify.v1, bearer.{}", eve.authorization().replace("Bearer ", ""));
    let header = [("sec-websocket-protocol", protocols.as_str())];
    assert_refused(Socket::open(world, "", &header).await, 401, "invalid_ticket");
    // No client of ours offers subprotocols, and one that does expects an answer to them.
    let handshake = format!(
        "GET /live?ticket={} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: {protocols}\r\n\r\n",
        eve.ticket().await
    );
    let answer = crate::raw::head(world, &handshake).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(!answer.contains("bearer"), "{answer}");
}

async fn too_many() {
    let world = World::new().await;
    let mut oldest = Socket::of(&world, "eve").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        world.advances(Duration::from_millis(1));
        others.push(Socket::of(&world, "eve").await);
    }
    oldest.ends().await;
    for other in &mut others {
        other.works().await;
    }
    drop((oldest, others));
    world.stops().await;
}

/// The recorded frame, from this connection.
fn frame_from(connection: &str, body: &Value) -> Value {
    let mut recorded = event("message");
    recorded["requestContext"]["connectionId"] = connection.into();
    recorded["body"] = body.to_string().into();
    recorded
}

async fn unknown_connection() {
    for action in ["ping", "sync", "readAll"] {
        let test = TestApp::new().await;
        message::handle(&test.app, socket_event(frame_from("stranger", &json!({"action": action})))).await;
        let frames = test.push.taken();
        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].0.as_str(), &frames[0].1["code"]), ("stranger", &json!("invalid_ticket")));
        assert_eq!(test.push.closed(), ["stranger"]);
    }
}

async fn malformed(world: &World) {
    let mut socket = Socket::of(world, "eve").await;
    let deep = format!("{{\"a\":{}", "[".repeat(30_000));
    let many = format!("{{\"action\":\"ping\"{}}}", ",\"x\":1".repeat(5_000));
    for text in
        ["nonsense", "null", "[]", "\"x\"", "7", "", "{", r#"{"action":"ping",}"#, r#"{"ref":"\ud800"}"#, &deep, &many]
    {
        assert!(socket.says(text).await);
        socket.is_refused("invalid_json", text).await;
    }
    // Errors name members, at most 20 of them in at most 4 KB.
    let unknown: String = (0..2_000).map(|n| format!(",\"{CANARY}{n}\":1")).collect();
    let long = format!(",\"{}\":1", "x".repeat(30_000));
    for members in [unknown.replace(CANARY, "m"), long] {
        let text = format!("{{\"action\":\"ping\"{members}}}");
        assert!(socket.says(text.as_str()).await);
        socket.is_refused("validation_failed", &text).await;
    }
    socket.works().await;

    let padded = |bytes: usize| format!("{{\"action\":\"ping\"{}}}", " ".repeat(bytes - 17));
    assert!(socket.says(padded(32 * 1_024)).await);
    assert_eq!(socket.hears().await.unwrap()["type"], "pong");
    socket.says(padded(32 * 1_024 + 1)).await;
    assert_eq!(socket.ends().await.1, Some(1009));

    let mut socket = Socket::of(world, "eve").await;
    let whole = padded(32 * 1_024);
    socket.says_in_parts(&[whole[..100].to_owned(), whole[100..].to_owned()]).await;
    assert_eq!(socket.hears().await.unwrap()["type"], "pong");
    let larger = padded(33 * 1_024);
    socket.says_in_parts(&[larger[..20_000].to_owned(), larger[20_000..].to_owned()]).await;
    assert_eq!(socket.ends().await.1, Some(1009));
}

async fn binary(world: &World) {
    let mut socket = Socket::of(world, "eve").await;
    socket.sends(Message::binary(br#"{"action":"ping"}"#.to_vec())).await;
    assert_eq!(socket.ends().await, (Vec::new(), Some(1003)));
}

async fn unknown_actions(world: &World) {
    let mut socket = Socket::of(world, "eve").await;
    for action in [
        json!("fly"),
        json!({}),
        json!("$connect"),
        json!("$disconnect"),
        json!("$default"),
        json!("__proto__"),
        json!(7),
        json!(null),
        json!(CANARY),
    ] {
        let text = json!({"action": action, "ref": "r"}).to_string();
        assert!(socket.says(text.as_str()).await);
        socket.is_refused("validation_failed", &text).await;
    }
    socket.works().await;
}

async fn flood() {
    let world = World::with(&[("RATE_LIMIT_FRAMES", "50/60s")]).await;
    let mut socket = Socket::of(&world, "eve").await;
    let mut bystander = Socket::of(&world, "bob").await;
    let (mut pongs, mut told) = (0, 0);
    // It is told once a second, and closed if that does not help.
    for _ in 0..6 {
        for _ in 0..200 {
            socket.says(r#"{"action":"ping"}"#).await;
        }
        loop {
            let frame = socket.hears().await.expect("it was closed without a word");
            if frame["type"] == "pong" {
                pongs += 1;
                continue;
            }
            assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("rate_limited")));
            assert!(frame["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{frame}");
            told += 1;
            break;
        }
        bystander.works().await;
        world.advances(Duration::from_secs(1));
    }
    let (rest, _) = socket.ends().await;
    assert!(told + rest.len() <= 7, "told {told} times, and then {rest:?}");
    // 50 at once, and 5 more in 6 s.
    assert!((50..=55).contains(&pongs), "{pongs} pongs");
    drop((socket, bystander));
    world.stops().await;
}

async fn after_the_end() {
    let world = World::new().await;
    let ticket = world.caller("eve", "", 300).ticket().await;
    let mut socket = Socket::open(&world, &format!("?ticket={ticket}"), &[]).await.unwrap();
    socket.works().await;
    world.advances(Duration::from_secs(301));
    assert!(socket.says(r#"{"action":"sync"}"#).await);
    let (frames, _) = socket.ends().await;
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame["code"] == "token_expired"), "{frames:?}");
    drop(socket);
    world.stops().await;
}

async fn other_connection(world: &World) {
    let (mut mine, mut theirs) = (Socket::of(world, "eve").await, Socket::of(world, "bob").await);
    let listed = world.call("GET", "/_gateway/connections", &[], "").await.expect(200);
    for connection in listed["connections"].as_array().unwrap() {
        let text = json!({"action": "ping", "connectionId": connection["connectionId"]}).to_string();
        assert!(mine.says(text.as_str()).await);
        mine.is_refused("validation_failed", &text).await;
    }
    theirs.works().await;
}

async fn false_acknowledgements(world: &World) {
    let (acker, shop) = (world.user("acker"), world.service("acked-shop"));
    shop.rings(&["acker"], "Hi").await;
    let head = acker.cursor().await;
    let (epoch, _) = head.split_once('.').unwrap();
    let mut socket = Socket::of(world, "acker").await;
    for (cursor, status, code) in [
        (json!(format!("{epoch}.2")), 410, "cursor_expired"),
        (json!(format!("{epoch}.9223372036854775807")), 410, "cursor_expired"),
        (json!("00000000000000aa.1"), 410, "cursor_expired"),
        (json!(format!("{epoch}.-1")), 400, "bad_request"),
        (json!(format!("{epoch}.99999999999999999999")), 400, "bad_request"),
        (json!(format!("{epoch}.1e0")), 400, "bad_request"),
        (json!("NaN"), 400, "bad_request"),
        (json!(""), 400, "bad_request"),
        (json!(1), 422, "validation_failed"),
        (json!(null), 422, "validation_failed"),
    ] {
        let answer = acker.posts("/api/ack", json!({"cursor": cursor})).await;
        refused(status, code).check(&answer, &cursor.to_string());
        let text = json!({"action": "ack", "cursor": cursor}).to_string();
        assert!(socket.says(text.as_str()).await);
        socket.is_refused(code, &text).await;
    }
    let settled = |history: Value| history["items"][0]["states"]["settled"].as_u64().unwrap();
    let history = "/api/notifications/history";
    assert_eq!(settled(shop.gets(history).await.expect(200)), 0);
    acker.posts("/api/ack", json!({"cursor": head})).await.expect(204);
    assert_eq!(settled(shop.gets(history).await.expect(200)), 1);
}

async fn invented_event() {
    let test = TestApp::new().await;
    test.connect("victim", &["victims-phone"]).await;
    let mut invented = frame_from("invented", &json!({"action": "readAll"}));
    for (member, value) in [("apiId", "evil"), ("stage", "evil"), ("domainName", "evil.example.com")] {
        invented["requestContext"][member] = value.into();
    }
    message::handle(&test.app, socket_event(invented)).await;
    assert_eq!(test.push.closed(), ["invented"]);
    let mut opening = event("connect");
    opening["requestContext"]["apiId"] = "evil".into();
    let reply = serde_json::to_value(connect::handle(&test.app, socket_event(opening)).await).unwrap();
    assert_eq!(reply["statusCode"], 401, "{reply}");
}

async fn cursor_of_another(world: &World) {
    let shop = world.service("shop");
    for _ in 0..2 {
        shop.rings(&["carol", "dave"], "Hi").await;
    }
    shop.rings(&["dave"], "Only for dave").await;
    let (carol, dave) = (world.user("carol"), world.user("dave"));
    // It is ahead of carol's own.
    refused(410, "cursor_expired")
        .check(&carol.gets(&format!("/api/sync?since={}", dave.cursor().await)).await, "a cursor ahead of the head");
    let synced = dave.gets(&format!("/api/sync?since={}", carol.cursor().await)).await.expect(200);
    let titles: Vec<&Value> = synced["notifications"].as_array().unwrap().iter().map(|one| &one["title"]).collect();
    assert_eq!(titles, ["Only for dave"]);
}
