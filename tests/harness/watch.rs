//! The functions under `cargo lambda watch`, as `make watch` starts them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long cargo-lambda may take to install itself, to compile and to listen.
const PATIENCE: Duration = Duration::from_secs(900);

/// `make watch`, until it is dropped.
#[derive(Debug)]
pub struct Watch(Child);

impl Watch {
    /// Returns when functions can be called at this port of the loopback.
    pub async fn start<'a>(port: u16, variables: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = Command::new("setpriv");
        // It starts cargo, which starts functions: who stops it stops them too.
        command.args(["--pdeathsig", "TERM", concat!(env!("CARGO_MANIFEST_DIR"), "/watch"), &port.to_string()]);
        // Who edits meanwhile is not to restart what is being called.
        command.arg("--ignore-changes");
        let child = command.envs(variables).stdin(Stdio::null()).spawn().unwrap();
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
