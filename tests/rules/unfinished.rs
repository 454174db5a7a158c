//! What is unfinished is an issue, not a remark in the text.

use crate::tree::{self, Text};

/// Put together here, so that this file does not say them.
const REMARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

fn remarks(text: &Text) -> Vec<String> {
    let lines = (1..).zip(text.text.lines());
    lines
        .filter(|(_, line)| {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            words.any(|word| REMARKS.contains(&word))
        })
        .map(|(n, line)| format!("{}:{n}: {}", text.path, line.trim()))
        .collect()
}

#[test]
fn nothing_is_marked_as_unfinished() {
    let texts = tree::texts_under("");
    assert!(texts.len() > 50, "{} files", texts.len());
    let found: Vec<String> = texts.iter().flat_map(remarks).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_remark_is_reported_with_its_line() {
    for remark in REMARKS {
        let text = Text {
            path: "a.rs".into(),
            text: format!("fn f() {{}}\n    // {remark}(alice): later\nlet x{remark} = 1;"),
        };
        let expected = format!("a.rs:2: // {remark}(alice): later");
        assert_eq!(remarks(&text), [expected]);
    }
}
