//! No import cycles: modules that import each other can only be read, tested and changed together.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths;
use crate::tree::{self, Text};

/// For each file, the files of the same crate that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The imports of one crate whose root module is in `folder`.
fn imports(folder: &str, sources: &[Text]) -> Imports {
    let modules: BTreeMap<Vec<String>, &str> =
        sources.iter().map(|source| (module_of(folder, &source.path), source.path.as_str())).collect();
    let mut imports = Imports::new();
    for source in sources {
        let own = module_of(folder, &source.path);
        let targets = paths::named_in(&source.text).into_iter().filter_map(|path| {
            let absolute = absolute(&own, &path.segments, &modules)?;
            let file = (0..=absolute.len()).rev().find_map(|end| modules.get(&absolute[..end]))?;
            (*file != source.path).then(|| (*file).to_owned())
        });
        imports.insert(source.path.clone(), targets.collect());
    }
    imports
}

/// The path of a file's module within its crate: `inbox/mod.rs` and `inbox.rs` are `[inbox]`, `lib.rs` is `[]`.
fn module_of(folder: &str, file: &str) -> Vec<String> {
    let within = file.trim_start_matches(folder).trim_start_matches('/').trim_end_matches(".rs");
    let mut segments: Vec<String> = within.split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        segments.pop();
    }
    segments
}

/// A path as seen from the crate's root; `None` if it leads out of the crate.
fn absolute(own: &[String], path: &[String], modules: &BTreeMap<Vec<String>, &str>) -> Option<Vec<String>> {
    let (mut from, mut rest) = match path.first()?.as_str() {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (own.to_vec(), &path[1..]),
        "super" => (own.to_vec(), path),
        child => {
            let module = [own, &[child.to_owned()]].concat();
            return modules.contains_key(&module).then(|| [own, path].concat());
        }
    };
    while rest.first().is_some_and(|segment| segment == "super") {
        from.pop()?;
        rest = &rest[1..];
    }
    from.extend(rest.iter().cloned());
    Some(from)
}

/// One circle, from a file back to itself; `None` if there is none.
fn circle(imports: &Imports) -> Option<Vec<&str>> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|file| walk(imports, file, &mut Vec::new(), &mut done))
}

/// Follows imports depth first. `done` holds the files from which no circle can be reached.
fn walk<'a>(
    imports: &'a Imports,
    file: &'a str,
    trail: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if done.contains(file) {
        return None;
    }
    if let Some(begin) = trail.iter().position(|known| *known == file) {
        return Some([&trail[begin..], &[file]].concat());
    }
    trail.push(file);
    let found = imports.get(file).into_iter().flatten().find_map(|next| walk(imports, next, trail, done));
    trail.pop();
    done.insert(file);
    found
}

/// The folders of all crates that ship, each with the root module in it.
fn crates() -> Vec<String> {
    let functions = tree::folders_in("functions").into_iter().map(|name| format!("functions/{name}/src"));
    functions.chain(["shared/src".into(), "gateway/src".into()]).collect()
}

#[test]
fn no_modules_import_each_other() {
    let mut circles = Vec::new();
    for folder in crates() {
        let imports = imports(&folder, &tree::rust_under(&[&folder]));
        assert!(!imports.is_empty(), "{folder}");
        circles.extend(circle(&imports).map(|circle| circle.join("\n  -> ")));
    }
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n\n"));
}

#[test]
fn a_circle_is_reported_by_the_way_that_it_takes() {
    let text = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
    let sources = [
        text("x/lib.rs", "mod a;\nmod b;\n"),
        text("x/a/mod.rs", "mod inner;\nuse crate::b::Thing;\n"),
        text("x/a/inner.rs", "use std::fmt;\nfn f() { crate::text::check(); }\n"),
        text("x/b.rs", "use super::a::inner;\n"),
        text("x/text.rs", "#[cfg(test)]\nuse crate::a::Of;\n"),
    ];
    assert_eq!(circle(&imports("x", &sources)), None);
    for (file, broken) in [
        ("x/text.rs", "use crate::{b, c};"),
        ("x/a/inner.rs", "fn f() { super::super::b::g(); }"),
        ("x/a/inner.rs", "use super::Of;\npub(crate) use crate::b as other;"),
        ("x/b.rs", "use crate::a::Of;"),
    ] {
        let replaced = sources.iter().map(|source| {
            let is_it = source.path == file;
            text(&source.path, if is_it { broken } else { &source.text })
        });
        let imports = imports("x", &replaced.collect::<Vec<Text>>());
        let found = circle(&imports).unwrap_or_else(|| panic!("{broken} in {file} is not reported"));
        assert!(found.len() > 2 && found.first() == found.last() && found.contains(&"x/b.rs"), "{found:?}");
    }
}
