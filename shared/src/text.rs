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
    // Counting stops one past the limit, so that an overlong text costs no more than a valid one.
    let length = text.chars().take(max + 1).count();
    if length < min || length > max {
        return Err(format!("must be {min} to {max} characters"));
    }
    if text.chars().any(is_refused) {
        return Err("must not contain control characters other than line feed and tab".into());
    }
    Ok(())
}

/// Checks a text that is displayed on one line: 1 to `max` code points, of which one is visible.
pub fn check_line(text: &str, max: usize) -> Result<(), String> {
    check(text, 1, max)?;
    if text.contains(['\n', '\u{2028}', '\u{2029}']) || text.chars().all(is_invisible) {
        return Err("must be a single line that is not blank".into());
    }
    if text.chars().any(is_bidi_override) {
        return Err("must not contain bidirectional override characters".into());
    }
    Ok(())
}

/// Checks a text of 1 to `max` code points of which one is visible.
pub fn check_visible(text: &str, max: usize) -> Result<(), String> {
    check(text, 1, max)?;
    if text.chars().all(is_invisible) { Err("must not be blank".into()) } else { Ok(()) }
}

/// Whether a character shows nothing by itself: white space, the blank Braille pattern, and what Unicode lists as
/// `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt).
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
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
    fn a_line_shows_something_and_only_in_the_order_in_which_it_is_written() {
        for good in ["Hi", " Hi ", "🔔", "a\tb", "e\u{301}", "family 👨\u{200D}👩\u{200D}👧", "❤\u{FE0F}", "שלום"]
        {
            assert_eq!(check_line(good, 200), Ok(()), "{good:?}");
        }
        for bad in ["", " ", "\u{200B}", "\u{2060}\u{FEFF}\u{AD}", "\u{3164}", "\u{2800}", "\u{E0041}", "\u{FE0F}"] {
            assert!(check_line(bad, 200).is_err(), "{bad:?}");
        }
        for bad in ["two\nlines", "two\u{2028}lines", "two\u{2029}lines", "a\u{202E}b", "\u{2066}a\u{2069}"] {
            assert!(check_line(bad, 200).is_err(), "{bad:?}");
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
