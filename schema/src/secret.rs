//! The one type that holds secret bytes.
//!
//! It has no `Debug`, `Display`, `Serialize`, `Clone` or `PartialEq`, so that no renderer, log or
//! snapshot can show it by accident. Its bytes are overwritten when it is dropped.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Secret bytes. Reading them takes a call of [`Secret::expose`], which is easy to find in a review.
pub struct Secret<T: Zeroize>(Arc<Zeroizing<T>>);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of a plaintext.
    pub fn new(plaintext: T) -> Self {
        Self(Arc::new(Zeroizing::new(plaintext)))
    }

    /// Returns the plaintext. Never format, log or store what it returns.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Returns a second handle to the same bytes; nothing is copied.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The key of the digests that stand for secrets in plans, labels and the store.
///
/// Without it a digest of a short password could be guessed by trying. It never leaves the state
/// directory of the store that made it.
pub struct DigestKey(Secret<[u8; 32]>);

impl DigestKey {
    /// Takes the key's bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Returns a second handle to the same key; nothing is copied.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(self.0.share())
    }

    /// Returns the hexadecimal HMAC-SHA-256 of `bytes`.
    pub fn digest(&self, bytes: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("HMAC takes a key of any length");
        mac.update(bytes);
        hex::encode(mac.finalize().into_bytes())
    }
}
