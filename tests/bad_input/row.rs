//! The vocabulary of the table: a row sends calls, and says what must be answered.

use std::fmt;

use futures_util::future::LocalBoxFuture;
use harness::{Answer, World};
use serde_json::Value;

/// What the rows of one topic share.
pub(crate) struct Group {
    pub(crate) letter: char,
    pub(crate) title: &'static str,
    /// The environment of the group's system.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) rows: Vec<Row>,
}

/// One line of the table.
pub(crate) struct Row {
    /// Its number in the list.
    pub(crate) id: &'static str,
    /// What is sent.
    pub(crate) sent: &'static str,
    /// Where the contract and the list differ: what the contract says.
    pub(crate) note: Option<&'static str>,
    /// Why it is not tried.
    pub(crate) skipped: Option<Skipped>,
    calls: Vec<(Call, Expected)>,
    scripts: Vec<Script>,
}

/// Steps that are more than single calls. They panic if an answer is not as it must be.
type Script = for<'a> fn(&'a World) -> LocalBoxFuture<'a, ()>;

/// Why a row is not tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Skipped {
    /// Until this feature exists, its routes are 404.
    Waits(Feature),
    /// It cannot be tried, for this reason.
    LeftOut(&'static str),
}

/// Features that do not exist yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Feature {
    Erasure,
}

impl Skipped {
    /// The reasons that are counted together.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Waits(Feature::Erasure) => "wait for the erasure of users",
            Self::LeftOut(_) => "left out",
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits(_) => f.write_str(self.kind().trim_start_matches("wait for ")),
            Self::LeftOut(reason) => f.write_str(reason),
        }
    }
}

/// A row that sends this.
pub(crate) fn row(id: &'static str, sent: &'static str) -> Row {
    Row { id, sent, note: None, skipped: None, calls: Vec::new(), scripts: Vec::new() }
}

impl Row {
    /// Says where the contract differs from the list.
    pub(crate) fn note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    /// Adds a call and its answer.
    pub(crate) fn call(mut self, call: Call, expected: Expected) -> Self {
        self.calls.push((call, expected));
        self
    }

    /// Adds calls that all get the same answer.
    pub(crate) fn calls(mut self, calls: impl IntoIterator<Item = Call>, expected: Expected) -> Self {
        self.calls.extend(calls.into_iter().map(|call| (call, expected)));
        self
    }

    /// Adds steps, which are performed after the calls.
    pub(crate) fn script(mut self, script: Script) -> Self {
        self.scripts.push(script);
        self
    }

    /// Says that it waits for a feature.
    pub(crate) fn waits_for(mut self, feature: Feature) -> Self {
        self.skipped = Some(Skipped::Waits(feature));
        self
    }

    /// Says why it cannot be tried.
    pub(crate) fn left_out(mut self, reason: &'static str) -> Self {
        self.skipped = Some(Skipped::LeftOut(reason));
        self
    }

    /// Sends everything, and panics at the first answer that is not as it must be.
    pub(crate) async fn attempt(&self, world: &World) {
        for (call, expected) in &self.calls {
            let answer = call.send(world).await;
            expected.check(&answer, &call.to_string());
        }
        for script in &self.scripts {
            script(world).await;
        }
        assert!(!self.calls.is_empty() || !self.scripts.is_empty(), "the row sends nothing");
    }
}

/// Whose token a call carries.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    Nobody,
    /// A user without scopes.
    User(&'static str),
    /// A service that may send.
    Service(&'static str),
    Admin,
    /// This `Authorization` header.
    Header(String),
}

/// One HTTP call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: &'static str,
    path: String,
    who: Who,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A call of eve, a user like any other.
pub(crate) fn call(method: &'static str, path: impl Into<String>) -> Call {
    Call { method, path: path.into(), who: Who::User("eve"), headers: Vec::new(), body: Vec::new() }
}

pub(crate) fn get(path: impl Into<String>) -> Call {
    call("GET", path)
}

/// A call of eve with a body, which is said to be JSON.
pub(crate) fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Call {
    call("POST", path).body(body)
}

pub(crate) fn put(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Call {
    call("PUT", path).body(body)
}

pub(crate) const SEND: &str = "/api/notifications/send";

/// A send of the service `shop`.
pub(crate) fn send(body: impl Into<Vec<u8>>) -> Call {
    post(SEND, body).by(Who::Service("shop"))
}

/// A send of the service `shop` to the victim with this member, or without it if the value is null.
pub(crate) fn send_with(name: &str, value: impl Into<Value>) -> Call {
    send(to_victim(name, value.into()).to_string())
}

/// The body of a good send to the victim with this member.
pub(crate) fn to_victim(name: &str, value: Value) -> Value {
    let mut body = serde_json::json!({"type": "like", "userIds": [crate::VICTIM], "title": "Hi"});
    body[name] = value;
    body
}

impl Call {
    pub(crate) fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    pub(crate) fn anonymous(self) -> Self {
        self.by(Who::Nobody)
    }

    pub(crate) fn bearer(self, token: impl fmt::Display) -> Self {
        self.by(Who::Header(format!("Bearer {token}")))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    /// The same call without the headers of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    pub(crate) async fn send(&self, world: &World) -> Answer {
        let authorization = match &self.who {
            Who::Nobody => None,
            Who::User(id) => Some(world.user(id).authorization().to_owned()),
            Who::Service(id) => Some(world.service(id).authorization().to_owned()),
            Who::Admin => Some(admin(world).authorization().to_owned()),
            Who::Header(value) => Some(value.clone()),
        };
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        world.call(self.method, &self.path, &headers, &self.body).await
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:.200} {:.300?} {body:.300}", self.method, self.path, self.headers)
    }
}

/// An administrator who may send.
pub(crate) fn admin(world: &World) -> harness::Caller {
    world.caller("root", "notify:send notify:admin", 86_400)
}

/// What must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    status: u16,
    /// `None`: any, or none.
    code: Option<&'static str>,
    fields: Option<&'static [&'static str]>,
    /// Whether API Gateway answers by itself, in its own form.
    by_gateway: bool,
}

/// An error of ours.
pub(crate) const fn refused(status: u16, code: &'static str) -> Expected {
    Expected { status, code: Some(code), fields: None, by_gateway: false }
}

/// 422 `validation_failed` that names exactly these fields.
pub(crate) fn invalid(fields: &'static [&'static str]) -> Expected {
    Expected { fields: Some(fields), ..refused(422, "validation_failed") }
}

/// An answer of ours with this status; an error may have any code.
pub(crate) fn status(status: u16) -> Expected {
    Expected { status, code: None, fields: None, by_gateway: false }
}

/// An error that API Gateway answers by itself, in its own form.
pub(crate) fn by_gateway(status: u16) -> Expected {
    Expected { status, code: None, fields: None, by_gateway: true }
}

/// A word in what the rows send that no answer and no log may repeat.
pub(crate) const CANARY: &str = "hunter2-canary";

impl Expected {
    /// Panics unless the answer is as expected, and as every answer must be.
    pub(crate) fn check(&self, answer: &Answer, sent: &str) {
        let Answer { status, headers, text } = answer;
        let shown: String = text.chars().take(400).collect();
        let context = format!("{sent}\n    was answered {status} {shown}");
        assert_eq!(*status, self.status, "{context}");
        if self.by_gateway {
            assert_eq!(answer.code(), "", "{context}");
            return;
        }
        assert_eq!(answer.header("cache-control"), "no-store", "{context}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}");
        assert!(!headers.contains_key("server") && !headers.contains_key("x-powered-by"), "{context}");
        if *status < 400 {
            return;
        }
        let error = &answer.json()["error"];
        if let Some(code) = self.code {
            assert_eq!(error["code"], code, "{context}");
        }
        if let Some(fields) = self.fields {
            assert_eq!(error["fields"], serde_json::json!(fields), "{context}");
        }
        assert_eq!(error["requestId"], answer.header("x-request-id"), "{context}");
        assert!(text.len() <= 4 * 1_024, "an error of {} bytes: {context}", text.len());
        let named = error["fields"].as_array().map_or(0, Vec::len);
        assert!(named <= 20, "{named} fields: {context}");
        assert!(!text.contains(CANARY), "repeats a value: {context}");
        assert_eq!(*status == 401, headers.contains_key("www-authenticate"), "{context}");
        if *status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{context}");
        }
        assert_eq!(*status == 405, headers.contains_key("allow"), "{context}");
        assert_eq!(matches!(*status, 429 | 503), headers.contains_key("retry-after"), "{context}");
    }
}
