//! Migrations are numbered `0001_what_it_does.sql`, each number once, in each database's folder. A number may be left out
//! for a change that is still under way: stores apply what is missing, and functions refuse a database that lacks any.

use crate::tree;

/// What is wrong with the names of one folder, given in order.
fn problems(names: &[&str]) -> Vec<String> {
    let (mut problems, mut last) = (Vec::new(), 0);
    for name in names {
        let (number, rest) = name.split_once('_').unwrap_or((name, ""));
        let words = rest.strip_suffix(".sql");
        let is_named = words.is_some_and(|words| {
            !words.is_empty() && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        let number = if number.len() == 4 { number.parse::<u16>().unwrap_or(0) } else { 0 };
        if number > last && is_named {
            last = number;
        } else {
            problems.push(format!("{name} must be 0001_what_it_does.sql, with a number of its own"));
        }
    }
    problems
}

#[test]
fn migrations_are_numbered() {
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
fn a_double_or_another_form_is_reported() {
    let good = ["0001_record.sql", "0003_push_2.sql"];
    assert!(problems(&good).is_empty());
    for bad in [
        ["0001_a.sql", "0001_b.sql"].as_slice(),
        &["0000_a.sql"],
        &["0001_record.txt"],
        &["1_record.sql"],
        &["0001_.sql"],
        &["0001_Record.sql"],
    ] {
        assert_eq!(problems(bad).len(), 1, "{bad:?}");
    }
}
