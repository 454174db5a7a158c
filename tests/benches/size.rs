//! The sizes of the functions as they are deployed, which a cold start has to load.

use std::fs;
use std::path::Path;

use crate::build;
use crate::report::{figure, number};

/// The header of SQLite's files, which every SQLite library contains.
const SQLITE: &[u8] = b"SQLite format 3";

/// Builds each function on its own and reports the size of its binary.
pub(crate) fn measure() {
    let functions = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions"));
    let folders = fs::read_dir(functions).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let binary = fs::read(build::release(&name, &name)).unwrap();
        let sqlite = binary.windows(SQLITE.len()).any(|text| text == SQLITE);
        assert!(!sqlite, "WRONG: {name} contains SQLite, which belongs only in the local gateway");
        let mib = number(binary.len() as f64 / f64::from(1 << 20), 2);
        figure(&format!("size of {name}"), mib, "MiB", "release, stripped, built alone; without SQLite");
    }
}
