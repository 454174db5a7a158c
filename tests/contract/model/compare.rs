//! Compares the contents of a record with its model.

use futures_util::future::{join_all, try_join_all};
use shared::clock::At;
use shared::error::StoreError;
use shared::ids::UserId;
use shared::inbox::Page;
use shared::inbox::bounds::Bounds;
use shared::sockets::connections::MAX_CONNECTION_AGE_MS;

use super::accept::{Accepted, agree, as_json};
use super::state::Row;
use super::{CursorSpec, Model};
use crate::record::Record;

/// Compares the histories and positions of the model's users, and when something falls due next.
pub(crate) async fn differences(record: &Record, model: &Model) -> Accepted {
    let at = At::Fixed(model.now_ms());
    let histories = (0..model.users.len()).map(|user| async move {
        let beginning = CursorSpec { offset: model.inbox(model.user(user)).purged_through, foreign: false };
        let since = Some(model.cursor(beginning));
        let changes = record.inbox().changes(model.user(user), since, Bounds::default(), at).await;
        let changes = changes.map_err(|error| error.to_string())?;
        model.changes(user, Some(beginning), usize::MAX, changes.as_ref()).map_err(|why| {
            let user = model.user(user);
            format!("the inbox of {user}: {why}")
        })
    });
    try_join_all(histories).await?;
    let chunks = model.chunks.iter().map(|chunk| chunk.due_ms);
    let rows = model.inboxes.values().flat_map(|inbox| inbox.rows.values()).filter_map(|row| row.push_at_ms);
    let ends = model.inboxes.values().flat_map(|inbox| inbox.rows.values()).filter_map(Row::expires_ms);
    let snoozes = model.inboxes.values().flat_map(|inbox| inbox.rows.values()).filter_map(|row| row.snoozed_until_ms);
    let next_due = record.next_due().await.map_err(|error| error.to_string())?;
    agree("when the next is due", next_due, chunks.chain(rows).chain(ends).chain(snoozes).min())
}

/// Compares what only the other reads show, and a sample of the users without numbers.
pub(super) async fn full_differences(record: &Record, model: &Model) -> Accepted {
    let at = At::Fixed(model.now_ms());
    for user in &model.users {
        let inbox = model.inbox(user);
        let page = Page::default();
        let listed = record.inbox().list(user, &page, at).await.map_err(|error| error.to_string())?;
        let expected: Vec<String> = inbox
            .present(model.now_ms())
            .rev()
            .map(|(offset, row)| as_json(&model.notification(offset, row)))
            .collect();
        agree("the list", listed.notifications.iter().map(as_json).collect(), expected)?;
        for row in inbox.rows.values() {
            let found = record.inbox().find(user, row.id, at).await.map_err(|error| error.to_string())?;
            agree("whether it is found", found.is_some(), !row.is_gone(model.now_ms()))?;
        }
    }
    for number in 0..model.openings {
        let id = model.connection(number);
        let found = record.connections().find(&id).await.map_err(|error| error.to_string())?;
        let open = model.connections.iter().find(|open| open.connection.id == id);
        agree("the connection", found.as_ref(), open.map(|open| &open.connection))?;
    }
    // Some on each side of a chunk's beginning, and some that are in no chunk.
    let others: Vec<UserId> = model.others(450).step_by(13).collect();
    let positions = join_all(others.iter().map(|user| record.inbox().position(user, at))).await;
    for (user, position) in others.iter().zip(positions) {
        let position = position.map_err(|error| error.to_string())?;
        agree("the position of a user without a number", position, model.position(user))?;
    }
    Ok(())
}

/// Leaves nothing connected, waiting or due for the next test that uses the record.
pub(crate) async fn clean_up(record: &Record, model: &Model) -> Accepted {
    let late = At::Fixed(model.now_ms() + 2 * MAX_CONNECTION_AGE_MS);
    let next_due = async {
        record.connections().sweep(late).await?;
        while record.materialise_next(late).await?.is_some() {}
        record.snoozes().unsnooze(usize::MAX, late).await?;
        record.deliveries().take_due(usize::MAX, late).await?;
        record.retention().expire(usize::MAX, late).await?;
        record.next_due().await
    };
    let next_due: Result<_, StoreError> = next_due.await;
    agree("what is due after everything", next_due.map_err(|error| error.to_string())?, None)
}
