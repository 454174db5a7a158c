//! All functions under `cargo lambda watch`, started by the script behind `make watch`.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the installation of cargo-lambda, the compilation and the start may take together.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(900);

/// A running `make watch`; dropping it stops it and its functions.
#[derive(Debug)]
pub struct Watch(Child);

impl Watch {
    /// Starts it and returns when functions can be called on this port of the loopback interface.
    pub async fn start<'a>(port: u16, variables: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut command = Command::new("setpriv");
        // TERM rather than KILL: the script starts cargo, which starts the functions, and the signal stops all of them.
        command.args(["--pdeathsig", "TERM", concat!(env!("CARGO_MANIFEST_DIR"), "/watch"), &port.to_string()]);
        // An edit of a source during the test must not restart the functions.
        command.arg("--ignore-changes");
        let child = command.envs(variables).stdin(Stdio::null()).spawn().unwrap();
        let mut watch = Self(child);
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(watch.0.try_wait().unwrap().is_none(), "make watch has ended");
            assert!(began.elapsed() < STARTUP_TIMEOUT, "make watch does not listen");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // INT lets cargo-lambda stop its functions; a kill would leave them running.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
