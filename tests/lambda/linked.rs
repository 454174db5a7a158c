//! What is linked into the binaries: no store for local development, and only one TLS stack.

use std::path::Path;
use std::process::{Command, Stdio};

use harness::World;
use harness::binaries::{self, Profile};

/// Texts that only SQLite contains, and the memory store and the gateway as symbols name them. The `#` is left out of each, so
/// that they are not contained in this test's own binary as they appear here.
const LOCAL: [&str; 4] = ["SQLite# format 3", "sqlite3#_", "6shared#6moment6memory", "7#gateway"];

fn contains(binary: &Path, text: &str) -> bool {
    let text = text.replace('#', "");
    let found = Command::new("grep").args(["-q", "-a", "-F", &text]).arg(binary).status().unwrap();
    found.success()
}

#[tokio::test]
async fn no_binary_contains_what_is_only_for_a_laptop() {
    for (function, binary) in binaries::built(Profile::Dev) {
        assert!(contains(binary, "6shared"), "{function} has no symbols to search");
        for text in LOCAL {
            assert!(!contains(binary, text), "{function} contains {text}");
        }
    }
    // This test uses all of it, so its own binary must contain the texts.
    World::new().await.stops().await;
    for text in LOCAL {
        assert!(contains(&std::env::current_exe().unwrap(), text), "{text} is not even in a binary that uses all");
    }
}

#[test]
fn no_binary_has_a_second_tls_stack() {
    let mut tree = binaries::cargo("tree");
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = tree.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let tree = String::from_utf8(output.stdout).unwrap();
    let mut packages: Vec<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    packages.sort_unstable();
    packages.dedup();
    let named = |name: &str| packages.iter().filter(|package| package.split(' ').next() == Some(name)).count();
    assert_eq!((named("rustls"), named("aws-lc-rs"), named("hyper")), (1, 1, 1), "{packages:#?}");
    for other in ["ring", "native-tls", "openssl", "openssl-sys", "s2n-tls", "libsqlite3-sys"] {
        assert_eq!(named(other), 0, "{other} is among the dependencies of a function");
    }
}
