//! Retrying a dead letter at the request of an operator.

use crate::app::App;
use crate::delivery::dead_letters::Redriven;
use crate::delivery::queue::Entry;
use crate::delivery::work::Work;
use crate::error::{Error, StoreError};
use crate::fast::logged;
use crate::ids::DeadLetterId;

/// Makes what a dead letter is about due again. What the queue or a log held is only there: if it cannot be processed now, the
/// dead letter stays, and the caller gets a conflict.
pub async fn redrive(app: &App, id: DeadLetterId) -> Result<(), Error> {
    match app.record.dead_letters.redrive(id, app.clock.at()).await? {
        Redriven::Missing => return Err(Error::NotFound),
        Redriven::Done => wake_for_record(app).await,
        Redriven::Held(text) => {
            process(app, &text).await?;
            // If this fails, a further redrive processes it again, which changes nothing.
            app.record.dead_letters.discard(id).await?;
        }
    }
    Ok(())
}

/// Wakes the drain for what only the record knows of, so that there is nothing to enqueue.
async fn wake_for_record(app: &App) {
    app.enqueue_and_wake(&[]).await;
}

/// Processes what the queue or a log held.
async fn process(app: &App, text: &str) -> Result<(), Error> {
    if let Some(accepted) = logged::Entry::parse(text.as_bytes()) {
        return match app.log_writer.write_entry(accepted, app.clock.at()).await {
            Ok(true) => {
                wake_for_record(app).await;
                Ok(())
            }
            Ok(false) => Err(Error::Conflict("another request was stored under its id")),
            Err(StoreError::Refused(_)) => Err(Error::Conflict("the database still refuses it")),
            Err(error) => Err(error.into()),
        };
    }
    match Work::parse(text.as_bytes()) {
        Ok(Work::Unknown(_)) => Err(Error::Conflict("this version does not know this kind of work")),
        Err(_) => Err(Error::Conflict("it cannot be read; discard it")),
        Ok(work) => match app.enqueue_and_wake(&[Entry { work, wait_ms: 0 }]).await {
            0 => Ok(()),
            _ => Err(Error::Conflict("the queue does not take it now")),
        },
    }
}
