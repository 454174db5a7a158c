//! The command `carillon --lambda spawn`: what it needs, what it logs, and that its functions end with it.

use std::path::Path;
use std::process::{Output, Stdio};

use harness::{binaries, http, postgres_server, redis_server};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};

use crate::function::{has_state, in_time};

/// The variables of a new database and a new key prefix, and the command's own.
async fn servers() -> Vec<(&'static str, String)> {
    let redis = redis_server::own_prefix();
    vec![
        ("DATABASE_URL", postgres_server::database().await.reveal().to_owned()),
        ("REDIS_URL", redis.instances[0].url.reveal().to_owned()),
        ("REDIS_KEY_PREFIX", redis.prefix),
        ("PATH", std::env::var("PATH").unwrap()),
    ]
}

/// The command with these variables and no others.
fn gateway(arguments: &[&str], variables: &[(&str, String)], data: &Path) -> Command {
    // They lie beside the gateway, where it looks for them.
    binaries::built(binaries::Profile::Dev);
    let mut command = Command::new(binaries::gateway());
    command.args(["--lambda", "spawn", "--port", "0", "--data"]).arg(data).args(arguments);
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The exit code and the log of a command that does not serve.
async fn refused(arguments: &[&str], variables: &[(&str, String)]) -> (Option<i32>, String) {
    let data = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = in_time(gateway(arguments, variables, data.path()).output()).await.unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// The next line that contains this text.
async fn line(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, text: &str) -> String {
    in_time(async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the gateway has ended");
            if line.contains(text) {
                return line;
            }
        }
    })
    .await
}

/// A gateway that has answered a call of `health`.
struct Serving {
    process: Child,
    _data: tempfile::TempDir,
    /// The process that answered.
    function: Value,
    log: Vec<String>,
}

impl Serving {
    async fn start(variables: &[(&str, String)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = gateway(&[], variables, data.path()).spawn().unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut logged = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = line(&mut printed, "ready http://").await["ready http://".len()..].parse().unwrap();
        let health = http::call(address, "GET", "/health", &[], "").await.expect(200);
        assert_eq!((&health["status"], health["dependencies"]["database"].as_str()), (&"ok".into(), Some("ok")));
        let mut log = Vec::new();
        for text in ["START RequestId: ", "END RequestId: ", "REPORT RequestId: "] {
            log.push(line(&mut logged, &format!("] {text}")).await);
            while !log.last().unwrap().starts_with("health[") {
                log.pop();
                log.push(line(&mut logged, &format!("] {text}")).await);
            }
        }
        let function = log[0]["health[".len()..].split_once(']').unwrap().0.parse::<u64>().unwrap();
        Self { process, _data: data, function: function.into(), log }
    }
}

#[tokio::test]
async fn a_call_is_reported_on_standard_error_and_its_process_waits_frozen() {
    let serving = Serving::start(&servers().await).await;
    let report = &serving.log[2];
    for text in ["\tDuration: ", "\tBilled Duration: ", "\tMemory Size: 256 MB\tMax Memory Used: ", "\tInit Duration: "]
    {
        assert!(report.contains(text), "{report}");
    }
    has_state(&serving.function, Some('T')).await;
}

#[tokio::test]
async fn functions_end_with_the_gateway_however_it_ends() {
    for signal in ["TERM", "KILL"] {
        let mut serving = Serving::start(&servers().await).await;
        has_state(&serving.function, Some('T')).await;
        let pid = serving.process.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let status = in_time(serving.process.wait()).await.unwrap();
        assert_eq!(status.success(), signal == "TERM", "{status}");
        has_state(&serving.function, None).await;
    }
}

#[tokio::test]
async fn stores_of_one_process_are_refused_with_what_to_set() {
    let all = servers().await;
    let without = |name: &str| -> Vec<_> { all.iter().filter(|(own, _)| *own != name).cloned().collect() };
    let sqlite = [&without("DATABASE_URL")[..], &[("DATABASE_URL", "sqlite:///tmp/x.db".to_owned())]].concat();
    for (variables, name) in
        [(without("DATABASE_URL"), "DATABASE_URL"), (sqlite, "DATABASE_URL"), (without("REDIS_URL"), "REDIS_URL")]
    {
        let (code, log) = refused(&[], &variables).await;
        assert_eq!((code, log.lines().count()), (Some(78), 1), "{log}");
        assert!(log.starts_with(name) && log.contains("--lambda spawn"), "{log}");
    }
    let (code, log) = refused(&[], &[]).await;
    assert_eq!((code, log.lines().count()), (Some(78), 2), "{log}");
}

#[tokio::test]
async fn missing_binaries_are_refused_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for function in binaries::functions() {
        if !["send", "drain"].contains(&function.as_str()) {
            std::fs::write(folder.path().join(function), "").unwrap();
        }
    }
    let path = folder.path().to_str().unwrap();
    let (code, log) = refused(&["--functions", path], &servers().await).await;
    assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
    assert!(log.starts_with(&format!("no binary of send, drain in {path}: ")) && log.contains("cargo build"), "{log}");
}

#[tokio::test]
async fn a_place_for_functions_is_spawn_or_a_url() {
    let mut command = Command::new(binaries::gateway());
    let output = command.args(["--lambda", "spawned"]).env_clear().output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && log.contains("or it must be spawn"), "{log}");
}
