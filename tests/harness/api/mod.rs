//! Whether calls and frames are as docs/openapi.yaml and docs/asyncapi.yaml describe them. The harness checks all that pass
//! through it, so that neither the code nor the documents can change alone.
//!
//! `client/test/api` does the same with another validator, from outside of a gateway.

mod description;
mod frames;
mod schemas;

use http::HeaderMap;
use serde_json::{Value, json};
use url::form_urlencoded;

use self::description::{Described, Operation};
pub use self::frames::{check_event, check_frame};
use self::schemas::{OPENAPI_ADDRESS, json_problems, members, problems, resolved};

/// A call and its answer.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// What follows the `?`, encoded.
    pub query: &'a str,
    /// The body of the request.
    pub body: &'a [u8],
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer.
    pub headers: &'a HeaderMap,
    /// The body of the answer. That of an event stream does not matter.
    pub answer: &'a str,
}

impl Exchange<'_> {
    /// Panics unless the answer is described and so is the request, if it was accepted.
    pub fn check(&self) {
        let problems = self.problems();
        let Self { method, path, status, answer, .. } = self;
        assert!(
            problems.is_empty(),
            "{method} {path} was answered {status}, which is not as docs/openapi.yaml says:\n  {}\n  {answer:.1000}",
            problems.join("\n  "),
        );
    }

    /// What is not as described, each with the operation and the place.
    pub fn problems(&self) -> Vec<String> {
        if self.is_left_out() {
            return Vec::new();
        }
        match Described::of(self.method, self.path) {
            Described::As(operation) => {
                let mut found = self.answer_problems(operation);
                if self.status < 400 {
                    found.extend(self.parameter_problems(operation));
                    found.extend(self.body_problems(operation));
                }
                found.iter().map(|problem| format!("{}: {problem}", operation.id())).collect()
            }
            Described::OtherMethods => self.refusal_problems(405, "MethodNotAllowedError"),
            Described::Nowhere => self.refusal_problems(404, "NotFoundError"),
        }
    }

    /// Whether the description leaves it out on purpose.
    fn is_left_out(&self) -> bool {
        // The local gateway's own routes, which no deployment has.
        self.path.starts_with("/_gateway/")
            // Opening and managing sockets is API Gateway's part. What they carry is in docs/asyncapi.yaml.
            || self.path == "/live"
            || self.path.starts_with("/live/")
            // API Gateway answers preflights.
            || self.method == "OPTIONS"
            // Headers that are too large are refused without a body, before there is a call.
            || self.status == 431
    }

    /// What is wrong with the refusal of a call that has no operation.
    fn refusal_problems(&self, status: u16, schema: &str) -> Vec<String> {
        if self.status != status {
            return vec![format!("status: must be {status}, because the call is not described")];
        }
        let schema = json!({"$ref": format!("{OPENAPI_ADDRESS}#/components/schemas/{schema}")});
        let mut problems = json_problems("answer", &schema, self.answer.as_bytes());
        if status == 405 && !self.headers.contains_key("allow") {
            problems.push("header allow: is missing".into());
        }
        problems
    }

    fn answer_problems(&self, operation: Operation) -> Vec<String> {
        let Some(response) = operation.response(self.status) else {
            return vec!["status: is not described".into()];
        };
        let mut found = self.content_problems(&response["content"]);
        for (name, header) in members(&response["headers"]) {
            let (header, place) = (resolved(header), format!("header {name}"));
            match self.headers.get(name) {
                Some(value) => {
                    let value = value_of(&header["schema"], &String::from_utf8_lossy(value.as_bytes()));
                    found.extend(problems(&place, &header["schema"], &value));
                }
                None if header["required"] == true => found.push(format!("{place}: is missing")),
                None => {}
            }
        }
        found
    }

    fn content_problems(&self, content: &'static Value) -> Vec<String> {
        if content.is_null() {
            let unexpected = (!self.answer.is_empty()).then(|| "answer: must have no body".to_owned());
            return unexpected.into_iter().collect();
        }
        let header = self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = header.split(';').next().unwrap_or_default().trim();
        match (kind, content.get(kind)) {
            (_, None) => vec![format!("header content-type: {kind:?} is not described")],
            // It does not end. Its events are checked when they arrive.
            ("text/event-stream", Some(_)) => Vec::new(),
            ("application/json", Some(media)) => json_problems("answer", &media["schema"], self.answer.as_bytes()),
            (_, Some(media)) => problems("answer", &media["schema"], &Value::from(self.answer)),
        }
    }

    /// What is wrong with the path and the query of a request. Headers are left to `client/test/api`.
    fn parameter_problems(&self, operation: Operation) -> Vec<String> {
        let query: Vec<(String, String)> = form_urlencoded::parse(self.query.as_bytes()).into_owned().collect();
        let mut found = Vec::new();
        for parameter in operation.parameters() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let value = match parameter["in"].as_str() {
                Some("path") => operation.step(self.path, name).map(|text| value_of(schema, text)),
                Some("query") => in_query(parameter, &query),
                _ => continue,
            };
            match value {
                Some(value) => found.extend(problems(&format!("parameter {name}"), schema, &value)),
                None if parameter["required"] == true => found.push(format!("parameter {name}: is missing")),
                None => {}
            }
        }
        for (name, _) in &query {
            let mut known = operation.parameters().filter(|parameter| parameter["in"] == "query");
            let is_known = known.any(|parameter| parameter["name"] == name.as_str());
            if !(is_known || name == "ticket" && operation.takes_tickets()) {
                found.push(format!("parameter {name}: is not described"));
            }
        }
        found
    }

    fn body_problems(&self, operation: Operation) -> Vec<String> {
        match operation.body() {
            None if self.body.is_empty() => Vec::new(),
            None => vec!["request: must have no body".into()],
            Some(body) if self.body.is_empty() => {
                let missing = (body["required"] == true).then(|| "request: must have a body".to_owned());
                missing.into_iter().collect()
            }
            Some(body) => json_problems("request", &body["content"]["application/json"]["schema"], self.body),
        }
    }
}

/// The value of a parameter in the query.
fn in_query(parameter: &'static Value, query: &[(String, String)]) -> Option<Value> {
    let named = query.iter().filter(|(name, _)| parameter["name"] == name.as_str());
    let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
    let first = values.first()?;
    Some(match parameter["explode"].as_bool() {
        Some(true) => values.into(),
        Some(false) => first.split(',').collect(),
        None => value_of(&parameter["schema"], first),
    })
}

/// What a text means by its schema.
fn value_of(schema: &'static Value, text: &str) -> Value {
    match resolved(schema)["type"].as_str() {
        Some("integer" | "boolean") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}
