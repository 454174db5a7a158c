//! The log of the whole run, as deployed functions write it.

use std::io;
use std::sync::{Mutex, MutexGuard};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Starts keeping the log.
pub(crate) fn start() {
    tracing_subscriber::fmt().json().without_time().with_writer(|| Journal).init();
}

/// How much has been written: a place to read from later, with [`since`].
pub(crate) fn now() -> usize {
    log().len()
}

/// What was written after a place.
pub(crate) fn since(place: usize) -> String {
    String::from_utf8_lossy(&log()[place..]).into_owned()
}

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap()
}

struct Journal;

impl io::Write for Journal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        log().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
