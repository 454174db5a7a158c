//! Which strings are accepted from callers. Lengths are Unicode code points unless a name says bytes.

use unicode_normalization::is_nfc;

/// Whether a character is refused in every string: control characters other than line feed and tab.
pub fn is_refused(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// Whether a character changes the order in which text is displayed (Unicode TR 9). In an id it would let one user pass
/// for another on a screen.
pub fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Checks a text of `min..=max` code points without refused characters. The error is the requirement that it does not
/// meet.
pub fn check(text: &str, min: usize, max: usize) -> Result<(), String> {
    if text.chars().any(is_refused) {
        return Err("must not contain control characters other than line feed and tab".into());
    }
    // Counting stops one past the limit, so that an overlong text costs no more than a valid one.
    let length = text.chars().take(max + 1).count();
    if length < min || length > max {
        return Err(format!("must be {min} to {max} characters"));
    }
    Ok(())
}

/// Checks an id that a caller chose for a user: 1–256 bytes in NFC, without invisible characters that could disguise
/// it. The error is the requirement that it does not meet.
pub fn check_user_id(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 256 {
        return Err("must be 1 to 256 bytes");
    }
    if text.chars().any(|c| c.is_control() || is_bidi_override(c)) {
        return Err("must not contain control or bidirectional override characters");
    }
    if !is_nfc(text) {
        return Err("must be in Unicode normalisation form C (NFC)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_but_printable_user_ids_are_accepted() {
        for id in ["a:b", "{x}", "{}", "a}b", "*", "../..", "%2F", "'; DROP TABLE sends;--", "é", "用户", "__proto__"]
        {
            assert_eq!(check_user_id(id), Ok(()), "{id}");
        }
    }

    #[test]
    fn disguised_user_ids_are_refused() {
        let long = "x".repeat(257);
        for id in ["", "a\nb", "a\tb", "a\0", "\u{202E}a", "a\u{2066}", "e\u{301}", "\u{7f}", "\u{85}", &long] {
            assert!(check_user_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn text_length_is_counted_in_code_points() {
        assert!(check(&"🔔".repeat(200), 1, 200).is_ok());
        assert!(check(&"🔔".repeat(201), 1, 200).is_err());
        assert!(check("two\nlines\tof", 1, 200).is_ok());
        assert!(check("carriage\rreturn", 1, 200).is_err());
    }
}
