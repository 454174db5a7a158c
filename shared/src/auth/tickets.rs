//! One-time tickets. A ticket opens a socket in place of a token, so that no token is part of a URL.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;
use crate::ids;

/// A new ticket (128 random bits as base64url, 22 characters) and the hash under which it is stored.
pub fn new_ticket() -> Result<(String, [u8; 32]), Error> {
    let mut bits = [0; 16];
    // Fails only if the system provides no randomness.
    rand::fill(&mut bits).map_err(|_| Error::Internal)?;
    let ticket = URL_SAFE_NO_PAD.encode(bits);
    let hash = ticket_hash(&ticket);
    Ok((ticket, hash))
}

/// The hash under which a ticket is stored: SHA-256 of its text.
pub fn ticket_hash(ticket: &str) -> [u8; 32] {
    ids::sha256(ticket.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_has_22_characters_and_is_unique() {
        let (first, hash) = new_ticket().unwrap();
        assert_eq!((first.len(), hash), (22, ticket_hash(&first)));
        assert_ne!(first, new_ticket().unwrap().0);
    }
}
