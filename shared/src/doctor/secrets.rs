//! Whether the secrets that variables name can be used.

use super::finding::Finding;
use crate::secrets::{Refusal, Resolved, Unusable};

/// The findings about secrets: one for each variable whose value cannot be had, and one for all others.
pub fn of_resolved(resolved: &Resolved) -> Vec<Finding> {
    let mut found: Vec<Finding> = resolved.unusable.iter().map(of_unusable).collect();
    let names = resolved.secrets();
    if !names.is_empty() {
        found.push(Finding::ok("secrets", format!("Secrets Manager has what variables name: {}", names.join(", "))));
    }
    found
}

fn of_unusable(unusable: &Unusable) -> Finding {
    let text = unusable.to_string();
    let what = text.split_once(' ').map_or(text.as_str(), |(_, what)| what);
    Finding::problem(unusable.variable, what, remedy(&unusable.refusal))
}

fn remedy(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => {
            "write the whole ARN, as `aws secretsmanager describe-secret` prints it, or the value itself"
        }
        Refusal::NoCredentials => "set them, as `aws configure export-credentials --format env` prints them",
        Refusal::Absent => {
            "correct the ARN, or create the secret: `aws secretsmanager list-secrets` lists all of a region"
        }
        Refusal::Forbidden => {
            "allow this role secretsmanager:GetSecretValue on the ARN, as template.yaml does, and kms:Decrypt if the secret \
             has a key of its own"
        }
        Refusal::Unreadable(_) => {
            "a function in a VPC needs a route to Secrets Manager: a NAT gateway, or SecretsEndpoint of deploy/data.yaml"
        }
        Refusal::Binary | Refusal::Empty | Refusal::NotText(_) => {
            "give it a text: `aws secretsmanager put-secret-value --secret-string`"
        }
        Refusal::NotJson(_) | Refusal::NoMember(_) => {
            "name a member that it has after the #, or none if the whole text is the value"
        }
    }
}
