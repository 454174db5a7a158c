//! When sandboxes start, are reused, are frozen and end.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::clock::Clock;

use crate::function::{Erratic, has_state, in_time};

#[tokio::test]
async fn an_idle_sandbox_is_frozen_and_serves_the_next_call() {
    let erratic = Erratic::with("").await;
    let first = erratic.does("leave a thread").await.unwrap();
    let pid = &first["pid"];
    has_state(pid, Some('T')).await;
    let second = erratic.does("nothing").await.unwrap();
    assert_eq!((&second["pid"], &second["call"]), (pid, &json!(2)));
    has_state(pid, Some('T')).await;

    // What the first call left running does not run between calls, but while another one does.
    let ticks = |answer: &Value| answer["ticks"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let third = erratic.does("nothing").await.unwrap();
    assert!(ticks(&third) < ticks(&second) + 250, "{} ticks between calls", ticks(&third) - ticks(&second));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let waiting = json!({"do": "wait for a file", "file": file});
    let (_, ()) = tokio::join!(erratic.answers(waiting), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::write(&file, "").unwrap();
    });
    let fifth = erratic.does("nothing").await.unwrap();
    assert!(ticks(&fifth) > ticks(&third) + 50, "{} ticks in half a second", ticks(&fifth) - ticks(&third));
}

#[tokio::test]
async fn calls_at_the_same_time_have_sandboxes_of_their_own_up_to_a_limit() {
    let erratic = Erratic::with("").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let waiting = json!({"do": "wait for a file", "file": file});
    let mut calls = Box::pin(join_all((0..5).map(|_| erratic.answers(waiting.clone()))));
    let all_wait = async {
        // Both sandboxes that it may have are at work.
        erratic.has_begun(2).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        answers = &mut calls => panic!("{answers:?}"),
        () = all_wait => {}
    }
    assert_eq!(erratic.lines(0).await.len(), 2, "a third sandbox was started");
    std::fs::write(&file, "").unwrap();
    let answers: Vec<Value> = in_time(calls).await.into_iter().map(Result::unwrap).collect();
    let pids: BTreeSet<u64> = answers.iter().map(|answer| answer["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
}

#[tokio::test]
async fn calls_one_after_the_other_have_the_same_sandbox() {
    let erratic = Erratic::with("").await;
    let first = erratic.does("nothing").await.unwrap();
    for call in 2..40 {
        let next = erratic.does("nothing").await.unwrap();
        assert_eq!((&next["pid"], &next["call"]), (&first["pid"], &json!(call)));
    }
}

#[tokio::test]
async fn more_calls_than_are_reserved_are_refused() {
    let erratic = Erratic::with("ReservedConcurrentExecutions: 1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let waiting = erratic.answers(json!({"do": "wait for a file", "file": file}));
    let refused = async {
        let refused = erratic.does("nothing").await.unwrap_err();
        std::fs::write(&file, "").unwrap();
        refused.to_string()
    };
    let (answer, refused) = tokio::join!(waiting, refused);
    assert!(answer.is_ok());
    assert_eq!(refused, "TooManyRequestsException: Rate Exceeded.");
    let none = Erratic::with("ReservedConcurrentExecutions: 0").await;
    assert_eq!(none.does("nothing").await.unwrap_err().error_type, "TooManyRequestsException");
}

#[tokio::test]
async fn a_sandbox_that_has_been_idle_for_long_ends() {
    let erratic = Erratic::idle_for("", Duration::from_millis(100)).await;
    let pid = erratic.does("nothing").await.unwrap()["pid"].clone();
    has_state(&pid, None).await;
    let next = erratic.does("nothing").await.unwrap();
    assert_eq!(next["call"], 1);
    assert_ne!(next["pid"], pid);
}

#[tokio::test]
async fn sandboxes_end_with_the_gateway_and_serve_nothing_more() {
    let erratic = Erratic::with("").await;
    let idle = erratic.does("nothing").await.unwrap()["pid"].clone();
    has_state(&idle, Some('T')).await;
    erratic.sandboxes.close();
    has_state(&idle, None).await;
    let refused = erratic.does("nothing").await.unwrap_err().to_string();
    assert_eq!(refused, "Runtime.ExitError: the gateway has stopped");

    let erratic = Erratic::with("").await;
    let busy = erratic.does("nothing").await.unwrap()["pid"].clone();
    let hanging = erratic.does("hang");
    let (outcome, ()) = tokio::join!(hanging, async {
        erratic.has_begun(2).await;
        erratic.sandboxes.close();
    });
    assert!(outcome.unwrap_err().message.ends_with("Runtime exited with error: signal: killed"));
    has_state(&busy, None).await;
}

#[tokio::test]
async fn a_function_gets_the_context_and_the_variables_of_lambda_and_no_others() {
    let erratic = Erratic::with("Timeout: 7, MemorySize: 512, Environment: { Variables: { OWN: own } }").await;
    let before_ms = Clock::system().now_ms();
    let answer = erratic.does("nothing").await.unwrap();
    let left_ms = answer["deadlineMs"].as_i64().unwrap() - before_ms;
    assert!((7_000..20_000).contains(&left_ms), "{left_ms}");
    assert_eq!(answer["arn"], "arn:aws:lambda:us-east-1:123456789012:function:shop");
    let variables = answer["variables"].as_object().unwrap();
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_NAME", "shop"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/shop"),
        ("AWS_REGION", "us-east-1"),
        ("OWN", "own"),
        ("TZ", ":UTC"),
        ("_HANDLER", "bootstrap"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    let stream = variables["AWS_LAMBDA_LOG_STREAM_NAME"].as_str().unwrap();
    assert!(stream.len() == "2027/01/15/[$LATEST]".len() + 32 && stream.contains("/[$LATEST]"), "{stream}");
    // `cargo test` has many more. `_X_AMZN_TRACE_ID` is set by the runtime.
    let of_lambda = |name: &&String| {
        ["AWS_", "LAMBDA_", "_"].iter().any(|prefix| name.starts_with(prefix))
            || ["OWN", "TZ", "LANG"].contains(&name.as_str())
    };
    let others: Vec<&String> = variables.keys().filter(|name| !of_lambda(name)).collect();
    assert_eq!(others, Vec::<&String>::new());
}
