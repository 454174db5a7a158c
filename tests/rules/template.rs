//! template.yaml as JSON values: short tags of CloudFormation such as `!Ref` become their long forms.

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Value, json};

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

pub(crate) fn parse(text: &str) -> Value {
    let documents = YamlOwned::load_from_str(text).unwrap();
    lower(documents.into_iter().next().unwrap())
}

fn lower(node: YamlOwned) -> Value {
    match node {
        YamlOwned::Value(ScalarOwned::Null) => Value::Null,
        YamlOwned::Value(ScalarOwned::Boolean(truth)) => truth.into(),
        YamlOwned::Value(ScalarOwned::Integer(number)) => number.into(),
        YamlOwned::Value(ScalarOwned::FloatingPoint(number)) => (*number).into(),
        YamlOwned::Value(ScalarOwned::String(text)) => text.into(),
        YamlOwned::Sequence(items) => items.into_iter().map(lower).collect(),
        YamlOwned::Mapping(members) => {
            let members = members.into_iter().map(|(key, value)| match lower(key) {
                Value::String(key) => (key, lower(value)),
                key => panic!("a key must be a string, found {key}"),
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        YamlOwned::Tagged(tag, inner) => match (tag.suffix.as_str(), lower(*inner)) {
            (name @ ("Ref" | "Condition"), inner) => json!({ name: inner }),
            ("GetAtt", Value::String(path)) => {
                let (resource, attribute) = path.split_once('.').unwrap();
                json!({ "Fn::GetAtt": [resource, attribute] })
            }
            (name, inner) => json!({ format!("Fn::{name}"): inner }),
        },
        other => panic!("unexpected YAML node: {other:?}"),
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
