//! The system under measurement: the local gateway, as a child process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than a start or a stop ever takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// The unit of times in `/proc`: 100 a second, wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// A running system. Dropping it kills it.
pub(crate) struct Carillon {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How long it took from its start until it said `ready`.
    pub(crate) ready_after: Duration,
    process: Child,
    /// Kept open: a process whose standard output is closed fails when it writes.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Carillon {
    /// Starts on a data folder and waits for `ready`.
    pub(crate) async fn start(program: &Path, data: &Path) -> Self {
        Self::start_with(program, data, &[]).await
    }

    /// The same with these variables.
    pub(crate) async fn start_with(program: &Path, data: &Path, variables: &[(&str, String)]) -> Self {
        let began = Instant::now();
        let mut process = Command::new(program)
            .args(["--port", "0", "--data"])
            .arg(data)
            // What is set around the bench must not change what is measured.
            .env_clear()
            .env("RATE_LIMIT_SEND", "100000/1s")
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
                let line = output.next_line().await.unwrap().expect("it ended before it was ready");
                if let Some(address) = line.strip_prefix("ready http://") {
                    return address.parse().unwrap();
                }
            }
        };
        let address = timeout(PATIENCE, ready).await.expect("it was not ready");
        Self { address, ready_after: began.elapsed(), process, _output: output }
    }

    /// Stops as a person would stop it.
    pub(crate) async fn stop(mut self) {
        // The shell has `kill` built in; the program of that name may not be installed.
        let order = format!("kill -TERM {}", self.id());
        let told = Command::new("sh").args(["-c", &order]).status().await.unwrap();
        assert!(told.success());
        timeout(PATIENCE, self.process.wait()).await.expect("it did not stop").unwrap();
    }

    /// User and system time of the process so far, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name, in brackets, may hold spaces. utime and stime are fields 14 and 15, the one after it is the 3rd.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u32 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        TICK * ticks
    }

    /// The memory that the process occupies (VmRSS), in KiB.
    pub(crate) fn resident_kib(&self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn id(&self) -> u32 {
        self.process.id().expect("it has not been waited for")
    }
}
