//! Performs one act a number of times on a single thread and ends; the test `instructions` counts what that takes.
//!
//! Arguments: the act, the number of times, the URL of a database in which alice has a connection, and the URL of a
//! management API. What a laptop keeps in memory is in memory.

#![allow(clippy::unwrap_used, reason = "a panic fails the test that runs this")]

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use harness::app::request;
use harness::{START_MS, event, socket_event};
use serde_json::json;
use shared::app::App;
use shared::auth;
use shared::clock::Clock;
use shared::config::{Config, Origins, Secret};
use shared::delivery::PUSH_GRACE_MS;
use shared::ids::ConnectionId;
use shared::moment::Moment;
use shared::moment::memory::MemoryMoment;
use shared::protocol::Frame;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;
use shared::sockets::api_gateway::ApiGatewayPush;
use shared::sockets::push::Outcome;

/// By how much the clock moves after each act, so that one row at a time falls due.
const STEP: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [act, times, database, management_api] = arguments.as_slice() else {
        panic!("an act, a number of times, a database and a management API are required");
    };
    let (app, times) = (app(database, management_api), times.parse::<usize>().unwrap());
    match act.as_str() {
        "frame" => push_frames(&app, times).await,
        "ping" => answer_pings(&app, times).await,
        "send" => accept_sends(&app, times).await,
        "take" => take_rows(&app, times).await,
        _ => panic!("no act is named {act}"),
    }
}

fn app(database: &str, management_api: &str) -> App {
    // One send a second must not be too many.
    let variables = [("JWT_SECRET", "a secret of at least thirty-two bytes"), ("RATE_LIMIT_SEND", "120/60s")];
    let variable = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
    let config = Config::read(variable, &[], Origins::Loopback).unwrap();
    // One connection, as a function has.
    let record = Record::new(Arc::new(PostgresRecord::new(&Secret::new(database), 1).unwrap()));
    let moment = Moment::new(Arc::new(MemoryMoment::default()));
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("session".into()), None, "test");
    let push = ApiGatewayPush::new(management_api, "eu-central-1".into(), credentials);
    App::with_clock(config, record, moment, Arc::new(push), Clock::manual(START_MS))
}

/// Pushes a frame to one connection.
async fn push_frames(app: &App, times: usize) {
    let frame = Frame::from(format!("{{\"text\": \"{}\"}}", "x".repeat(300)));
    let frames = [(ConnectionId::new("PJqB0fHsqRcCHlw="), frame)];
    for _ in 0..times {
        assert_eq!(app.push.push(&frames).await, [Outcome::Offered]);
    }
}

/// Answers a ping on alice's connection.
async fn answer_pings(app: &App, times: usize) {
    let mut ping = event("message");
    ping["requestContext"]["connectionId"] = "phone".into();
    for _ in 0..times {
        let reply = message::handle(app, socket_event(ping.clone())).await;
        let reply = serde_json::to_string(&reply).unwrap();
        assert!(reply.contains("pong"), "{reply}");
        app.clock.advance(STEP);
    }
}

/// Accepts a send to alice, and pushes it to her connection.
async fn accept_sends(app: &App, times: usize) {
    let begun_s = START_MS / 1_000;
    let token = auth::sign(&app.config, "shop", "notify:send", begun_s, begun_s + 3_600).unwrap();
    let mut call = event("send");
    call["headers"]["authorization"] = format!("Bearer {token}").into();
    call["body"] = json!({"type": "like", "userIds": ["alice"], "title": "Hi"}).to_string().into();
    for _ in 0..times {
        let answer = send::handle(app, request(call.clone())).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        app.clock.advance(STEP);
    }
}

/// Runs a drain that finds one row to push. Each send whose push was refused has left one.
async fn take_rows(app: &App, times: usize) {
    app.clock.advance(Duration::from_millis(PUSH_GRACE_MS.unsigned_abs()));
    for _ in 0..times {
        // It has no time to linger, so it does only what is due.
        let drained = drain::handle(app, app.clock.now_ms() + 10_000).await;
        assert_eq!((drained.pushed, drained.failed), (1, false), "{drained:?}");
        app.clock.advance(STEP);
    }
}
