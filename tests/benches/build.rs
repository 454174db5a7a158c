//! Builds the binaries that are measured, exactly as they are deployed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Builds one package for release and returns the binary of this name. Cargo unifies the features of all packages in one build, so
/// that functions built together with the gateway would contain its SQLite.
pub(crate) fn release(package: &str, name: &str) -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    // Cargo creates this folder directly in the target folder, wherever that is configured to be.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bins", "--message-format=json-render-diagnostics"])
        .args(["--package", package, "--manifest-path", manifest, "--target-dir"])
        .arg(target)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "{package} cannot be built");
    let messages = String::from_utf8(built.stdout).unwrap();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut binaries = messages.filter(|message| message["target"]["name"] == name);
    let binary = binaries.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    binary.unwrap_or_else(|| panic!("{package} has no binary named {name}"))
}
