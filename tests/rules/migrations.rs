//! Migrations are numbered `0001_what_it_does.sql` without gaps, in each database's folder.

use crate::tree;

/// What is wrong with the file names of one folder, given in order.
fn problems(names: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for (n, name) in (1..).zip(names) {
        let rest = name.strip_prefix(&format!("{n:04}_"));
        let words = rest.and_then(|rest| rest.strip_suffix(".sql"));
        let is_named = words.is_some_and(|words| {
            !words.is_empty() && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        if !is_named {
            problems.push(format!("{name} must be {n:04}_what_it_does.sql"));
        }
    }
    problems
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let folders = tree::folders_in("migrations");
    assert!(folders.contains(&"sqlite".to_owned()));
    for folder in folders {
        let path = format!("migrations/{folder}");
        let texts = tree::texts_under(&path);
        let names: Vec<&str> = texts.iter().map(|text| &text.path[path.len() + 1..]).collect();
        assert!(!names.is_empty(), "{path} is empty");
        let problems = problems(&names);
        assert!(problems.is_empty(), "{path}: {problems:?}");
    }
}

#[test]
fn gaps_duplicates_and_malformed_names_are_reported() {
    let good = ["0001_record.sql", "0002_push_2.sql"];
    assert!(problems(&good).is_empty());
    for bad in [
        ["0001_record.sql", "0003_push.sql"].as_slice(),
        &["0001_a.sql", "0001_b.sql"],
        &["0000_a.sql"],
        &["0001_record.txt"],
        &["1_record.sql"],
        &["0001_.sql"],
        &["0001_Record.sql"],
    ] {
        assert_eq!(problems(bad).len(), 1, "{bad:?}");
    }
}
