//! How much of a deployment an environment describes.

/// Whose variables these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those of a whole deployment, or of a local gateway.
    Deployment,
    /// Those of one function, which has only what it needs.
    Function,
}
