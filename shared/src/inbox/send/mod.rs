//! A send: one call that puts a notification into the inboxes of up to 1,000 users. This module parses and validates
//! it; `accept` performs it.

mod content;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

pub use self::content::DIGEST_MS;
use self::content::content;
use crate::clock::Time;
use crate::error::Error;
use crate::fast::accept::Accept;
use crate::http::fields::{self, Fields};
use crate::ids::{self, UserId};
use crate::inbox::notification::{Channels, Content};

/// The most recipients of one send.
pub const MAX_RECIPIENTS: usize = 1_000;
/// How far ahead a send may be due at most, in milliseconds: 365 days.
pub const MAX_DELAY_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// The requirement on `expiresAt`.
pub const EXPIRY_RULE: &str = "must be later than the time at which the send is due";

/// When a send reaches the inboxes of its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At once, with the call.
    Now,
    /// This many milliseconds after it was stored, by the store's clock.
    After(i64),
    /// At this time, in milliseconds since 1970.
    At(i64),
}

/// A valid send.
#[derive(Debug)]
pub struct NewSend {
    /// What each recipient gets.
    pub content: Content,
    /// The recipients, distinct, in the order of their first mention: 1 to [`MAX_RECIPIENTS`].
    pub recipients: Vec<UserId>,
    /// The caller's idempotency key, if any.
    pub key: Option<String>,
    /// When it is due, as requested. A [`Due::At`] is not checked against the current time: it may be in the past or
    /// too far ahead.
    pub due: Due,
    /// How durable its accept is to be; `None` leaves it to the deployment. No part of the fingerprint.
    pub accept: Option<Accept>,
    /// SHA-256 of everything that was requested except the key. Distinguishes a repeat from another send with the same
    /// key.
    pub fingerprint: [u8; 32],
}

impl NewSend {
    /// Parses the body of a call, in the flat shape or the nested one of older services. `header_key` is the
    /// `Idempotency-Key` header.
    pub fn read(body: Map<String, Value>, header_key: Option<&str>) -> Result<Self, Error> {
        let mut fields = Fields::new(body);
        let key = idempotency_key(&mut fields, header_key);
        let recipients = recipients(&mut fields);
        let content = content(&mut fields);
        let due = due(&mut fields);
        let accept = accept(&mut fields);
        check_expiry_is_after_due(&mut fields, content.as_ref(), due);
        fields.finish()?;
        // Every absence was recorded as a problem, so none of them is absent after `finish`.
        let (Some(content), Some(recipients), Some(due)) = (content, recipients, due) else {
            return Err(Error::Internal);
        };
        let fingerprint = fingerprint(&content, &recipients, due);
        Ok(Self { content, recipients, key, due, accept, fingerprint })
    }

    /// The same for a call that rings by Web Push only. If it names `channels`, it must name only that.
    pub fn read_push_only(mut body: Map<String, Value>, header_key: Option<&str>) -> Result<Self, Error> {
        body.entry("channels").or_insert_with(|| json!(["push"]));
        let send = Self::read(body, header_key)?;
        if send.content.channels != Channels::Push {
            return Err(Error::field("channels", "must be exactly [\"push\"] here"));
        }
        Ok(send)
    }
}

/// Takes `idempotencyKey`, which may also be a header.
pub(crate) fn idempotency_key(fields: &mut Fields, header: Option<&str>) -> Option<String> {
    const NAME: &str = "idempotencyKey";
    let visible_ascii = |key: String| {
        let is_valid = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(key) } else { Err("must be 1 to 255 visible ASCII characters".to_owned()) }
    };
    let member = fields.take(NAME).and_then(|value| {
        fields.checked(NAME, value, |value| match value {
            Value::String(key) => visible_ascii(key),
            _ => Err("must be a string".into()),
        })
    });
    let header = header.and_then(|key| {
        fields.checked(NAME, key.to_owned(), |key| {
            // API Gateway joins repeated headers this way.
            if key.contains(',') { Err("must be a single header, without a comma".into()) } else { visible_ascii(key) }
        })
    });
    match (header, member) {
        (Some(header), Some(member)) if header != member => {
            fields.problem(NAME, "must be the same in the Idempotency-Key header and the body");
            None
        }
        (header, member) => header.or(member),
    }
}

/// Takes `accept`, also of a message.
pub(crate) fn accept(fields: &mut Fields) -> Option<Accept> {
    let accept = fields.take("accept")?;
    fields.checked("accept", accept, |accept| {
        accept.as_str().and_then(Accept::from_name).ok_or_else(|| "must be durable or fast".into())
    })
}

fn recipients(fields: &mut Fields) -> Option<Vec<UserId>> {
    let (one, many) = (fields.take("userId"), fields.take("userIds"));
    match (one, many) {
        (Some(_), Some(_)) => {
            fields.problem("userId", "cannot be combined with userIds");
            None
        }
        (Some(one), None) => recipient(fields, || "userId".into(), &one).map(|user| vec![user]),
        (None, Some(Value::Array(many))) if !many.is_empty() => distinct_recipients(fields, &many),
        (None, Some(_)) => {
            fields.problem("userIds", format!("must be an array of 1 to {MAX_RECIPIENTS} strings"));
            None
        }
        (None, None) => {
            fields.problem("userIds", "is required");
            None
        }
    }
}

/// The recipients in the order of their first mention. They are counted before any of them is examined.
fn distinct_recipients(fields: &mut Fields, many: &[Value]) -> Option<Vec<UserId>> {
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for (index, user) in many.iter().enumerate() {
        if seen.insert(user) {
            distinct.push((index, user));
        }
        if distinct.len() > MAX_RECIPIENTS {
            fields.problem("userIds", format!("must contain at most {MAX_RECIPIENTS} users"));
            return None;
        }
    }
    let users: Vec<Option<UserId>> =
        distinct.into_iter().map(|(index, user)| recipient(fields, || format!("userIds[{index}]"), user)).collect();
    users.into_iter().collect()
}

fn recipient(fields: &mut Fields, name: impl FnOnce() -> String, value: &Value) -> Option<UserId> {
    let user = match value {
        Value::String(id) => UserId::new(id.as_str()),
        _ => Err("must be a string"),
    };
    user.map_err(|required| fields.problem(name(), required)).ok()
}

/// Takes `delayMs`, or `delay` as older services call it, or `deliverAt`; due at once if all are absent.
fn due(fields: &mut Fields) -> Option<Due> {
    let names = ["delayMs", "delay", "deliverAt"];
    let mut given: Vec<(&str, Value)> =
        names.into_iter().filter_map(|name| fields.take(name).map(|value| (name, value))).collect();
    if let [(first, _), (second, _), ..] = given.as_slice() {
        fields.problem(*second, format!("cannot be combined with {first}"));
        return None;
    }
    match given.pop() {
        None => Some(Due::Now),
        Some((name @ "deliverAt", value)) => {
            fields.checked(name, value, |value| fields::instant(&value)).map(|at| Due::At(at.0))
        }
        Some((name, value)) => fields.checked(name, value, |value| match fields::whole_number(&value) {
            Some(0) => Ok(Due::Now),
            Some(delay_ms @ 1..=MAX_DELAY_MS) => Ok(Due::After(delay_ms)),
            _ => Err("must be a whole number of milliseconds, from 0 to 365 days".into()),
        }),
    }
}

/// Checks the order of two instants. What depends on the current time is checked later, and only for new keys, so that
/// a repeat is never refused for it.
fn check_expiry_is_after_due(fields: &mut Fields, content: Option<&Content>, due: Option<Due>) {
    let expires_at = content.and_then(|content| content.expires_at);
    if let (Some(Time(expires_ms)), Some(Due::At(due_ms))) = (expires_at, due)
        && expires_ms <= due_ms
    {
        fields.problem("expiresAt", EXPIRY_RULE);
    }
}

/// The same for every spelling of a send: aliases and `userId` are resolved, and the order of members in `data` is
/// ignored.
fn fingerprint(content: &Content, recipients: &[UserId], due: Due) -> [u8; 32] {
    let mut data: Value = serde_json::from_str(content.data.get()).unwrap_or_default();
    data.sort_all_objects();
    let mut request = json!({
        "type": content.kind,
        "userIds": recipients,
        "title": content.title,
        "body": content.body,
        "actionUrl": content.action_url,
        "data": data,
        "priority": content.priority,
        "delayMs": if let Due::After(delay_ms) = due { delay_ms } else { 0 },
    });
    // Only those that were given: fingerprints are stored, and those of sends without these members must not change.
    if let Due::At(at_ms) = due {
        request["deliverAt"] = at_ms.into();
    }
    if let Some(Time(expires_ms)) = content.expires_at {
        request["expiresAt"] = expires_ms.into();
    }
    if let Some(key) = &content.collapse_key {
        request["collapseKey"] = key.as_str().into();
    }
    if let Some(only) = content.channels.name() {
        request["channels"] = json!([only]);
    }
    if let Some(window_ms) = content.digest_ms {
        request["digest"] = json!({"windowMs": window_ms});
    }
    ids::sha256(request.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<NewSend, Error> {
        let Value::Object(body) = body else { panic!("not an object") };
        NewSend::read(body, None)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({"type": "like", "userIds": ["alice"], "title": "Hi"});
        body[name] = value;
        body
    }

    /// The field of the first problem.
    fn refused(body: Value) -> String {
        match read(body) {
            Err(Error::ValidationFailed(problems)) => problems.fields().next().unwrap().to_owned(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn both_call_shapes_of_the_older_services_are_the_same_send() {
        let flat = read(json!({"type": "REPORT_APPROVED", "userIds": ["u", "u"], "title": "Approved", "body": "Yours",
            "actionUrl": "/r/1", "data": {"reportId": "1"}, "priority": "high"}))
        .unwrap();
        let nested = read(json!({"priority": "high", "userId": "u", "type": "REPORT_APPROVED", "idempotencyKey": "k",
            "data": {"title": "Approved", "reportId": "1", "actionUrl": "/r/1", "body": "Yours"}}))
        .unwrap();
        let aliased = read(json!({"type": "REPORT_APPROVED", "userId": "u", "title": "Approved", "message": "Yours",
            "actionUrl": "/r/1", "content": {"reportId": "1"}, "delay": 0, "priority": "high"}))
        .unwrap();
        assert_eq!(flat.content.data.get(), r#"{"reportId":"1"}"#);
        assert_eq!(flat.fingerprint, nested.fingerprint);
        assert_eq!(flat.fingerprint, aliased.fingerprint);
        assert_eq!(flat.recipients.len(), 1);
        assert_eq!(nested.key.as_deref(), Some("k"));
    }

    #[test]
    fn a_fingerprint_ignores_only_the_order_of_members() {
        let first = read(with("data", json!({"a": 1, "b": {"c": 2, "d": 3}}))).unwrap();
        let reordered = read(with("data", json!({"b": {"d": 3, "c": 2}, "a": 1}))).unwrap();
        let other = read(with("data", json!({"a": 1, "b": {"c": 2, "d": 4}}))).unwrap();
        assert_eq!(first.fingerprint, reordered.fingerprint);
        assert_ne!(first.fingerprint, other.fingerprint);
    }

    #[test]
    fn an_invalid_member_is_named() {
        let cases = [
            ("type", json!("")),
            ("type", json!("a b")),
            ("type", json!("x".repeat(65))),
            ("type", json!(5)),
            ("title", json!("")),
            ("title", json!(" ")),
            ("title", json!("a\nb")),
            ("title", json!("a\u{2028}b")),
            ("title", json!("\u{200b}\u{3164}")),
            ("title", json!("\u{202e}a")),
            ("title", json!("x".repeat(201))),
            ("body", json!("x".repeat(4_001))),
            ("body", json!("bell\u{7}")),
            ("priority", json!("urgent!!")),
            ("priority", json!(null)),
            ("title", json!(null)),
            ("userIds", json!([])),
            ("userIds", json!("alice")),
            ("userIds", json!((0..1_001).map(|n| n.to_string()).collect::<Vec<_>>())),
            ("userId", json!("bob")),
            ("data", json!([])),
            ("data", json!({"x": "y".repeat(16_384)})),
            ("content", json!(7)),
            ("accept", json!("soon")),
            ("channels", json!([])),
            ("channels", json!("push")),
            ("channels", json!(["sms"])),
            ("channels", json!(["push", "push"])),
            ("channels", json!(["push", "realtime", "sms"])),
            ("digest", json!(60_000)),
            ("tenant", json!("x")),
            ("delayMs", json!(-1)),
            ("delayMs", json!(1.5)),
            ("delay", json!("5")),
            ("delayMs", json!(MAX_DELAY_MS + 1)),
            ("delayMs", json!(1e300)),
            ("delayMs", json!(u64::MAX)),
            ("delayMs", json!(null)),
            ("deliverAt", json!("tomorrow")),
            ("deliverAt", json!("2027-01-01T00:00:00")),
            ("deliverAt", json!(1_800_000_000_000_i64)),
            ("collapseKey", json!("")),
            ("collapseKey", json!("k".repeat(65))),
            ("collapseKey", json!("a\u{7}")),
            ("collapseKey", json!(7)),
            ("expiresAt", json!("2027-01-01")),
            ("expiresAt", json!(1_800_000_000_000_i64)),
            ("expiresAt", json!(null)),
            ("idempotencyKey", json!("")),
            ("idempotencyKey", json!("a b")),
            ("idempotencyKey", json!("k".repeat(256))),
            ("idempotencyKey", json!("clé")),
        ];
        for (name, value) in cases {
            assert_eq!(refused(with(name, value.clone())), name, "{value}");
        }
        assert_eq!(refused(with("userIds", json!(["a", "b", "c", "d\u{202e}"]))), "userIds[3]");
        assert_eq!(refused(with("data", json!({"a": [{"b": "\u{0}"}]}))), "data.a[0].b");
        let twice = read(with("data", json!({"title": "again"}))).unwrap_err();
        assert_eq!(twice.to_string(), "data.title: cannot be combined with title");
        let inside = read(json!({"type": "x", "userId": "a", "data": {"title": 1}})).unwrap_err();
        assert_eq!(inside.to_string(), "data.title: must be a string");
        assert_eq!(refused(json!({"userId": "a", "title": "t"})), "type");
        assert_eq!(refused(json!({"type": "x", "title": "t"})), "userIds");
        assert_eq!(refused(json!({"type": "x", "userId": "a", "data": {}})), "title");
    }

    #[test]
    fn a_send_is_due_as_requested() {
        let due = |name, value| read(with(name, value)).unwrap().due;
        assert_eq!(due("delayMs", json!(0)), Due::Now);
        assert_eq!(due("delay", json!(0.0)), Due::Now);
        assert_eq!(due("delayMs", json!(1)), Due::After(1));
        assert_eq!(due("delay", json!(5e3)), Due::After(5_000));
        assert_eq!(due("delayMs", json!(MAX_DELAY_MS)), Due::After(MAX_DELAY_MS));
        assert_eq!(due("deliverAt", json!("2026-11-20T17:00:00.123+01:00")), Due::At(1_795_190_400_123));
        let twice = |other: &str, value: Value| {
            let mut body = with("delayMs", json!(0));
            body[other] = value;
            refused(body)
        };
        assert_eq!(twice("delay", json!(0)), "delay");
        assert_eq!(twice("deliverAt", json!("2027-01-01T00:00:00Z")), "deliverAt");
    }

    #[test]
    fn the_expiry_must_be_after_the_due_time() {
        let expiring = |deliver_at: &str| {
            let mut body = with("expiresAt", json!("2027-01-01T00:00:00Z"));
            body["deliverAt"] = deliver_at.into();
            body
        };
        let good = read(expiring("2026-12-31T23:59:59.999Z")).unwrap();
        assert_eq!(good.content.expires_at, Time::parse("2027-01-01T00:00:00Z"));
        assert_eq!(refused(expiring("2027-01-01T00:00:00Z")), "expiresAt");
        assert_eq!(refused(expiring("2027-01-01T01:00:00+00:30")), "expiresAt");
        // Whether it is in the past is not checked here.
        assert!(read(with("expiresAt", json!("1999-01-01T00:00:00Z"))).is_ok());
    }

    #[test]
    fn a_fingerprint_depends_on_the_due_time_and_not_on_its_notation() {
        let of = |name, value| read(with(name, value)).unwrap().fingerprint;
        let now = read(with("priority", json!("normal"))).unwrap().fingerprint;
        assert_eq!(of("delayMs", json!(0)), now);
        assert_eq!(of("delayMs", json!(5_000)), of("delay", json!(5e3)));
        assert_eq!(
            of("deliverAt", json!("2026-11-20T17:00:00+01:00")),
            of("deliverAt", json!("2026-11-20T16:00:00.000Z"))
        );
        let different = [
            now,
            of("delayMs", json!(1)),
            of("delayMs", json!(2)),
            of("deliverAt", json!("2026-11-20T16:00:00Z")),
            of("deliverAt", json!("2026-11-20T16:00:00.001Z")),
            of("expiresAt", json!("2026-11-20T16:00:00Z")),
            of("expiresAt", json!("2026-11-20T16:00:00.001Z")),
            of("collapseKey", json!("a")),
            of("collapseKey", json!("b")),
        ];
        assert_eq!(different.iter().collect::<HashSet<_>>().len(), different.len());
    }

    #[test]
    fn header_and_body_must_have_the_same_key() {
        let body = || with("idempotencyKey", json!("k1")).as_object().unwrap().clone();
        assert_eq!(NewSend::read(body(), Some("k1")).unwrap().key.as_deref(), Some("k1"));
        assert!(NewSend::read(body(), Some("k2")).is_err());
    }

    #[test]
    fn the_header_must_appear_only_once() {
        let body = || with("title", json!("Hi")).as_object().unwrap().clone();
        for header in ["k1,k2", "k1,k1", "k1, k2"] {
            assert!(NewSend::read(body(), Some(header)).is_err(), "{header}");
        }
        assert!(NewSend::read(with("idempotencyKey", json!("k1,k2")).as_object().unwrap().clone(), None).is_ok());
    }

    #[test]
    fn many_recipients_are_counted_before_they_are_examined() {
        let many: Vec<Value> = (0..5_000).map(|n| json!([n])).collect();
        let body = with("userIds", Value::Array(many));
        let Err(Error::ValidationFailed(problems)) = read(body) else { panic!() };
        assert_eq!(problems.to_string(), "userIds: must contain at most 1000 users");
        let repeated = read(with("userIds", json!(vec!["a"; 5_000]))).unwrap();
        assert_eq!(repeated.recipients.len(), 1);
    }

    #[test]
    fn an_action_url_cannot_lead_to_an_unexpected_place() {
        for good in [
            "/reports/1?x=<b>",
            "/",
            "/a%20b?next=%2F%2Fx",
            "/users/@alice",
            "https://app.example.com/x#y",
            "https://app.example.com:8443/@alice?to=a@b",
            "https://bücher.example",
        ] {
            assert!(read(with("actionUrl", json!(good))).is_ok(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            "data:text/html,x",
            "//evil.com",
            "/\\evil.com",
            "\\\\evil.com",
            "https:evil.com",
            "https://",
            "https:///x",
            "http://a.com",
            "/a b",
            "/\tevil",
            "reports/1",
            "",
            "https://app.example.com@evil.com/",
            "\u{1}javascript:x",
            "/%5Cevil.com",
            "/%2fevil.com",
            "/%09/evil.com",
            "/.//evil.com",
            "https://app.example.com%40evil.com/",
            "https://[::1",
            "https://a b.com",
            "https://?x",
            "https://x:99999/",
            "ftp://x",
        ] {
            assert_eq!(refused(with("actionUrl", json!(bad))), "actionUrl", "{bad:?}");
        }
    }
}
