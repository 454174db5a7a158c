//! The functions' binaries, as a deployment has them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// How binaries are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As tests are.
    Dev,
    /// As what is deployed.
    Release,
}

/// The names of all functions, in alphabetical order.
pub fn functions() -> Vec<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions")).unwrap();
    let folders = folder.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every function's binary by its name, built at the first call of a process.
///
/// By a cargo of its own: features are one for all that is built at once, so that what `cargo test` builds beside
/// the gateway has SQLite in it. The functions alone are what is deployed.
pub fn built(profile: Profile) -> &'static BTreeMap<String, PathBuf> {
    static DEV: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    static RELEASE: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    match profile {
        Profile::Dev => DEV.get_or_init(|| build(&[])),
        Profile::Release => RELEASE.get_or_init(|| build(&["--release"])),
    }
}

/// A cargo at the workspace's root that does something with every function and with nothing else.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args([subcommand, "--locked"]);
    for function in functions() {
        command.args(["--package", &function]);
    }
    command
}

fn build(options: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut building = cargo("build");
    building.args(["--bins", "--message-format", "json-render-diagnostics"]).args(options);
    let output = building.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the functions could not be built");
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let built: BTreeMap<String, PathBuf> = messages
        .filter_map(|message| serde_json::from_slice::<Value>(message).ok())
        .filter_map(|message| {
            let executable = message["executable"].as_str()?;
            Some((message["target"]["name"].as_str()?.to_owned(), executable.into()))
        })
        .collect();
    assert_eq!(built.keys().cloned().collect::<Vec<_>>(), functions());
    built
}
