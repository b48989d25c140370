//! Which address every replica has, decided before anything starts.
//!
//! A subnet is halved: the lower half holds the planned addresses, the upper half is what the engine
//! hands out to others. What runs keeps its address; a new replica takes a slot found by the hash of its
//! name and by probing on from there, so that adding a component renumbers nobody. Pure.
//!
//! ```text
//! .0 network  .1 gateway  .2 ... planned ... | ... the engine's own ... broadcast
//! ```

use std::{collections::BTreeMap, net::Ipv4Addr};

use sha2::{Digest, Sha256};
use trueup_schema::Subnet;

/// The longest prefix that still has a planned address.
pub(crate) const LONGEST_PREFIX: u8 = 29;

/// The size of the networks that a pool is cut into.
const PIECE: u8 = 24;

/// Returns the subnet of a CIDR text; none when it is none, or has bits set behind the prefix.
pub(crate) fn parse_subnet(text: &str) -> Option<Subnet> {
    let (address, prefix) = text.split_once('/')?;
    let subnet = Subnet { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
    (subnet.prefix <= 32 && first(subnet) & !mask(subnet.prefix) == 0).then_some(subnet)
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn first(subnet: Subnet) -> u32 {
    subnet.address.into()
}

fn last(subnet: Subnet) -> u32 {
    first(subnet) | !mask(subnet.prefix)
}

/// Returns whether two subnets share an address.
pub(crate) fn overlap(a: Subnet, b: Subnet) -> bool {
    first(a) <= last(b) && first(b) <= last(a)
}

/// Returns the address of the bridge: the first one.
pub(crate) fn gateway(subnet: Subnet) -> Ipv4Addr {
    (first(subnet) + 1).into()
}

/// Returns the upper half, for the engine's own allocation.
pub(crate) fn dynamic_range(subnet: Subnet) -> Subnet {
    let half = 1 << (31 - u32::from(subnet.prefix));
    Subnet { address: (first(subnet) + half).into(), prefix: subnet.prefix + 1 }
}

/// Returns whether an address may be planned: in the lower half, neither network nor gateway.
pub(crate) fn is_planned(subnet: Subnet, address: Ipv4Addr) -> bool {
    let address: u32 = address.into();
    address > first(subnet) + 1 && address < first(dynamic_range(subnet))
}

/// Returns the networks of the pool that overlap with nothing in `taken`, in their order.
pub(crate) fn free_subnets(pool: &[Subnet], taken: &[Subnet]) -> impl Iterator<Item = Subnet> {
    pool.iter()
        .flat_map(|part| pieces(*part))
        .filter(|piece| !taken.iter().any(|other| overlap(*piece, *other)))
}

fn pieces(pool: Subnet) -> impl Iterator<Item = Subnet> {
    let prefix = pool.prefix.max(PIECE);
    let size = 1_u64 << (32 - u32::from(prefix));
    let count = 1_u64 << (prefix - pool.prefix);
    (0..count).map_while(move |n| {
        let address = u32::try_from(u64::from(first(pool)) + n * size).ok()?;
        Some(Subnet { address: address.into(), prefix })
    })
}

/// A wish for an address.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Its name, unique in the network.
    pub(crate) name: String,
    /// Whose hash is the first slot that is tried. Two claims of one seed get two slots, and swap them
    /// when the first is kept on the second's.
    pub(crate) seed: String,
    /// The address that it has now.
    pub(crate) has: Option<Ipv4Addr>,
}

/// Who wants an address in one network, in the order in which they are served.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Those who want one.
    pub(crate) wanted: Vec<Claim>,
    /// Addresses that nobody may get, such as those of strangers.
    pub(crate) taken: Vec<Ipv4Addr>,
}

/// Returns an address for each claim; a claim is missing when the lower half is full.
pub(crate) fn assign(subnet: Subnet, claims: &Claims) -> BTreeMap<String, Ipv4Addr> {
    let mut owners: BTreeMap<Ipv4Addr, Option<&str>> =
        claims.taken.iter().map(|address| (*address, None)).collect();
    let mut assigned = BTreeMap::new();
    for Claim { name, has, .. } in &claims.wanted {
        let kept = has.filter(|address| is_planned(subnet, *address) && !owners.contains_key(address));
        if let Some(address) = kept {
            owners.insert(address, Some(name));
            assigned.insert(name.clone(), address);
        }
    }
    for Claim { name, seed, .. } in &claims.wanted {
        if assigned.contains_key(name) {
            continue;
        }
        if let Some(address) = probe(subnet, seed, |address| owners.contains_key(&address)) {
            owners.insert(address, Some(name));
            assigned.insert(name.clone(), address);
        }
    }
    assigned
}

/// Returns the first free address from the slot of `seed` on.
fn probe(subnet: Subnet, seed: &str, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let start = first(subnet) + 2;
    let slots = first(dynamic_range(subnet)).checked_sub(start).filter(|slots| *slots > 0)?;
    let digest = Sha256::digest(seed.as_bytes());
    let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    (0..slots)
        .map(|step| Ipv4Addr::from(start + (hash % slots + step) % slots))
        .find(|address| !is_taken(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        parse_subnet(text).unwrap()
    }

    fn claims(names: &[&str]) -> Claims {
        let claim = |name: &&str| Claim { name: (*name).to_owned(), seed: (*name).to_owned(), has: None };
        Claims { wanted: names.iter().map(claim).collect(), taken: vec![] }
    }

    #[test]
    fn a_subnet_has_no_bits_behind_its_prefix() {
        assert!(parse_subnet("172.20.0.0/16").is_some());
        for wrong in ["172.20.0.1/16", "172.20.0.0", "172.20.0.0/33", "x/8", ""] {
            assert!(parse_subnet(wrong).is_none(), "{wrong}");
        }
        assert!(parse_subnet("0.0.0.0/0").is_some());
    }

    #[test]
    fn overlap_is_the_same_both_ways() {
        assert!(overlap(subnet("172.20.0.0/14"), subnet("172.22.0.0/16")));
        assert!(overlap(subnet("172.22.0.0/16"), subnet("172.20.0.0/14")));
        assert!(!overlap(subnet("172.20.0.0/16"), subnet("172.21.0.0/16")));
    }

    #[test]
    fn the_engine_allocates_from_the_upper_half() {
        assert_eq!(dynamic_range(subnet("172.20.0.0/16")).to_string(), "172.20.128.0/17");
        assert_eq!(dynamic_range(subnet("10.0.0.0/29")).to_string(), "10.0.0.4/30");
        assert_eq!(gateway(subnet("10.0.0.0/29")).to_string(), "10.0.0.1");
    }

    #[test]
    fn a_new_component_renumbers_nobody() {
        let zone = subnet("10.0.0.0/26");
        let before = assign(zone, &claims(&["a/1", "b/1", "d/1"]));
        let mut more = claims(&["a/1", "b/1", "c/1", "d/1"]);
        for claim in &mut more.wanted {
            claim.has = before.get(&claim.name).copied();
        }
        let after = assign(zone, &more);
        for (name, address) in &before {
            assert_eq!(after.get(name), Some(address));
        }
        assert_eq!(after.len(), 4);
    }

    #[test]
    fn two_claims_of_one_seed_swap_their_addresses() {
        let zone = subnet("10.0.0.0/24");
        let mut both = claims(&["web", "web/standby"]);
        both.wanted[1].seed = "web".to_owned();
        let before = assign(zone, &both);
        both.wanted[0].has = before.get("web/standby").copied();
        let after = assign(zone, &both);
        assert_eq!((after["web"], after["web/standby"]), (before["web/standby"], before["web"]));
    }

    #[test]
    fn every_address_is_planned_and_belongs_to_one() {
        let zone = subnet("10.0.0.0/27");
        let names: Vec<String> = (0..14).map(|n| format!("c{n}/1")).collect();
        let all = assign(zone, &claims(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        let distinct: std::collections::BTreeSet<_> = all.values().collect();
        assert_eq!(distinct.len(), 14);
        assert!(all.values().all(|address| is_planned(zone, *address)));
    }

    #[test]
    fn a_full_zone_leaves_a_claim_out() {
        assert_eq!(assign(subnet("10.0.0.0/29"), &claims(&["a", "b", "c"])).len(), 2);
    }

    #[test]
    fn an_address_of_a_stranger_is_not_given_away() {
        let zone = subnet("10.0.0.0/29");
        let mut both = claims(&["a"]);
        both.taken = vec!["10.0.0.2".parse().unwrap()];
        assert_eq!(assign(zone, &both)["a"].to_string(), "10.0.0.3");
    }

    #[test]
    fn the_pool_gives_the_first_network_that_is_free() {
        let pool = [subnet("10.9.0.0/23"), subnet("10.8.0.0/16")];
        let free = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| subnet(text)).collect();
            free_subnets(&pool, &taken).next().map(|subnet| subnet.to_string())
        };
        assert_eq!(free(&[]).as_deref(), Some("10.9.0.0/24"));
        assert_eq!(free(&["10.9.0.0/16"]).as_deref(), Some("10.8.0.0/24"));
        assert_eq!(free(&["10.9.0.0/24", "10.8.0.0/24", "10.9.1.128/25"]).as_deref(), Some("10.8.1.0/24"));
        assert_eq!(free(&["0.0.0.0/0"]), None);
    }
}
