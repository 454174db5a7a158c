//! Reads `AWS::Serverless::Function` resources and their events.

use std::time::Duration;

use serde_json::Value;

use super::definition::{FunctionDefinition, Template, TemplateError};
use super::resolve::{members, scalar_string};
use super::resource::{Resource, Resources};

/// Properties that are served, or that have no effect locally.
const KNOWN_PROPERTIES: [&str; 32] = [
    "Architectures",
    "AssumeRolePolicyDocument",
    "AutoPublishAlias",
    "AutoPublishAliasAllProperties",
    "AutoPublishCodeSha256",
    "CodeSigningConfigArn",
    "CodeUri",
    "DeploymentPreference",
    "Description",
    "Environment",
    "EphemeralStorage",
    "EventInvokeConfig",
    "Events",
    "FunctionName",
    "Handler",
    "KmsKeyArn",
    "Layers",
    "LoggingConfig",
    "MemorySize",
    "PackageType",
    "PermissionsBoundary",
    "Policies",
    "PropagateTags",
    "ProvisionedConcurrencyConfig",
    "ReservedConcurrentExecutions",
    "Role",
    "RolePath",
    "Runtime",
    "Tags",
    "Timeout",
    "Tracing",
    "VpcConfig",
];

/// Lambda's defaults.
const DEFAULT_TIMEOUT_S: u64 = 3;
const DEFAULT_MEMORY_MB: u64 = 128;
const SERVED_EVENTS: [&str; 4] = ["Api", "HttpApi", "Schedule", "ScheduleV2"];

pub(super) fn read(resources: &Resources<'_>, template: &mut Template) -> Result<(), TemplateError> {
    for resource in resources.of_type("AWS::Serverless::Function") {
        template.warnings.extend(resource.unsupported_properties(&KNOWN_PROPERTIES));
        template.warnings.extend(retries(resource)?);
        template.functions.push(FunctionDefinition {
            logical_id: resource.id.clone(),
            name: resource.string("FunctionName")?.unwrap_or_else(|| resource.id.clone()),
            binary: resource.metadata["BuildProperties"]["Binary"].as_str().map(str::to_owned),
            timeout: Duration::from_secs(resource.number("Timeout")?.unwrap_or(DEFAULT_TIMEOUT_S)),
            memory_mb: resource.number("MemorySize")?.unwrap_or(DEFAULT_MEMORY_MB),
            reserved_concurrency: resource
                .number("ReservedConcurrentExecutions")?
                .map(|executions| usize::try_from(executions).unwrap_or(usize::MAX)),
            environment: members(&resource.properties["Environment"]["Variables"])
                .map(|(name, value)| (name.to_owned(), scalar_string(value)))
                .collect(),
        });
        for event in events(resource) {
            if !SERVED_EVENTS.contains(&event.kind) {
                template
                    .warnings
                    .push(format!("{}: events of type {} are not supported locally", event.id, event.kind));
            }
        }
    }
    Ok(())
}

/// The events of a function, each as a resource.
pub(super) fn events<'r>(function: &'r Resource<'_>) -> impl Iterator<Item = Resource<'r>> {
    members(&function.properties["Events"]).map(|(name, event)| {
        let kind = event["Type"].as_str().unwrap_or_default();
        Resource {
            id: format!("{}/{name}", function.id),
            kind,
            properties: event.get("Properties").cloned().unwrap_or(Value::Null),
            metadata: Value::Null,
        }
    })
}

/// A warning if failed asynchronous invocations would be retried on AWS, since the gateway never does that.
fn retries(function: &Resource<'_>) -> Result<Option<String>, TemplateError> {
    let member = "EventInvokeConfig.MaximumRetryAttempts";
    let attempts = function.number(member)?;
    let sentence = "is treated as 0: failed asynchronous invocations are not retried locally";
    Ok(attempts.filter(|attempts| *attempts > 0).map(|_| function.warning(member, sentence)))
}
