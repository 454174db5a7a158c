//! `/_gateway/*`, and which clients may use it.

use std::sync::Arc;

use gateway::{Functions, Options, Template, Token, listen, serve};
use serde_json::json;
use shared::clock::Clock;

use crate::harness::{Request, Served};

#[tokio::test]
async fn a_token_is_signed_for_local_use() {
    let served = Served::start().await;
    let answer = served.http("GET", "/_gateway/token?sub=alice&scope=notify:send%20notify:admin&ttl=60").send().await;
    assert_eq!(answer.json(), json!({ "token": "alice|notify:send notify:admin|60", "expiresAt": "then" }));
    let bare = served.http("GET", "/_gateway/token?sub=alice").send().await;
    assert_eq!(bare.json()["token"], "alice||3600");
    for query in ["", "?sub=", "?sub=alice&ttl=x", "?sub=alice&ttl=-1"] {
        let refused = served.http("GET", &format!("/_gateway/token{query}")).send().await;
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.json()["message"].is_string());
    }
}

#[tokio::test]
async fn open_connections_are_listed() {
    let served = Served::start().await;
    let alice = served.connects().await;
    let answer = served.http("GET", "/_gateway/connections").send().await;
    let at = "2023-11-29T08:04:01.796Z";
    let alice = json!({ "connectionId": alice.id, "connectedAt": at, "lastActiveAt": at, "sourceIp": "127.0.0.1" });
    assert_eq!(answer.json(), json!({ "connections": [alice] }));
}

#[tokio::test]
async fn schedules_are_listed_and_fired() {
    let served = Served::start().await;
    let listed = served.http("GET", "/_gateway/schedules").send().await;
    let minute = json!({ "name": "minute", "expression": "rate(1 minute)", "function": "Tick", "next": "2023-11-29T08:05:01.796Z" });
    let noon = json!({ "name": "TickNoon", "expression": "cron(0 12 * * ? *)", "function": "Tick", "next": null });
    assert_eq!(listed.json(), json!({ "schedules": [minute, noon] }));

    served.tick.answers(json!({ "done": 3 }));
    let fired = served.http("POST", "/_gateway/schedules/minute/fire").send().await;
    assert_eq!((fired.status, fired.json()), (200, json!({ "done": 3 })));
    served.tick.fails();
    let failed = served.http("POST", "/_gateway/schedules/minute/fire").send().await;
    assert_eq!(
        (failed.status, failed.json()),
        (500, json!({ "errorType": "Unavailable", "errorMessage": "the store is down" }))
    );
    assert_eq!(served.http("POST", "/_gateway/schedules/unknown/fire").send().await.status, 404);
}

#[tokio::test]
async fn a_wrong_method_is_405_and_names_the_right_one() {
    let served = Served::start().await;
    for (method, path, allowed) in [
        ("POST", "/_gateway/token?sub=alice", "GET"),
        ("DELETE", "/_gateway/connections", "GET"),
        ("GET", "/_gateway/schedules/minute/fire", "POST"),
    ] {
        let answer = served.http(method, path).send().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
    }
}

#[tokio::test]
async fn other_hosts_and_origins_cannot_use_the_gateway_routes() {
    let served = Served::start().await;
    let path = "/_gateway/token?sub=alice";
    for host in ["localhost", "127.0.0.1:1", "[::1]:3000", "LOCALHOST:3000"] {
        assert_eq!(served.http("GET", path).host(host).send().await.status, 200, "{host}");
    }
    assert_eq!(served.http("GET", path).host("rebound.example").send().await.status, 404);
    assert_eq!(served.http("GET", path).header("Origin", "https://evil.example").send().await.status, 404);
    assert_eq!(served.http("GET", path).header("Origin", "http://localhost:5173").send().await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_other_machines_can_reach_has_no_gateway_routes() {
    let mut options = Options::new(Template::default(), Functions::default(), Clock::manual(0));
    options.sign_token = Some(Arc::new(|_| Ok(Token { token: "secret".into(), expires_at: "then".into() })));
    let listener = listen("0.0.0.0", 0).await.unwrap();
    let address = ([127, 0, 0, 1], listener.address().port()).into();
    let _gateway = serve(listener, options).unwrap();
    assert_eq!(Request::new(address, "GET", "/_gateway/token?sub=alice").send().await.status, 404);
}
