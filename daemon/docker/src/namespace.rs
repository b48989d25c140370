//! Whether an engine's bridges are in our own network namespace, so that we can reach its containers.
//!
//! `/proc/self/net` is the namespace of the process; `/sys/class/net` is that of whoever mounted it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use trueup_schema::Subnet;

/// Returns the addresses of this process's network namespace; none when they cannot be read.
pub(crate) fn local_addresses() -> Option<BTreeSet<Ipv4Addr>> {
    std::fs::read_to_string("/proc/self/net/fib_trie").ok().map(|text| parse_fib(&text))
}

/// Reads the local addresses of a routing trie: each `/32 host LOCAL` belongs to the line before it.
fn parse_fib(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in text.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse().ok();
        } else if line.trim() == "/32 host LOCAL" {
            addresses.extend(last);
        }
    }
    addresses
}

/// Returns whether one of the bridges' addresses is ours; none when there is nothing to tell it by.
pub(crate) fn is_same(gateways: &[Ipv4Addr]) -> Option<bool> {
    if gateways.is_empty() {
        return None;
    }
    let ours = local_addresses()?;
    Some(gateways.iter().any(|gateway| ours.contains(gateway)))
}

/// Returns the networks that the host has routes to, with their interfaces, default routes left out.
pub(crate) fn host_routes() -> Vec<(Subnet, String)> {
    std::fs::read_to_string("/proc/self/net/route").map(|text| parse_routes(&text)).unwrap_or_default()
}

fn parse_routes(text: &str) -> Vec<(Subnet, String)> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::swap_bytes);
        let prefix = u8::try_from(hex(7)?.count_ones()).ok()?;
        let subnet = Subnet { address: hex(1)?.into(), prefix };
        (prefix > 0).then(|| (subnet, fields[0].to_owned()))
    };
    text.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_routing_trie() {
        let text = "Local:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(parse_fib(text), BTreeSet::from(["10.0.0.1".parse().unwrap()]));
    }

    #[test]
    fn routes_are_read_with_their_interface_and_without_the_default() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n\
            tu-1\t000010AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
        let routes = parse_routes(text);
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].0.to_string(), "172.16.0.0/16");
        assert_eq!(routes[0].1, "tu-1");
    }
}
