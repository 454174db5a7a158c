//! Templates of CloudFormation as JSON values, and what rules look for in them.

pub(crate) use harness::yaml::parse;
use serde_json::{Value, json};

/// The resources of one type in a template, by logical id.
pub(crate) fn of_type<'t>(template: &'t Value, kind: &'t str) -> impl Iterator<Item = (&'t str, &'t Value)> {
    members(&template["Resources"]).filter(move |(_, resource)| resource["Type"] == kind)
}

/// The members of an object; empty for any other value.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

/// The items of a list, or a single value as if it were a list.
pub(crate) fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

#[test]
fn short_tags_become_long_forms() {
    let document = parse("a: !Ref X\nb: !GetAtt F.Arn\nc: !If [C, !Sub 'x${Y}', 1]\nd: {$e: ~}\n");
    let expected = json!({
        "a": { "Ref": "X" },
        "b": { "Fn::GetAtt": ["F", "Arn"] },
        "c": { "Fn::If": ["C", { "Fn::Sub": "x${Y}" }, 1] },
        "d": { "$e": null },
    });
    assert_eq!(document, expected);
}
