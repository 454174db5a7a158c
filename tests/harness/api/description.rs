//! The operations of docs/openapi.json, and which of them a call is.

use serde_json::Value;

use super::schemas::{OPENAPI, members, resolved};

/// What the description says of a method and a path.
pub(super) enum Described {
    /// It has an operation.
    As(Operation),
    /// The path has other methods only.
    OtherMethods,
    /// There is no such path.
    Nowhere,
}

/// What may be asked and answered with one method on one path.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    template: &'static str,
    members: &'static Value,
}

impl Described {
    /// What is said of a call. Of two paths that fit, the one with fewer parameters counts, as in API Gateway.
    pub(super) fn of(method: &str, path: &str) -> Self {
        let fitting = members(&OPENAPI["paths"]).filter(|(template, _)| fits(template, path));
        let Some((template, item)) = fitting.min_by_key(|(template, _)| template.matches('{').count()) else {
            return Self::Nowhere;
        };
        match item.get(method.to_ascii_lowercase()) {
            Some(members) => Self::As(Operation { template, members }),
            None => Self::OtherMethods,
        }
    }
}

impl Operation {
    /// Its `operationId`.
    pub(super) fn id(self) -> &'static str {
        self.members["operationId"].as_str().unwrap()
    }

    /// The response with this status, or else the one for all others.
    pub(super) fn response(self, status: u16) -> Option<&'static Value> {
        let responses = &self.members["responses"];
        responses.get(status.to_string()).or_else(|| responses.get("default")).map(resolved)
    }

    /// The parameters, wherever they are.
    pub(super) fn parameters(self) -> impl Iterator<Item = &'static Value> {
        self.members["parameters"].as_array().into_iter().flatten().map(resolved)
    }

    /// The value of a parameter in the path.
    pub(super) fn step<'p>(self, path: &'p str, parameter: &str) -> Option<&'p str> {
        let mut steps = self.template.split('/').zip(path.split('/'));
        steps
            .find(|(own, _)| own.strip_prefix('{').and_then(|own| own.strip_suffix('}')) == Some(parameter))
            .map(|(_, step)| step)
    }

    /// What may be in the body of a request; `None` if it has none.
    pub(super) fn body(self) -> Option<&'static Value> {
        self.members.get("requestBody").map(resolved)
    }

    /// Whether a ticket in the query stands for a token.
    pub(super) fn takes_tickets(self) -> bool {
        let schemes = self.members["security"].as_array();
        schemes.is_some_and(|schemes| schemes.iter().any(|scheme| scheme.get("ticket").is_some()))
    }
}

/// Whether a path has the steps of a template, in which a parameter is any one step.
fn fits(template: &str, path: &str) -> bool {
    let mut steps = path.split('/');
    let is_step = |own: &str, step: &str| own == step || (own.starts_with('{') && !step.is_empty());
    template.split('/').all(|own| steps.next().is_some_and(|step| is_step(own, step))) && steps.next().is_none()
}
