//! Takes lines out of a log that hold a part of a secret, also in another encoding.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use trueup_schema::{Materials, Secret};

/// How many bytes in a row give a secret away, as they are and in base64 and hexadecimal.
const WINDOW: usize = 8;
const BASE64_WINDOW: usize = 11;
const HEX_WINDOW: usize = 16;

/// Secrets longer than this are looked for as they are only.
const LONG: usize = 16 << 10;

/// What stands in place of a line that holds a part of a secret.
const PLACEHOLDER: &str = "[a line that holds a part of a secret is left out]";

/// Knows the fragments of an environment's secrets by their hashes, so that it holds no plaintext.
pub struct Redactor {
    fragments: BTreeSet<u64>,
    /// Secrets that are shorter than a window: length and hash.
    short: BTreeSet<(usize, u64)>,
}

impl Redactor {
    /// Learns the secrets of an environment.
    pub fn new(materials: &Materials) -> Self {
        let mut redactor = Self { fragments: BTreeSet::new(), short: BTreeSet::new() };
        for secret in materials.secrets() {
            redactor.learn(secret.expose());
        }
        redactor
    }

    fn learn(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if (1..WINDOW).contains(&secret.len()) {
            self.short.insert((secret.len(), hash(secret)));
        }
        self.learn_windows(secret, WINDOW);
        if secret.len() > LONG {
            return;
        }
        let hex = Secret::new(hex::encode(secret));
        self.learn_windows(hex.expose().as_bytes(), HEX_WINDOW);
        let upper = Secret::new(hex.expose().to_uppercase());
        self.learn_windows(upper.expose().as_bytes(), HEX_WINDOW);
        // A base64 text depends on where in a group of three bytes it starts.
        for start in 0..3.min(secret.len()) {
            let text = Secret::new(STANDARD.encode(&secret[start..]));
            self.learn_windows(text.expose().trim_end_matches('=').as_bytes(), BASE64_WINDOW);
        }
        let url = Secret::new(url_encoded(secret));
        self.learn_windows(url.expose().as_bytes(), WINDOW);
    }

    fn learn_windows(&mut self, text: &[u8], length: usize) {
        self.fragments.extend(text.windows(length).map(hash));
    }

    /// Returns the line, or what stands in its place.
    pub fn line(&self, line: &str) -> String {
        let bytes = line.as_bytes();
        let holds_fragment = [WINDOW, BASE64_WINDOW, HEX_WINDOW]
            .iter()
            .any(|length| bytes.windows(*length).any(|window| self.fragments.contains(&hash(window))));
        let holds_short = || {
            self.short.iter().any(|(length, secret)| bytes.windows(*length).any(|part| hash(part) == *secret))
        };
        if holds_fragment || holds_short() { PLACEHOLDER.to_owned() } else { line.to_owned() }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn url_encoded(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: &u8| if plain(*byte) { (*byte as char).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use trueup_schema::{Content, DigestKey, Secret};

    use super::*;

    fn redactor(secret: &str) -> Redactor {
        let mut materials = Materials::default();
        let key = DigestKey::new([7; 32]);
        materials.insert(&key, Content::Secret(Secret::new(secret.as_bytes().to_vec())));
        Redactor::new(&materials)
    }

    #[test]
    fn a_line_that_holds_a_secret_or_a_part_of_it_is_left_out() {
        let redactor = redactor("correct horse/battery+staple");
        let base64 = STANDARD.encode("correct horse/battery+staple");
        let shifted = STANDARD.encode("x correct horse/battery+staple");
        let hex = hex::encode("correct horse/battery+staple");
        for leak in [
            "password=correct horse/battery+staple",
            "..horse/battery..",
            &base64,
            &shifted,
            &hex,
            "url=%2Fbattery%2Bstaple",
        ] {
            assert_eq!(redactor.line(leak), PLACEHOLDER, "{leak}");
        }
        assert_eq!(redactor.line("database system is ready"), "database system is ready");
    }

    #[test]
    fn a_short_secret_is_found_as_a_whole() {
        let redactor = redactor("hunter2\n");
        assert_eq!(redactor.line("login hunter2 failed"), PLACEHOLDER);
        assert_eq!(redactor.line("login failed"), "login failed");
    }
}
