//! One environment, layered and computed, ready to be compiled for its target.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::Serialize;

use crate::{
    ComponentName, ContentDigest, EnvironmentName, Place, Places, PlainObject, PortName, RepoPath, Revision,
    ZoneName,
    manifest::{ComponentSpec, EnvironmentSpec, Protocol},
};

/// One environment: every layer merged, every plain value computed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The commit that it comes from.
    pub revision: Revision,
    /// The environment's name.
    pub name: EnvironmentName,
    /// The environment's manifest, with every default filled in; `domain` is always set.
    pub spec: EnvironmentSpec,
    /// Where the values of the environment's `spec` were written.
    #[serde(skip)]
    pub places: Places,
    /// Its components by name, patched; those that are not in `spec.components` are left out.
    pub components: BTreeMap<ComponentName, ResolvedComponent>,
    /// The plain objects of its `manifests`, in the order of files and documents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<PlainObject>,
    /// The Git blobs that went into it: manifests, files and secret files. Kept for a rollback.
    #[serde(skip)]
    pub inputs: BTreeMap<RepoPath, String>,
}

/// One component of an environment, patched and computed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedComponent {
    /// The component's name.
    pub name: ComponentName,
    /// Its manifest after the patch; every plain value is computed.
    pub spec: ComponentSpec,
    /// Where the values of `spec` were written, whichever layer they came from.
    #[serde(skip)]
    pub places: Places,
    /// The zones that it joins: its own first, then those of the components that it connects to.
    pub zones: Vec<ZoneName>,
    /// The endpoints that it calls, in the order of `connects`.
    pub endpoints: Vec<Endpoint>,
    /// The secrets that it needs, with their files and keys.
    #[serde(skip)]
    pub secret_refs: Vec<SecretRef>,
}

/// One endpoint that a component calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Whose it is.
    pub component: ComponentName,
    /// The name of its port.
    pub port_name: PortName,
    /// The host name to call: the component's name, or the address of an external one.
    pub host: String,
    /// The port's number.
    pub port: u16,
    /// The port's protocol.
    pub protocol: Protocol,
    /// The whole address as a URL.
    pub url: String,
}

/// One secret that a component refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// Its name in the component; of registry credentials `pull`.
    pub name: String,
    /// The file, from the repository's root.
    pub file: RepoPath,
    /// The key in the file; `None` for a file that is one raw value.
    pub key: Option<String>,
    /// Where the reference was written.
    pub place: Place,
}

/// Returns the command that writes a secret file: it names the environment, then the file from there.
pub(crate) fn edit_command(environment: &str, file: &RepoPath) -> String {
    let inside = file.as_str().split_once(&format!("/{environment}/"));
    format!("trueup secret edit {environment} {}", inside.map_or(file.as_str(), |(_, rest)| rest))
}

/// What a component gets delivered, by digest. Computed by `deliver` once the secrets are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    /// Files, by their path in the container.
    pub files: BTreeMap<String, DeliveredFile>,
    /// Environment variables that hold a secret itself, by name. The manifest says `exposed: true`.
    pub exposed: BTreeMap<String, ContentDigest>,
    /// Environment variables that hold the path of a secret file.
    pub path_env: BTreeMap<String, String>,
    /// The password of the image's registry.
    pub pull: Option<ContentDigest>,
}

/// One file as it is in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredFile {
    /// Its bytes.
    pub digest: ContentDigest,
    /// Its mode, such as `0o444`.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Where its content stands: the file in the repository (line 1), or the secret file.
    pub origin: Place,
}

/// An IPv4 network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// The network's address.
    pub address: Ipv4Addr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a subnet: {reason}")]
pub struct InvalidSubnet {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
    /// What to write instead.
    pub help: String,
}

impl Subnet {
    /// Returns the bits that the prefix fixes.
    fn mask(prefix: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }

    /// Returns whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        let mask = Self::mask(self.prefix.min(other.prefix));
        self.address.to_bits() & mask == other.address.to_bits() & mask
    }

    /// Returns whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.overlaps(Self { address, prefix: 32 })
    }
}

impl std::str::FromStr for Subnet {
    type Err = InvalidSubnet;

    /// Reads `172.20.0.0/16`; prefixes from 8 to 29, so that a gateway and containers fit.
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let invalid = |reason, help: String| InvalidSubnet { text: text.to_owned(), reason, help };
        let example = || "write an IPv4 network such as `172.20.0.0/16`".to_owned();
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| invalid("it has no `/` and prefix", example()))?;
        let address: Ipv4Addr =
            address.parse().map_err(|_| invalid("it does not start with an IPv4 address", example()))?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| (8..=29).contains(prefix))
            .ok_or_else(|| invalid("its prefix is not from 8 to 29", example()))?;
        let network = Ipv4Addr::from_bits(address.to_bits() & Self::mask(prefix));
        if network != address {
            return Err(invalid("it names a host, not a network", format!("write `{network}/{prefix}`")));
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_a_network_with_room_for_containers() {
        assert_eq!("172.20.0.0/16".parse::<Subnet>().unwrap().to_string(), "172.20.0.0/16");
        for wrong in ["", "172.20.0.0", "172.20.0.0/33", "172.20.0.0/30", "172.20.0.1/16", "a/16", "::/64"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.1.0.0/16")));
        assert!(!subnet("10.0.0.0/16").overlaps(subnet("10.1.0.0/16")));
        assert!(subnet("10.0.0.0/16").contains(Ipv4Addr::new(10, 0, 255, 1)));
    }
}
