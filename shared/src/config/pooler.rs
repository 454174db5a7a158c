//! What is between functions and the database.

/// What stands between this process and Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or a pooler that keeps track of prepared statements.
    #[default]
    None,
    /// A pooler that may run every transaction on another connection of the server, which does not know the statements
    /// that were prepared on the one before.
    Transaction,
}
