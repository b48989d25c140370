use std::{fs, io::Write, sync::Arc};

use age::secrecy::SecretString;
use trueup_schema::{Files, RepoPath, Report, SecretRef, snapshot::MemoryFiles};
use trueup_secrets::{Identities, encrypt, open};

use crate::person::{Person, load, secret, text, to};

fn reference(file: &str, key: Option<&str>, line: u32) -> SecretRef {
    let place = trueup_schema::Place { file: "components/db.yaml".parse().unwrap(), line, column: 7 };
    SecretRef { name: "password".into(), file: path(file), key: key.map(Into::into), place }
}

fn path(file: &str) -> RepoPath {
    format!("environments/dev/secrets/{file}").parse().unwrap()
}

/// Encrypts a plaintext and returns the bytes of the file.
fn sealed(plaintext: &str, people: &[&Person]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.age");
    encrypt(&secret(plaintext), &file, &to(people), false).unwrap();
    fs::read(file).unwrap()
}

fn files(list: &[(&str, Vec<u8>)]) -> MemoryFiles {
    list.iter().map(|(name, bytes)| (path(name), Arc::from(bytes.as_slice()))).collect()
}

fn report(refs: &[&SecretRef], files: &dyn Files, identities: &Identities) -> Report {
    open(refs, files, identities).err().expect("it is refused")
}

fn message(file: &str, bytes: Vec<u8>, identities: &Identities) -> String {
    let reference = reference(file, Some("password"), 3);
    let report = report(&[&reference], &files(&[(file, bytes)]), identities);
    assert_eq!(report.problems.len(), 1);
    let problem = &report.problems[0];
    assert_eq!(problem.place, reference.place);
    assert_eq!(problem.source_line, None);
    format!("{}\n{}", problem.message, problem.help.as_ref().unwrap())
}

#[test]
fn yaml_dotenv_and_raw_files_are_opened_by_their_references() {
    let person = Person::new();
    let files = files(&[
        ("db.age", sealed("password: hunter2\nadmin: {password: 's3cret'}\n", &[&person])),
        ("app.env.age", sealed("TOKEN=abc\n", &[&person])),
        ("raw.age", sealed("one raw value\n", &[&person])),
    ]);
    let refs = [
        reference("db.age", Some("password"), 1),
        reference("db.age", Some("admin.password"), 2),
        reference("app.env.age", Some("TOKEN"), 3),
        reference("raw.age", None, 4),
        reference("raw.age", None, 5),
    ];
    let opened = open(&refs.iter().collect::<Vec<_>>(), &files, &person.identities()).unwrap();
    let found: Vec<(String, &str)> = opened
        .iter()
        .map(|((file, key), value)| (format!("{file}#{}", key.as_deref().unwrap_or_default()), text(value)))
        .collect();
    assert_eq!(
        found,
        [
            ("environments/dev/secrets/app.env.age#TOKEN".into(), "abc"),
            ("environments/dev/secrets/db.age#admin.password".into(), "s3cret"),
            ("environments/dev/secrets/db.age#password".into(), "hunter2"),
            ("environments/dev/secrets/raw.age#".into(), "one raw value\n"),
        ]
    );
}

#[test]
fn binary_files_and_files_of_other_programs_are_opened() {
    let person = Person::new();
    let recipient: age::x25519::Recipient = person.recipient.parse().unwrap();
    let binary = age::encrypt(&recipient, b"password: x\n").unwrap();
    let reference = reference("b.age", Some("password"), 1);
    let opened = open(&[&reference], &files(&[("b.age", binary)]), &person.identities()).unwrap();
    assert_eq!(text(opened.values().next().unwrap()), "x");
}

#[test]
fn each_of_several_people_opens_the_same_file() {
    let people = [Person::new(), Person::with_ssh("ed25519", ""), Person::new()];
    let bytes = sealed("password: x\n", &people.iter().collect::<Vec<_>>());
    for person in &people {
        let reference = reference("b.age", Some("password"), 1);
        assert!(open(&[&reference], &files(&[("b.age", bytes.clone())]), &person.identities()).is_ok());
    }
}

#[test]
fn every_reference_that_fails_is_reported_at_its_own_place() {
    let person = Person::new();
    let files = files(&[("db.age", sealed("user: x\nempty:\n", &[&person])), ("notes.age", vec![])]);
    let refs = [
        reference("db.age", Some("user"), 1),
        reference("db.age", Some("password"), 9),
        reference("db.age", Some("empty"), 8),
        reference("dbb.age", Some("user"), 7),
        reference("notes.age", None, 6),
    ];
    let report = report(&refs.iter().collect::<Vec<_>>(), &files, &person.identities());
    assert_eq!(
        report.to_string(),
        "error: components/db.yaml:6:7: the secret file `environments/dev/secrets/notes.age` cannot be opened: it is no age file
  = help: encrypt it with `trueup secret encrypt`

error: components/db.yaml:7:7: there is no secret file `environments/dev/secrets/dbb.age`
  = help: create it with `trueup secret encrypt`; files in `environments/dev/secrets`: db.age, notes.age

error: components/db.yaml:8:7: the secret file `environments/dev/secrets/db.age`: `empty` is empty
  = help: give it a value with `trueup secret edit`

error: components/db.yaml:9:7: the secret file `environments/dev/secrets/db.age`: there is no key `password`
  = help: keys here: empty, user; add it with `trueup secret edit`

4 errors, 0 warnings in 3 files"
    );
}

#[test]
fn a_file_for_others_says_who_they_are_and_which_keys_are_here() {
    let (mine, theirs, ssh) = (Person::new(), Person::new(), Person::with_ssh("ed25519", ""));
    let bytes = sealed("password: x\n", &[&theirs, &ssh]);
    let message = message("db.age", bytes.clone(), &mine.identities());
    assert!(message.starts_with(
        "the secret file `environments/dev/secrets/db.age` cannot be opened: the key at hand does not open it\n\
         it is for 2 recipients (1 X25519, 1 ssh-ed25519); here is `age1"
    ), "{message}");
    assert!(message.contains(&mine.key().display().to_string()), "{message}");
    let nobody = load(&[]).unwrap();
    assert!(self::message("db.age", bytes, &nobody).contains("there is no key to open it with"));
}

#[test]
fn damaged_files_are_told() {
    let person = Person::new();
    let identities = person.identities();
    let good = sealed("password: hunter2-hunter2\n", &[&person]);
    let armored = String::from_utf8(good.clone()).unwrap();
    let recipient: age::x25519::Recipient = person.recipient.parse().unwrap();
    let binary = age::encrypt(&recipient, b"password: hunter2-hunter2\n").unwrap();
    let mut flipped = binary.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut header = binary.clone();
    let mac = binary.windows(5).position(|five| five == b"\n--- ").unwrap() + 8;
    header[mac] = if header[mac] == b'A' { b'B' } else { b'A' };
    for bytes in [
        good[..good.len() / 2].to_vec(),
        binary[..binary.len() - 5].to_vec(),
        binary[..60].to_vec(),
        flipped,
        header,
        armored.replace("-----END", "-----EEE").into_bytes(),
        b"age-encryption.org/v1\n".to_vec(),
        b"age-encryption.org/v9\nx\n".to_vec(),
    ] {
        let message = message("db.age", bytes, &identities);
        assert!(
            message.contains("it is damaged or cut off") || message.contains("it is no age file"),
            "{message}"
        );
        assert!(!message.contains("hunter2"));
    }
    let plain = message("db.age", b"password: hunter2\n".to_vec(), &identities);
    assert!(plain.contains("it is no age file") && !plain.contains("hunter2"), "{plain}");
    assert!(message("db.age", vec![b'x'; (1 << 20) + 1], &identities).contains("it is larger than 1 MiB"));
}

#[test]
fn a_file_with_a_passphrase_is_refused() {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from("hunter2".to_owned()));
    recipient.set_work_factor(4);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _)).unwrap();
    let mut bytes = Vec::new();
    let mut writer = encryptor.wrap_output(&mut bytes).unwrap();
    writer.write_all(b"password: x\n").unwrap();
    writer.finish().unwrap();
    let message = message("db.age", bytes, &Person::new().identities());
    assert!(message.contains("it is encrypted with a passphrase"), "{message}");
}
