//! Running statements. Each is prepared once for each connection.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};

use super::failure::Failure;

/// Runs a statement that returns no rows; returns how many it changed.
pub(super) fn execute(db: &Connection, sql: &str, params: impl Params) -> Result<usize, Failure> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}

/// All rows of a statement.
pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// The first row of a statement, if there is one.
pub(super) fn first<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// The row of a statement that always returns one.
pub(super) fn one<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    first(db, sql, params, read)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

/// The first column of a row.
pub(super) fn value<T: FromSql>(row: &Row<'_>) -> Result<T, Failure> {
    Ok(row.get(0)?)
}
