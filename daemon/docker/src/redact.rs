//! Takes lines out of a log that hold a part of a secret, also in another encoding.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use trueup_schema::Materials;

/// How many bytes in a row give a secret away.
const WINDOW: usize = 8;

/// What stands in place of a line that holds a part of a secret.
const PLACEHOLDER: &str = "[a line that holds a part of a secret is left out]";

/// Knows the fragments of an environment's secrets. Has no `Debug`: it holds them.
pub(crate) struct Redactor {
    fragments: BTreeSet<Vec<u8>>,
    short: Vec<Vec<u8>>,
}

impl Redactor {
    /// Learns the secrets of an environment.
    pub(crate) fn new(materials: &Materials) -> Self {
        let mut redactor = Self { fragments: BTreeSet::new(), short: Vec::new() };
        for secret in materials.secrets() {
            redactor.learn(secret.expose());
        }
        redactor
    }

    fn learn(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        if (1..WINDOW).contains(&secret.len()) {
            self.short.push(secret.to_vec());
        }
        self.fragments.extend(secret.windows(WINDOW).map(<[u8]>::to_vec));
        let hex = hex::encode(secret);
        for text in [hex.to_uppercase(), hex] {
            self.fragments.extend(text.as_bytes().windows(2 * WINDOW).map(<[u8]>::to_vec));
        }
        // A base64 text depends on where in a group of three bytes it starts.
        for start in 0..3.min(secret.len()) {
            let text = STANDARD.encode(&secret[start..]);
            let text = text.trim_end_matches('=').as_bytes();
            self.fragments.extend(text.windows(WINDOW + 3).map(<[u8]>::to_vec));
        }
        let url = url_encoded(secret);
        self.fragments.extend(url.as_bytes().windows(WINDOW).map(<[u8]>::to_vec));
    }

    /// Returns the line, or what stands in its place.
    pub(crate) fn line(&self, line: &str) -> String {
        let bytes = line.as_bytes();
        let holds_fragment = [WINDOW, WINDOW + 3, 2 * WINDOW]
            .iter()
            .any(|length| bytes.windows(*length).any(|window| self.fragments.contains(window)));
        let holds_short =
            || self.short.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret));
        if holds_fragment || holds_short() { PLACEHOLDER.to_owned() } else { line.to_owned() }
    }
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
