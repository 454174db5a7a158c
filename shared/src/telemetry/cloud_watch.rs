//! Metrics as lines of the log, in the embedded metric format from which CloudWatch makes metrics without a call:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//!
//! Written with serde: the crate `metrics_cloudwatch_embedded` has one process-wide recorder with one set of dimensions, and
//! would write a second line for each invocation, which costs as much as the first.

use std::io::Write;
use std::sync::OnceLock;

use serde::Serialize;

use crate::clock::At;
use crate::telemetry::names::Metric;

/// The dimension of metrics of single functions: the member of a line that has the function's name.
const FUNCTION: &str = "function";

/// Where metrics are published; without a value, they are not.
static NAMESPACE: OnceLock<String> = OnceLock::new();

/// Publishes the metrics of this process from now on, in this namespace of CloudWatch.
pub(crate) fn publish_in(namespace: &str) {
    // A process has one configuration, so it is set once.
    let _ = NAMESPACE.set(namespace.to_owned());
}

/// The namespace, if this process publishes metrics.
pub(crate) fn namespace() -> Option<&'static str> {
    NAMESPACE.get().map(String::as_str)
}

/// Which metrics a line has, and of what.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Directive {
    namespace: &'static str,
    /// Sets of dimensions: each costs as much as another metric.
    dimensions: &'static [&'static [&'static str]],
    metrics: Vec<Definition>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Directive {
    /// Metrics of the function that the line names.
    pub(crate) fn of_function<'a>(namespace: &'static str, metrics: impl IntoIterator<Item = &'a Metric>) -> Self {
        Self::new(namespace, &[&[FUNCTION]], metrics)
    }

    /// Metrics of that function, and of all functions together.
    pub(crate) fn of_function_and_all<'a>(
        namespace: &'static str,
        metrics: impl IntoIterator<Item = &'a Metric>,
    ) -> Self {
        Self::new(namespace, &[&[FUNCTION], &[]], metrics)
    }

    /// Metrics of the whole deployment.
    pub(crate) fn of_deployment<'a>(namespace: &'static str, metrics: impl IntoIterator<Item = &'a Metric>) -> Self {
        Self::new(namespace, &[&[]], metrics)
    }

    fn new<'a>(
        namespace: &'static str,
        dimensions: &'static [&'static [&'static str]],
        metrics: impl IntoIterator<Item = &'a Metric>,
    ) -> Self {
        let define = |metric: &'a Metric| {
            let unit = metric.unit.cloud_watch();
            metric.cloud_watch.iter().map(move |&name| Definition { name, unit })
        };
        Self { namespace, dimensions, metrics: metrics.into_iter().flat_map(define).collect() }
    }
}

#[derive(Serialize)]
struct Document<'a, T> {
    #[serde(rename = "_aws")]
    aws: Metadata<'a>,
    level: &'static str,
    target: &'static str,
    #[serde(flatten)]
    members: &'a T,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a [Directive],
}

/// A line of the log with these members, those of which that the directives name are metrics.
pub(crate) fn line(target: &'static str, directives: &[Directive], members: &impl Serialize) -> String {
    let aws = Metadata { timestamp: At::Server.process_ms(), cloud_watch_metrics: directives };
    let document = Document { aws, level: "INFO", target, members };
    let mut line =
        serde_json::to_string(&document).expect("lines consist of strings, numbers and maps with string keys");
    line.push('\n');
    line
}

/// Writes a line to standard output, which is the log. Not by `tracing`, whose lines have their members one level further
/// down, where CloudWatch does not look.
pub(crate) fn write(line: &str) {
    // Nothing can be done about a standard output that is closed.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::names;

    #[test]
    fn a_line_has_the_members_that_the_format_prescribes() {
        let directives = [
            Directive::of_function("Ns", [&names::RECORD_WAIT, &names::PUSH_WAIT]),
            Directive::of_function_and_all("Ns", [&names::SERVER_ERRORS]),
            Directive::of_deployment("Ns", [&names::DELIVER]),
        ];
        let line = line("invocation", &directives, &json!({"function": "send", "recordMs": 1.5, "pushMs": 0}));
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let mut line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["_aws"]["Timestamp"].take().as_i64().is_some_and(|ms| ms > 1_700_000_000_000));
        let expected = json!({
            "_aws": {
                "Timestamp": null,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Ns",
                        "Dimensions": [["function"]],
                        "Metrics": [
                            {"Name": "recordMs", "Unit": "Milliseconds"},
                            {"Name": "pushMs", "Unit": "Milliseconds"},
                        ],
                    },
                    {
                        "Namespace": "Ns",
                        "Dimensions": [["function"], []],
                        "Metrics": [{"Name": "serverErrors", "Unit": "None"}],
                    },
                    {
                        "Namespace": "Ns",
                        "Dimensions": [[]],
                        "Metrics": [
                            {"Name": "deliverP50Ms", "Unit": "Milliseconds"},
                            {"Name": "deliverP99Ms", "Unit": "Milliseconds"},
                        ],
                    },
                ],
            },
            "level": "INFO",
            "target": "invocation",
            "function": "send",
            "recordMs": 1.5,
            "pushMs": 0,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn without_a_namespace_nothing_is_published() {
        assert_eq!(namespace(), None);
    }
}
