//! Starting and stopping.

use bytes::Bytes;
use gateway::{Functions, Options, ServeError, Template, listen, serve};
use shared::clock::Clock;
use tokio::net::TcpStream;

use crate::harness::{Request, Served, in_time};

#[tokio::test]
async fn a_stop_closes_sockets_and_waits_for_disconnect_which_can_still_push() {
    let served = Served::start().await;
    let (mut alice, mut bob) = (served.connects().await, served.connects().await);
    let address = served.address();
    let (pushed, mut was_pushed) = tokio::sync::mpsc::unbounded_channel();
    served.socket.does(move |event| {
        let pushed = pushed.clone();
        async move {
            let id = event["requestContext"]["connectionId"].as_str().unwrap().replace('=', "%3D");
            let push = Request::new(address, "POST", &format!("/live/@connections/{id}")).body("bye").send().await;
            pushed.send(push.status).unwrap();
            Ok(Bytes::new())
        }
    });
    in_time(served.gateway.stop()).await;
    for socket in [&mut alice, &mut bob] {
        assert_eq!(socket.sees_close().await, (1001, "Going away".to_owned()));
        assert_eq!(served.socket.event().await["requestContext"]["disconnectStatusCode"], 1001);
        assert_eq!(was_pushed.try_recv().unwrap(), 410, "stop returned before $disconnect did");
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_waits_for_a_running_request() {
    let served = Served::start().await;
    let (finish, finished) = tokio::sync::watch::channel(false);
    served.http.does(move |_| {
        let mut finished = finished.clone();
        async move {
            finished.wait_for(|finished| *finished).await.unwrap();
            Ok(Bytes::from_static(br#"{"statusCode":200,"body":"done"}"#))
        }
    });
    let request = tokio::spawn(served.http("GET", "/rooms/7").send());
    served.http.event().await;
    let stopping = async {
        tokio::join!(served.gateway.stop(), async { finish.send(true).unwrap() });
    };
    in_time(stopping).await;
    assert_eq!(request.await.unwrap().text(), "done");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = listen("127.0.0.1", 0).await.unwrap();
    let port = first.address().port();
    let error = listen("127.0.0.1", port).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test]
async fn a_template_whose_function_is_missing_is_not_served() {
    let template = Template::parse(include_str!("template.yaml")).unwrap();
    let listener = listen("127.0.0.1", 0).await.unwrap();
    let error = serve(listener, Options::new(template, Functions::default(), Clock::manual(0))).err().unwrap();
    assert!(matches!(error, ServeError::MissingFunction { .. }), "{error}");
}
