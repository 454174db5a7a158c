//! The README's lines through `cargo lambda watch`: a gateway with `--lambda`, `make watch` beside it, and servers
//! for both. Not part of plain `cargo test`, since cargo-lambda is half a gigabyte:
//! `cargo test --package tests --test watched` installs and runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{World, http, postgres_server, redis_server};
use serde_json::json;

/// How long cargo-lambda may take to install itself, to compile and to listen.
const PATIENCE: Duration = Duration::from_secs(900);

/// `make watch`, until it is dropped.
struct Watch(Child);

impl Watch {
    /// Returns when functions can be called.
    async fn start(port: u16, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("setpriv");
        // It starts cargo, which starts functions: who stops it stops them too.
        command.args(["--pdeathsig", "TERM", concat!(env!("CARGO_MANIFEST_DIR"), "/watch"), &port.to_string()]);
        // Who edits meanwhile is not to restart what is being called.
        command.arg("--ignore-changes");
        let child = command.envs(variables.iter().copied()).stdin(Stdio::null()).spawn().unwrap();
        let mut watch = Self(child);
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(watch.0.try_wait().unwrap().is_none(), "make watch has ended");
            assert!(begun.elapsed() < PATIENCE, "make watch does not listen");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Asked to end, cargo-lambda ends its functions; killed, it would leave them behind.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_readmes_lines_ring_a_socket_through_cargo_lambda_watch() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::calling(&format!("http://127.0.0.1:{port}")).await;
    let (endpoint, url) = (format!("http://{}/live", world.address()), format!("ws://{}/live", world.address()));
    let (database, redis) = (postgres_server::database().await, redis_server::own_prefix());
    let secret = world.secret();
    let variables = [
        ("DATABASE_URL", database.reveal()),
        ("REDIS_URL", redis.url.reveal()),
        ("REDIS_KEY_PREFIX", &redis.prefix),
        ("JWT_SECRET", &secret),
        ("WS_ENDPOINT", &endpoint),
        ("WS_URL", &url),
    ];
    let _watch = Watch::start(port, &variables).await;

    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut device = alice.connects().await;
    let parcel = json!({
        "type": "ORDER_SHIPPED",
        "userIds": ["alice"],
        "title": "Your parcel is on its way",
        "data": {"orderId": 7},
    });
    let headers = [("content-type", "application/json"), ("idempotency-key", "order-7-shipped")];
    let sent = shop.calls("POST", "/api/notifications/send", &headers, &parcel.to_string()).await;
    let again = shop.calls("POST", "/api/notifications/send", &headers, &parcel.to_string()).await;
    assert_eq!((sent.status, &sent.text), (202, &again.text));
    let frame = device.sees("Your parcel is on its way").await;
    assert_eq!(frame["notification"]["data"]["orderId"], 7);
    device.sees_nothing().await;
    assert_eq!(alice.inbox().await, [frame["notification"]["id"].as_str().unwrap()]);

    // What else of a gateway passes through: a refusal with its headers, an unknown path, the schedule.
    let refused = alice.calls("PUT", "/api/notifications/send", &[], "").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"));
    let nothing = http::call(world.address(), "GET", "/favicon.ico", &[], "").await;
    assert_eq!((nothing.status, nothing.code().as_str()), (404, "not_found"));
    let drained = world.drains().await;
    assert_eq!(drained["failed"], false, "{drained}");
    device.closes().await;
    world.stops().await;
}
