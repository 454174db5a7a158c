//! How failures are told to callers, and what the log says of calls.

use std::time::Duration;

use serde_json::Value;

use crate::function::{Erratic, has_state};

/// The lines without the sandbox that they are from, and without ids and numbers.
fn shapes(lines: &[String]) -> Vec<String> {
    let shape = |line: &String| {
        let text = line.split_once(' ').unwrap().1;
        let words = text.split_inclusive([' ', '\t']).map(|word| {
            let (text, space) = word.split_at(word.trim_end().len());
            let is_id = text.len() == 36 && text.chars().filter(|character| *character == '-').count() == 4;
            let is_time = text.len() == 24 && text.ends_with('Z');
            match () {
                () if is_id => format!("ID{space}"),
                () if is_time => format!("TIME{space}"),
                () if text.parse::<f64>().is_ok() => format!("N{space}"),
                () => word.to_owned(),
            }
        });
        words.collect::<String>()
    };
    lines.iter().map(shape).collect()
}

/// The number after these words in a line.
fn number(line: &str, words: &str) -> f64 {
    let after = line.split_once(words).unwrap_or_else(|| panic!("{words} not in {line}")).1;
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn each_call_has_start_end_and_report_lines_around_what_the_function_prints() {
    let erratic = Erratic::with("MemorySize: 512").await;
    let answer = erratic.does("print").await.unwrap();
    erratic.does("use memory").await.unwrap();
    let lines = erratic.lines(2).await;
    let first = "REPORT RequestId: ID\tDuration: N ms\tBilled Duration: N ms\tMemory Size: N MB\tMax Memory Used: N MB";
    let expected = [
        "START RequestId: ID Version: $LATEST".to_owned(),
        "printed".into(),
        "and an error without an end".into(),
        "END RequestId: ID".into(),
        format!("{first}\tInit Duration: N ms"),
        "START RequestId: ID Version: $LATEST".into(),
        "END RequestId: ID".into(),
        first.into(),
    ];
    assert_eq!(shapes(&lines), expected, "{lines:#?}");
    let sandbox = format!("shop[{}] ", answer["pid"]);
    assert!(lines.iter().all(|line| line.starts_with(&sandbox)), "{lines:#?}");
    let id = format!("RequestId: {}", answer["requestId"].as_str().unwrap());
    assert!([0, 3, 4].into_iter().all(|line| lines[line].contains(&id)), "{lines:#?}");

    let (first, second) = (&lines[4], &lines[7]);
    let (duration, init, billed) =
        (number(first, "\tDuration: "), number(first, "Init Duration: "), number(first, "Billed Duration: "));
    assert!(duration > 0.0 && init > 0.0 && (billed - duration - init).abs() <= 1.01, "{first}");
    assert_eq!(number(second, "Billed Duration: "), number(second, "\tDuration: ").ceil());
    assert_eq!(number(second, "Memory Size: "), 512.0);
    let (before, after) = (number(first, "Max Memory Used: "), number(second, "Max Memory Used: "));
    assert!(before > 0.0 && after >= before + 60.0 && after < before + 200.0, "{before} MB, then {after} MB");
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_its_process() {
    let erratic = Erratic::with("Timeout: 1").await;
    let pid = erratic.does("nothing").await.unwrap()["pid"].clone();
    let began = std::time::Instant::now();
    let error = erratic.does("hang").await.unwrap_err();
    let taken = began.elapsed();
    assert!(taken >= Duration::from_secs(1), "{taken:?}");
    assert_eq!(error.error_type, "Sandbox.Timedout");
    assert!(error.message.starts_with("RequestId: "), "{error}");
    assert!(error.message.ends_with(" Error: Task timed out after 1.00 seconds"), "{error}");
    has_state(&pid, None).await;
    let lines = erratic.lines(2).await;
    assert_eq!(
        shapes(&lines[3..]),
        [
            "START RequestId: ID Version: $LATEST",
            "TIME ID Task timed out after N seconds",
            "END RequestId: ID",
            "REPORT RequestId: ID\tDuration: N ms\tBilled Duration: N ms\tMemory Size: N MB\tMax Memory Used: N MB\t\
             Status: timeout",
        ],
    );
    assert_eq!(erratic.does("nothing").await.unwrap()["call"], 1);
}

#[tokio::test]
async fn an_exit_is_told_with_its_status_and_the_next_call_has_a_new_process() {
    let erratic = Erratic::with("").await;
    let error = erratic.does("exit").await.unwrap_err();
    assert_eq!(error.error_type, "Runtime.ExitError");
    assert!(error.message.ends_with(" Error: Runtime exited with error: exit status 3"), "{error}");
    let lines = erratic.lines(1).await;
    let report = lines.last().unwrap();
    assert_eq!(
        shapes(&lines[..lines.len() - 1]),
        [
            "START RequestId: ID Version: $LATEST",
            "RequestId: ID Error: Runtime exited with error: exit status N",
            "END RequestId: ID",
        ]
    );
    assert!(report.ends_with("\tStatus: error\tError Type: Runtime.ExitError"), "{report}");
    assert_eq!(erratic.does("nothing").await.unwrap()["call"], 1);
}

#[tokio::test]
async fn an_error_is_passed_on_and_its_sandbox_goes_on() {
    let erratic = Erratic::with("").await;
    let pid = erratic.does("nothing").await.unwrap()["pid"].clone();
    let error = erratic.does("fail").await.unwrap_err();
    assert!(error.error_type.contains("Error") && error.message == "the store is down", "{error}");
    let error = erratic.does("panic").await.unwrap_err();
    assert!(error.message.contains("nothing works"), "{error}");
    let error = erratic.does("answer too much").await.unwrap_err();
    assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
    let next = erratic.does("nothing").await.unwrap();
    assert_eq!((&next["pid"], &next["call"]), (&pid, &Value::from(5)));
    let lines = erratic.lines(5).await;
    assert!(!lines.iter().any(|line| line.contains("Status: ")), "{lines:#?}");
}

#[tokio::test]
async fn an_init_that_fails_is_told_to_the_caller_and_in_the_log() {
    let begins = async |how: &str| Erratic::with(&format!("Environment: {{ Variables: {{ BEGINS: {how} }} }}")).await;
    let exits = begins("with an exit").await;
    let error = exits.does("nothing").await.unwrap_err();
    assert_eq!(error.error_type, "Runtime.ExitError");
    assert!(error.message.ends_with(" Error: Runtime exited with error: exit status 4"), "{error}");
    assert_eq!(
        shapes(&exits.lines(1).await),
        ["no begin", "INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError"]
    );

    let reports = begins("with an error").await;
    let error = reports.does("nothing").await.unwrap_err();
    assert_eq!(error.to_string(), "Erratic.NoBegin: it has no handler");
    let report = reports.lines(1).await.pop().unwrap();
    assert!(report.ends_with("\tPhase: init\tStatus: error\tError Type: Erratic.NoBegin"), "{report}");
}
