//! Fuzzing of what strangers, stores and templates give to the code: `make fuzz`.
//!
//! Each target starts with good inputs and changes them at random. An input whose outcome is new is kept and changed
//! further. A target panics if something must not happen; the input is then made smaller, written to
//! `tests/fuzz/found/<target>/`, and tried first in every later run, so it stays a test when it is mended.
//!
//! `TARGET=frames,tokens` chooses targets, `FUZZ_SECONDS` is how long all chosen ones take together, and `SEED`, which
//! every run prints, repeats the inputs of an earlier run. Arguments choose targets too; `--list`, which test runners
//! pass, chooses none.

#![allow(clippy::unwrap_used, reason = "a panic is a finding")]
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

mod bodies;
mod endpoints;
mod events;
mod fake_redis;
mod frames;
mod keys;
mod mutation;
mod published_keys;
#[path = "../faults/random.rs"]
mod random;
mod replies;
mod small;
mod target;
mod templates;
mod tokens;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::mutation::mutated;
use crate::random::Random;
use crate::target::{Target, signature};

/// How long all targets take together if nothing is said: what a test run may spend on them.
const DEFAULT_SECONDS: u64 = 40;
/// The most inputs that are kept of one target.
const MAX_KEPT: usize = 2_000;
/// The longest input: longer ones are cut.
const MAX_INPUT_BYTES: usize = 64 * 1_024;
/// How often an input that fails is made smaller at most.
const MAX_REDUCTIONS: usize = 400;

/// The panics of the current input, in whichever thread.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn targets() -> Vec<Target> {
    vec![
        bodies::target(),
        frames::target(),
        small::cursors(),
        small::queue_entries(),
        endpoints::target(),
        keys::target(),
        tokens::target(),
        published_keys::target(),
        templates::target(),
        replies::target(),
        events::http(),
        events::sockets(),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let chosen = chosen(&arguments);
    let mut targets = targets();
    targets.retain(|target| chosen.is_empty() || chosen.iter().any(|name| name == target.name));
    if targets.is_empty() {
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|panic| PANICS.lock().unwrap().push(panic.to_string())));
    let seconds = env_number("FUZZ_SECONDS");
    // `make test` repeats itself as far as it comes; a long run tries something new each time.
    let seed = env_number("SEED").unwrap_or_else(|| seconds.map_or(1, |_| std::process::id().into()));
    let total = Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS));
    println!("seed {seed}, {} s for {} targets", total.as_secs(), targets.len());
    let share = total / u32::try_from(targets.len()).unwrap();
    let mut failed = false;
    for target in targets {
        failed |= !fuzz(target, seed, share);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The names in the environment, or in the arguments.
fn chosen(arguments: &[String]) -> Vec<String> {
    let names = std::env::var("TARGET").unwrap_or_default();
    let named = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    named.chain(arguments.iter().filter(|argument| !argument.starts_with('-')).cloned()).collect()
}

/// A whole number from the environment; `None` if the variable is unset or empty.
fn env_number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number")))
}

/// Tries the inputs of a target until its time is over. False if one failed.
fn fuzz(mut target: Target, seed: u64, time: Duration) -> bool {
    let begun = Instant::now();
    let found = found(target.name);
    for (path, input) in &found {
        if let Err(panic) = attempt(&mut target, input) {
            println!("{}: {} still fails: {panic}", target.name, path.display());
            return false;
        }
    }
    let random = Random::new(seed ^ signature(target.name));
    let mut kept: Vec<Vec<u8>> = target.seeds.clone();
    let mut outcomes = HashSet::new();
    for input in &target.seeds.clone() {
        match attempt(&mut target, input) {
            Ok(outcome) => outcomes.insert(outcome),
            Err(panic) => return report(&mut target, seed, 0, input, &panic),
        };
    }
    let mut tried = 0_u64;
    while begun.elapsed() < time {
        tried += 1;
        let mut input = mutated(&kept, target.words, &random);
        input.truncate(MAX_INPUT_BYTES);
        match attempt(&mut target, &input) {
            Ok(outcome) => {
                if outcomes.insert(outcome) && kept.len() < MAX_KEPT {
                    kept.push(input);
                }
            }
            Err(panic) => return report(&mut target, seed, tried, &input, &panic),
        }
    }
    println!("{}: {tried} inputs, {} outcomes, {} found before", target.name, outcomes.len(), found.len());
    true
}

/// The outcome of an input, or its first panic.
fn attempt(target: &mut Target, input: &[u8]) -> Result<u64, String> {
    PANICS.lock().unwrap().clear();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| (target.attempt)(input)));
    // A task may have panicked whose result nobody looks at.
    let panic = PANICS.lock().unwrap().first().cloned();
    match (outcome, panic) {
        (Ok(outcome), None) => Ok(outcome),
        (_, panic) => Err(panic.unwrap_or_else(|| "a panic without a message".into())),
    }
}

/// Makes an input that fails smaller, keeps it for later runs, and says so.
fn report(target: &mut Target, seed: u64, tried: u64, input: &[u8], panic: &str) -> bool {
    let input = reduced(target, input);
    let folder = folder(target.name);
    let path = folder.join(format!("{:016x}", signature(&input)));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&path, &input).unwrap();
    println!("{}: input {tried} of seed {seed} fails: {panic}", target.name);
    println!("{}: it is kept in {}: {:.500}", target.name, path.display(), String::from_utf8_lossy(&input));
    false
}

/// Leaves out parts as long as the rest still fails.
fn reduced(target: &mut Target, input: &[u8]) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let mut part_bytes = smallest.len() / 2;
    let mut attempts = 0;
    while part_bytes > 0 {
        let mut start = 0;
        while start < smallest.len() && attempts < MAX_REDUCTIONS {
            attempts += 1;
            let end = (start + part_bytes).min(smallest.len());
            let shorter = [&smallest[..start], &smallest[end..]].concat();
            if attempt(target, &shorter).is_err() {
                smallest = shorter;
            } else {
                start = end;
            }
        }
        part_bytes /= 2;
    }
    smallest
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found").join(target)
}

/// The inputs that once failed, in the order of their names.
fn found(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}
