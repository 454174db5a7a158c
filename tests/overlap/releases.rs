//! The two releases: this one, and the commit before its newest migration, or `BASE`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The gateways of both releases. The earlier one is checked out until this is dropped, since its gateway reads the
/// template from there.
pub(crate) struct Releases {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
    /// What the earlier release is, in a line.
    pub(crate) base: String,
    folder: TempDir,
}

impl Releases {
    /// Checks the earlier release out beside this one, and builds both.
    pub(crate) fn build() -> Self {
        let commit = std::env::var("BASE").ok().filter(|base| !base.is_empty()).unwrap_or_else(before_newest_migration);
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("old-release");
        git(&["worktree", "add", "--detach", "--quiet", tree.to_str().unwrap(), &commit]);
        let base = git(&["log", "-1", "--format=%h %s", &commit]);
        let mut releases = Self { old: PathBuf::new(), new: PathBuf::new(), base, folder };
        releases.old = releases.built(&tree, "old", &target().join("overlap"));
        releases.new = releases.built(Path::new(ROOT), "new", &target());
        releases
    }

    /// Builds the gateway of a source tree in its own target folder: cargo tells the crates of two trees apart by their
    /// paths inside the tree only, and would link those of one release into the other. The binary is copied, because
    /// the next build in that folder replaces it.
    fn built(&self, tree: &Path, name: &str, target: &Path) -> PathBuf {
        println!("building the {name} release");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(tree).args(["build", "--locked", "--package", "gateway", "--bin", "carillon"]);
        // Both releases share what does not differ between them.
        cargo.arg("--target-dir").arg(target).args(["--message-format", "json-render-diagnostics"]);
        let built = cargo.stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "the {name} release could not be built");
        let messages = built.stdout.split(|byte| *byte == b'\n');
        let mut messages = messages.filter_map(|message| serde_json::from_slice::<Value>(message).ok());
        let binary = messages.find_map(|message| message["executable"].as_str().map(PathBuf::from)).unwrap();
        let copy = self.folder.path().join(format!("carillon-{name}"));
        std::fs::copy(binary, &copy).unwrap();
        copy
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        let tree = self.folder.path().join("old-release");
        git(&["worktree", "remove", "--force", tree.to_str().unwrap()]);
    }
}

/// The commit before the one that added the newest migration.
fn before_newest_migration() -> String {
    let mut names: Vec<PathBuf> = std::fs::read_dir(format!("{ROOT}/migrations/postgres"))
        .unwrap()
        .map(|entry| Path::new("migrations/postgres").join(entry.unwrap().file_name()))
        .collect();
    names.sort();
    let newest = names.last().unwrap().to_str().unwrap();
    let added = git(&["log", "-1", "--diff-filter=A", "--format=%H", "--", newest]);
    assert!(!added.is_empty(), "{newest} is not committed: name the earlier release in BASE");
    format!("{added}^")
}

/// The folder that cargo builds this program in.
fn target() -> PathBuf {
    // target/debug/deps/overlap-…
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").current_dir(ROOT).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "git {}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
