//! The keys by which push services recognise this deployment (VAPID, RFC 8292).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

/// A pair of keys of P-256, and whom a push service can ask about what is sent with it. `Debug` shows only the public key.
#[derive(Debug, Clone)]
pub struct VapidKeys {
    pair: EcdsaKeyPair,
    subject: String,
}

impl VapidKeys {
    /// Keys from the values of their variables. The errors are names of variables and what is required of each.
    pub(super) fn new(public: &str, private: &str, subject: &str) -> Result<Self, Vec<(&'static str, &'static str)>> {
        let (public, private) = (decoded::<65>(public), decoded::<32>(private));
        let pair = public.zip(private).map(|(public, private)| {
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &public)
        });
        let mut problems = Vec::new();
        if public.is_none() {
            problems.push(("VAPID_PUBLIC_KEY", PUBLIC_KEY_RULE));
        }
        if private.is_none() {
            problems.push(("VAPID_PRIVATE_KEY", "must be 32 bytes as base64url without padding"));
        }
        if matches!(pair, Some(Err(_))) {
            problems.push(("VAPID_PRIVATE_KEY", "must belong to VAPID_PUBLIC_KEY, both of them of P-256"));
        }
        if !is_subject(subject) {
            problems.push(("VAPID_SUBJECT", "must be a mailto: or https: URL"));
        }
        match pair {
            Some(Ok(pair)) if problems.is_empty() => Ok(Self { pair, subject: subject.to_owned() }),
            _ => Err(problems),
        }
    }

    /// The public key, 65 bytes as base64url: the `applicationServerKey` of a subscription.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// The `mailto:` or `https:` URL of the operator.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What signs.
    pub(crate) fn pair(&self) -> &EcdsaKeyPair {
        &self.pair
    }
}

/// The requirement on a public key.
pub(super) const PUBLIC_KEY_RULE: &str = "must be 65 bytes as base64url without padding";

/// Whether a text can be a public key.
pub(super) fn is_public_key(text: &str) -> bool {
    decoded::<65>(text).is_some()
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Whether a text is a URL at which somebody can be asked.
fn is_subject(text: &str) -> bool {
    let is_plain = text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_address =
        |address: &str| address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    let is_https = || Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host());
    is_plain && text.strip_prefix("mailto:").map_or_else(is_https, is_address)
}
