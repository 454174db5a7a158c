//! Functions depend on `shared`, but neither on each other nor on the stores for local development.

use crate::tree;

/// The dependencies of a manifest, each with the rest of its line, which may name features.
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

/// What is not allowed in the manifest of a function.
fn problems(function: &str, manifest: &str, functions: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in dependencies(manifest) {
        if functions.contains(&name) || ["gateway", "tests"].contains(&name.as_str()) {
            problems.push(format!("functions/{function}/Cargo.toml depends on {name}"));
        }
        // Stores in memory are only for the gateway and for tests.
        if ["\"sqlite\"", "\"memory\""].iter().any(|f| value.contains(f)) {
            problems.push(format!("functions/{function}/Cargo.toml enables {value}"));
        }
    }
    problems
}

#[test]
fn functions_depend_on_shared_and_on_no_local_store() {
    let functions = tree::folders_in("functions");
    for function in &functions {
        let manifest = tree::read(&format!("functions/{function}/Cargo.toml"));
        assert!(dependencies(&manifest).iter().any(|(name, _)| name == "shared"));
        assert_eq!(problems(function, &manifest, &functions), [""; 0]);
    }
    let bad = "[dependencies]\ninbox.workspace = true\nshared = { workspace = true, features = [\"sqlite\"] }\n\
               [dev-dependencies]\nsend = 1\n";
    let found = problems("new", bad, &functions);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("inbox") && found[1].contains("sqlite"));
}
