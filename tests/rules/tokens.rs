//! Rust source as tokens: without comments, without the contents of literals, and without code that is compiled only
//! for tests.

/// An identifier, a number, `::`, or one punctuation character. A literal becomes the token `""`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The tokens of a source file outside of its tests.
pub(crate) fn shipped(source: &str) -> Vec<Token> {
    without_tests(&tokens(source))
}

fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let text = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => {
                at = end_of_line(&chars, at);
                None
            }
            '/' if chars.get(at + 1) == Some(&'*') => {
                at = end_of_comment(&chars, at);
                None
            }
            sign if sign.is_whitespace() => {
                at += 1;
                None
            }
            '"' => {
                at = end_of_string(&chars, at);
                Some("\"\"".into())
            }
            '\'' => {
                at = end_of_quote(&chars, at);
                Some("\"\"".into())
            }
            first if first.is_alphanumeric() || first == '_' => {
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                if let Some(end) = end_of_prefixed(&chars, &word, at) {
                    at = end;
                    Some("\"\"".into())
                } else if word == "r" && chars.get(at) == Some(&'#') {
                    // A raw identifier is read without its `r#`.
                    at += 1;
                    None
                } else {
                    Some(word)
                }
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                at += 2;
                Some("::".into())
            }
            sign => {
                at += 1;
                Some(sign.into())
            }
        };
        tokens.extend(text.map(|text| Token { text, line }));
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    let rest = chars[from..].iter().position(|c| *c == '\n');
    rest.map_or(chars.len(), |length| from + length)
}

/// The end of a block comment. Block comments nest.
fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of a character literal, or of the quote of a lifetime, whose name is then read as a token of its own.
fn end_of_quote(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            let rest = chars[from + 3..].iter().position(|c| *c == '\'');
            rest.map_or(chars.len(), |length| from + 3 + length + 1)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

/// The end of a literal such as `b"…"`, `r#"…"#` or `b'…'`, whose prefix ends at `at`.
fn end_of_prefixed(chars: &[char], prefix: &str, at: usize) -> Option<usize> {
    if prefix == "b" && chars.get(at) == Some(&'\'') {
        return Some(end_of_quote(chars, at));
    }
    if ["b", "c"].contains(&prefix) && chars.get(at) == Some(&'"') {
        return Some(end_of_string(chars, at));
    }
    if !["r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        let closes =
            chars[end] == '"' && chars.len() > end + hashes && chars[end + 1..=end + hashes].iter().all(|c| *c == '#');
        if closes {
            return Some(end + hashes + 1);
        }
        end += 1;
    }
    Some(chars.len())
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some((end, of_tests)) = attribute(tokens, at) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let whole_file = is(tokens, at + 1, "!");
        match (of_tests, whole_file) {
            (true, true) => return Vec::new(),
            (true, false) => at = end_of_item(tokens, end),
            (false, _) => {
                kept.extend_from_slice(&tokens[at..end]);
                at = end;
            }
        }
    }
    kept
}

/// Where the attribute that starts here ends, and whether its item is compiled only for tests.
fn attribute(tokens: &[Token], at: usize) -> Option<(usize, bool)> {
    let open = at + 1 + usize::from(is(tokens, at + 1, "!"));
    if !is(tokens, at, "#") || !is(tokens, open, "[") {
        return None;
    }
    let end = end_of_brackets(tokens, open);
    let inside: Vec<&str> = tokens[open + 1..end - 1].iter().map(|token| token.text.as_str()).collect();
    let of_tests = matches!(inside.as_slice(), ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test", ..]);
    Some((end, of_tests))
}

/// The end of an item: its `;` or the end of its block. Further attributes belong to the item.
fn end_of_item(tokens: &[Token], from: usize) -> usize {
    let mut at = from;
    while let Some((end, _)) = attribute(tokens, at) {
        at = end;
    }
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return end_of_brackets(tokens, at),
            "(" | "[" => at = end_of_brackets(tokens, at),
            _ => at += 1,
        }
    }
    at
}

fn end_of_brackets(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n + 1;
        }
    }
    tokens.len()
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

#[test]
fn comments_literals_and_tests_are_not_tokens() {
    let source = r####"
//! std::env
/* a /* nested */ comment */ fn f<'a>(x: &'a str) -> char {
    let s = "quoted \" // no comment"; let raw = r#"raw " std::env"#; let b = b"\"";
    let c = '"'; let d = '\''; let e = b'\\'; r#type('\u{1F514}')
}
#[cfg(test)]
#[allow(x)]
mod tests { fn g() { std::env::var("}") } }
#[cfg(all(test, unix))]
use std::env;
#[cfg(not(test))]
fn kept() {}
"####;
    let words = shipped(source);
    let texts: Vec<&str> = words.iter().map(|token| token.text.as_str()).collect();
    for absent in ["env", "comment", "nested", "quoted", "tests", "g", "r"] {
        assert!(!texts.contains(&absent), "{absent} in {texts:?}");
    }
    for present in ["f", "str", "type", "kept", "not"] {
        assert!(texts.contains(&present), "{present} not in {texts:?}");
    }
    let kept = words.iter().find(|token| token.text == "kept").unwrap();
    assert_eq!(kept.line, 13);
    assert!(shipped("#![cfg(test)]\nfn f() {}").is_empty());
}
