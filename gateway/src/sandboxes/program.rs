//! What a sandbox runs: the binary of a function, and the environment that Lambda gives it.

use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use shared::clock::Clock;
use tokio::process::Command;
use uuid::Uuid;

use crate::template::resolve::{ACCOUNT_ID, REGION};
use crate::timestamps;

/// Environment variables, by name.
pub type Variables = Vec<(String, String)>;

/// A program of util-linux that starts another one with options of the kernel.
const SETPRIV: &str = "setpriv";
/// Has the kernel kill the program when the thread that started it ends, however that happens: a frozen process would
/// otherwise stay for ever. The standard library offers no such option without unsafe code.
const TIED: [&str; 2] = ["--pdeathsig", "KILL"];
/// Whether the kernel has that option. Elsewhere frozen processes end because their process group is orphaned, and the
/// others when they next call the Runtime API.
const IS_LINUX: bool = cfg!(target_os = "linux");

/// The binary of a function, and its environment.
#[derive(Debug, Clone)]
pub struct Program {
    /// The name of the function.
    pub function: String,
    /// The binary.
    pub binary: PathBuf,
    /// The function's own variables, which go before those of Lambda.
    pub variables: Variables,
    /// The function's memory in MB. It is told to the function and reported, and not enforced.
    pub memory_mb: u64,
}

impl Program {
    /// The function's ARN.
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{}", self.function)
    }

    /// A command that starts it against the Runtime API at this address, and that nothing else outlives. Its output goes
    /// to the pipe.
    ///
    /// It leads a process group of its own, so that Ctrl-C in a terminal reaches the gateway only.
    pub(super) fn command(&self, api: &str, output: PipeWriter) -> std::io::Result<Command> {
        let mut command = tied(&self.binary);
        command
            .env_clear()
            .envs(self.lambda_variables(api))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// The variables that Lambda itself sets. `lambda_runtime` panics without some of them.
    fn lambda_variables(&self, api: &str) -> [(&'static str, String); 18] {
        let name = &self.function;
        let date = timestamps::with_seconds(Clock::system().now_ms())[..10].replace('-', "/");
        let folder = self.binary.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        [
            // On Lambda it has neither scheme nor path; `lambda_runtime` reads a path only behind a scheme.
            ("AWS_LAMBDA_RUNTIME_API", format!("http://{api}")),
            // Where the AWS SDKs invoke functions. Lambda does not set it; without it they would ask AWS.
            ("AWS_ENDPOINT_URL_LAMBDA", format!("http://{api}")),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{date}/[$LATEST]{}", Uuid::new_v4().simple())),
            ("AWS_REGION", REGION.into()),
            ("AWS_DEFAULT_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", "local".into()),
            ("AWS_SECRET_ACCESS_KEY", "local".into()),
            ("AWS_SESSION_TOKEN", "local".into()),
            ("LAMBDA_RUNTIME_DIR", folder.clone()),
            ("LAMBDA_TASK_ROOT", folder),
            ("_HANDLER", "bootstrap".into()),
            ("LANG", "en_US.UTF-8".into()),
            ("TZ", ":UTC".into()),
        ]
    }
}

/// Whether programs can be tied to the thread that starts them. The error says what is missing.
pub(super) async fn can_be_tied() -> Result<(), String> {
    if !IS_LINUX {
        return Ok(());
    }
    let tried = Command::new(SETPRIV).args(TIED).args(["--", SETPRIV, "--version"]).output().await;
    match tried {
        Ok(tried) if tried.status.success() => Ok(()),
        Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).trim().replace('\n', " ")),
        Err(error) => Err(error.to_string()),
    }
}

fn tied(binary: &Path) -> Command {
    if !IS_LINUX {
        return Command::new(binary);
    }
    let mut command = Command::new(SETPRIV);
    command.args(TIED).arg("--").arg(binary);
    command
}
