//! Builds what is measured, exactly as it ships.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Builds a package for release, by itself, and returns its binary. Two packages in one build would share their
/// features, and every function would carry the local gateway's SQLite.
pub(crate) fn release(package: &str) -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    // Cargo makes this folder right below that of the build, wherever the latter was asked to be.
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
    let mut binaries = messages.filter(|message| message["target"]["name"] == package);
    let binary = binaries.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    binary.unwrap_or_else(|| panic!("{package} has no binary of its name"))
}
