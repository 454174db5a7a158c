//! The management API, over plain HTTP and through the SDK that functions push with.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use bytes::Bytes;
use serde_json::json;

use crate::harness::{Served, Socket};

const UNKNOWN: &str = "PJqB0fHsqRcCHlw=";

fn sdk(served: &Served) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .endpoint_url(format!("http://{}/live", served.address()))
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn a_push_arrives_as_one_text_message_with_its_bytes_unchanged() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let long = "λ".repeat(50_000);
    for text in ["{\"a\": 1}", "", long.as_str()] {
        let answer = served.management("POST", &alice.id).body(text).send().await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(answer.header("x-amzn-requestid").is_some() && answer.header("x-amz-apigw-id").is_some());
        assert_eq!(alice.sees().await, text);
    }
}

#[tokio::test]
async fn the_id_and_the_at_sign_may_be_percent_encoded() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let encoded = alice.id.replace('=', "%3D");
    for path in [format!("@connections/{}", alice.id), format!("%40connections/{encoded}")] {
        assert_eq!(served.http("POST", &format!("/live/{path}")).body("hi").send().await.status, 200, "{path}");
        assert_eq!(alice.sees().await, "hi");
    }
}

#[tokio::test]
async fn the_sdk_gets_the_same_answers_as_on_aws() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let client = sdk(&served);
    let push = |id: &str, length_bytes: usize| {
        client.post_to_connection().connection_id(id).data(Blob::new(vec![b'x'; length_bytes])).send()
    };
    push(&alice.id, 3).await.unwrap();
    assert_eq!(alice.sees().await, "xxx");
    assert!(push(UNKNOWN, 3).await.unwrap_err().into_service_error().is_gone_exception());
    assert!(push(&alice.id, 131_073).await.unwrap_err().into_service_error().is_payload_too_large_exception());

    served.clock.advance(Duration::from_secs(5));
    let shown = client.get_connection().connection_id(&alice.id).send().await.unwrap();
    assert_eq!(shown.identity().unwrap().source_ip(), Some("127.0.0.1"));
    assert_eq!(shown.last_active_at(), shown.connected_at());

    client.delete_connection().connection_id(&alice.id).send().await.unwrap();
    assert!(
        client
            .get_connection()
            .connection_id(&alice.id)
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_gone_exception()
    );
}

#[tokio::test]
async fn a_connection_is_described_in_json() {
    let served = Served::start().await;
    let socket = Socket::connect_with(served.address(), "/live", &[("user-agent", "test")]).await.unwrap();
    let id = served.socket.event().await["requestContext"]["connectionId"].as_str().unwrap().to_owned();
    served.clock.advance(Duration::from_secs(1));
    assert_eq!(served.pushes(&id, "hi").await, 200);
    let answer = served.management("GET", &id).send().await;
    let expected = json!({
        "connectedAt": "2023-11-29T08:04:01.796Z",
        "identity": { "sourceIp": "127.0.0.1", "userAgent": "test" },
        "lastActiveAt": "2023-11-29T08:04:02.796Z",
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    drop(socket);
}

#[tokio::test]
async fn every_failure_has_an_error_type() {
    let served = Served::start().await;
    let alice = served.connects().await;
    let gone = served.management("POST", UNKNOWN).body("hi").send().await;
    assert_eq!((gone.status, gone.text()), (410, r#"{"message":null}"#));
    assert_eq!(gone.header("x-amzn-errortype"), Some("GoneException"));

    let malformed = served.management("POST", "abc").body("hi").send().await;
    assert_eq!((malformed.status, malformed.text()), (400, r#"{"message":"Invalid connectionId: abc"}"#));
    assert_eq!(malformed.header("x-amzn-errortype"), Some("BadRequestException"));

    let large = served.management("POST", &alice.id).body(vec![b'x'; 131_073]).send().await;
    assert_eq!((large.status, large.header("x-amzn-errortype")), (413, Some("PayloadTooLargeException")));
    let binary = served.management("POST", &alice.id).body([0xff, 0xfe]).send().await;
    assert_eq!((binary.status, binary.header("x-amzn-errortype")), (400, Some("BadRequestException")));
    let unknown = served.management("PUT", &alice.id).send().await;
    assert_eq!(
        (unknown.status, unknown.header("x-amzn-errortype")),
        (403, Some("MissingAuthenticationTokenException"))
    );
}

#[tokio::test]
async fn a_connection_cannot_be_pushed_to_before_connect_has_returned() {
    let served = Served::start().await;
    let address = served.address();
    served.socket.does(move |event| async move {
        let id = event["requestContext"]["connectionId"].as_str().unwrap().replace('=', "%3D");
        let path = format!("/live/@connections/{id}");
        let early = crate::harness::Request::new(address, "POST", &path).body("early").send().await;
        assert_eq!(early.status, 410);
        Ok(Bytes::from_static(br#"{"statusCode":200}"#))
    });
    let alice = served.connects().await;
    assert_eq!(served.pushes(&alice.id, "now").await, 200);
}

#[tokio::test]
async fn deleting_a_connection_closes_the_socket_and_calls_disconnect() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    assert_eq!(served.pushes(&alice.id, "before").await, 200);
    let deleted = served.management("DELETE", &alice.id).send().await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(served.pushes(&alice.id, "after").await, 410);
    assert_eq!(alice.sees().await, "before");
    assert_eq!(alice.sees_close().await, (1000, "Connection Closed Normally".to_owned()));
    let event = served.socket.event().await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1000);
    assert_eq!(event["requestContext"]["disconnectReason"], "Connection Closed Normally");
    assert_eq!(served.management("DELETE", &alice.id).send().await.status, 410);
}

#[tokio::test]
async fn pushes_to_a_client_that_does_not_read_are_429_and_others_arrive() {
    let served = Served::start().await;
    let alice = served.connects().await;
    let mut bob = served.connects().await;
    let text = "x".repeat(128 * 1024);
    let refused = loop {
        let answer = served.management("POST", &alice.id).body(&text).send().await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.text()), (429, r#"{"message":null}"#));
    assert_eq!(refused.header("x-amzn-errortype"), Some("LimitExceededException"));
    assert_eq!(served.pushes(&bob.id, "hi").await, 200);
    assert_eq!(bob.sees().await, "hi");
    assert_eq!(served.management("DELETE", &alice.id).send().await.status, 204);
    assert_eq!(served.socket.event().await["requestContext"]["disconnectStatusCode"], 1000);
}
