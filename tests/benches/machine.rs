//! The machine under the figures: without it, none of them can be compared.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::report::{in_ms, number, percentile};

/// Says on what is measured, and in which state it is.
pub(crate) fn introduce() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version").output();
    let rustc = rustc.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    println!("Carillon {}, {rustc}, Linux {}, {cores} cores", env!("CARGO_PKG_VERSION"), kernel.trim());
    state("before");
}

/// Says in which state the machine is now.
pub(crate) fn take_leave() {
    println!();
    state("after");
}

/// A new folder on the disk of the build: a temporary folder may lie in memory, where syncing costs nothing.
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

/// How long writing 8 KiB in place and `fdatasync` take: what a commit costs at the least.
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
