//! How much of the gateway its clients may hold, and for how long.

use std::net::IpAddr;
use std::time::Duration;

/// Bounds on what clients may hold. The sizes of requests and messages are not here, since API Gateway fixes them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// How long the head of a request may take, from its first byte. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be open without a request: from its start, or from the last answer, until the head of
    /// the next request is complete. Default: 75 s.
    pub idle_timeout: Duration,
    /// How long the body of a request may take. Default: 10 s.
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer that is being sent to it. Default: 20 s.
    pub write_timeout: Duration,
    /// How many connections, sockets included, one address may have open. Networks of IPv6 count as one address, since
    /// each host has one. Default: 1,024.
    pub connections_per_address: usize,
    /// The same for this machine's own addresses. Default: no limit, since all local clients share them.
    pub connections_from_loopback: usize,
    /// How many bytes the bodies of all requests may take, from their first byte until their function has answered.
    /// Half of it is for the first part of each, 512 KiB by default. Pushes may take a quarter in addition, so that
    /// functions can push while requests wait. Default: 64 MiB.
    pub body_bytes: usize,
    /// How long a request may wait for room for its body. Default: 1 s.
    pub body_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            connections_per_address: 1_024,
            connections_from_loopback: usize::MAX,
            body_bytes: 64 * 1024 * 1024,
            body_wait: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// How many connections this address may have open.
    pub(crate) fn connections_from(&self, address: IpAddr) -> usize {
        if address.is_loopback() { self.connections_from_loopback } else { self.connections_per_address }
    }
}
