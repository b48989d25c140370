use std::{fs, os::unix::fs::MetadataExt};

use trueup_secrets::{
    Access, Error, Generate, Verdict, check, create_missing, encrypt, generate, rekey, view,
};

use crate::person::{Person, names, secret, text, to};

#[test]
fn a_file_is_replaced_only_when_asked_for_and_keeps_its_mode() {
    let person = Person::new();
    let file = person.folder.path().join("s.age");
    let recipients = to(&[&person]);
    encrypt(&secret("one"), &file, &recipients, false).unwrap();
    assert!(matches!(encrypt(&secret("two"), &file, &recipients, false), Err(Error::KeepFile { .. })));
    assert_eq!(text(&view(&file, &person.identities(), None).unwrap()), "one");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    encrypt(&secret("two"), &file, &recipients, true).unwrap();
    assert_eq!(text(&view(&file, &person.identities(), None).unwrap()), "two");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    assert_eq!(names(person.folder.path()), ["key", "s.age"]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
}

#[test]
fn one_key_of_a_file_is_shown() {
    let person = Person::new();
    let file = person.folder.path().join("s.age");
    encrypt(&secret("user: bob\npassword: x\n"), &file, &to(&[&person]), false).unwrap();
    assert_eq!(text(&view(&file, &person.identities(), Some("user")).unwrap()), "bob");
    let error = view(&file, &person.identities(), Some("pass")).err().unwrap();
    assert_eq!(error.help().unwrap(), "keys here: password, user; add it with `trueup secret edit`");
}

#[test]
fn generated_values_are_long_enough_and_differ() {
    let (one, two) = (generate(32).unwrap(), generate(32).unwrap());
    assert_eq!(one.expose().len(), 32);
    assert!(one.expose().iter().all(u8::is_ascii_alphanumeric));
    assert!(one.expose() != two.expose());
    assert_eq!(generate(1000).unwrap().expose().len(), 1000);
}

#[test]
fn missing_secrets_are_generated_and_present_ones_never_change() {
    let person = Person::new();
    let (identities, recipients) = (person.identities(), to(&[&person]));
    let want = |key: &str| Generate { key: Some(key.into()), length: 24 };
    let file = person.folder.path().join("db.age");
    let wanted = [want("admin.password"), want("password"), want("password")];
    let made = create_missing(&file, &wanted, &identities, &recipients).unwrap();
    assert_eq!(made, [Some("admin.password".into()), Some("password".into())]);
    let first = view(&file, &identities, Some("password")).unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(create_missing(&file, &wanted, &identities, &recipients).unwrap().is_empty());
    assert_eq!(fs::read(&file).unwrap(), bytes, "nothing to do writes nothing");
    assert_eq!(
        create_missing(&file, &[want("new")], &identities, &recipients).unwrap(),
        [Some("new".into())]
    );
    assert!(view(&file, &identities, Some("password")).unwrap().expose() == first.expose());
    assert_eq!(view(&file, &identities, Some("new")).unwrap().expose().len(), 24);

    let dotenv = person.folder.path().join("app.age");
    encrypt(&secret("# mine\nUSER=bob"), &dotenv, &recipients, false).unwrap();
    create_missing(&dotenv, &[want("TOKEN")], &identities, &recipients).unwrap();
    assert_eq!(text(&view(&dotenv, &identities, Some("USER")).unwrap()), "bob");
    assert_eq!(view(&dotenv, &identities, Some("TOKEN")).unwrap().expose().len(), 24);

    let raw = person.folder.path().join("raw.age");
    let wanted = [Generate { key: None, length: 40 }];
    assert_eq!(create_missing(&raw, &wanted, &identities, &recipients).unwrap(), [None]);
    assert!(create_missing(&raw, &wanted, &identities, &recipients).unwrap().is_empty());
    assert_eq!(view(&raw, &identities, None).unwrap().expose().len(), 40);
    assert!(matches!(
        create_missing(&file, &[want("a: b")], &identities, &recipients),
        Err(Error::NameKey { .. })
    ));
}

#[test]
fn who_can_read_a_file_is_told_without_their_keys() {
    let (me, ann, ssh) = (Person::new(), Person::new(), Person::with_ssh("ed25519", ""));
    let file = me.folder.path().join("s.age");
    let all = to(&[&me, &ann, &ssh]);
    encrypt(&secret("x"), &file, &all, false).unwrap();
    let readers = check(&file, &me.identities(), &all).unwrap();
    assert!(readers.declared.iter().all(|(_, access)| *access == Access::Yes), "{readers:?}");
    assert_eq!((readers.recipients, readers.opens, readers.verdict()), (3, true, Verdict::Current));
    // And by somebody who has no key at all.
    let readers = check(&file, &trueup_secrets::Identities::default(), &all).unwrap();
    assert_eq!((readers.opens, readers.verdict()), (false, Verdict::Current));
}

#[test]
fn a_file_is_stale_when_the_declared_recipients_have_changed() {
    let (me, ann, bob) = (Person::new(), Person::new(), Person::with_ssh("ed25519", ""));
    let file = me.folder.path().join("s.age");
    encrypt(&secret("x"), &file, &to(&[&me, &ann]), false).unwrap();

    let verdict = check(&file, &me.identities(), &to(&[&me, &bob])).unwrap().verdict();
    let Verdict::Stale(reasons) = verdict else { panic!("{verdict:?}") };
    assert!(
        reasons[0].starts_with("`ssh-ed25519 ") && reasons[0].ends_with("is declared and cannot read it")
    );
    assert_eq!(reasons[1], "1 recipient that nobody declares can read it");

    let verdict = check(&file, &me.identities(), &to(&[&ann])).unwrap().verdict();
    let Verdict::Stale(reasons) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reasons, [format!("`{}` can read it and is not declared", me.recipient)]);
}

#[test]
fn a_file_of_another_program_is_unknown_where_it_does_not_tell() {
    let (me, ann) = (Person::new(), Person::new());
    let file = me.folder.path().join("s.age");
    let recipients: Vec<age::x25519::Recipient> =
        [&me, &ann].iter().map(|person| person.recipient.parse().unwrap()).collect();
    let all = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let mut bytes = Vec::new();
    let mut writer = age::Encryptor::with_recipients(all).unwrap().wrap_output(&mut bytes).unwrap();
    std::io::Write::write_all(&mut writer, b"x").unwrap();
    writer.finish().unwrap();
    fs::write(&file, bytes).unwrap();
    let verdict = |people: &[&Person]| check(&file, &me.identities(), &to(people)).unwrap().verdict();
    assert_eq!(verdict(&[&me, &ann]), Verdict::Unknown(vec![ann.recipient.clone()]));
    assert_eq!(verdict(&[&me]), Verdict::Stale(vec!["it is for 2 recipients, 1 are declared".into()]));
    assert!(rekey(&file, &me.identities(), &to(&[&me, &ann])).unwrap());
    assert_eq!(verdict(&[&me, &ann]), Verdict::Current);
}

#[test]
fn rekeying_lets_others_in_and_keeps_a_current_file() {
    let (me, ann) = (Person::new(), Person::new());
    let file = me.folder.path().join("s.age");
    encrypt(&secret("x"), &file, &to(&[&me]), false).unwrap();
    assert!(view(&file, &ann.identities(), None).is_err());
    assert!(matches!(rekey(&file, &ann.identities(), &to(&[&me, &ann])), Err(Error::OpenFile { .. })));
    assert!(rekey(&file, &me.identities(), &to(&[&me, &ann])).unwrap());
    assert_eq!(text(&view(&file, &ann.identities(), None).unwrap()), "x");
    let bytes = fs::read(&file).unwrap();
    assert!(!rekey(&file, &me.identities(), &to(&[&ann, &me])).unwrap());
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert!(rekey(&file, &me.identities(), &to(&[&ann])).unwrap());
    assert!(view(&file, &me.identities(), None).is_err());
}
