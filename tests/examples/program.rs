//! A program that runs next to a world, and its output.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use harness::tools;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than any program takes, including its retries; a program that runs this long has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The root of the repository: paths of programs are relative to it.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A tool that may be missing on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Curl,
    Go,
    Node,
    Python,
}

impl Tool {
    /// Whether `tests/run` found this tool missing, which is then printed. With `CI=true`, nothing is skipped.
    pub(crate) fn is_skipped(self) -> bool {
        let name = match self {
            Self::Curl => "curl",
            Self::Go => "go",
            Self::Node => "node",
            Self::Python => "python",
        };
        tools::is_skipped(name)
    }

    fn command(self) -> Command {
        match self {
            Self::Curl => Command::new("bash"),
            Self::Go => Command::new("go"),
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

/// A command that runs a program against the gateway at this URL.
pub(crate) fn program(tool: Tool, arguments: &[&str], url: &str) -> Command {
    let mut command = tool.command();
    command.current_dir(ROOT).args(arguments).env("CARILLON_URL", url).env_remove("CARILLON_TOKEN");
    // Settings for other programs: a proxy does not reach this loopback interface, and a profile may not exist.
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NODE_OPTIONS", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a program, which must succeed; returns the lines of its standard output.
pub(crate) async fn run(mut command: Command) -> Vec<String> {
    let output = finished(&mut command).await;
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{printed}{errors}", command.as_std(), output.status);
    printed.lines().map(str::to_owned).collect()
}

/// Runs a program, which must fail; returns its output and errors.
pub(crate) async fn run_failing(mut command: Command) -> String {
    let output = finished(&mut command).await;
    assert!(!output.status.success(), "{:?} succeeded", command.as_std());
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

async fn finished(command: &mut Command) -> Output {
    timeout(TIMEOUT, command.output()).await.expect("the program did not end in time").unwrap()
}

/// A program that runs while the test continues.
pub(crate) struct Running {
    child: Child,
    printed: Lines<BufReader<ChildStdout>>,
    input: Option<ChildStdin>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take();
        Self { child, printed, input }
    }

    /// Starts it with an input, which ends in [`ends`](Self::ends).
    pub(crate) fn start_with_input(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::start(command)
    }

    /// Gives it a line of input.
    pub(crate) async fn reads(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it was started with an input");
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line that the program prints.
    pub(crate) async fn prints(&mut self) -> String {
        let line = timeout(TIMEOUT, self.printed.next_line()).await.expect("nothing was printed in time").unwrap();
        line.expect("the program ended")
    }

    /// Waits until the program succeeds, without another line of output; returns the lines of its standard error.
    pub(crate) async fn ends(mut self) -> Vec<String> {
        drop(self.input.take());
        let line = timeout(TIMEOUT, self.printed.next_line()).await.expect("the program did not end in time").unwrap();
        assert_eq!(line, None);
        let output = self.child.wait_with_output().await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        errors.lines().map(str::to_owned).collect()
    }
}
