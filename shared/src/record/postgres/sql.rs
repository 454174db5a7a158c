//! How statements are put together and retried.

/// How often a statement is attempted that loses against concurrent ones.
pub(crate) const MAX_ATTEMPTS: usize = 5;

/// A statement that begins with `clock.sql` and continues with these files, or texts in parentheses.
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

/// Runs an act again while it loses against concurrent ones: a deadlock or serialization failure undid it, or an inbox
/// changed under it.
macro_rules! retried {
    ($act:expr) => {{
        let mut attempt = 1;
        loop {
            match $act.await {
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
