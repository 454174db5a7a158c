//! Reads events of type `Schedule` and `ScheduleV2`.

use super::definition::{Schedule, ScheduleKind, Template, TemplateError};
use super::functions::events;
use super::resource::{Resource, Resources};
use crate::schedule_expression::ScheduleExpression;

/// Properties that are served, or that do not affect when and with which event a function is called.
const KNOWN_PROPERTIES: [&str; 17] = [
    "DeadLetterConfig",
    "Description",
    "Enabled",
    "FlexibleTimeWindow",
    "GroupName",
    "Input",
    "KmsKeyArn",
    "Name",
    "OmitName",
    "PermissionsBoundary",
    "RetryPolicy",
    "RoleArn",
    "Schedule",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "State",
    "Tags",
];

pub(super) fn read(resources: &Resources<'_>, template: &mut Template) -> Result<(), TemplateError> {
    for function in resources.of_type("AWS::Serverless::Function") {
        for event in events(function) {
            let (kind, member) = match event.kind {
                "Schedule" => (ScheduleKind::Rule, "Schedule"),
                "ScheduleV2" => (ScheduleKind::Scheduler, "ScheduleExpression"),
                _ => continue,
            };
            template.warnings.extend(event.unsupported_properties(&KNOWN_PROPERTIES));
            let expression = event.required_string(member)?;
            if expression.trim_start().starts_with("at(") {
                template.warnings.push(event.warning(member, "is supported locally only for rate(…) and cron(…)"));
                continue;
            }
            if event.string("ScheduleExpressionTimezone")?.is_some_and(|zone| zone != "UTC" && zone != "Etc/UTC") {
                template.warnings.push(event.warning("ScheduleExpressionTimezone", "is treated as UTC locally"));
            }
            let expression =
                ScheduleExpression::parse(&expression).map_err(|problem| event.invalid(member, problem))?;
            let schedule = Schedule {
                name: event.string("Name")?.unwrap_or_else(|| event.id.replace('/', "")),
                expression,
                function: event.function_name(template, "Type", &function.id)?,
                input: input(&event)?,
                enabled: enabled(&event)?,
                kind,
            };
            if template.schedules.iter().any(|other| other.name == schedule.name) {
                return Err(event.invalid("Name", format!("must be unique, and {} is already in use", schedule.name)));
            }
            template.schedules.push(schedule);
        }
    }
    Ok(())
}

fn input(event: &Resource<'_>) -> Result<Option<String>, TemplateError> {
    let input = event.string("Input")?;
    if let Some(Err(error)) = input.as_deref().map(serde_json::from_str::<serde::de::IgnoredAny>) {
        return Err(event.invalid("Input", format!("must be JSON: {error}")));
    }
    Ok(input)
}

fn enabled(event: &Resource<'_>) -> Result<bool, TemplateError> {
    let is_on = event.boolean("Enabled")?.unwrap_or(true);
    let is_disabled = event.string("State")?.is_some_and(|state| state == "DISABLED");
    Ok(is_on && !is_disabled)
}
