//! What is fuzzed, and what its outcomes are.

use std::hash::{DefaultHasher, Hash, Hasher};

use shared::error::Error;

/// One place where input enters.
pub(crate) struct Target {
    /// Its name in `TARGET`, and the folder of its findings.
    pub(crate) name: &'static str,
    /// Inputs to start from.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// What is put into inputs beside what they contain.
    pub(crate) words: &'static [&'static str],
    /// Tries an input. Panics if what happens must not; otherwise the outcome, the same for inputs that are treated alike.
    pub(crate) attempt: Attempt,
}

pub(crate) type Attempt = Box<dyn FnMut(&[u8]) -> u64>;

/// A number for an outcome, the same in every run.
pub(crate) fn signature(outcome: impl Hash) -> u64 {
    // `DefaultHasher::new` has no random keys.
    let mut hasher = DefaultHasher::new();
    outcome.hash(&mut hasher);
    hasher.finish()
}

/// The files of a folder of `tests`, as seeds.
pub(crate) fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The outcome of a refusal: the first requirement that was not met, without the name of the field, and whether there are
/// more. All of them would make almost every input a new outcome.
pub(crate) fn outcome(error: &Error) -> (&'static str, String, bool) {
    let text = error.to_string();
    let (first, others) = text.split_once("; ").unwrap_or((&text, ""));
    (error.code(), shape(first.rsplit(": ").next().unwrap_or_default()), others.is_empty())
}

/// The digits of a text as one digit, so that messages about different numbers are alike.
pub(crate) fn shape(text: &str) -> String {
    let mut shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    while shape.contains("00") {
        shape = shape.replace("00", "0");
    }
    shape
}

/// A runtime for the targets that wait.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
