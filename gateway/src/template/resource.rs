//! Resources with resolved properties. Reading a property of the wrong type names the resource and the member.

use serde_json::{Map, Value};

use super::definition::{Template, TemplateError};
use super::resolve::{Resolver, members, scalar_string};

/// Types that the gateway reads, or that it may ignore without a warning.
const SERVED: [&str; 12] = [
    "AWS::Serverless::Api",
    "AWS::Serverless::Function",
    "AWS::Serverless::HttpApi",
    "AWS::Serverless::WebSocketApi",
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::RouteResponse",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::IntegrationResponse",
    "AWS::ApiGatewayV2::Stage",
    "AWS::ApiGatewayV2::Deployment",
    "AWS::Serverless::LayerVersion",
];

/// Prefixes of types that answer requests or fire events on AWS.
const ACTIVE: [&str; 7] = [
    "AWS::Serverless::",
    "AWS::ApiGateway::",
    "AWS::ApiGatewayV2::",
    "AWS::Events::Rule",
    "AWS::Scheduler::Schedule",
    "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping",
];

/// A resource, or an event of a function, with resolved properties.
pub(super) struct Resource<'a> {
    /// The logical id; `Function/Event` for an event.
    pub(super) id: String,
    pub(super) kind: &'a str,
    /// The properties, an object.
    pub(super) properties: Value,
    /// The metadata, or null.
    pub(super) metadata: Value,
}

/// The resources of a template, except those whose condition is false.
pub(super) struct Resources<'a> {
    all: Vec<Resource<'a>>,
    globals: Value,
}

impl<'a> Resources<'a> {
    pub(super) fn read(document: &'a Value) -> Result<Self, TemplateError> {
        let Some(resources) = document.get("Resources").and_then(Value::as_object) else {
            return Err(TemplateError::NotYaml("it must have a Resources mapping".into()));
        };
        let resolver = Resolver::new(document);
        let globals = resolver.resolve(&document["Globals"]).unwrap_or_default();
        let exists = |resource: &Value| {
            resource["Condition"].as_str().and_then(|condition| resolver.condition(condition)).unwrap_or(true)
        };
        let read = |(id, resource): (&String, &'a Value)| {
            let kind = resource["Type"].as_str().unwrap_or_default();
            let own = resolver.resolve(&resource["Properties"]).unwrap_or_default();
            let global = kind.strip_prefix("AWS::Serverless::").map_or(&Value::Null, |section| &globals[section]);
            let metadata = resolver.resolve(&resource["Metadata"]).unwrap_or_default();
            Resource { id: id.clone(), kind, properties: merge(global, own), metadata }
        };
        let all = resources.iter().filter(|(_, resource)| exists(resource)).map(read).collect();
        Ok(Self { all, globals })
    }

    /// The resources of a type, in the order of the template.
    pub(super) fn of_type(&self, kind: &str) -> impl Iterator<Item = &Resource<'a>> {
        self.all.iter().filter(move |resource| resource.kind == kind)
    }

    /// A section of `Globals`; null if there is none.
    pub(super) fn global(&self, section: &str) -> &Value {
        &self.globals[section]
    }

    /// Warnings about resources that would be active on AWS and are not served here.
    pub(super) fn unsupported_resources(&self) -> Vec<String> {
        let is_unsupported = |resource: &&Resource<'_>| {
            ACTIVE.iter().any(|family| resource.kind.starts_with(family)) && !SERVED.contains(&resource.kind)
        };
        let warning = |resource: &Resource<'_>| format!("{}: {} is not supported locally", resource.id, resource.kind);
        self.all.iter().filter(is_unsupported).map(warning).collect()
    }
}

impl<'a> Resource<'a> {
    /// An error about a member of this resource.
    pub(super) fn invalid(&self, member: &str, problem: impl Into<String>) -> TemplateError {
        TemplateError::Invalid { resource: self.id.clone(), member: member.into(), problem: problem.into() }
    }

    /// The member at a path such as `Auth.AuthType`; `None` if it is absent or null.
    pub(super) fn member(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(&self.properties, |value, name| value.get(name));
        found.filter(|value| !value.is_null())
    }

    /// A string. Numbers and booleans are converted, as by CloudFormation.
    pub(super) fn string(&self, path: &str) -> Result<Option<String>, TemplateError> {
        self.read(path, "a string", scalar_string)
    }

    /// A string that must be present.
    pub(super) fn required_string(&self, path: &str) -> Result<String, TemplateError> {
        self.string(path)?.ok_or_else(|| self.invalid(path, "is required"))
    }

    /// A whole number, not negative.
    pub(super) fn number(&self, path: &str) -> Result<Option<u64>, TemplateError> {
        self.read(path, "a whole number", |value| scalar_string(value)?.parse().ok())
    }

    /// A boolean, in the spellings of YAML 1.1, which CloudFormation accepts.
    pub(super) fn boolean(&self, path: &str) -> Result<Option<bool>, TemplateError> {
        self.read(path, "true or false", |value| match scalar_string(value)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A list of strings. Empty if it is absent; a single string counts as a list of one.
    pub(super) fn strings(&self, path: &str) -> Result<Vec<String>, TemplateError> {
        let read = |value: &Value| match value {
            Value::Array(items) => items.iter().map(scalar_string).collect(),
            single => scalar_string(single).map(|text| vec![text]),
        };
        Ok(self.read(path, "a list of strings", read)?.unwrap_or_default())
    }

    /// A mapping of names to strings; empty if it is absent.
    pub(super) fn string_map<M: FromIterator<(String, String)>>(&self, path: &str) -> Result<M, TemplateError> {
        let pairs = self.member(path).into_iter().flat_map(members);
        let read = |(name, value): (&str, &Value)| match scalar_string(value) {
            Some(text) => Ok((name.to_owned(), text)),
            None => Err(self.unexpected(&format!("{path}.{name}"), "a string", value)),
        };
        pairs.map(read).collect()
    }

    /// Warnings about properties that are not among the known ones.
    pub(super) fn unsupported_properties(&self, known: &[&str]) -> Vec<String> {
        let unknown = members(&self.properties).filter(|(name, _)| !known.contains(name));
        unknown.map(|(name, _)| self.warning(name, "is not supported locally")).collect()
    }

    /// A warning about a member of this resource.
    pub(super) fn warning(&self, member: &str, sentence: &str) -> String {
        format!("{}: {member} {sentence}", self.id)
    }

    /// The name of the function that an ARN, an integration URI or a `Ref` refers to.
    pub(super) fn function_name(
        &self,
        template: &Template,
        member: &str,
        reference: &str,
    ) -> Result<String, TemplateError> {
        match template.function(function_in(reference)) {
            Some(function) => Ok(function.name.clone()),
            None => Err(self.invalid(member, format!("must refer to a function of this template, got {reference}"))),
        }
    }

    fn read<T>(&self, path: &str, what: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, TemplateError> {
        let Some(value) = self.member(path) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| self.unexpected(path, what, value))
    }

    fn unexpected(&self, path: &str, what: &str, value: &Value) -> TemplateError {
        let unresolved =
            if value.is_object() { ", which is known only after a deployment or has no default" } else { "" };
        self.invalid(path, format!("must be {what}, got {value}{unresolved}"))
    }
}

/// The name of the function in an ARN or an integration URI, or in its name with an alias.
pub(crate) fn function_in(reference: &str) -> &str {
    let after_kind = reference.rsplit_once(":function:").map_or(reference, |(_, name)| name);
    after_kind.split([':', '/']).next().unwrap_or(after_kind)
}

/// Merges `Globals` into a resource's properties as SAM does: mappings by member, lists concatenated, anything else
/// replaced.
pub(super) fn merge(global: &Value, own: Value) -> Value {
    match (global, own) {
        (Value::Object(global), Value::Object(own)) => {
            let mut all: Map<String, Value> = global.clone();
            for (name, value) in own {
                let value = merge(all.get(&name).unwrap_or(&Value::Null), value);
                all.insert(name, value);
            }
            Value::Object(all)
        }
        (Value::Array(global), Value::Array(own)) => global.iter().cloned().chain(own).collect(),
        (global @ Value::Object(_), Value::Null) => global.clone(),
        (_, own) => own,
    }
}
