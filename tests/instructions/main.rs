//! What the hot acts cost in instructions, as callgrind counts them: no other load of the machine changes that.
//!
//! The recorded figures belong to x86-64 and to the dev profile, with which all tests are built. It does not optimise,
//! so they are several times those of a deployment, but an act that does more takes more in both. A change of the
//! compiler or of a dependency may change them too. `RECORD=1 cargo test --workspace --test instructions` records them.

// Other processors have other figures.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod late;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use harness::{TestApp, postgres_server, tools};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shared::record::postgres::PostgresRecord;
use tokio::net::TcpListener;
use tokio::process::Command;

/// The program that performs the acts.
const PROGRAM: &str = env!("CARGO_BIN_EXE_acts");
/// Pushing a frame, answering a ping, accepting a send to a connected user, and a drain that takes a row and pushes it.
const ACTS: [&str; 4] = ["frame", "ping", "send", "take"];
/// How often one process performs an act, and how often another does. Their difference leaves out what a start costs.
const FEW: u64 = 100;
const MANY: u64 = 400;
/// By how much an act may differ from its figure. Two runs differ too, since each process seeds its hashes anew.
const TOLERANCE_PERCENT: u64 = 5;
/// The instructions of each act, as JSON.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions/recorded.json");

#[tokio::test]
async fn the_hot_acts_take_as_many_instructions_as_recorded() {
    if tools::is_skipped("valgrind") {
        return;
    }
    let counted = join_all(ACTS.map(instructions)).await;
    let counted: BTreeMap<&str, u64> = ACTS.into_iter().zip(counted).collect();
    if std::env::var("RECORD").as_deref() == Ok("1") {
        std::fs::write(RECORDED, serde_json::to_string_pretty(&counted).unwrap() + "\n").unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(RECORDED).unwrap();
    let recorded: BTreeMap<String, u64> = serde_json::from_str(&recorded).unwrap();
    let differing = differing(&counted, &recorded);
    assert!(
        differing.is_empty(),
        "instructions of each act in the dev profile; RECORD=1 records them if that is intended:\n{}",
        differing.join("\n")
    );
}

#[test]
fn an_act_that_differs_or_is_not_recorded_is_named() {
    let recorded = BTreeMap::from([("ping".to_owned(), 1_000), ("send".to_owned(), 1_000), ("take".to_owned(), 1_000)]);
    let counted = BTreeMap::from([("frame", 1_000), ("ping", 1_050), ("send", 1_051), ("take", 949)]);
    let expected = ["frame: 1000, not recorded", "send: 1051, recorded 1000", "take: 949, recorded 1000"];
    assert_eq!(differing(&counted, &recorded), expected);
}

/// What is wrong with each act whose instructions are not near the recorded ones.
fn differing(counted: &BTreeMap<&str, u64>, recorded: &BTreeMap<String, u64>) -> Vec<String> {
    let difference = |(act, counted): (&&str, &u64)| match recorded.get(*act) {
        None => Some(format!("{act}: {counted}, not recorded")),
        Some(recorded) if counted.abs_diff(*recorded) * 100 > recorded * TOLERANCE_PERCENT => {
            Some(format!("{act}: {counted}, recorded {recorded}"))
        }
        Some(_) => None,
    };
    counted.iter().filter_map(difference).collect()
}

/// The instructions of one act.
async fn instructions(act: &str) -> u64 {
    (total(act, MANY).await - total(act, FEW).await) / (MANY - FEW)
}

/// The instructions of a process that performs an act this many times.
async fn total(act: &str, times: u64) -> u64 {
    let database = database_of_alice().await;
    if act == "take" {
        let refusing = management_api(StatusCode::INTERNAL_SERVER_ERROR).await;
        perform(Command::new(PROGRAM), "send", times, &database, &refusing).await;
    }
    let management_api = management_api(StatusCode::OK).await;
    let (database, management_api) = (late::before(&database).await, late::before(&management_api).await);
    let mut counting = Command::new("valgrind");
    counting.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", PROGRAM]);
    let printed = perform(counting, act, times, &database, &management_api).await;
    let (_, collected) = printed.lines().find_map(|line| line.split_once("Collected : ")).expect(&printed);
    collected.trim().parse().unwrap()
}

/// Runs the program of the acts; returns what was printed as errors.
async fn perform(mut program: Command, act: &str, times: u64, database: &str, management_api: &str) -> String {
    program.args([act, &times.to_string(), database, management_api]).kill_on_drop(true);
    let output = program.output().await.expect("valgrind is needed: apt-get install valgrind");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{act}: {printed}");
    printed
}

/// The URL of a new database in which alice has a connection.
async fn database_of_alice() -> String {
    let database = postgres_server::database().await;
    let mut test = TestApp::new().await;
    test.uses_record(Arc::new(PostgresRecord::new(&database, 1).unwrap()));
    test.connect("alice", &["phone"]).await;
    database.reveal().to_owned()
}

/// The URL of a management API that answers each frame with this status.
async fn management_api(status: StatusCode) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: http::Request<Incoming>| async move {
                request.into_body().collect().await?;
                let mut answer = Response::new(Empty::<Bytes>::new());
                *answer.status_mut() = status;
                Ok::<_, hyper::Error>(answer)
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    format!("http://127.0.0.1:{port}/live")
}
