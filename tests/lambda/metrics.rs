//! The lines of the log from which CloudWatch makes metrics.

use harness::binaries::{self, Profile};
use harness::event;
use harness::sandbox::{Sandbox, Variables};
use serde_json::{Value, json};

use crate::environment::{servers, with};

/// The lines that a function writes about an invocation with this target, after another one that warms it up.
async fn lines(function: &str, variables: &Variables, event: &Value, target: &str) -> Vec<Value> {
    let mut sandbox = Sandbox::start(&binaries::built(Profile::Dev)[function], variables).await;
    for _ in 0..2 {
        sandbox.invoke(event).await.unwrap_or_else(|error| panic!("{function}: {error}"));
    }
    let log = sandbox.log();
    let lines =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line| line["target"] == target).collect()
}

#[tokio::test]
async fn an_invocation_is_one_line_which_has_metrics_where_a_namespace_is_configured() {
    let variables = servers().await;
    let plain = lines("notfound", &variables, &event("notfound"), "invocation").await;
    assert_eq!(plain.len(), 2, "{plain:#?}");
    assert_eq!((&plain[1]["fields"]["function"], &plain[1]["_aws"]), (&json!("notfound"), &Value::Null));

    let variables = with(variables, "METRICS_NAMESPACE", "Carillon/test");
    let published = lines("health", &variables, &event("health"), "invocation").await;
    assert_eq!(published.len(), 2, "{published:#?}");
    assert_eq!([&published[0]["cold"], &published[1]["cold"]], [&json!(true), &json!(false)]);
    let [of_function, of_all] = &published[1]["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else {
        panic!("{published:#?}")
    };
    assert_eq!(of_function["Namespace"], "Carillon/test");
    assert_eq!(of_function["Metrics"][0], json!({"Name": "recordMs", "Unit": "Milliseconds"}));
    assert!(published[1]["recordMs"].as_f64().is_some_and(|ms| ms > 0.0), "{published:#?}");
    assert_eq!(of_all["Dimensions"], json!([["function"], []]));
    assert_eq!(of_all["Metrics"], json!([{"Name": "serverErrors", "Unit": "None"}]));
}

#[tokio::test]
async fn a_drain_publishes_the_state_of_the_deployment_once_a_minute() {
    let variables = with(servers().await, "METRICS_NAMESPACE", "Carillon/test");
    let variables = with(variables, "DRAIN_LINGER_MS", "0");
    let published = lines("drain", &variables, &event("schedule"), "metrics").await;
    let [line] = &published[..] else { panic!("{published:#?}") };
    let [directive] = &line["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("{line:#}") };
    assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("Carillon/test"), &json!([[]])));
    let names: Vec<&str> =
        directive["Metrics"].as_array().unwrap().iter().filter_map(|one| one["Name"].as_str()).collect();
    assert!(names.contains(&"queueOldestMs") && names.contains(&"redisWarnings"), "{names:?}");
    for name in names {
        assert!(line[name].is_number(), "{name} of {line:#}");
    }
}
