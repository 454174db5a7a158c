//! The suite of `shared::sockets::connections::Connections`.

mod registry;
mod tickets;

use shared::ids::{ConnectionId, sha256};
use shared::sockets::connections::{Opened, Opening, Ticket};

use crate::record::{LATE_MS, Record, START_MS, at, user};

/// When a ticket of these suites is too old.
const TOO_OLD_MS: i64 = 30_000;

fn hash(ticket: &str) -> [u8; 32] {
    sha256(ticket.as_bytes())
}

fn ticket(name: &str, ticket: &str) -> Ticket {
    Ticket {
        hash: hash(ticket),
        user: user(name),
        origin: None,
        token_expires_at_ms: START_MS + LATE_MS,
        expires_at_ms: START_MS + TOO_OLD_MS,
    }
}

/// A ticket for the pages of one origin.
fn ticket_of(name: &str, of: &str, origin: &str) -> Ticket {
    Ticket { origin: Some(origin.into()), ..ticket(name, of) }
}

async fn issue(record: &Record, ticket: &Ticket) {
    record.connections().issue(ticket, at(0)).await.unwrap();
}

async fn open(record: &Record, connection: &str, ticket: &str, origin: Option<&str>, now_ms: i64) -> Opened {
    let opening = Opening { connection: &ConnectionId::new(connection), ticket_hash: hash(ticket), origin };
    record.connections().open(&opening, at(now_ms)).await.unwrap()
}

/// What an opening is that displaces nobody.
fn registered(name: &str) -> Opened {
    Opened::Registered { user: user(name), displaced: Vec::new() }
}
