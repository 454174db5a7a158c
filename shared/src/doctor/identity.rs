//! Whether tokens can be verified: the secret, or the keys of the identity provider.

use super::finding::Finding;

const CHECK: &str = "tokens";

/// The keys that the identity provider published: how many can be used, and why others cannot; an error if none were read.
pub fn of_keys(published: &Result<(usize, Vec<&'static str>), String>) -> Finding {
    match published {
        Err(reason) => Finding::problem(
            CHECK,
            format!("the keys at JWT_JWKS_URL cannot be read: {reason}"),
            "open the URL with curl from where the functions run; a function in a VPC needs a route to the internet",
        ),
        Ok((0, refused)) => Finding::problem(
            CHECK,
            format!("no key at JWT_JWKS_URL can be used{}", reasons(refused)),
            "let the identity provider publish keys for RS256, ES256 or EdDSA, each with a kid",
        ),
        Ok((usable, refused)) if !refused.is_empty() => Finding::warning(
            CHECK,
            format!(
                "of the keys at JWT_JWKS_URL, {usable} can be used and {} cannot{}",
                refused.len(),
                reasons(refused)
            ),
            "if tokens are signed with one of those, let the identity provider sign with another",
        ),
        Ok((usable, _)) => Finding::ok(CHECK, format!("JWT_JWKS_URL publishes keys that can be used: {usable}")),
    }
}

fn reasons(refused: &[&'static str]) -> String {
    let mut reasons: Vec<&str> = refused.to_vec();
    reasons.sort_unstable();
    reasons.dedup();
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
}
