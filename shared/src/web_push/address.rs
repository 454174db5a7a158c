//! Which IP addresses belong to the public internet. The standard library's `is_global` is not stable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public, and the length of their prefixes. IANA's registry of special-purpose addresses,
/// without the few that are reachable from everywhere, and with multicast.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    // this network (RFC 791)
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // private (RFC 1918)
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // shared by the customers of a provider (RFC 6598)
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // loopback (RFC 1122)
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // link-local (RFC 3927), where clouds have their metadata services
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // protocol assignments (RFC 6890)
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // documentation (RFC 5737)
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // relays of 6to4, which are deprecated (RFC 7526)
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // benchmarks (RFC 2544)
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // multicast (RFC 5771)
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // reserved, and broadcast (RFC 1112, RFC 8190)
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only network of IPv6 from which public unicast addresses are allocated (RFC 4291).
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The networks in it that are not public.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    // protocol assignments (RFC 2928), among them Teredo, which contains an IPv4 address
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // documentation (RFC 3849, RFC 9637)
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4, which contains an IPv4 address and is deprecated (RFC 7526)
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// The addresses by which a translator (NAT64) reaches IPv4 (RFC 6052).
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address belongs to the public internet. One that stands for an address of IPv4 is as public as that.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| contains_v4(*network, address)),
        IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| translated(address)) {
            Some(address) => is_public(address.into()),
            None => {
                contains_v6(PUBLIC_V6, address) && !NOT_PUBLIC_V6.iter().any(|network| contains_v6(*network, address))
            }
        },
    }
}

/// The address of IPv4 that a translator reaches by this one.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    contains_v6(NAT64, address).then_some(Ipv4Addr::new(a, b, c, d))
}

fn contains_v4((network, length): (Ipv4Addr, u32), address: Ipv4Addr) -> bool {
    (network.to_bits() ^ address.to_bits()) >> (32 - length) == 0
}

fn contains_v6((network, length): (Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (network.to_bits() ^ address.to_bits()) >> (128 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], expected: bool) {
        for address in addresses {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn networks_end_where_the_registry_says() {
        check(
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "191.255.255.255",
                "192.0.1.0",
                "192.0.3.0",
                "192.88.98.255",
                "192.88.100.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.99.255",
                "198.51.101.0",
                "203.0.112.255",
                "203.0.114.0",
                "223.255.255.255",
            ],
            true,
        );
        check(
            &[
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.0",
                "192.0.0.255",
                "192.0.2.0",
                "192.0.2.255",
                "192.88.99.0",
                "192.88.99.255",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.0",
                "198.51.100.255",
                "203.0.113.0",
                "203.0.113.255",
                "224.0.0.0",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
            ],
            false,
        );
    }

    #[test]
    fn of_ipv6_only_what_is_allocated_is_public() {
        check(&["2001:200::", "2600::1", "2a00:1450:4001::1", "2003::1", "3ffe:ffff::1", "2001:db9::1"], true);
        check(
            &[
                "::",
                "::1",
                "::7f00:1",
                "::5db8:d822",
                "100::1",
                "100:0:0:1::1",
                "1fff::1",
                "2001::1",
                "2001:1ff::1",
                "2001:db8::1",
                "2001:db8:ffff::1",
                "2002:5db8:d822::1",
                "3fff::1",
                "3fff:fff::1",
                "4000::1",
                "5f00::1",
                "fc00::1",
                "fd00:ec2::254",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "64:ff9b:1::5db8:d822",
            ],
            false,
        );
    }

    #[test]
    fn an_address_that_stands_for_one_of_ipv4_is_as_public_as_that() {
        check(&["::ffff:93.184.216.34", "64:ff9b::93.184.216.34"], true);
        check(
            &[
                "::ffff:127.0.0.1",
                "::ffff:a9fe:a9fe",
                "::ffff:10.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b::a9fe:a9fe",
                "2002:7f00:1::",
                "2002:a9fe:a9fe::1",
                "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            ],
            false,
        );
    }
}
