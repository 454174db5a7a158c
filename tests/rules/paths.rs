//! The paths that a source file names, each in full: `use std::{env as e}; e::var` names
//! `std::env` and `std::env::var`.

use std::collections::HashMap;

use crate::tokens::{self, Token};

/// A path and its line. A `*` at the end means everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// One import of a `use`: the name in the file, if it has one, and the path.
struct Import {
    name: Option<String>,
    path: Path,
}

/// Every path in a source file outside of its tests.
pub(crate) fn named_in(source: &str) -> Vec<Path> {
    let tokens = tokens::shipped(source);
    let (mut imports, mut plain) = (Vec::new(), Vec::new());
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).map_or("", |token| token.text.as_str());
        match tokens[at].text.as_str() {
            // `use<'a>` captures lifetimes and imports nothing.
            "use" if next != "<" => at = tree(&tokens, at + 1, &[], &mut imports),
            // A module of the file hides a crate with the same name.
            "mod" => {
                known.insert(next.into(), vec!["self".into(), next.into()]);
                at += 2;
            }
            "extern" if next == "crate" => {
                plain.extend(tokens.get(at + 2).map(|token| path_of(&[], token)));
                at += 3;
            }
            word if is_word(word) && next == "::" => {
                let (path, end) = plain_path(&tokens, at);
                plain.push(path);
                at = end;
            }
            _ => at += 1,
        }
    }
    for import in &imports {
        if let Some(name) = &import.name {
            known.insert(name.clone(), import.path.segments.clone());
        }
    }
    for path in &mut plain {
        if let Some(meant) = known.get(&path.segments[0]) {
            path.segments.splice(..1, meant.iter().cloned());
        }
    }
    plain.extend(imports.into_iter().map(|import| import.path));
    plain
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn path_of(prefix: &[String], last: &Token) -> Path {
    let mut segments = prefix.to_vec();
    segments.push(last.text.clone());
    Path { segments, line: last.line }
}

/// The path that starts here, up to the first segment that is not a word, and where it ends.
fn plain_path(tokens: &[Token], from: usize) -> (Path, usize) {
    let mut path = path_of(&[], &tokens[from]);
    let mut at = from + 1;
    while let (Some(colons), Some(word)) = (tokens.get(at), tokens.get(at + 1)) {
        if colons.text != "::" || !is_word(&word.text) {
            break;
        }
        path.segments.push(word.text.clone());
        at += 2;
    }
    (path, at)
}

/// Reads one branch of a `use` into `imports`; returns where the branch ends.
fn tree(tokens: &[Token], from: usize, prefix: &[String], imports: &mut Vec<Import>) -> usize {
    let mut prefix = prefix.to_vec();
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, &prefix, imports);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "*" => {
                let path = path_of(&prefix, token);
                imports.push(Import { name: None, path });
                return at + 1;
            }
            word if is_word(word) => {
                if tokens.get(at + 1).is_some_and(|next| next.text == "::") {
                    prefix.push(word.into());
                    at += 2;
                    continue;
                }
                let path = match word {
                    "self" if !prefix.is_empty() => Path { segments: prefix, line: token.line },
                    _ => path_of(&prefix, token),
                };
                let is_renamed = tokens.get(at + 1).is_some_and(|next| next.text == "as");
                let name = if is_renamed {
                    tokens.get(at + 2).map(|alias| alias.text.clone())
                } else {
                    path.segments.last().cloned()
                };
                imports.push(Import { name, path });
                return at + if is_renamed { 3 } else { 1 };
            }
            _ => return at,
        }
    }
    at
}

#[test]
fn paths_are_found_in_full_however_they_are_imported() {
    let source = "
use std::{env, fmt::{self, Write as W}, io::*};
pub(crate) use ::sqlx as db;
use
    shared::
    inbox;
mod drain;
fn f() -> impl Sized + use<'_> {
    env::var(x); fmt::Display; W::x; db::query; inbox::Change::Read; drain::go(); a.send(); other::thing::<T>()
}";
    let named: Vec<String> =
        named_in(source).into_iter().map(|path| format!("{}:{}", path.segments.join("::"), path.line)).collect();
    for expected in [
        "std::env:2",
        "std::fmt:2",
        "std::fmt::Write:2",
        "std::io::*:2",
        "sqlx:3",
        "shared::inbox:6",
        "std::env::var:9",
        "std::fmt::Display:9",
        "std::fmt::Write::x:9",
        "sqlx::query:9",
        "shared::inbox::Change::Read:9",
        "self::drain::go:9",
        "other::thing:9",
    ] {
        assert!(named.contains(&expected.to_owned()), "{expected} not in {named:?}");
    }
    assert_eq!(named.len(), 13, "{named:?}");
}
