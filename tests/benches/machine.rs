//! The machine that the figures come from: without it, figures cannot be compared.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::report::{in_ms, number, percentile};

/// Prints the machine, the versions, and the load before the measurements.
pub(crate) fn introduce() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    println!("Carillon {}, {rustc}, Linux {}, {cores} cores", env!("CARGO_PKG_VERSION"), kernel.trim());
    state("before");
}

/// Prints the load after the measurements.
pub(crate) fn conclude() {
    println!();
    state("after");
}

/// A new folder on the disk of the build: a temporary folder may be in memory, where syncing costs nothing.
pub(crate) fn new_folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn state(when: &str) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let folder = new_folder();
    let syncs = in_ms(&syncs(folder.path()));
    let [p50, p99] = [0.5, 0.99].map(|share| number(percentile(&syncs, share), 2));
    let rate = number(syncs.len() as f64 * 1_000.0 / syncs.iter().sum::<f64>(), 0);
    println!("{when}: load {}; fdatasync of 8 KiB: {rate}/s, p50 {p50} ms, p99 {p99} ms", load.join(" "));
}

/// The durations of writing 8 KiB in place with `fdatasync`, which is the least that a commit costs.
fn syncs(folder: &Path) -> Vec<Duration> {
    const PAGES: [u8; 8_192] = [7; 8_192];
    let file = File::create(folder.join("probe")).unwrap();
    for n in 0..32 {
        file.write_all_at(&PAGES, n * 8_192).unwrap();
    }
    file.sync_all().unwrap();
    let one = |n: u64| {
        let began = Instant::now();
        file.write_all_at(&PAGES, (n % 32) * 8_192).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    (0..500).map(one).collect()
}
