use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use trueup_secrets::{Error, Recipients, encrypt, init, view};

use crate::person::{Person, failure, load, printed, secret, text, to};

#[test]
fn a_new_key_file_is_private_and_is_never_replaced() {
    let person = Person::new();
    assert!(person.recipient.starts_with("age1"));
    assert_eq!(fs::metadata(person.key()).unwrap().mode() & 0o777, 0o600);
    let before = fs::read(person.key()).unwrap();
    assert!(matches!(init(&person.key()), Err(Error::KeepFile { .. })));
    assert_eq!(fs::read(person.key()).unwrap(), before);
    let deep = person.folder.path().join("a/b/key");
    init(&deep).unwrap();
    assert_eq!(fs::metadata(deep.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    let identities = person.identities();
    assert_eq!(identities.recipients().collect::<Vec<_>>(), [(&*person.recipient, &*person.key())]);
}

#[test]
fn several_keys_in_several_files_are_one_set() {
    let (old, new) = (Person::new(), Person::new());
    let both = old.folder.path().join("both");
    let joined = fs::read_to_string(old.key()).unwrap()
        + "\n# the next one\n\n"
        + &fs::read_to_string(new.key()).unwrap();
    fs::write(&both, joined).unwrap();
    fs::set_permissions(&both, fs::Permissions::from_mode(0o640)).unwrap();
    let identities = load(&[both, new.key()]).unwrap();
    assert_eq!(identities.recipients().count(), 2);
    for person in [&old, &new] {
        let file = person.folder.path().join("s.age");
        encrypt(&secret("x"), &file, &to(&[person]), false).unwrap();
        assert_eq!(text(&view(&file, &identities, None).unwrap()), "x");
    }
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let person = Person::new();
    fs::set_permissions(person.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(load(&[person.key()]));
    assert_eq!(
        error.to_string(),
        format!("use the key file {}:1: it is readable by others", person.key().display())
    );
    assert_eq!(error.help().unwrap(), format!("run: chmod 600 {}", person.key().display()));
}

#[test]
fn a_damaged_key_is_told_by_its_line_and_not_repeated() {
    let person = Person::new();
    let key = fs::read_to_string(person.key()).unwrap();
    let line = key.lines().find(|line| line.starts_with("AGE-")).unwrap();
    for (content, number, reason) in [
        (format!("# mine\n\n{}\n", &line[..line.len() - 1]), 3, "the age key is damaged"),
        (format!("{line}\nhunter2-hunter2\n"), 2, "it is no age key"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQQQ\n".into(), 1, "keys of plugins are not supported"),
        ("AGE-SECRET-KEY-PQ-1QQQQQQ\n".into(), 1, "post-quantum keys are not supported yet"),
        ("# nothing\n".into(), 1, "it holds no key"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n".into(),
            1,
            "the ssh key is damaged or of a kind that is not supported",
        ),
    ] {
        fs::write(person.key(), &content).unwrap();
        let error = failure(load(&[person.key()]));
        let wanted = format!("use the key file {}:{number}: {reason}", person.key().display());
        assert_eq!(error.to_string(), wanted);
        let printed = printed(&error);
        assert!(!printed.contains("hunter2") && !printed.contains(&line[20..40]), "{printed}");
    }
}

#[test]
fn ssh_keys_open_files_and_other_kinds_are_refused() {
    let person = Person::with_ssh("ed25519", "");
    let file = person.folder.path().join("s.age");
    encrypt(&secret("x"), &file, &to(&[&person]), false).unwrap();
    assert_eq!(text(&view(&file, &person.identities(), None).unwrap()), "x");
    let (recipient, _) =
        person.identities().recipients().map(|(r, f)| (r.to_owned(), f.to_owned())).next().unwrap();
    assert!(person.recipient.starts_with(&recipient) && recipient.split(' ').count() == 2);

    let locked = failure(load(&[Person::with_ssh("ed25519", "passphrase").key()]));
    assert!(locked.to_string().ends_with("the ssh key has a passphrase"), "{locked}");
    let rsa = Person::with_ssh("rsa", "");
    assert!(failure(load(&[rsa.key()])).to_string().ends_with("only ssh-ed25519 keys are supported"));
    assert!(failure(Recipients::parse(&[&rsa.recipient])).to_string().ends_with("ssh-rsa is not supported"));
    let ecdsa = Person::with_ssh("ecdsa", "");
    assert!(load(&[ecdsa.key()]).is_err() && Recipients::parse(&[&ecdsa.recipient]).is_err());
}

#[test]
fn recipients_that_name_a_program_are_refused() {
    for (text, reason) in [
        (
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            "recipients of plugins are not supported, because they name a program",
        ),
        ("age1pq1xyz", "post-quantum and hardware recipients are not supported yet"),
        ("age1qqqq", "it is no age recipient"),
        ("bob@example.org", "it is no age recipient"),
        ("ssh-ed25519 AAAA", "the ssh key is damaged or of a kind that is not supported"),
    ] {
        let error = failure(Recipients::parse(&[text]));
        assert!(error.to_string().ends_with(reason), "{error}");
    }
    assert!(matches!(Recipients::parse::<&str>(&[]), Err(Error::NoRecipients)));
}

#[test]
fn a_private_key_among_the_recipients_is_not_repeated() {
    let person = Person::new();
    let key = fs::read_to_string(person.key()).unwrap();
    let line = key.lines().find(|line| line.starts_with("AGE-")).unwrap();
    let error = failure(Recipients::parse(&[line]));
    assert_eq!(error.to_string(), "use the recipient `AGE-SECRET-…`: it is a private key");
    assert!(!printed(&error).contains(&line[16..24]));
}
