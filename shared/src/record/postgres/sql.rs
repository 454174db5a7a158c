//! How statements are assembled and retried.

/// How often an operation is attempted that loses against concurrent ones.
pub(crate) const MAX_ATTEMPTS: usize = 5;

/// A statement from `clock.sql`, which makes $1 the time, and these files, or texts in parentheses. The next part
/// therefore begins with `, name AS (`, or with a space and the statement itself.
macro_rules! sql {
    ($($part:tt),+) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/record/postgres/clock.sql")),
            $($crate::record::postgres::sql::part!($part)),+
        )
    };
}
pub(crate) use sql;

macro_rules! part {
    ($file:literal) => {
        include_str!($file)
    };
    (($($text:tt)+)) => {
        concat!($($text)+)
    };
}
pub(crate) use part;

/// Retries an operation, up to [`MAX_ATTEMPTS`] times in all, while it loses against concurrent ones: a deadlock or a
/// serialization failure rolled it back, or a row changed after it was read.
macro_rules! retried {
    ($operation:expr) => {{
        let mut attempt = 1;
        loop {
            match $operation.await {
                Err($crate::record::postgres::failure::Failure::Lost)
                    if attempt < $crate::record::postgres::sql::MAX_ATTEMPTS =>
                {
                    attempt += 1
                }
                other => break other.map_err(crate::error::StoreError::from),
            }
        }
    }};
}
pub(crate) use retried;
