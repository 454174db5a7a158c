//! The measured system: the local gateway as a child process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than any start or stop takes.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The unit of CPU times in `/proc`: 100 ticks per second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Rates that no bench reaches: most of them measure how fast it is, not how fast it lets a caller be.
pub(crate) fn unlimited() -> Vec<(&'static str, String)> {
    ["RATE_LIMIT_SEND", "RATE_LIMIT_CHAT", "RATE_LIMIT_FRAMES"].map(|name| (name, "100000/1s".to_owned())).into()
}

/// A running system. Dropping it kills it.
pub(crate) struct Carillon {
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
    /// The time from the start of the process until it printed `ready`.
    pub(crate) ready_after: Duration,
    process: Child,
    /// Kept open, because a process fails when it writes to a closed standard output.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Carillon {
    /// Starts the gateway on a data folder, without limits, and waits until it prints `ready`.
    pub(crate) async fn start(program: &Path, data: &Path) -> Self {
        Self::start_with(program, data, &unlimited()).await
    }

    /// Starts the gateway with these variables alone.
    pub(crate) async fn start_with(program: &Path, data: &Path, variables: &[(&str, String)]) -> Self {
        let began = Instant::now();
        let mut process = Command::new(program)
            .args(["--port", "0", "--data"])
            .arg(data)
            // The environment of the bench must not influence the figures.
            .env_clear()
            .env("RUST_LOG", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = async {
            loop {
                let line = output.next_line().await.unwrap().expect("the gateway ended before it was ready");
                if let Some(address) = line.strip_prefix("ready http://") {
                    return address.parse().unwrap();
                }
            }
        };
        let address = timeout(TIMEOUT, ready).await.expect("the gateway was not ready in time");
        Self { address, ready_after: began.elapsed(), process, _output: output }
    }

    /// Stops the gateway with SIGTERM and waits for its end.
    pub(crate) async fn stop(mut self) {
        // `kill` is built into the shell; the program of that name may not be installed.
        let command = format!("kill -TERM {}", self.id());
        let status = Command::new("sh").args(["-c", &command]).status().await.unwrap();
        assert!(status.success());
        timeout(TIMEOUT, self.process.wait()).await.expect("the gateway did not stop in time").unwrap();
    }

    /// The user and system time of the process so far, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name in brackets may contain spaces, so fields are counted after it: the first one is field 3, and utime
        // and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u32 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        TICK * ticks
    }

    /// The resident memory of the process (VmRSS), in KiB.
    pub(crate) fn resident_kib(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn id(&self) -> u32 {
        self.process.id().expect("the process has not been waited for")
    }
}
