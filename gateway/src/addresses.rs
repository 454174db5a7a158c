//! Counts the open connections of each address, so that one client cannot take all file handles.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses that have connections open. Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One open connection, until this is dropped.
pub(crate) struct OpenConnection {
    addresses: Addresses,
    network: IpAddr,
}

impl Addresses {
    /// Counts a connection; `None` if the address already has this many.
    pub(crate) fn open(&self, address: IpAddr, limit: usize) -> Option<OpenConnection> {
        let network = network(address);
        let mut counts = self.counts();
        let count = counts.get(&network).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        counts.insert(network, count + 1);
        Some(OpenConnection { addresses: self.clone(), network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// The address, or for IPv6 its network of 64 bits, all of whose addresses one host can use.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(addresses: &Addresses, address: &str) -> Option<OpenConnection> {
        addresses.open(address.parse().unwrap(), 2)
    }

    #[test]
    fn an_address_has_at_most_its_limit_of_connections() {
        let addresses = Addresses::default();
        let first = open(&addresses, "192.0.2.1").unwrap();
        let _second = open(&addresses, "::ffff:192.0.2.1").unwrap();
        assert!(open(&addresses, "192.0.2.1").is_none());
        assert!(open(&addresses, "192.0.2.2").is_some(), "other addresses are not affected");
        drop(first);
        assert!(open(&addresses, "192.0.2.1").is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_counted_together() {
        let addresses = Addresses::default();
        let _open = [open(&addresses, "2001:db8::1").unwrap(), open(&addresses, "2001:db8::2").unwrap()];
        assert!(open(&addresses, "2001:db8::3").is_none());
        assert!(open(&addresses, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let addresses = Addresses::default();
        drop(open(&addresses, "192.0.2.1"));
        assert!(addresses.open("192.0.2.2".parse().unwrap(), 0).is_none());
        assert!(addresses.counts().is_empty());
    }
}
