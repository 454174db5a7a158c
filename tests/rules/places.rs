//! A rule about names: where they may stand, why, and what would break it.

use std::fmt;

use crate::paths;
use crate::tree::Text;

/// Names that may stand in few places.
pub(crate) struct Rule {
    /// The rule in a sentence.
    pub(crate) what: String,
    /// What would be worse without it.
    pub(crate) why: &'static str,
    /// Paths; one that begins with `::` counts wherever in a path it stands.
    pub(crate) names: Vec<String>,
    /// Files and folders that the rule is about; a folder ends with `/`, `*` is any one name.
    pub(crate) within: Vec<String>,
    /// Where the names may stand all the same.
    pub(crate) only_in: Vec<String>,
    /// A line of code that breaks it.
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
    /// Whether a file is the place, or in the folder, that a pattern names.
    pub(crate) fn is_in(path: &str, place: &str) -> bool {
        is_in(path, place)
    }

    /// Whether the rule is about this file.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let stands_in = |places: &[String]| places.iter().any(|place| is_in(path, place));
        stands_in(&self.within) && !stands_in(&self.only_in)
    }

    /// Where a source breaks the rule.
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
fn a_name_is_found_where_it_counts() {
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
fn a_place_is_a_file_a_folder_or_a_pattern() {
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
