//! The model's tickets and connections.

use shared::ids::ConnectionId;
use shared::sockets::connections::{Connection, Extended, MAX_CONNECTION_AGE_MS, MAX_CONNECTIONS, Opened, Ticket};

use super::accept::{Accepted, agree};
use super::state::{Model, Open};

impl Model {
    pub(super) fn opened(&mut self, hash: [u8; 32], origin: Option<String>, opened: &Opened) -> Accepted {
        let id = self.next_connection(0);
        self.openings += 1;
        let (user, token_expires_at_ms) = match self.take_ticket(&hash) {
            None => return agree("the opening", opened, &Opened::TicketRefused),
            Some(ticket) if ticket.origin != origin => {
                return agree("the opening", opened, &Opened::OriginRefused);
            }
            Some(ticket) => (ticket.user, ticket.token_expires_at_ms),
        };
        let connection = Connection { id, user: user.clone(), connected_at_ms: self.now_ms(), token_expires_at_ms };
        self.connections.push(Open { connection, origin });
        let of_user = self.connections.iter().map(|open| &open.connection).filter(|open| open.user == user);
        let mut displaced: Vec<ConnectionId> = of_user.map(|open| open.id.clone()).collect();
        displaced.truncate(displaced.len().saturating_sub(MAX_CONNECTIONS));
        self.connections.retain(|open| !displaced.contains(&open.connection.id));
        agree("the opening", opened, &Opened::Registered { user, displaced })
    }

    pub(super) fn extended(&mut self, connection: usize, hash: [u8; 32], extended: &Extended) -> Accepted {
        let id = self.connection(connection);
        let ticket = self.take_ticket(&hash);
        let open = self.connections.iter_mut().find(|open| open.connection.id == id);
        let expected = match (ticket, open) {
            (Some(ticket), Some(open)) if ticket.user == open.connection.user && ticket.origin == open.origin => {
                open.connection.token_expires_at_ms = ticket.token_expires_at_ms;
                Extended::Until(ticket.token_expires_at_ms)
            }
            _ => Extended::Refused,
        };
        agree("the extension", extended, &expected)
    }

    /// Removes a ticket; `None` if it has expired or its token has ended.
    fn take_ticket(&mut self, hash: &[u8; 32]) -> Option<Ticket> {
        let now_ms = self.now_ms();
        let ticket = self.tickets.remove(hash);
        ticket.filter(|ticket| ticket.expires_at_ms > now_ms && ticket.token_expires_at_ms > now_ms)
    }

    pub(super) fn swept(&mut self, ended: &[Connection]) -> Accepted {
        let now_ms = self.now_ms();
        self.tickets.retain(|_, ticket| ticket.expires_at_ms > now_ms);
        self.connections.retain(|open| open.connection.connected_at_ms > now_ms - MAX_CONNECTION_AGE_MS);
        let all = self.connections.iter().map(|open| &open.connection);
        let expected: Vec<Connection> = all.filter(|open| open.token_expires_at_ms <= now_ms).cloned().collect();
        agree("the connections that ended", sorted_by_id(ended), sorted_by_id(&expected))
    }
}

/// Connections in a form that can be compared.
pub(super) fn sorted_by_id(connections: &[Connection]) -> Vec<Connection> {
    let mut connections = connections.to_vec();
    connections.sort_by(|one, other| one.id.cmp(&other.id));
    connections
}
