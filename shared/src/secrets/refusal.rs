//! Why the secret of a variable cannot be used.

use std::fmt;

/// A variable that is meant to name a secret, and why its value cannot be had. Its text begins with the name of the variable, names
/// the secret, and contains nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The variable.
    pub variable: &'static str,
    /// The name of the secret; empty if the variable names none.
    pub secret: String,
    /// Why.
    pub refusal: Refusal,
}

/// Why the value cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The variable does not name a secret in the form that is required.
    #[error(
        "must be the value itself, or name a secret as arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, and with #MEMBER a member \
         of its JSON"
    )]
    Malformed,
    /// There are no credentials to ask with.
    #[error("which cannot be read without AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    NoCredentials,
    /// There is no such secret.
    #[error("which does not exist")]
    Absent,
    /// The role has no right to it, or to the key that encrypts it.
    #[error("which this role may not read")]
    Forbidden,
    /// There was no answer, or another error.
    #[error("which cannot be read: {0}")]
    Unreadable(String),
    /// It is bytes, not text.
    #[error("which is binary, and must be text")]
    Binary,
    /// It has no members.
    #[error("which is not a JSON object, so it has no member {0}")]
    NotJson(String),
    /// It has other members.
    #[error("which has no member {0}")]
    NoMember(String),
    /// The member is not a string.
    #[error("whose member {0} must be a string")]
    NotText(String),
    /// There is nothing in it.
    #[error("which is empty")]
    Empty,
}

impl Unusable {
    /// A variable that begins as if it named a secret.
    pub(super) fn malformed(variable: &'static str) -> Self {
        Self { variable, secret: String::new(), refusal: Refusal::Malformed }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, secret, refusal } = self;
        match refusal {
            Refusal::Malformed => write!(f, "{variable} {refusal}"),
            refusal => write!(f, "{variable} names the secret {secret}, {refusal}"),
        }
    }
}
