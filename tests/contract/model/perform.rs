//! Performs an operation on a record.

use std::sync::Arc;

use shared::clock::{At, Time};
use shared::delivery::Delivery;
use shared::delivery::deliveries::Taken;
use shared::error::StoreError;
use shared::ids::{ConnectionId, NotificationId, UserId};
use shared::inbox::bounds::Bounds;
use shared::inbox::notification::Notification;
use shared::inbox::send::Due;
use shared::inbox::sends::{Append, Appended, Cancelled, FirstAnswer};
use shared::inbox::snooze::{Snoozed, Unsnoozed};
use shared::inbox::{Changed, Changes, Listed};
use shared::sockets::connections::{Connection, Extended, Opened, Opening};

use super::operation::{self, Operation};
use super::state::{Chunk, Model};
use crate::record::{Record, user};

/// What a record answered.
#[derive(Debug)]
pub(crate) enum Outcome {
    Appended(Appended),
    Cancelled(Cancelled),
    Changed(Option<Changed>),
    Snoozed(Snoozed),
    Unsnoozed(Unsnoozed),
    Expired(Vec<(UserId, Changed)>),
    Acknowledged(bool),
    FirstAnswer(Option<FirstAnswer>),
    Listed(Listed),
    Changes(Option<Changes>),
    Found(Option<Notification>),
    /// With the notification of the chunk's first recipient.
    Materialised(Option<(NotificationId, Vec<Delivery>)>),
    /// What a limited call took; and the rest, if the model could not otherwise tell which rows were examined.
    Taken(Taken, Option<Taken>),
    /// The fences that were named, and what was taken.
    TakenByKey(Vec<i64>, Vec<Delivery>),
    Opened(Vec<Opened>),
    Extended(Extended),
    Connection(Option<Connection>),
    Ended(Vec<Connection>),
    Done,
}

/// Performs the operation at the model's time. Waiting only changes the model.
pub(crate) async fn perform(record: &Record, model: &Model, operation: &Operation) -> Result<Outcome, StoreError> {
    let (inbox, deliveries, connections) = (record.inbox(), record.deliveries(), record.connections());
    let at = At::Fixed(model.now_ms());
    Ok(match operation {
        Operation::Append { key, kind, to, others, delay_ms, ttl_ms, collapse } => {
            let send =
                model.with_expiry_and_collapse(model.send(*key, *kind, *to, *others), *delay_ms, *ttl_ms, *collapse);
            let append = Append {
                id: send.id,
                sender: &user("billing"),
                fingerprint: send.fingerprint,
                content: Arc::clone(&send.content),
                recipients: &model.recipients(*to, *others),
                answer: &send.answer,
                due: if *delay_ms == 0 { Due::Now } else { Due::After(*delay_ms) },
                retention_ms: i64::MAX / 4,
            };
            Outcome::Appended(record.sends().append(&append, at).await?)
        }
        Operation::Cancel { key } => {
            Outcome::Cancelled(record.sends().cancel(model.send(*key, 0, 0, 0).id, &user("billing")).await?)
        }
        Operation::Change { user, .. } | Operation::ReadAll { user, .. } => {
            let change = model.change(operation);
            Outcome::Changed(inbox.change(model.user(*user), &change, at).await?)
        }
        Operation::Snooze { user, id, wait_ms } => {
            let until = Time(model.now_ms() + wait_ms);
            Outcome::Snoozed(record.snoozes().snooze(model.user(*user), model.id(*id), until, at).await?)
        }
        Operation::Acknowledge { user, cursor } => {
            Outcome::Acknowledged(inbox.acknowledge(model.user(*user), model.cursor(*cursor), at).await?)
        }
        Operation::FirstAnswer { key } => {
            let id = model.send(*key, 0, 0, 0).id;
            Outcome::FirstAnswer(record.sends().first_answer(id).await?)
        }
        Operation::List { user, .. } => {
            Outcome::Listed(inbox.list(model.user(*user), &model.page(operation), at).await?)
        }
        Operation::Changes { user, since, limit } => {
            let since = since.map(|since| model.cursor(since));
            Outcome::Changes(inbox.changes(model.user(*user), since, Bounds::items(*limit), at).await?)
        }
        Operation::Find { user, id } => Outcome::Found(inbox.find(model.user(*user), model.id(*id), at).await?),
        Operation::MaterialiseNext => Outcome::Materialised(match record.materialise_next(at).await? {
            None => None,
            Some(materialised) => Some((which_chunk(record, model, &materialised).await?, materialised)),
        }),
        Operation::TakeDue { limit } => {
            let first = deliveries.take_due(*limit, at).await?;
            let rest = if model.is_ambiguous(*limit) { Some(deliveries.take_due(usize::MAX, at).await?) } else { None };
            Outcome::Taken(first, rest)
        }
        Operation::Unsnooze { limit } => Outcome::Unsnoozed(record.snoozes().unsnooze(*limit, at).await?),
        Operation::Expire { limit } => Outcome::Expired(record.retention().expire(*limit, at).await?),
        Operation::Take { rows } => {
            let keys: Vec<_> = rows.iter().map(|row| model.key(row)).collect();
            let fences = keys.iter().map(|key| key.fence_ms).collect();
            Outcome::TakenByKey(fences, deliveries.take(&keys, at).await?)
        }
        Operation::MarkOffered { rows } => {
            let rows: Vec<_> = rows.iter().map(|(user, offset)| (model.user(*user), *offset)).collect();
            deliveries.mark_offered(&rows, at).await?;
            Outcome::Done
        }
        Operation::Purge { retention_ms } => {
            record.retention().purge(*retention_ms, at).await?;
            Outcome::Done
        }
        Operation::MarkResynced { users } => {
            let users: Vec<_> = users.iter().map(|(user, through)| (model.user(*user), *through)).collect();
            deliveries.mark_resynced(&users, at).await?;
            Outcome::Done
        }
        Operation::Issue { .. } => {
            if let Some(ticket) = model.ticket(operation) {
                connections.issue(&ticket, at).await?;
            }
            Outcome::Done
        }
        Operation::Open { ticket, origin } => {
            let (connection, origin) = (model.next_connection(0), operation::origin(*origin));
            let ticket_hash = model.ticket_hash(*ticket);
            let opening = Opening { connection: &connection, ticket_hash, origin: origin.as_deref() };
            Outcome::Opened(vec![connections.open(&opening, at).await?])
        }
        Operation::Connect { .. } => {
            let mut opened = Vec::new();
            for (n, ticket) in model.connecting(operation).into_iter().enumerate() {
                let at = At::Fixed(model.now_ms() + i64::try_from(n).unwrap_or_default());
                connections.issue(&ticket, at).await?;
                let connection = model.next_connection(n);
                let opening = Opening { connection: &connection, ticket_hash: ticket.hash, origin: None };
                opened.push(connections.open(&opening, at).await?);
            }
            Outcome::Opened(opened)
        }
        Operation::Extend { connection, ticket } => {
            let connection = model.connection(*connection);
            Outcome::Extended(connections.extend(&connection, &model.ticket_hash(*ticket), at).await?)
        }
        Operation::FindConnection { connection } => {
            Outcome::Connection(connections.find(&model.connection(*connection)).await?)
        }
        Operation::Forget { connections: gone } => {
            let gone: Vec<ConnectionId> = gone.iter().map(|number| model.connection(*number)).collect();
            connections.forget(&gone).await?;
            Outcome::Done
        }
        Operation::Sweep => Outcome::Ended(connections.sweep(at).await?),
        Operation::Wait { .. } => Outcome::Done,
    })
}

/// The chunk that was materialised: of those that were due, the one whose first recipient has the notification now. The
/// record chooses the order, unless the chunk had expired and left no trace.
async fn which_chunk(record: &Record, model: &Model, deliveries: &[Delivery]) -> Result<NotificationId, StoreError> {
    let candidates = model.due_chunks();
    if let Some((_, id)) =
        candidates.iter().find(|(_, id)| deliveries.iter().any(|delivery| delivery.notification.id == *id))
    {
        return Ok(*id);
    }
    for (_, id) in &candidates {
        if record
            .send_history()
            .trace(*id, None, At::Fixed(model.now_ms()))
            .await?
            .is_some_and(|it| it.materialised_at_ms.is_some())
        {
            return Ok(*id);
        }
    }
    // An expired chunk gives no recipient a row.
    let first = model.first_due_chunk().filter(|first| first.has_expired(model.now_ms()));
    first.map(Chunk::first).ok_or_else(|| StoreError::Broken("a chunk was materialised that was not due".into()))
}
