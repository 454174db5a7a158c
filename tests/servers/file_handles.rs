//! The gateway when its clients have taken all file handles of the process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{binaries, http};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::Command;

/// How long a test waits for a line of output.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The next line that contains this text.
async fn line(lines: &mut Lines<impl AsyncBufRead + Unpin>, text: &str) -> String {
    let found = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the gateway has ended");
            if line.contains(text) {
                return line;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, found).await.expect("the line did not appear")
}

#[tokio::test]
async fn without_file_handles_the_gateway_warns_once_a_second_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(r#"ulimit -n 64; exec "$0" --port 0 --data "$1""#).arg(binaries::gateway()).arg(data.path());
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut gateway = command.spawn().unwrap();
    let mut output = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let ready = line(&mut output, "ready http://").await;
    let address = ready.trim_start_matches("ready http://").parse().unwrap();

    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    const WARNING: &str = "cannot accept a connection";
    line(&mut log, WARNING).await;
    let first_at = Instant::now();
    line(&mut log, WARNING).await;
    let interval = first_at.elapsed();
    assert!(interval > Duration::from_millis(500), "a second warning after {interval:?}");

    drop(clients);
    assert_eq!(http::call(address, "GET", "/health", &[], "").await.status, 200);
    gateway.kill().await.unwrap();
}
