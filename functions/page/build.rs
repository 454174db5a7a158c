//! Puts the page into the function, as `make run` last built it. A checkout without npm has none and builds all the same.

use std::path::Path;
use std::{env, fs};

const FILES: [&str; 3] = ["index.html", "page.js", "page.css"];

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../client/page");
    // A folder that is always there: cargo would run this each time for one that is not.
    println!("cargo::rerun-if-changed={}", sources.display());
    let built: Option<Vec<Vec<u8>>> = FILES.iter().map(|file| fs::read(sources.join("dist").join(file)).ok()).collect();
    let folder = env::var_os("OUT_DIR").expect("cargo names the folder for what is made");
    for (index, file) in FILES.iter().enumerate() {
        let content = built.as_ref().map_or(&[][..], |built| &built[index]);
        fs::write(Path::new(&folder).join(file), content).expect("the folder for what is made can be written to");
    }
}
