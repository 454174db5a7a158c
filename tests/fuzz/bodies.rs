//! The bodies of sends.

use serde_json::{Map, Value, json};
use shared::error::Error;
use shared::http::data::MAX_DATA_BYTES;
use shared::http::json;
use shared::http::reply::error_body;
use shared::inbox::send::{MAX_RECIPIENTS, NewSend};
use url::Url;

use crate::target::{Target, outcome, signature};

const WORDS: &[&str] = &[
    "type",
    "userIds",
    "userId",
    "title",
    "body",
    "message",
    "actionUrl",
    "data",
    "content",
    "priority",
    "high",
    "delayMs",
    "delay",
    "deliverAt",
    "expiresAt",
    "collapseKey",
    "idempotencyKey",
    "channels",
    "accept",
    "2027-01-15T08:00:00Z",
    "https://",
    "@",
    "https://app.example.com",
    "/reports/1",
    "//evil.com",
    "\\\\",
    "javascript:",
    "[::1]",
    ":443",
    "%5C",
    "#",
    "?",
    "xn--",
];

pub(crate) fn target() -> Target {
    let seeds = [
        json!({"type": "like", "userIds": ["alice", "bob"], "title": "Hi"}),
        json!({"type": "ORDER_SHIPPED", "userId": "alice", "title": "Hi", "body": "a\nb", "actionUrl": "/orders/7?x=y#z",
            "data": {"a": [1, 0.5, null, true, {"b": "c"}]}, "priority": "high", "idempotencyKey": "k", "delayMs": 5,
            "expiresAt": "2027-01-15T08:00:00.5+01:00", "collapseKey": "c", "channels": ["realtime"], "accept": "fast"}),
        json!({"type": "a.b:c-d_e", "userId": "alice", "data": {"title": "Hi", "body": "x", "actionUrl": "https://app.example.com:443/x?y#z"},
            "deliverAt": "2027-01-15T08:00:00Z"}),
        json!({"type": "t", "userId": "a", "title": "t", "actionUrl": "https://[::1]:8443/"}),
    ];
    Target {
        name: "bodies",
        seeds: seeds.map(|seed| seed.to_string().into_bytes()).into(),
        words: WORDS,
        attempt: Box::new(attempt),
    }
}

fn attempt(input: &[u8]) -> u64 {
    let members = match json::object(input) {
        Ok(members) => members,
        Err(required) => return signature(required),
    };
    // What strict JSON is, a lenient parser reads alike.
    let lenient: Value = serde_json::from_slice(input).unwrap();
    assert_eq!(lenient, Value::Object(members.clone()));
    match NewSend::read(members.clone(), None) {
        Ok(send) => {
            check(&send, &members);
            let content = &send.content;
            signature((
                "ok",
                std::mem::discriminant(&send.due),
                content.body.is_some(),
                content.action_url.is_some(),
                content.expires_at.is_some(),
                send.key.is_some(),
                send.recipients.len().min(3),
            ))
        }
        Err(error) => {
            assert!(matches!(error, Error::ValidationFailed(_)), "{error:?}");
            assert!(
                error_body(&error, "id").len() <= 4 * 1_024,
                "an error of {} bytes",
                error_body(&error, "id").len()
            );
            signature(outcome(&error))
        }
    }
}

fn check(send: &NewSend, members: &Map<String, Value>) {
    assert!((1..=MAX_RECIPIENTS).contains(&send.recipients.len()));
    let content = &send.content;
    assert!(content.data.get().len() <= MAX_DATA_BYTES);
    assert!((1..=64).contains(&content.kind.len()));
    assert!((1..=200).contains(&content.title.chars().count()));
    let texts =
        [Some(&content.title), content.body.as_ref(), content.collapse_key.as_ref(), content.action_url.as_ref()];
    for text in texts.into_iter().flatten() {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    }
    assert!(!content.title.chars().any(|c| "\n\r\u{2028}\u{2029}\u{202e}".contains(c)), "{:?}", content.title);
    if let Some(url) = &content.action_url {
        leads_where_it_seems(url);
    }
    // The same send in another spelling is a repeat.
    let mut reordered: Value = Value::Object(members.clone());
    reordered.sort_all_objects();
    let Value::Object(reordered) = reordered else { unreachable!() };
    let again = NewSend::read(reordered, None).unwrap();
    assert_eq!(again.fingerprint, send.fingerprint);
}

/// A browser that follows it stays on the page's origin, or goes to the host that the text shows.
fn leads_where_it_seems(url: &str) {
    let base = Url::parse("https://app.example.com/inbox/").unwrap();
    let followed = base.join(url).unwrap_or_else(|error| panic!("{url:?} cannot be followed: {error}"));
    assert_eq!(followed.scheme(), "https", "{url:?}");
    assert!(followed.username().is_empty() && followed.password().is_none(), "{url:?}");
    if url.starts_with('/') {
        assert_eq!(followed.origin(), base.origin(), "{url:?} leads to {followed}");
    } else {
        let shown = url.strip_prefix("https://").unwrap().split(['/', '?', '#']).next().unwrap();
        let alone = Url::parse(&format!("https://{shown}/")).unwrap();
        assert_eq!(followed.origin(), alone.origin(), "{url:?} leads to {followed}");
    }
}
