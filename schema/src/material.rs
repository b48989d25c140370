//! The bytes that are delivered into containers, apart from the plan, which knows only their digests.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DigestKey, Secret};

/// A name of some bytes: `sha256:…` of plain ones, `keyed:…` of secret ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentDigest(String);

impl ContentDigest {
    /// Returns the digest of bytes that anybody may see.
    pub fn of_plain(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// Returns the keyed digest of secret bytes.
    pub fn of_secret(key: &DigestKey, bytes: &[u8]) -> Self {
        Self(format!("keyed:{}", key.digest(bytes)))
    }

    /// Returns whether it stands for a secret.
    pub fn is_secret(&self) -> bool {
        self.0.starts_with("keyed:")
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes, plain or secret.
pub enum Content {
    /// Anybody may see them: they stand in the repository in the clear.
    Plain(Arc<[u8]>),
    /// A secret, or something that a secret went into.
    Secret(Secret<Vec<u8>>),
}

impl Content {
    /// Returns the bytes. Of a secret: never format, log or store them.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// Returns whether it is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// Returns the digest that stands for the bytes in a plan.
    pub fn digest(&self, key: &DigestKey) -> ContentDigest {
        match self {
            Self::Plain(bytes) => ContentDigest::of_plain(bytes),
            Self::Secret(secret) => ContentDigest::of_secret(key, secret.expose()),
        }
    }
}

/// Every content of an environment, by digest: what an executor needs beside the plan.
#[derive(Default)]
pub struct Materials(BTreeMap<ContentDigest, Content>);

impl Materials {
    /// Adds a content and returns its digest.
    pub fn insert(&mut self, key: &DigestKey, content: Content) -> ContentDigest {
        let digest = content.digest(key);
        self.0.insert(digest.clone(), content);
        digest
    }

    /// Returns the content of that digest.
    pub fn get(&self, digest: &ContentDigest) -> Option<&Content> {
        self.0.get(digest)
    }

    /// Returns the text of a plain content, for a diff; `None` for secrets and for what is no UTF-8.
    pub fn text(&self, digest: &ContentDigest) -> Option<&str> {
        match self.0.get(digest)? {
            Content::Plain(bytes) => std::str::from_utf8(bytes).ok(),
            Content::Secret(_) => None,
        }
    }

    /// Returns the secret contents: what a log line is searched for before it is shown.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret<Vec<u8>>> {
        self.0.values().filter_map(|content| match content {
            Content::Secret(secret) => Some(secret),
            Content::Plain(_) => None,
        })
    }

    /// Returns the plain contents with their digests; what the store may keep in the clear.
    pub fn plain(&self) -> impl Iterator<Item = (&ContentDigest, &Arc<[u8]>)> {
        self.0.iter().filter_map(|(digest, content)| match content {
            Content::Plain(bytes) => Some((digest, bytes)),
            Content::Secret(_) => None,
        })
    }
}
