//! What functions may depend on: `shared`, and neither one another nor the stores of a laptop.

use crate::tree;

/// The dependencies that a manifest names, and the lines that name features.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut reading = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            reading = line == "[dependencies]" || line == "[build-dependencies]";
        } else if let Some((name, value)) = line.split_once('=')
            && reading
        {
            let name = name.trim().split('.').next().unwrap_or_default();
            found.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// What a function's manifest may not say.
fn unfit(function: &str, manifest: &str, functions: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in dependencies(manifest) {
        if functions.contains(&name) || ["gateway", "tests"].contains(&name.as_str()) {
            problems.push(format!("functions/{function}/Cargo.toml depends on {name}"));
        }
        // "In memory" exists only in the gateway and in tests.
        if ["\"sqlite\"", "\"memory\""].iter().any(|f| value.contains(f)) {
            problems.push(format!("functions/{function}/Cargo.toml asks for {value}"));
        }
    }
    problems
}

#[test]
fn functions_depend_on_shared_and_on_no_store_of_a_laptop() {
    let functions = tree::folders_in("functions");
    for function in &functions {
        let manifest = tree::read(&format!("functions/{function}/Cargo.toml"));
        assert!(dependencies(&manifest).iter().any(|(name, _)| name == "shared"));
        assert_eq!(unfit(function, &manifest, &functions), [""; 0]);
    }
    let bad = "[dependencies]\ninbox.workspace = true\nshared = { workspace = true, features = [\"sqlite\"] }\n\
               [dev-dependencies]\nsend = 1\n";
    let told = unfit("new", bad, &functions);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("inbox") && told[1].contains("sqlite"));
}
