//! The list of metrics, the documents, the alarms and the dashboard agree on the names of metrics.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::telemetry::names::{ALL, Metric, Unit};

use crate::template::{self, members, of_type};
use crate::tree;

/// How templates refer to the namespace of Carillon's metrics, in a reference and in a text.
const NAMESPACE: &str = "MetricsNamespace";
const NAMESPACE_IN_TEXT: &str = "${MetricsNamespace}";

/// Every alarm of the templates, by its id as it is written. Those that `Fn::ForEach` makes have a variable in it.
const ALARMS: [&str; 16] = [
    "DatabaseAway",
    "DatabaseConnections",
    "DeadLetters",
    "Degraded",
    "DrainFailures",
    "DrainMissing",
    "Errors&{Function}",
    "FunctionErrors",
    "HttpErrors",
    "Memory&{Node}",
    "OldestDue",
    "PersistLag",
    "RedisMemory",
    "RedisWarnings",
    "ServerErrors",
    "Throttles&{Called}",
];

/// The row of a metric in the table of the documents.
fn row(metric: &Metric) -> String {
    let cell = |text: String| if text.is_empty() { " ".to_owned() } else { format!(" {text} ") };
    let open = metric.open_metrics.map(|name| format!("`{name}`")).unwrap_or_default();
    let cloud: Vec<String> = metric.cloud_watch.iter().map(|name| format!("`{name}`")).collect();
    format!("|{}|{}| {} | {} |", cell(open), cell(cloud.join(", ")), metric.unit.name(), metric.meaning)
}

/// The rows of the table under "All metrics".
fn documented(document: &str) -> Vec<&str> {
    let (_, section) = document.split_once("### All metrics\n").expect("the document has the section");
    let section = section.split("\n#").next().unwrap_or_default();
    section.lines().filter(|line| line.starts_with('|')).skip(2).collect()
}

/// The alarms of a template, by their ids as they are written, also those that `Fn::ForEach` makes.
fn alarms_in(template: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let resources = &template["Resources"];
    let loops = members(resources).filter(|(id, _)| id.starts_with("Fn::ForEach::"));
    // A loop has a variable, its values, and what is made for each of them.
    let made = loops.flat_map(|(_, repeated)| members(&repeated[2]));
    members(resources).chain(made).filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm")
}

/// Carillon's metrics that the alarms of a template watch.
fn watched(template: &Value) -> BTreeSet<String> {
    let is_own = |metric: &Value| metric["Namespace"]["Ref"] == NAMESPACE;
    let mut names = BTreeSet::new();
    for (_, alarm) in alarms_in(template) {
        let properties = &alarm["Properties"];
        let of_expressions =
            properties["Metrics"].as_array().into_iter().flatten().map(|one| &one["MetricStat"]["Metric"]);
        let own = std::iter::once(properties).chain(of_expressions).filter(|metric| is_own(metric));
        names.extend(own.filter_map(|metric| metric["MetricName"].as_str()).map(str::to_owned));
    }
    names
}

/// Carillon's metrics that the widgets of a dashboard show.
fn shown(template: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (id, dashboard) in of_type(template, "AWS::CloudWatch::Dashboard") {
        let body = dashboard["Properties"]["DashboardBody"]["Fn::Sub"].as_str().expect("the body is a text");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{id}: {error}"));
        let widgets = body["widgets"].as_array().into_iter().flatten();
        for metric in widgets.filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten() {
            if metric[0] == NAMESPACE_IN_TEXT {
                names.extend(metric[1].as_str().map(str::to_owned));
            } else if let Some(search) = metric[0]["expression"].as_str() {
                let (_, name) = search.split_once("MetricName=\"").unwrap_or_else(|| panic!("{id}: {search}"));
                names.extend(name.split('"').next().map(str::to_owned));
            }
        }
    }
    names
}

fn in_cloud_watch() -> BTreeSet<String> {
    ALL.iter().flat_map(|metric| metric.cloud_watch).map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_documents_have_the_list() {
    let document = tree::read("docs/operating.md");
    assert_eq!(documented(&document), ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_dashboard_shows_every_metric_in_cloud_watch() {
    assert_eq!(shown(&template::parse(&tree::read("deploy/dashboard.yaml"))), in_cloud_watch());
}

#[test]
fn alarms_watch_metrics_that_exist() {
    let watched = watched(&template::parse(&tree::read("deploy/alarms.yaml")));
    let unknown: Vec<_> = watched.difference(&in_cloud_watch()).cloned().collect();
    assert_eq!(unknown, [""; 0]);
    let required = [
        "databaseHealthy",
        "degraded",
        "persistLagMs",
        "queueDeadLetters",
        "queueOldestMs",
        "redisMemoryPercent",
        "redisWarnings",
        "serverErrors",
    ];
    assert_eq!(watched, required.map(str::to_owned).into());
}

#[test]
fn no_alarm_is_missing() {
    let stacks = tree::texts_under("deploy").into_iter().filter(|text| text.path.ends_with(".yaml"));
    let texts = stacks.map(|stack| stack.text).chain(["template.yaml", "migrate.yaml"].map(tree::read));
    let mut found = Vec::new();
    for text in texts {
        let template = template::parse(&text);
        found.extend(alarms_in(&template).map(|(id, _)| id.to_owned()));
    }
    found.sort_unstable();
    assert_eq!(found, ALARMS);
}

#[test]
fn a_drain_that_does_not_start_alarms_after_three_minutes() {
    let template = template::parse(&tree::read("deploy/alarms.yaml"));
    let alarm = &template["Resources"]["DrainMissing"]["Properties"];
    for (name, expected) in [
        ("MetricName", json!("Invocations")),
        ("Statistic", json!("Sum")),
        ("ComparisonOperator", json!("LessThanThreshold")),
        ("Threshold", json!(1)),
        ("Period", json!(60)),
        ("EvaluationPeriods", json!(3)),
        // AWS publishes no metric of a function that is not invoked.
        ("TreatMissingData", json!("breaching")),
    ] {
        assert_eq!(alarm[name], expected, "{name}");
    }
}

#[test]
fn every_alarm_and_widget_in_the_documents_and_templates_is_found() {
    let alarms = template::parse(
        "Resources:\n  A: { Type: 'AWS::CloudWatch::Alarm', Properties: { Namespace: !Ref MetricsNamespace, MetricName: a } }\n  \
         B: { Type: 'AWS::CloudWatch::Alarm', Properties: { Namespace: AWS/Lambda, MetricName: b } }\n  \
         C: { Type: 'AWS::CloudWatch::Alarm', Properties: { Metrics: [{ MetricStat: { Metric: \
         { Namespace: !Ref MetricsNamespace, MetricName: c } } }] } }\n",
    );
    assert_eq!(watched(&alarms), ["a", "c"].map(str::to_owned).into());
    let repeated = template::parse(
        "Resources:\n  Fn::ForEach::Each: [Node, !Ref Nodes, { 'E&{Node}': { Type: 'AWS::CloudWatch::Alarm' } }]\n  \
         F: { Type: 'AWS::SNS::Topic' }\n",
    );
    assert_eq!(alarms_in(&repeated).map(|(id, _)| id).collect::<Vec<_>>(), ["E&{Node}"]);
    let dashboard = template::parse(
        "Resources:\n  D:\n    Type: AWS::CloudWatch::Dashboard\n    Properties:\n      DashboardBody: !Sub |\n        \
         {\"widgets\": [{\"properties\": {\"metrics\": [[\"${MetricsNamespace}\", \"a\"], [\"AWS/Lambda\", \"b\"], \
         [{\"expression\": \"SEARCH('{\\\"${MetricsNamespace}\\\",function} MetricName=\\\"c\\\"', 'Average', 60)\"}]]}}]}\n",
    );
    assert_eq!(shown(&dashboard), ["a", "c"].map(str::to_owned).into());
    assert_eq!(documented("### All metrics\n\n| a |\n| - |\n| b |\n\n## Next\n| c |\n"), ["| b |"]);
    let metric = Metric { open_metrics: None, cloud_watch: &["aMs", "bMs"], unit: Unit::Time, meaning: "It" };
    assert_eq!(row(&metric), "| | `aMs`, `bMs` | time | It |");
}

#[test]
fn every_alarm_is_in_the_documents() {
    let document = tree::read("docs/deploying.md");
    let template = template::parse(&tree::read("deploy/alarms.yaml"));
    for (id, _) in alarms_in(&template) {
        // The row `Errors…` is for all that a loop makes.
        let name = id.split_once('&').map_or_else(|| id.to_owned(), |(begin, _)| format!("{begin}…"));
        assert!(document.contains(&format!("\n| `{name}` |")), "{id} is not in docs/deploying.md");
    }
}
