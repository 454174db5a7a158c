//! A service that sends over one persistent connection.

use std::net::SocketAddr;

use bytes::Bytes;
use harness::http::call;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::carillon::Carillon;

/// A connected service.
pub(crate) struct Service {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    authorization: String,
}

impl Service {
    /// Connects with a token of scope `notify:send`.
    pub(crate) async fn connect(carillon: &Carillon) -> Self {
        let address = carillon.address;
        let authorization = format!("Bearer {}", token(address, "shop", "notify:send").await);
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address, authorization }
    }

    /// Makes a send, which must be answered with 202; returns the body of the answer.
    pub(crate) async fn sends(&mut self, body: Bytes) -> Bytes {
        let (status, answer) = self.attempts(body).await;
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&answer));
        answer
    }

    /// Makes a send, whatever is answered; returns the status and the body of the answer.
    pub(crate) async fn attempts(&mut self, body: Bytes) -> (u16, Bytes) {
        let request = http::Request::post("/api/notifications/send")
            .header("host", self.address.to_string())
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }
}

/// The body of a send to these users, with a notification of typical length.
pub(crate) fn body(users: &[String]) -> Bytes {
    let body = json!({
        "type": "order_shipped",
        "userIds": users,
        "title": "Your order is on its way",
        "body": "It left our warehouse this morning and will arrive tomorrow before noon.",
        "data": {"orderId": "4f1c8a52", "parcels": 2, "carrier": "post"},
        "actionUrl": "/orders/4f1c8a52",
    });
    body.to_string().into()
}

/// A token issued by the local gateway.
pub(crate) async fn token(address: SocketAddr, sub: &str, scope: &str) -> String {
    let path = format!("/_gateway/token?sub={sub}&scope={scope}&ttl=86400");
    let signed = call(address, "GET", &path, &[], "").await.expect(200);
    signed["token"].as_str().unwrap().to_owned()
}
