//! Unfinished work is tracked in issues, not marked in the source.

use crate::tree::{self, Text};

/// Concatenated, so that this file does not contain them.
const MARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

fn marks(text: &Text) -> Vec<String> {
    let lines = (1..).zip(text.text.lines());
    lines
        .filter(|(_, line)| {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            words.any(|word| MARKS.contains(&word))
        })
        .map(|(n, line)| format!("{}:{n}: {}", text.path, line.trim()))
        .collect()
}

#[test]
fn nothing_is_marked_as_unfinished() {
    let texts = tree::texts_under("");
    assert!(texts.len() > 50, "{} files", texts.len());
    let found: Vec<String> = texts.iter().flat_map(marks).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_mark_is_reported_with_its_line() {
    for mark in MARKS {
        let text =
            Text { path: "a.rs".into(), text: format!("fn f() {{}}\n    // {mark}(alice): later\nlet x{mark} = 1;") };
        let expected = format!("a.rs:2: // {mark}(alice): later");
        assert_eq!(marks(&text), [expected]);
    }
}
