//! Embeds the test page as `make run` last built it. A checkout without npm has no page and compiles all the same.

use std::path::Path;
use std::{env, fs};

const FILES: [&str; 4] = ["index.html", "page.js", "page.css", "push-worker.js"];

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../client/page");
    // This folder always exists. For a missing path, cargo would run this script at every build.
    println!("cargo::rerun-if-changed={}", sources.display());
    let built: Option<Vec<Vec<u8>>> = FILES.iter().map(|file| fs::read(sources.join("dist").join(file)).ok()).collect();
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    for (index, file) in FILES.iter().enumerate() {
        let content = built.as_ref().map_or(&[][..], |built| &built[index]);
        fs::write(Path::new(&folder).join(file), content).expect("OUT_DIR is writable");
    }
}
