//! Answers that are streamed.

use futures_util::StreamExt;
use http::StatusCode;

use crate::function::{Erratic, has_state, http_event, in_time};

const STREAMING: &str = "Timeout: 2, Environment: { Variables: { BEGINS: streaming } }";

/// The parts of a stream until its end, which is an error's text or empty.
async fn parts(answer: gateway::StreamedAnswer) -> (String, String) {
    let (mut text, mut body) = (String::new(), answer.into_body());
    while let Some(part) = in_time(body.next()).await {
        match part {
            Ok(part) => text += std::str::from_utf8(&part).unwrap(),
            Err(error) => return (text, error.to_string()),
        }
    }
    (text, String::new())
}

#[tokio::test]
async fn a_stream_arrives_with_its_head_and_its_sandbox_serves_the_next_one() {
    let erratic = Erratic::with(STREAMING).await;
    for _ in 0..2 {
        let answer = erratic.streams("/").await.unwrap();
        assert_eq!((answer.status(), answer.headers()["x-erratic"].as_bytes()), (StatusCode::CREATED, &b"yes"[..]));
        assert_eq!(parts(answer).await, ("onetwo".into(), String::new()));
    }
    let lines = erratic.lines(2).await;
    let sandboxes: std::collections::BTreeSet<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(sandboxes.len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn a_stream_where_none_is_asked_for_comes_whole_and_with_its_prelude() {
    let erratic = Erratic::with(STREAMING).await;
    let whole = in_time(erratic.function.invoke(http_event("/"))).await.unwrap();
    let whole = String::from_utf8(whole.into()).unwrap();
    let (prelude, body) = whole.split_once(&"\0".repeat(8)).unwrap();
    assert!(prelude.contains("201") && prelude.contains("x-erratic"), "{prelude}");
    assert_eq!(body, "onetwo");
    let plain = Erratic::with("").await;
    let (body, end) = parts(plain.streams("/").await.unwrap()).await;
    assert!(body.contains("\"pid\"") && end.is_empty(), "{body}{end}");
}

#[tokio::test]
async fn a_stream_is_cut_off_by_a_timeout_and_by_an_exit() {
    let erratic = Erratic::with(STREAMING).await;
    let (text, error) = parts(erratic.streams("/hang").await.unwrap()).await;
    assert_eq!(text, "one");
    assert!(error.ends_with("Task timed out after 2.00 seconds"), "{error}");
    let (text, error) = parts(erratic.streams("/exit").await.unwrap()).await;
    assert_eq!(text, "one");
    assert!(error.ends_with("Runtime exited with error: exit status 3"), "{error}");
    let reports: Vec<String> = erratic.lines(2).await.into_iter().filter(|line| line.contains(" REPORT ")).collect();
    assert!(reports[0].ends_with("Status: timeout"), "{reports:?}");
    assert!(reports[1].ends_with("Error Type: Runtime.ExitError"), "{reports:?}");
}

#[tokio::test]
async fn a_sandbox_ends_when_the_reader_of_its_stream_does() {
    let erratic = Erratic::with(&STREAMING.replace("Timeout: 2", "Timeout: 600")).await;
    let mut answer = erratic.streams("/hang").await.unwrap();
    in_time(answer.body_mut().next()).await.unwrap().unwrap();
    let lines = erratic.lines(0).await;
    let pid = lines[0].split(['[', ']']).nth(1).unwrap().parse::<u64>().unwrap();
    drop(answer);
    has_state(&pid.into(), None).await;
}
