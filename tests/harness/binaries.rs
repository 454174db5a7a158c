//! The function binaries, built as for a deployment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The cargo profile that binaries are built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The profile of the tests.
    Dev,
    /// The profile of `make faults`.
    Faults,
    /// The profile of a deployment.
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

/// The binary of every function, by function name, built at the first call in a process.
///
/// A separate cargo builds them, because cargo unifies the features of all packages in one build: the functions that
/// `cargo test` builds along with the gateway contain SQLite. Built without the gateway, they are what is deployed.
pub fn built(profile: Profile) -> &'static BTreeMap<String, PathBuf> {
    static DEV: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    static FAULTS: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    static RELEASE: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    match profile {
        Profile::Dev => DEV.get_or_init(|| build(&[])),
        Profile::Faults => FAULTS.get_or_init(|| build(&["--profile", "faults"])),
        Profile::Release => RELEASE.get_or_init(|| build(&["--release"])),
    }
}

/// The folder of the functions' binaries, built as by [`built`].
pub fn folder(profile: Profile) -> PathBuf {
    let binary = built(profile).values().next().expect("there are functions");
    binary.parent().unwrap().to_owned()
}

/// The gateway's binary, built with the same features as the tests so that their build is reused. The functions that
/// [`built`] builds for development are beside it.
pub fn gateway() -> &'static PathBuf {
    static GATEWAY: OnceLock<PathBuf> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .args(["build", "--locked", "--workspace", "--bin", "carillon"])
            .args(["--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the gateway could not be built");
        let (_, executable) = executables(&built.stdout).next().unwrap();
        executable
    })
}

/// A cargo command at the root of the workspace that applies to every function and to nothing else.
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
    let built: BTreeMap<String, PathBuf> = executables(&output.stdout).collect();
    assert_eq!(built.keys().cloned().collect::<Vec<_>>(), functions());
    built
}

/// The binaries in what cargo says about a build, by name.
fn executables(messages: &[u8]) -> impl Iterator<Item = (String, PathBuf)> {
    let messages = messages.split(|byte| *byte == b'\n');
    messages.filter_map(|message| serde_json::from_slice::<Value>(message).ok()).filter_map(|message| {
        let executable = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), executable.into()))
    })
}
