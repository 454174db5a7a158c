//! Event streams, without a gateway: what their text says, and when they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::app::request;
use harness::{TestApp, event, function, invoke};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::auth;
use shared::chat::draft::Draft;
use shared::chat::{joining, writing};
use shared::error::StoreError;
use shared::ids::{ChatId, ConnectionId, UserId};
use shared::moment::none::NoMoment;
use shared::protocol::Frame;
use shared::sockets::connections::{Opening, Ticket};
use shared::sockets::push::Outcome;
use shared::sockets::streams::{Listening, Streams};

/// Longer than anything takes that comes.
const SOON: Duration = Duration::from_secs(10);

/// A call with this query and these headers.
fn call(query: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
    let mut streaming = event("events");
    let single: BTreeMap<&str, &str> = query.iter().copied().collect();
    let multiple: BTreeMap<&str, [&str; 1]> = query.iter().map(|(name, value)| (*name, [*value])).collect();
    streaming["queryStringParameters"] = json!(single);
    streaming["multiValueQueryStringParameters"] = json!(multiple);
    for (name, value) in headers {
        streaming["headers"][*name] = (*value).into();
        streaming["multiValueHeaders"][*name] = json!([value]);
    }
    streaming
}

/// What one stream says.
struct Events {
    body: stream::Body,
}

impl Events {
    /// The next piece of text; `None` after the last.
    async fn text(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(SOON, self.body.frame()).await.expect("the stream is silent")?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    /// The next event, and its id.
    async fn next(&mut self) -> (Value, Option<String>) {
        loop {
            let text = self.text().await.expect("the stream has ended");
            if text == ":\n\n" {
                continue;
            }
            let lines: Vec<&str> = text.strip_suffix("\n\n").unwrap().split('\n').collect();
            let (id, data) = match lines.as_slice() {
                [id, data] => (Some(id.strip_prefix("id: ").unwrap().to_owned()), data),
                [data] => (None, data),
                _ => panic!("{text:?}"),
            };
            return (serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(), id);
        }
    }

    async fn pong(&mut self) -> Value {
        let (event, id) = self.next().await;
        assert_eq!((&event["type"], id), (&json!("pong"), None), "{event}");
        event
    }

    /// The title of the next event, which tells of a notification.
    async fn title(&mut self) -> String {
        let (event, id) = self.next().await;
        assert_eq!(event["type"], "notification", "{event}");
        assert_eq!(event["cursor"], json!(id));
        event["notification"]["title"].as_str().unwrap().to_owned()
    }

    /// Whether it ends with this event.
    async fn ends_with(&mut self, kind: &str) -> Value {
        let (event, _) = self.next().await;
        assert_eq!(event["type"], kind, "{event}");
        assert!(self.text().await.is_none());
        event
    }

    /// Fails if it says anything soon.
    async fn is_silent(&mut self) {
        let said = tokio::time::timeout(Duration::from_millis(100), self.body.frame()).await;
        assert!(said.is_err(), "{said:?}");
    }
}

/// Opens a stream of a user with a token.
async fn opens(test: &TestApp, name: &str, query: &[(&str, &str)]) -> Events {
    let bearer = test.bearer(name, "");
    opens_with(test, &call(query, &[("authorization", &bearer)])).await.unwrap_or_else(|status| panic!("{status}"))
}

async fn opens_with(test: &TestApp, call: &Value) -> Result<Events, u16> {
    let (head, body) = stream::handle(&test.app, request(call.clone())).await.into_parts();
    let status = head.status.as_u16();
    if status != 200 {
        let body = body.collect().await.unwrap().to_bytes();
        function::check(call, status, &head.headers, std::str::from_utf8(&body).unwrap());
        return Err(status);
    }
    function::check(call, status, &head.headers, "");
    assert_eq!(head.headers["x-content-type-options"], "nosniff");
    assert_eq!(json!(head.headers["x-request-id"].to_str().unwrap()), call["requestContext"]["requestId"]);
    Ok(Events { body })
}

/// A ticket of a user for an origin.
async fn ticket(test: &TestApp, name: &str, origin: Option<&str>) -> String {
    let (ticket, hash) = auth::new_ticket().unwrap();
    let now_ms = test.clock.now_ms();
    let stored = Ticket {
        hash,
        user: UserId::new(name).unwrap(),
        origin: origin.map(str::to_owned),
        token_issued_at_s: Some(now_ms / 1_000),
        token_expires_at_ms: now_ms + 3_600_000,
        expires_at_ms: now_ms + 30_000,
    };
    test.app.record.connections.issue(&stored, test.app.clock.at()).await.unwrap();
    ticket
}

async fn sends(test: &TestApp, name: &str, title: &str) -> String {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": [name], "title": title}).to_string().into();
    let answer = invoke(&test.app, send::handle, sending).await;
    assert_eq!(answer.status(), 202);
    harness::body(&answer)["notifications"][0]["id"].as_str().unwrap().to_owned()
}

/// Creates a chat of two users.
async fn create(test: &TestApp, name: &str, other: &str) -> ChatId {
    let (user, asked) = (UserId::new(name).unwrap(), json!({"kind": "group", "participantIds": [other]}));
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), &user).unwrap();
    joining::create(&test.app, &user, &asked).await.unwrap().chat.chat.id
}

/// Writes a message.
async fn write(test: &TestApp, chat: ChatId, name: &str, text: &str) {
    let draft = Draft::read(json!({"clientId": text, "body": text}).as_object().unwrap().clone()).unwrap();
    writing::write(&test.app, &UserId::new(name).unwrap(), chat, &draft).await.unwrap();
}

async fn changes(test: &TestApp, name: &str, change: shared::inbox::Change) {
    let user = UserId::new(name).unwrap();
    let changed = test.app.record.inbox.change(&user, &change, test.app.clock.at()).await.unwrap().unwrap();
    shared::inbox::announce::announce(&test.app, &[&changed], change.kind()).await;
}

fn id(text: &str) -> shared::ids::NotificationId {
    shared::ids::NotificationId::parse(text).unwrap()
}

fn passes(test: &TestApp, ms: u64) {
    test.clock.advance(Duration::from_millis(ms));
}

async fn is_online(test: &TestApp, name: &str) -> bool {
    test.app.moment.presence.online(&[UserId::new(name).unwrap()], test.app.clock.at()).await.unwrap()[0]
}

/// How many connections a user has.
async fn connections(test: &TestApp, name: &str) -> Result<usize, StoreError> {
    let of = test.app.record.connections.of(&[UserId::new(name).unwrap()], test.app.clock.at()).await?;
    Ok(of.len())
}

#[tokio::test]
async fn a_stream_begins_at_the_head_and_forwards_what_is_pushed() {
    let test = TestApp::new().await;
    sends(&test, "alice", "before").await;
    let mut events = opens(&test, "alice", &[]).await;
    assert_eq!(events.text().await.as_deref(), Some(":\n\n"), "the first byte comes at once");
    let pong = events.pong().await;
    let first = sends(&test, "alice", "first").await;
    let (frame, cursor) = events.next().await;
    assert_eq!((&frame["type"], &frame["notification"]["id"]), (&json!("notification"), &json!(first)));
    assert_eq!((&frame["prev"], &frame["cursor"]), (&pong["cursor"], &json!(cursor)));
    assert_eq!(frame["unreadCount"], 2);
    changes(&test, "alice", shared::inbox::Change::Read(vec![id(&first)])).await;
    let (frame, _) = events.next().await;
    assert_eq!((&frame["type"], &frame["change"]), (&json!("changed"), &json!("read")));
    events.is_silent().await;
    assert!(test.push.taken().is_empty(), "nothing was pushed to sockets");
}

#[tokio::test]
async fn a_test_reaches_the_streams_of_its_users_alone() {
    let test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    let tries = async |payload: Value| {
        let mut trying = event("test");
        trying["headers"]["authorization"] = admin.clone().into();
        trying["routeKey"] = "ANY /api/test/sse-notification".into();
        trying["requestContext"]["routeKey"] = trying["routeKey"].clone();
        trying["body"] = if payload.is_null() { "".into() } else { payload.to_string().into() };
        let answer = invoke(&test.app, testing::handle, trying).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        harness::body(&answer)
    };
    test.connect("alice", &["phone"]).await;
    assert_eq!(tries(json!({"userId": "alice"})).await["streams"], 0, "a socket is no stream");
    let (mut one, mut other) = (opens(&test, "alice", &[]).await, opens(&test, "alice", &[]).await);
    let mut own = opens(&test, "operator", &[]).await;
    for events in [&mut one, &mut other, &mut own] {
        events.pong().await;
    }

    let tried = tries(json!({"userId": "alice", "name": "outage", "title": "Hello", "data": {"n": 1}})).await;
    assert_eq!(tried["streams"], 2);
    for events in [&mut one, &mut other] {
        let (event, id) = events.next().await;
        let wanted = json!({"type": "announcement", "id": tried["eventId"], "name": "outage", "title": "Hello",
            "body": null, "data": {"n": 1}});
        assert_eq!((event, id), (wanted, None));
    }
    let tried = tries(Value::Null).await;
    let (event, _) = own.next().await;
    assert_eq!((&event["id"], &event["name"], &event["title"]), (&tried["eventId"], &json!("TEST"), &json!("A test")));
    one.is_silent().await;
    assert!(test.push.taken().is_empty(), "nothing was pushed to sockets");
    let alice = UserId::new("alice").unwrap();
    assert!(test.app.moment.emitted.list(&alice, test.app.clock.at()).await.is_empty(), "nor is it kept for polls");
}

#[tokio::test]
async fn a_stream_resumes_where_its_client_was() {
    let test = TestApp::new().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(sends(&test, "alice", &format!("number {n}")).await);
    }
    let since = {
        let mut events = opens(&test, "alice", &[]).await;
        events.pong().await["cursor"].as_str().unwrap().to_owned()
    };
    let fifth = sends(&test, "alice", "number 4").await;
    changes(&test, "alice", shared::inbox::Change::Delete(vec![id(&ids[1])])).await;
    changes(&test, "alice", shared::inbox::Change::Read(vec![id(&ids[2])])).await;
    let mut events = opens(&test, "alice", &[("since", &since)]).await;
    let mut last = since.clone();
    let mut told = Vec::new();
    for _ in 0..3 {
        let (event, cursor) = events.next().await;
        assert_eq!((&event["prev"], &event["cursor"]), (&json!(last), &json!(cursor)));
        assert_eq!(event["unreadCount"], 3);
        last = cursor.unwrap();
        told.push(event);
    }
    assert_eq!(told[0]["notification"]["id"], json!(fifth));
    assert_eq!((&told[1]["change"], &told[1]["ids"]), (&json!("deleted"), &json!([ids[1]])));
    assert_eq!(told[2]["notification"]["id"], json!(ids[2]));
    assert!(told[2]["notification"]["readAt"].is_string());
    assert_eq!(events.pong().await["cursor"], json!(last));
    let acked = async || {
        let user = UserId::new("alice").unwrap();
        test.app.record.inbox.position(&user, test.app.clock.at()).await.unwrap().acked
    };
    // Where a client comes back is what it has shown, and not what it was sent since.
    assert_eq!(format!("{}.{}", since.split('.').next().unwrap(), acked().await), since);
    // The header is what browsers send on their own, and wins.
    let bearer = test.bearer("alice", "");
    let by_header = call(&[("since", &since)], &[("authorization", &bearer), ("last-event-id", &last)]);
    assert_eq!(opens_with(&test, &by_header).await.ok().unwrap().pong().await["cursor"], json!(last));
    assert!(last.ends_with(&format!(".{}", acked().await)), "{last}");
}

#[tokio::test]
async fn nothing_is_told_twice_and_no_gap_is_left() {
    let test = TestApp::new().await;
    let mut events = opens(&test, "alice", &[]).await;
    events.pong().await;
    let user = UserId::new("alice").unwrap();
    let frames = async |titles: &[&str]| {
        // What a push would say, without pushing it.
        let mut frames = Vec::new();
        let mut elsewhere = test.app.clone();
        elsewhere.moment.streams = Arc::new(NoMoment::default());
        for title in titles {
            let mut sending = event("send");
            sending["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
            sending["body"] = json!({"type": "like", "userIds": ["alice"], "title": title}).to_string().into();
            invoke(&elsewhere, send::handle, sending).await;
            let position = test.app.record.inbox.position(&user, test.app.clock.at()).await.unwrap();
            let (cursor, prev) = (position.cursor(), position.cursor_at(position.cursor().offset - 1));
            frames.push(json!({"type": "notification", "cursor": cursor, "prev": prev,
                "notification": {"title": title}, "unreadCount": 1}));
        }
        frames
    };
    let of = test.app.record.connections.of(std::slice::from_ref(&user), test.app.clock.at()).await.unwrap();
    let publish = async |frame: &Value| {
        let frame = shared::protocol::Frame::from(frame.to_string());
        test.app.moment.streams.publish(&[(of[0].id.clone(), frame)]).await;
    };
    let pushed = frames(&["one", "two", "three"]).await;
    // The second overtakes the first, and both come twice.
    for n in [1, 0, 1, 0, 2, 2] {
        publish(&pushed[n]).await;
    }
    let mut titles = Vec::new();
    for _ in 0..3 {
        titles.push(events.title().await);
    }
    assert_eq!(titles, ["one", "two", "three"]);
    events.is_silent().await;
}

#[tokio::test]
async fn too_much_or_an_unknown_position_is_one_resync() {
    let test = TestApp::new().await;
    let start = opens(&test, "alice", &[]).await.pong().await["cursor"].as_str().unwrap().to_owned();
    let epoch = start.split('.').next().unwrap();
    for (n, since) in [format!("{epoch}.99"), "00000000000000aa.0".to_owned()].iter().enumerate() {
        let mut events = opens(&test, "alice", &[("since", since)]).await;
        assert_eq!(events.next().await.0, json!({"type": "resync"}));
        assert_eq!(events.pong().await["cursor"], json!(format!("{epoch}.{n}")));
        // It goes on from the head.
        sends(&test, "alice", since).await;
        assert_eq!(events.title().await, *since);
    }
    for n in 0..501 {
        sends(&test, "bob", &n.to_string()).await;
        if n % 20 == 0 {
            // The limit of one recipient and type.
            passes(&test, 60_000);
        }
    }
    let mut events = opens(&test, "bob", &[("since", &format!("{epoch}.0"))]).await;
    assert_eq!(events.next().await.0, json!({"type": "resync"}));
    assert_eq!(events.pong().await["cursor"], json!(format!("{epoch}.501")));
    let mut events = opens(&test, "bob", &[("since", &format!("{epoch}.1"))]).await;
    for n in 1..501 {
        assert_eq!(events.title().await, n.to_string());
    }
    events.pong().await;
}

#[tokio::test]
async fn a_third_stream_ends_the_oldest() {
    let test = TestApp::new().await;
    let mut first = opens(&test, "alice", &[]).await;
    passes(&test, 1);
    let mut second = opens(&test, "alice", &[]).await;
    passes(&test, 1);
    let mut third = opens(&test, "alice", &[]).await;
    first.pong().await;
    first.ends_with("reconnect").await;
    sends(&test, "alice", "hello").await;
    for events in [&mut second, &mut third] {
        events.pong().await;
        assert_eq!(events.title().await, "hello");
    }
    assert_eq!(connections(&test, "alice").await.unwrap(), 2);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_by_itself() {
    let test = TestApp::new().await;
    let mut events = opens(&test, "alice", &[]).await;
    events.pong().await;
    // Comments and pongs, until API Gateway would cut it.
    let mut said = BTreeMap::from([("comments", 0), ("pongs", 0)]);
    loop {
        passes(&test, 15_000);
        let text = events.text().await.unwrap();
        match text.as_str() {
            ":\n\n" => *said.get_mut("comments").unwrap() += 1,
            text if text.contains("pong") => *said.get_mut("pongs").unwrap() += 1,
            text => {
                assert!(text.contains("\"reconnect\""), "{text}");
                break;
            }
        }
    }
    assert!(said["comments"] > 20 && said["pongs"] > 8, "{said:?}");
    assert!(events.text().await.is_none());
    assert_eq!(connections(&test, "alice").await.unwrap(), 0);

    let bearer = {
        let now_s = test.clock.now_ms() / 1_000;
        format!("Bearer {}", auth::sign(&test.app.config, "alice", "", now_s, now_s + 60).unwrap())
    };
    let mut events = opens_with(&test, &call(&[], &[("authorization", &bearer)])).await.ok().unwrap();
    events.pong().await;
    passes(&test, 60_000);
    assert_eq!(events.ends_with("error").await["code"], "token_expired");
    assert_eq!(connections(&test, "alice").await.unwrap(), 0);
}

#[tokio::test]
async fn a_revoked_user_hears_no_more() {
    let test = TestApp::new().await;
    let mut events = opens(&test, "alice", &[]).await;
    events.pong().await;
    let mut revoking = event("revoke");
    revoking["headers"]["authorization"] = test.bearer("ops", "notify:admin").into();
    revoking["body"] = json!({"userId": "alice"}).to_string().into();
    assert_eq!(invoke(&test.app, users::handle, revoking).await.status(), 204);
    assert_eq!(events.ends_with("error").await["code"], "token_expired");
}

#[tokio::test]
async fn without_the_moment_a_stream_looks_at_the_record_every_two_seconds() {
    let mut test = TestApp::new().await;
    test.uses_moment(Arc::new(NoMoment::default()));
    let mut events = opens(&test, "alice", &[]).await;
    events.pong().await;
    sends(&test, "alice", "first").await;
    events.is_silent().await;
    passes(&test, 2_000);
    assert_eq!(events.title().await, "first");
    // What it says of chats is in the pong.
    let first = events.pong().await;
    write(&test, create(&test, "bob", "alice").await, "bob", "Hi").await;
    passes(&test, 2_000);
    let second = events.pong().await;
    assert_eq!(first["cursor"], second["cursor"]);
    assert_ne!(first["etag"], second["etag"]);
    // A revoked token ends it within that time too.
    test.app.record.revocations.revoke(&UserId::new("alice").unwrap(), test.app.clock.at()).await.unwrap();
    passes(&test, 2_000);
    events.ends_with("reconnect").await;
}

/// Carries nothing: every publication fails.
struct Unreachable;

#[async_trait]
impl Streams for Unreachable {
    async fn publish(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        vec![Outcome::Failed; frames.len()]
    }

    async fn listen(&self, _: &ConnectionId) -> Option<Box<dyn Listening>> {
        None
    }
}

#[tokio::test]
async fn a_message_that_does_not_reach_a_stream_is_not_repeated_to_sockets() {
    let mut test = TestApp::new().await;
    test.app.moment.streams = Arc::new(Unreachable);
    let chat = create(&test, "bob", "alice").await;
    test.connect("alice", &["phone"]).await;
    let mut events = opens(&test, "alice", &[]).await;
    let before = events.pong().await;
    test.push.taken();
    write(&test, chat, "bob", "Hi").await;
    passes(&test, 60_000);
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let told: Vec<String> = test.push.taken().into_iter().map(|(connection, _)| connection).collect();
    assert_eq!(told, ["phone"]);
    // The stream found it by itself.
    assert_ne!(events.pong().await["etag"], before["etag"]);
}

#[tokio::test]
async fn a_stream_that_nothing_listens_to_is_forgotten_at_once() {
    let test = TestApp::new().await;
    let (ticket_text, stream) = (ticket(&test, "alice", None).await, ConnectionId::of_stream());
    let opening = Opening { connection: &stream, ticket_hash: auth::ticket_hash(&ticket_text), origin: None };
    test.app.record.connections.open(&opening, test.app.clock.at()).await.unwrap();
    sends(&test, "alice", "first").await;
    assert_eq!(connections(&test, "alice").await.unwrap(), 0);
    let waiting = test.app.record.deliveries.backlog(test.app.clock.at()).await.unwrap().waiting;
    assert_eq!(waiting, 0, "nothing is left to push");
}

#[tokio::test]
async fn a_stream_counts_for_presence_until_it_ends() {
    let test = TestApp::new().await;
    let mut events = opens(&test, "alice", &[]).await;
    events.pong().await;
    assert!(is_online(&test, "alice").await);
    // Its lease is renewed as long as it lasts.
    for _ in 0..40 {
        passes(&test, 15_000);
        events.text().await.unwrap();
    }
    assert!(is_online(&test, "alice").await);
    drop(events);
    // Dropping it unregisters it in the background.
    let forgotten = async {
        while connections(&test, "alice").await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, forgotten).await.unwrap();
    passes(&test, 31_000);
    let offline = async {
        while is_online(&test, "alice").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, offline).await.unwrap();
}

#[tokio::test]
async fn a_ticket_opens_one_stream_for_its_origin() {
    let test = TestApp::new().await;
    let own = "https://app.example";
    let of_app = ticket(&test, "alice", Some(own)).await;
    // Browsers name no origin to the page's own.
    let mut events = opens_with(&test, &call(&[("ticket", &of_app)], &[])).await.ok().unwrap();
    events.pong().await;
    assert_eq!(opens_with(&test, &call(&[("ticket", &of_app)], &[])).await.err(), Some(401));
    let another = ticket(&test, "alice", Some(own)).await;
    let from_elsewhere = call(&[("ticket", &another)], &[("origin", "https://evil.example")]);
    assert_eq!(opens_with(&test, &from_elsewhere).await.err(), Some(403));
    assert_eq!(opens_with(&test, &call(&[("ticket", &another)], &[("origin", own)])).await.err(), Some(401));
}

#[tokio::test]
async fn a_bad_call_opens_no_stream() {
    let test = TestApp::new().await;
    let bearer = test.bearer("alice", "");
    let by_token = |query: &[(&str, &str)], headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        call(query, &headers)
    };
    let mut posted = by_token(&[], &[]);
    posted["httpMethod"] = "POST".into();
    posted["requestContext"]["httpMethod"] = "POST".into();
    let ticket = ticket(&test, "alice", None).await;
    for (call, status) in [
        (call(&[], &[]), 401),
        (call(&[("ticket", "unknown")], &[]), 401),
        (call(&[], &[("authorization", "Bearer x")]), 401),
        (call(&[("token", &bearer)], &[]), 422),
        (by_token(&[("since", "7")], &[]), 400),
        (by_token(&[], &[("last-event-id", "seven")]), 400),
        (by_token(&[("ticket", &ticket)], &[]), 422),
        (posted, 405),
    ] {
        assert_eq!(opens_with(&test, &call).await.err(), Some(status), "{call}");
    }
    assert_eq!(connections(&test, "alice").await.unwrap(), 0);
}
