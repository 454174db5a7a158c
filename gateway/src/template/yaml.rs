//! Parses CloudFormation's YAML to plain JSON. Short tags such as `!Ref` become their long forms.

use saphyr::{LoadableYamlNode, ScalarOwned, Tag, YamlOwned};
use serde_json::{Map, Number, Value, json};

/// The first document of a text, with every `!Tag` as `{"Fn::Tag": …}`.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let documents = YamlOwned::load_from_str(text).map_err(|error| error.to_string())?;
    let document = documents.into_iter().next().ok_or("it is empty")?;
    to_json(document)
}

fn to_json(node: YamlOwned) -> Result<Value, String> {
    match node {
        YamlOwned::Value(scalar) => scalar_value(scalar),
        YamlOwned::Sequence(items) => items.into_iter().map(to_json).collect::<Result<_, _>>().map(Value::Array),
        YamlOwned::Mapping(members) => members
            .into_iter()
            .map(|(key, value)| Ok((key_text(key)?, to_json(value)?)))
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        YamlOwned::Tagged(tag, inner) => long_form(&tag, to_json(*inner)?),
        YamlOwned::Representation(text, ..) => Ok(Value::String(text)),
        YamlOwned::Alias(_) => Err("an alias must come after its anchor".into()),
        YamlOwned::BadValue => Err("a value does not match its tag".into()),
    }
}

fn scalar_value(scalar: ScalarOwned) -> Result<Value, String> {
    Ok(match scalar {
        ScalarOwned::Null => Value::Null,
        ScalarOwned::Boolean(truth) => Value::Bool(truth),
        ScalarOwned::Integer(number) => number.into(),
        ScalarOwned::FloatingPoint(number) => {
            Value::Number(Number::from_f64(*number).ok_or("a number must be finite")?)
        }
        ScalarOwned::String(text) => Value::String(text),
    })
}

fn key_text(key: YamlOwned) -> Result<String, String> {
    match to_json(key)? {
        Value::String(text) => Ok(text),
        key @ (Value::Number(_) | Value::Bool(_)) => Ok(key.to_string()),
        key => Err(format!("a key must be a string, got {key}")),
    }
}

fn long_form(tag: &Tag, inner: Value) -> Result<Value, String> {
    if tag.handle != "!" {
        return Err(format!("the tag {}{} is not a CloudFormation tag", tag.handle, tag.suffix));
    }
    Ok(match (tag.suffix.as_str(), inner) {
        (name @ ("Ref" | "Condition"), inner) => json!({ name: inner }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').ok_or("!GetAtt must be Resource.Attribute")?;
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (name, inner) => json!({ format!("Fn::{name}"): inner }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_become_long_forms() {
        let document = parse("a: !Ref X\nb: !GetAtt F.Arn\nc: !If [C, !Sub 'x${Y}', 1]\nd: {Fn::Sub: z}\n").unwrap();
        let expected = json!({
            "a": { "Ref": "X" },
            "b": { "Fn::GetAtt": ["F", "Arn"] },
            "c": { "Fn::If": ["C", { "Fn::Sub": "x${Y}" }, 1] },
            "d": { "Fn::Sub": "z" },
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn an_error_in_yaml_names_the_line() {
        let error = parse("a: [1\nb: 2").unwrap_err();
        assert!(error.contains("line"), "{error}");
    }
}
