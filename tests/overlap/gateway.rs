//! A local gateway of one release, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a gateway may take to start and to stop.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Environment variables, by name.
pub(crate) type Variables = [(&'static str, String)];

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    process: Child,
    _data: TempDir,
}

impl Gateway {
    /// Starts a binary; returns once it serves.
    pub(crate) async fn start(binary: &Path, variables: &Variables) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = command(binary, &["--port", "0"], variables, &data).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the gateway ended before it was ready");
                if let Some(address) = line.strip_prefix("ready http://") {
                    return address.parse().unwrap();
                }
            }
        };
        let address = tokio::time::timeout(TIMEOUT, ready).await.expect("the gateway was not ready in time");
        Self { address, process, _data: data }
    }

    /// Stops it as a deployment does: what runs is finished.
    pub(crate) async fn stop(mut self) {
        let id = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(TIMEOUT, self.process.wait()).await;
        assert!(ended.expect("the gateway did not stop").unwrap().success());
    }
}

/// Runs the command `migrate` of a binary; returns what it printed.
pub(crate) async fn migrate(binary: &Path, variables: &Variables) -> String {
    let data = tempfile::tempdir().unwrap();
    let output = command(binary, &["migrate"], variables, &data).stdout(Stdio::piped()).output().await.unwrap();
    assert!(output.status.success(), "migrate failed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn command(binary: &Path, arguments: &[&str], variables: &Variables, data: &TempDir) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(arguments).arg("--data").arg(data.path()).stdin(Stdio::null()).kill_on_drop(true);
    command
}
