//! A program that runs beside a world, and what it prints.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than any of them takes, retries included; a program that runs so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The repository, whose files programs are named by.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A tool that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Curl,
    Node,
    Python,
}

impl Tool {
    /// Whether to do without it, as `tests/run` decided; says so. Where nothing may be missing, nothing is skipped.
    pub(crate) fn is_skipped(self) -> bool {
        let name = match self {
            Self::Curl => "curl",
            Self::Node => "node",
            Self::Python => "python",
        };
        let skipped = std::env::var("CARILLON_SKIP").unwrap_or_default();
        let is_skipped =
            skipped.split_whitespace().any(|tool| tool == name) && std::env::var("CI").as_deref() != Ok("true");
        if is_skipped {
            println!("skipped: {name} is missing");
        }
        is_skipped
    }

    fn command(self) -> Command {
        match self {
            Self::Curl => Command::new("bash"),
            Self::Node => Command::new("node"),
            Self::Python => {
                let installed = || format!("{ROOT}/.tools/python/bin/python");
                let python = std::env::var("CARILLON_PYTHON").unwrap_or_else(|_| installed());
                assert!(Path::new(&python).exists(), "{python} is missing; `tests/run --tools` installs it");
                Command::new(python)
            }
        }
    }
}

/// A program and its arguments, to be run against a gateway.
pub(crate) fn program(tool: Tool, arguments: &[&str], url: &str) -> Command {
    let mut command = tool.command();
    command.current_dir(ROOT).args(arguments).env("CARILLON_URL", url).env_remove("CARILLON_TOKEN");
    // What somebody set for other programs: a proxy does not find this loopback, a profile may not be there.
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NODE_OPTIONS", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program to its end; its output, line by line.
pub(crate) async fn run(mut command: Command) -> Vec<String> {
    let output = finished(&mut command).await;
    let (printed, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{printed}{complaints}", command.as_std(), output.status);
    printed.lines().map(str::to_owned).collect()
}

/// Runs a program that must fail; what it complained of.
pub(crate) async fn run_in_vain(mut command: Command) -> String {
    let output = finished(&mut command).await;
    assert!(!output.status.success(), "{:?} succeeded", command.as_std());
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

async fn finished(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("the program did not end").unwrap()
}

/// A program that goes on while the test does something.
pub(crate) struct Running {
    child: Child,
    printed: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, printed }
    }

    /// The next line it prints.
    pub(crate) async fn prints(&mut self) -> String {
        let line = timeout(PATIENCE, self.printed.next_line()).await.expect("nothing was printed").unwrap();
        line.expect("it ended")
    }

    /// Waits until it ends, well and without printing another line; what it complained of.
    pub(crate) async fn ends(mut self) -> Vec<String> {
        let line = timeout(PATIENCE, self.printed.next_line()).await.expect("it did not end").unwrap();
        assert_eq!(line, None);
        let output = self.child.wait_with_output().await.unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{complaints}");
        complaints.lines().map(str::to_owned).collect()
    }
}
