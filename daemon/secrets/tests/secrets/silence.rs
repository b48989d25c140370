//! No error about a secret shows a part of it.

use std::{fmt::Write, fs, sync::Arc};

use proptest::prelude::*;
use trueup_schema::{Place, SecretRef, snapshot::MemoryFiles};
use trueup_secrets::{Identities, Recipients, encrypt, open, view};

use crate::person::{Person, printed, secret};

/// Returns whether `text` holds eight bytes in a row of `plaintext`, or those bytes in hexadecimal.
fn leaks(text: &str, plaintext: &[u8]) -> bool {
    plaintext.windows(8).any(|window| {
        let mut hex = String::new();
        for byte in window {
            let _ = write!(hex, "{byte:02x}");
        }
        text.as_bytes().windows(8).any(|eight| eight == window) || text.to_lowercase().contains(&hex)
    })
}

/// Text that breaks the readers of YAML and dotenv in many ways, with a value that must not be shown.
fn content() -> impl Strategy<Value = String> {
    let value = "[A-Za-z0-9!\"'#%&*+,./:;<=>?@^_`{|}~\\[\\]\\\\ -]{24,60}";
    let before = prop_oneof![
        Just(""),
        Just("a: '"),
        Just("a: \""),
        Just("A=\""),
        Just("A='"),
        Just("A=1\n"),
        Just("a: 1\n"),
        Just("a: &"),
        Just("a: *"),
        Just("a: !"),
        Just("- "),
        Just("a: |\n  "),
        Just("? "),
        Just("%"),
        Just("a: {b: "),
        Just("a: [")
    ];
    let after =
        prop_oneof![Just(""), Just("\n"), Just("\n\t- x"), Just("\n}"), Just("\n---\nb: 1\n"), Just("\u{7}")];
    (before, value, after).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

fn check(person: &Person, identities: &Identities, recipients: &Recipients, plaintext: &str) {
    let file = person.folder.path().join("s.age");
    encrypt(&secret(plaintext), &file, recipients, true).unwrap();
    let mut said = String::new();
    for key in ["password", "a", "a.b", "A"] {
        if let Err(error) = view(&file, identities, Some(key)) {
            said += &without_keys(printed(&error), error.help());
        }
        let reference = SecretRef {
            name: "x".into(),
            file: "secrets/s.age".parse().unwrap(),
            key: Some(key.into()),
            place: Place { file: "c.yaml".parse().unwrap(), line: 1, column: 1 },
        };
        let bytes: Arc<[u8]> = fs::read(&file).unwrap().into();
        let files = MemoryFiles::from_iter([(reference.file.clone(), bytes)]);
        if let Err(report) = open(&[&reference], &files, identities) {
            said += &without_keys(format!("{report} {report:?}"), report.problems[0].help.clone());
        }
    }
    assert!(!leaks(&said, plaintext.as_bytes()), "{said}");
}

/// Takes the names of keys out of what was said: they are no secrets.
fn without_keys(said: String, help: Option<String>) -> String {
    match help.filter(|help| help.starts_with("keys here: ")) {
        Some(help) => said.replace(&help, "").replace(&format!("{help:?}"), ""),
        None => said,
    }
}

#[test]
fn the_check_finds_a_planted_leak() {
    assert!(leaks("line 3: hunter2-hunter2", b"hunter2-hunter2"));
    assert!(leaks("68756E746572322D", b"hunter2-"));
    assert!(!leaks("line 3 is not valid YAML", b"hunter2-hunter2"));
}

#[test]
fn no_error_shows_a_part_of_a_secret() {
    let person = Person::new();
    let (identities, recipients) = (person.identities(), crate::person::to(&[&person]));
    proptest!(ProptestConfig::with_cases(100), |(plaintext in content())| {
        check(&person, &identities, &recipients, &plaintext);
    });
}
