//! A rule about names: where they may be used, why, and a line that breaks it.

use std::fmt;

use crate::paths;
use crate::tree::Text;

/// Names that may be used only in some places.
pub(crate) struct Rule {
    /// The rule in a sentence.
    pub(crate) what: String,
    /// The reason for the rule.
    pub(crate) why: &'static str,
    /// Paths; one that begins with `::` matches anywhere in a path.
    pub(crate) names: Vec<String>,
    /// Files and folders that the rule covers. A folder ends with `/`; `*` matches any one name.
    pub(crate) within: Vec<String>,
    /// Files and folders where the names are allowed.
    pub(crate) only_in: Vec<String>,
    /// A line of code that breaks the rule.
    pub(crate) broken_by: String,
}

/// A line that breaks a rule.
pub(crate) struct Breach<'a> {
    pub(crate) path: &'a str,
    pub(crate) line: usize,
    name: String,
    rule: &'a Rule,
}

impl fmt::Display for Breach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { what, why, .. } = self.rule;
        write!(f, "{}:{} names {}: {what} ({why})", self.path, self.line, self.name)
    }
}

impl Rule {
    /// Whether a pattern matches a file or a folder that contains it.
    pub(crate) fn is_in(path: &str, place: &str) -> bool {
        is_in(path, place)
    }

    /// Whether the rule applies to this file.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let is_in_one_of = |places: &[String]| places.iter().any(|place| is_in(path, place));
        is_in_one_of(&self.within) && !is_in_one_of(&self.only_in)
    }

    /// The lines of a source file that break the rule.
    pub(crate) fn breaches<'a>(&'a self, source: &'a Text) -> Vec<Breach<'a>> {
        if !self.covers(&source.path) {
            return Vec::new();
        }
        let named = paths::named_in(&source.text).into_iter();
        let mut breaches: Vec<Breach<'a>> = named
            .filter(|path| {
                let matches = |name: &String| is_named(&path.segments, name);
                self.names.iter().any(matches)
            })
            .map(|path| Breach { path: &source.path, line: path.line, name: path.segments.join("::"), rule: self })
            .collect();
        breaches.sort_by_key(|breach| breach.line);
        breaches
    }
}

fn is_named(segments: &[String], name: &str) -> bool {
    if let Some(anywhere) = name.strip_prefix("::") {
        let wanted: Vec<&str> = anywhere.split("::").collect();
        return segments.windows(wanted.len()).any(|part| part == wanted);
    }
    let mut wanted = name.split("::");
    for segment in segments {
        match wanted.next() {
            Some(_) if segment == "*" => return true,
            Some(name) if name == segment => {}
            Some(_) => return false,
            None => return true,
        }
    }
    wanted.next().is_none()
}

fn is_in(path: &str, place: &str) -> bool {
    let (mut names, mut places) = (path.split('/'), place.split('/'));
    loop {
        match (names.next(), places.next()) {
            (None, None) | (Some(_), Some("")) => return true,
            (Some(_), Some("*")) => {}
            (Some(name), Some(place)) if name == place => {}
            _ => return false,
        }
    }
}

#[test]
fn a_name_matches_paths_through_it() {
    let named = |path: &str, name: &str| {
        let segments: Vec<String> = path.split("::").map(str::to_owned).collect();
        is_named(&segments, name)
    };
    assert!(named("std::env::var", "std::env") && named("std::env", "std::env"));
    assert!(named("std::*", "std::env") && named("sqlx::*", "sqlx"));
    assert!(!named("std", "std::env") && !named("my::std::env", "std::env"));
    assert!(!named("std::environment", "std::env") && !named("fmt::*", "std::env"));
    assert!(named("http::StatusCode::OK", "::StatusCode") && named("StatusCode", "::StatusCode"));
    assert!(!named("a::b", "::a::c") && named("x::Utc::now", "::Utc::now"));
}

#[test]
fn a_pattern_matches_files_and_folders() {
    assert!(is_in("shared/src/app.rs", "shared/src/app.rs"));
    assert!(is_in("shared/src/record/sqlite/mod.rs", "shared/src/record/sqlite/"));
    assert!(is_in("shared/src/record/sqlite/mod.rs", "shared/"));
    assert!(is_in("functions/send/src/main.rs", "functions/*/src/main.rs"));
    assert!(!is_in("shared/src/record/sqlite.rs", "shared/src/record/sqlite/"));
    assert!(!is_in("functions/send/src/lib.rs", "functions/*/src/main.rs"));
    assert!(!is_in("functions/send/src/main.rs", "functions/*"));
    assert!(is_in("gateway/src/main.rs", "gateway/src/*"));
    assert!(!is_in("gateway/src/http/mod.rs", "gateway/src/*"));
}
