//! Resolves intrinsic functions and conditions, with the values of parameters and local pseudo parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The account id in local ARNs and events.
pub(crate) const ACCOUNT_ID: &str = "123456789012";
/// The region in local ARNs and events.
pub(crate) const REGION: &str = "us-east-1";

/// How deep conditions may refer to each other. Anything deeper is treated as circular, and so as unknown.
const MAX_CONDITION_DEPTH: usize = 32;

/// Resolves what is known before a deployment and leaves the rest unresolved.
///
/// An unresolved value, such as `{"Fn::GetAtt": ["Database", "Endpoint"]}`, is an error only when it is read:
/// most of them belong to resources that the gateway does not serve.
pub(super) struct Resolver<'a> {
    parameters: BTreeMap<&'a str, Value>,
    document: &'a Value,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        let parameters = members(&document["Parameters"]).filter_map(|(name, parameter)| {
            let default = parameter.get("Default")?;
            let is_list = parameter["Type"].as_str().is_some_and(|kind| kind.contains("List"));
            Some((name, if is_list { split_list(default) } else { default.clone() }))
        });
        Self { parameters: parameters.collect(), document }
    }

    /// The value with everything resolved that is known; `None` for `AWS::NoValue`.
    pub(super) fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.resolve(item)).collect()),
            Value::Object(object) => {
                match single_member(object).and_then(|(name, argument)| self.intrinsic(name, argument)) {
                    Some(Resolved::Value(value)) => Some(value),
                    Some(Resolved::NoValue) => None,
                    None => Some(self.resolve_members(object)),
                }
            }
            scalar => Some(scalar.clone()),
        }
    }

    /// The value of a condition; `None` if it is undefined or depends on an unknown value.
    pub(super) fn condition(&self, name: &str) -> Option<bool> {
        self.condition_within(name, MAX_CONDITION_DEPTH)
    }

    fn resolve_members(&self, object: &Map<String, Value>) -> Value {
        let resolved = object.iter().filter_map(|(name, value)| Some((name.clone(), self.resolve(value)?)));
        Value::Object(resolved.collect())
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Option<Resolved> {
        let value = match name {
            "Ref" => return self.reference(argument.as_str()?),
            "Fn::If" => return self.conditional(argument),
            "Fn::GetAtt" => self.attribute(argument)?,
            "Fn::Sub" => Value::String(self.substitute(argument)?),
            "Fn::Join" => {
                let (separator, parts) = (argument.get(0)?.as_str()?, self.resolve(argument.get(1)?)?);
                let parts: Option<Vec<String>> = parts.as_array()?.iter().map(scalar_string).collect();
                Value::String(parts?.join(separator))
            }
            "Fn::Split" => {
                let (separator, whole) = (argument.get(0)?.as_str()?, self.resolve(argument.get(1)?)?);
                whole.as_str()?.split(separator).map(Value::from).collect()
            }
            "Fn::Select" => {
                let (index, list) = (scalar_string(argument.get(0)?)?, self.resolve(argument.get(1)?)?);
                list.get(index.parse::<usize>().ok()?)?.clone()
            }
            "Fn::FindInMap" => {
                let keys: Vec<String> = self.resolve(argument)?.as_array()?.iter().filter_map(scalar_string).collect();
                let [map, first, second] = keys.as_slice() else {
                    return None;
                };
                self.document["Mappings"].get(map)?.get(first)?.get(second)?.clone()
            }
            _ => return None,
        };
        Some(Resolved::Value(value))
    }

    fn reference(&self, name: &str) -> Option<Resolved> {
        let value = match name {
            "AWS::NoValue" => return Some(Resolved::NoValue),
            "AWS::AccountId" => ACCOUNT_ID.into(),
            "AWS::Region" => REGION.into(),
            "AWS::Partition" => "aws".into(),
            "AWS::URLSuffix" => "amazonaws.com".into(),
            "AWS::StackName" => "local".into(),
            "AWS::StackId" => format!("arn:aws:cloudformation:{REGION}:{ACCOUNT_ID}:stack/local/local").into(),
            _ => match self.parameters.get(name) {
                Some(default) => default.clone(),
                None => match name.strip_suffix(".Alias") {
                    // SAM generates the alias. Locally a function has no versions.
                    Some(function) => self.attribute(&json!([function, "Arn"]))?,
                    // Without a deployment, a reference to a resource is its logical id.
                    None => self.document["Resources"].get(name).map(|_| name.into())?,
                },
            },
        };
        Some(Resolved::Value(value))
    }

    fn attribute(&self, argument: &Value) -> Option<Value> {
        let (resource, attribute) = match argument {
            Value::String(path) => path.split_once('.')?,
            _ => (argument.get(0)?.as_str()?, argument.get(1)?.as_str()?),
        };
        let kind = self.document["Resources"].get(resource)?["Type"].as_str()?;
        let is_function = kind == "AWS::Serverless::Function" || kind == "AWS::Lambda::Function";
        (is_function && attribute == "Arn")
            .then(|| format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{resource}").into())
    }

    fn conditional(&self, argument: &Value) -> Option<Resolved> {
        let chosen = if self.condition(argument.get(0)?.as_str()?)? { 1 } else { 2 };
        Some(self.resolve(argument.get(chosen)?).map_or(Resolved::NoValue, Resolved::Value))
    }

    /// `Fn::Sub`: replaces `${Name}` and `${Resource.Attribute}`; `${!Literal}` becomes `${Literal}`.
    fn substitute(&self, argument: &Value) -> Option<String> {
        let (pattern, own) = match argument {
            Value::String(pattern) => (pattern.as_str(), Value::Null),
            _ => (argument.get(0)?.as_str()?, self.resolve(argument.get(1)?)?),
        };
        let mut result = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            let (name, remainder) = after.split_once('}')?;
            match name.strip_prefix('!') {
                Some(literal) => result.push_str(&format!("${{{literal}}}")),
                None => result.push_str(&self.variable(name.trim(), &own)?),
            }
            rest = remainder;
        }
        result.push_str(rest);
        Some(result)
    }

    fn variable(&self, name: &str, own: &Value) -> Option<String> {
        if let Some(value) = own.get(name) {
            return scalar_string(value);
        }
        if name.contains('.') {
            return scalar_string(&self.attribute(&json!(name))?);
        }
        match self.reference(name)? {
            Resolved::Value(value) => scalar_string(&value),
            Resolved::NoValue => None,
        }
    }

    fn condition_within(&self, name: &str, depth: usize) -> Option<bool> {
        self.evaluate(self.document["Conditions"].get(name)?, depth.checked_sub(1)?)
    }

    fn evaluate(&self, expression: &Value, depth: usize) -> Option<bool> {
        let (name, argument) = single_member(expression.as_object()?)?;
        let each = || argument.as_array().map(|parts| parts.iter().map(|part| self.evaluate(part, depth)));
        match name {
            "Condition" => self.condition_within(argument.as_str()?, depth),
            "Fn::Not" => self.evaluate(argument.get(0)?, depth).map(|truth| !truth),
            "Fn::And" => each()?.collect::<Option<Vec<_>>>().map(|all| all.into_iter().all(|truth| truth)),
            "Fn::Or" => each()?.collect::<Option<Vec<_>>>().map(|all| all.into_iter().any(|truth| truth)),
            "Fn::Equals" => {
                let (left, right) = (self.resolve(argument.get(0)?)?, self.resolve(argument.get(1)?)?);
                // CloudFormation compares strings: the number 1 equals "1".
                Some(scalar_string(&left)? == scalar_string(&right)?)
            }
            _ => None,
        }
    }
}

enum Resolved {
    Value(Value),
    NoValue,
}

/// A scalar as the string that CloudFormation makes of it; `None` for any other value.
pub(super) fn scalar_string(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The members of an object; empty for any other value.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn single_member(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = object.iter();
    let (name, value) = members.next()?;
    members.next().is_none().then_some((name.as_str(), value))
}

fn split_list(default: &Value) -> Value {
    match default {
        Value::String(text) => text.split(',').map(|item| Value::from(item.trim())).collect(),
        list => list.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "Parameters": {
                "Stage": { "Type": "String", "Default": "live" },
                "Origins": { "Type": "CommaDelimitedList", "Default": "https://a.example, https://b.example" },
                "Given": { "Type": "String" },
            },
            "Mappings": { "Sizes": { "live": { "Memory": 256 } } },
            "Conditions": {
                "IsLive": { "Fn::Equals": [{ "Ref": "Stage" }, "live"] },
                "IsNotLive": { "Fn::Not": [{ "Condition": "IsLive" }] },
                "Both": { "Fn::And": [{ "Condition": "IsLive" }, { "Condition": "IsNotLive" }] },
                "Either": { "Fn::Or": [{ "Condition": "IsLive" }, { "Condition": "IsNotLive" }] },
                "Circle": { "Fn::Not": [{ "Condition": "Circle" }] },
                "Open": { "Fn::Equals": [{ "Ref": "Given" }, "x"] },
            },
            "Resources": { "Send": { "Type": "AWS::Serverless::Function" }, "Database": { "Type": "AWS::RDS::DBCluster" } },
        })
    }

    #[track_caller]
    fn resolves(value: Value, expected: Value) {
        let document = document();
        assert_eq!(Resolver::new(&document).resolve(&value), Some(expected), "{value}");
    }

    #[test]
    fn references_resolve_to_defaults_pseudo_parameters_and_logical_ids() {
        resolves(json!({ "Ref": "Stage" }), json!("live"));
        resolves(json!({ "Ref": "Origins" }), json!(["https://a.example", "https://b.example"]));
        resolves(json!({ "Ref": "AWS::Region" }), json!("us-east-1"));
        resolves(json!({ "Ref": "Send" }), json!("Send"));
        for function in [json!({ "Fn::GetAtt": ["Send", "Arn"] }), json!({ "Ref": "Send.Alias" })] {
            resolves(function, json!("arn:aws:lambda:us-east-1:123456789012:function:Send"));
        }
    }

    #[test]
    fn strings_are_built_from_parts() {
        resolves(
            json!({ "Fn::Sub": "https://${AWS::URLSuffix}/${Stage}/${!Stage}" }),
            json!("https://amazonaws.com/live/${Stage}"),
        );
        resolves(
            json!({ "Fn::Sub": ["${own}-${Send.Arn}", { "own": { "Ref": "Stage" } }] }),
            json!("live-arn:aws:lambda:us-east-1:123456789012:function:Send"),
        );
        resolves(json!({ "Fn::Join": ["-", ["a", { "Ref": "Stage" }]] }), json!("a-live"));
        resolves(json!({ "Fn::Select": [1, { "Fn::Split": ["/", "a/b"] }] }), json!("b"));
        resolves(json!({ "Fn::FindInMap": ["Sizes", { "Ref": "Stage" }, "Memory"] }), json!(256));
    }

    #[test]
    fn conditions_select_values_and_no_value_removes_members() {
        resolves(
            json!({ "a": { "Fn::If": ["IsLive", 1, 2] }, "b": { "Fn::If": ["IsNotLive", 1, { "Ref": "AWS::NoValue" }] } }),
            json!({ "a": 1 }),
        );
        let document = document();
        let resolver = Resolver::new(&document);
        let truths = ["Both", "Either", "Circle", "Open", "Missing"].map(|name| resolver.condition(name));
        assert_eq!(truths, [Some(false), Some(true), None, None, None]);
    }

    #[test]
    fn values_known_only_after_a_deployment_stay_unresolved() {
        for value in [
            json!({ "Ref": "Given" }),
            json!({ "Fn::GetAtt": ["Database", "Endpoint"] }),
            json!({ "Fn::Sub": "x${Given}" }),
        ] {
            resolves(value.clone(), value);
        }
    }
}
