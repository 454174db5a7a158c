//! Evaluates a `RouteSelectionExpression`: which route key a message selects.

use serde_json::Value;

/// A parsed expression, `$request.body.action` or `${request.body.service}/${request.body.action}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteSelection(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The value at a path into the message's JSON.
    Body(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

const BODY: &str = "request.body";

impl RouteSelection {
    /// Parses an expression. The error says what is required and what was found.
    pub(crate) fn parse(expression: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = expression;
        while let Some(next) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("\\$") {
                text.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let (variable, remainder) = after.split_once('}').ok_or_else(|| invalid(expression))?;
                take_text(&mut parts, &mut text);
                parts.push(Part::Body(path(variable).ok_or_else(|| invalid(expression))?));
                rest = remainder;
            } else if let Some(after) = rest.strip_prefix('$') {
                let end =
                    after.find(|c: char| !(c.is_ascii_alphanumeric() || "._[]-".contains(c))).unwrap_or(after.len());
                let (variable, remainder) = after.split_at(end);
                take_text(&mut parts, &mut text);
                parts.push(Part::Body(path(variable).ok_or_else(|| invalid(expression))?));
                rest = remainder;
            } else {
                text.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        take_text(&mut parts, &mut text);
        Ok(Self(parts))
    }

    /// The route key that a message selects; `None` if it is not JSON.
    pub(crate) fn key(&self, message: &str) -> Option<String> {
        let body: Value = serde_json::from_str(message).ok()?;
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Body(path) => at(&body, path).map(stringified).unwrap_or_default(),
        };
        Some(self.0.iter().map(part).collect())
    }
}

fn invalid(expression: &str) -> String {
    format!("must consist of text and $request.body paths, got {expression}")
}

fn take_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// `request.body.a.b[0]` as steps.
fn path(variable: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let below = variable.trim().strip_prefix(BODY)?;
    for name in below.split('.').enumerate().filter_map(|(index, name)| (index > 0 || !name.is_empty()).then_some(name))
    {
        let (member, items) = name.split_once('[').map_or((name, None), |(member, items)| (member, Some(items)));
        if !member.is_empty() {
            steps.push(Step::Member(member.to_owned()));
        } else if items.is_none() {
            return None;
        }
        for item in items.into_iter().flat_map(|items| items.split('[')) {
            steps.push(Step::Item(item.strip_suffix(']')?.parse().ok()?));
        }
    }
    Some(steps)
}

fn at<'v>(body: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(body, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Item(index) => value.get(index),
    })
}

fn stringified(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(stringified).collect::<Vec<_>>().join(", ")),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn selects(expression: &str, message: &str, key: &str) {
        assert_eq!(RouteSelection::parse(expression).unwrap().key(message).as_deref(), Some(key), "{expression}");
    }

    #[test]
    fn expressions_select_as_documented_by_aws() {
        let message = r#"{"service":"chat","action":"join","data":{"room":"abc","numbers":[1,2]}}"#;
        selects("$request.body.action", message, "join");
        selects("${request.body.action}", message, "join");
        selects("${request.body.service}/${request.body.action}", message, "chat/join");
        selects("${request.body.action}-${request.body.invalidPath}", message, "join-");
        selects("$request.body.data.room", message, "abc");
        selects("${request.body.data.numbers}", message, "[1, 2]");
        selects("$request.body.data.numbers[1]", message, "2");
        selects("\\$default", message, "$default");
        selects("fixed", message, "fixed");
    }

    #[test]
    fn values_that_are_not_strings_are_stringified() {
        selects("$request.body.action", r#"{"action":1}"#, "1");
        selects("$request.body.action", r#"{"action":true}"#, "true");
        selects("$request.body.action", r#"{"action":null}"#, "");
        selects("$request.body.action", "[1]", "");
    }

    #[test]
    fn a_message_that_is_not_json_selects_no_key() {
        assert_eq!(RouteSelection::parse("$request.body.action").unwrap().key("hello"), None);
    }

    #[test]
    fn other_variables_are_refused() {
        for expression in ["$request.header.x", "${request.body.a", "$context.routeKey", "$request.body.a[x]", "$"] {
            assert!(RouteSelection::parse(expression).is_err(), "{expression}");
        }
    }
}
