//! YAML as JSON values: short tags of CloudFormation such as `!Ref` become their long forms.

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Map, Value, json};

/// The first document of a text.
pub fn parse(text: &str) -> Value {
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
