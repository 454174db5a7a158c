//! Limits on sizes and on the lifetime of connections.

use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{Served, Socket};

const KIB: usize = 1024;

/// Sends a text message of this length, in frames of at most this length.
async fn sends_in_frames(socket: &mut Socket, length_bytes: usize, frame_bytes: usize) {
    let text = vec![b'x'; length_bytes];
    let parts: Vec<_> = text.chunks(frame_bytes).collect();
    for (index, part) in parts.iter().enumerate() {
        let kind = if index == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part.to_vec(), OpCode::Data(kind), index + 1 == parts.len());
        socket.sends_message(Message::Frame(frame)).await;
    }
}

fn disconnected(event: &Value) -> (u64, &str) {
    let context = &event["requestContext"];
    assert_eq!(context["eventType"], "DISCONNECT");
    (context["disconnectStatusCode"].as_u64().unwrap(), context["disconnectReason"].as_str().unwrap())
}

#[tokio::test]
async fn a_message_of_32_kib_is_accepted_in_one_frame_or_several() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    for frame_bytes in [32 * KIB, 16 * KIB, 1_000] {
        sends_in_frames(&mut alice, 32 * KIB, frame_bytes).await;
        assert!(alice.sees().await.contains("Forbidden"), "the message was not read, or has a route");
    }
}

#[tokio::test]
async fn a_longer_message_closes_with_1009_in_however_many_frames() {
    let served = Served::start().await;
    for frame_bytes in [32 * KIB + 1, 32 * KIB, 16 * KIB, 1_000] {
        let mut alice = served.connects().await;
        sends_in_frames(&mut alice, 32 * KIB + 1, frame_bytes).await;
        assert_eq!(alice.sees_close().await.0, 1009, "frames of {frame_bytes} bytes");
        assert_eq!(disconnected(&served.socket.event().await).0, 1009);
    }
}

#[tokio::test]
async fn a_binary_message_closes_with_1003() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    alice.sends_message(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(alice.sees_close().await.0, 1003);
    assert_eq!(disconnected(&served.socket.event().await).0, 1003);
}

#[tokio::test]
async fn a_connection_without_messages_is_closed_after_10_minutes_even_if_it_pings() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    served.clock.advance(Duration::from_secs(599));
    alice.sends_message(Message::Ping("beat".into())).await;
    alice.sees_pong().await;
    served.clock.advance(Duration::from_secs(1));
    assert_eq!(alice.sees_close().await, (1001, "Going away".to_owned()));
    assert_eq!(disconnected(&served.socket.event().await), (1001, "Going away"));
}

#[tokio::test]
async fn messages_in_either_direction_keep_a_connection_open_for_up_to_2_hours() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    for turn in 0..12 {
        served.clock.advance(Duration::from_secs(599));
        if turn % 2 == 0 {
            assert_eq!(served.pushes(&alice.id, "still there?").await, 200);
            assert_eq!(alice.sees().await, "still there?");
        } else {
            alice.sends("still here").await;
            assert!(alice.sees().await.contains("Forbidden"));
        }
    }
    served.clock.advance(Duration::from_secs(12));
    assert_eq!(alice.sees_close().await.0, 1001);
    assert_eq!(disconnected(&served.socket.event().await), (1001, "Going away"));
}

#[tokio::test]
async fn a_body_whose_event_lambda_does_not_take_is_413() {
    let served = Served::start().await;
    let bodies = [
        vec![b'x'; 6 * KIB * KIB],
        vec![b'x'; 6 * KIB * KIB + 1],
        vec![b'x'; 10 * KIB * KIB],
        // In an event each of these is "\u0001".
        vec![1; KIB * KIB + 1],
        // Not UTF-8, so an event has it in base64.
        vec![0xff; 6 * KIB * KIB * 3 / 4],
    ];
    for body in bodies {
        let answer = served.http("POST", "/rooms/7").body(&body).send().await;
        let outcome = (answer.status, answer.text(), answer.header("content-type"));
        let expected = (413, r#"{"message":"Request Entity Too Large"}"#, Some("application/json"));
        assert_eq!(outcome, expected, "{} times {}", body.len(), body[0]);
        assert!(answer.header("apigw-requestid").is_some());
    }
    assert!(served.http.has_no_events().await);
    assert_eq!(served.http("POST", "/rooms/7").body(vec![b'x'; 6 * KIB * KIB - 4 * KIB]).send().await.status, 200);
    assert_eq!(served.http("POST", "/rooms/7").body(vec![1; KIB * KIB - KIB]).send().await.status, 200);
}

#[tokio::test]
async fn an_answer_over_6_mb_fails_the_function() {
    let served = Served::start().await;
    served.http.answers(serde_json::json!({ "statusCode": 200, "body": "x".repeat(6 * KIB * KIB) }));
    let answer = served.http("GET", "/rooms/7").send().await;
    assert_eq!((answer.status, answer.text()), (500, r#"{"message":"Internal Server Error"}"#));
}

#[tokio::test]
async fn a_body_over_10_mb_is_413_and_headers_over_10_kb_are_431() {
    let served = Served::start().await;
    let large = served.http("POST", "/rooms/7").body(vec![b'x'; 10 * KIB * KIB + 1]).send().await;
    assert_eq!((large.status, large.text()), (413, r#"{"message":"Request Entity Too Large"}"#));
    let announced = served.http("POST", "/rooms/7").header("Content-Length", "99999999").send().await;
    assert_eq!(announced.status, 413);
    let headers = served.http("GET", "/rooms/7").header("X-Long", &"x".repeat(10_240)).send().await;
    assert_eq!(headers.status, 431);
    assert!(served.http.has_no_events().await);
}
