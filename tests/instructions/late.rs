//! A proxy through which each answer arrives late and in one piece, so that a client always waits for it, and once.
//! Otherwise the load of the machine would decide how often a client finds no answer, or half of one, which takes
//! instructions too.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// Longer than a client under valgrind takes from its request to its first look for the answer.
const DELAY: Duration = Duration::from_millis(5);
/// More than any answer has.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// The URL that leads to the server with this URL by way of a new proxy.
pub(crate) async fn before(server: &str) -> String {
    let mut url = Url::parse(server).unwrap();
    let port = url.port().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(forward(client, server));
        }
    });
    url.into()
}

/// Forwards until either end closes.
async fn forward(client: TcpStream, server: TcpStream) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let ((mut from_client, mut to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let answering = async {
        let mut answer: Vec<u8> = Vec::with_capacity(MAX_ANSWER_BYTES);
        while from_server.readable().await.is_ok() {
            tokio::time::sleep(DELAY).await;
            match from_server.try_read_buf(&mut answer) {
                Ok(0) => return,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
            if to_client.write_all(&answer).await.is_err() {
                return;
            }
            answer.clear();
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = answering => {}
    }
}
