//! The role that functions have in the database.

use percent_encoding::percent_decode_str;
use url::Url;

use super::secret::Secret;

/// The most bytes of a name in Postgres.
const MAX_NAME_BYTES: usize = 63;

/// A role of Postgres and its password.
#[derive(Debug, Clone)]
pub struct DatabaseRole {
    /// Its name: lower-case letters, digits and `_`.
    pub name: String,
    /// Its password, of visible ASCII characters and spaces.
    pub password: Secret,
}

impl DatabaseRole {
    /// The role of a URL, whose host and database do not matter. An error says what is required of the URL.
    pub(super) fn of_url(url: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must read postgres://user:password@host/database, percent-encoded";
        let url = Url::parse(url).map_err(|_| FORM)?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(FORM);
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| FORM);
        let (name, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
        if !is_name(&name) {
            return Err("must name a role of lower-case letters, digits and _");
        }
        // Postgres would normalise other characters before it checks a password.
        if password.is_empty() || !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err("must contain a password of visible ASCII characters");
        }
        Ok(Self { name, password: Secret::new(password) })
    }
}

fn is_name(name: &str) -> bool {
    let begins_well = name.bytes().next().is_some_and(|first| first == b'_' || first.is_ascii_lowercase());
    let is_part = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    begins_well && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_name_and_the_password_of_its_role() {
        for (url, name, password) in [
            ("postgres://carillon_functions:secret@h:5432/carillon", "carillon_functions", "secret"),
            ("postgresql://f:a%20pass'word%24@h/x?sslmode=require", "f", "a pass'word$"),
        ] {
            let role = DatabaseRole::of_url(url).unwrap();
            assert_eq!((role.name.as_str(), role.password.reveal()), (name, password));
            assert!(!format!("{role:?}").contains(password));
        }
    }

    #[test]
    fn what_a_url_lacks_is_told_without_quoting_it() {
        let long = format!("postgres://{}:hunter2@h/x", "a".repeat(64));
        for (url, required) in [
            ("hunter2", "must read"),
            ("mysql://f:hunter2@h/x", "must read"),
            ("postgres://f:%ff@h/x", "must read"),
            ("postgres://:hunter2@h/x", "must name a role"),
            ("postgres://F:hunter2@h/x", "must name a role"),
            ("postgres://1f:hunter2@h/x", "must name a role"),
            ("postgres://f%22$$:hunter2@h/x", "must name a role"),
            (long.as_str(), "must name a role"),
            ("postgres://f@h/x", "must contain a password"),
            ("postgres://f:@h/x", "must contain a password"),
            ("postgres://f:hunter%0a2@h/x", "must contain a password"),
            ("postgres://f:hünter2@h/x", "must contain a password"),
        ] {
            let told = DatabaseRole::of_url(url).unwrap_err();
            assert!(told.starts_with(required) && !told.contains("hunter2"), "{url}: {told}");
        }
    }
}
