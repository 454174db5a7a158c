//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with generated, installed or local files, which are not part of the repository.
const IGNORED: [&str; 7] = ["target", ".git", ".tools", ".local", "node_modules", "dist", ".next"];

/// A text file: its path relative to the root of the repository, with slashes, and its content.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file in a folder and its subfolders, in order; `""` is the whole repository. Binary files are skipped.
pub(crate) fn texts_under(folder: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    walk(&root().join(folder), folder, &mut texts);
    texts
}

/// The Rust source files in these folders and their subfolders.
pub(crate) fn rust_under(folders: &[&str]) -> Vec<Text> {
    let texts = folders.iter().flat_map(|folder| texts_under(folder));
    texts.filter(|text| text.path.ends_with(".rs")).collect()
}

/// The names of the folders in a folder, in order.
pub(crate) fn folders_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap);
    let mut names: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn walk(folder: &Path, name: &str, texts: &mut Vec<Text>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let own = entry.file_name().into_string().unwrap();
        let path = if name.is_empty() { own.clone() } else { format!("{name}/{own}") };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !IGNORED.contains(&own.as_str()) {
            walk(&entry.path(), &path, texts);
        } else if kind.is_file() {
            // Images and databases are not valid UTF-8.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                texts.push(Text { path, text });
            }
        }
    }
}

#[test]
fn the_files_of_the_repository_are_found() {
    for folder in ["shared/src", "functions", "gateway/src", "tests"] {
        let found = rust_under(&[folder]);
        assert!(!found.is_empty(), "no Rust source in {folder}");
    }
    let everything = texts_under("");
    let has = |path: &str| everything.iter().any(|text| text.path == path);
    assert!(has("Cargo.toml") && has("shared/src/lib.rs") && has("tests/rules/main.rs"));
    assert!(!everything.iter().any(|text| text.path.starts_with("target/")));
}
