//! Connections to the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How many statements each connection keeps prepared: more than there are.
const MAX_PREPARED_STATEMENTS: usize = 256;
/// How long a statement waits for another program that has locked the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection with the settings of all.
pub(super) fn connect(file: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let db = Connection::open_with_flags(file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(MAX_PREPARED_STATEMENTS);
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        db.pragma_update(None, "journal_mode", "WAL")?;
        // An accepted send must survive a crash of the machine, not only of the process.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
    }
    // 64 MiB. With the default of 2 MiB a send to many inboxes reads their pages again and again.
    db.pragma_update(None, "cache_size", -65_536)?;
    Ok(db)
}
