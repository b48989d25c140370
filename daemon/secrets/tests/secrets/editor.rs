use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use trueup_secrets::{Edited, Error, edit, encrypt, view};

use crate::person::{Person, names, printed, secret, text, to};

/// The folders in memory are looked at, so that one test uses them at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Writes an editor: a shell script that gets the file as `$1`.
fn editor(person: &Person, script: &str) -> String {
    let path = person.folder.path().join("editor");
    fs::write(&path, format!("#!/bin/sh\nset -e\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Returns what lies in memory of this and other edits.
fn left_behind() -> Vec<PathBuf> {
    let folders = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some("/dev/shm".into())];
    let all = folders.into_iter().flatten().filter(|folder| folder.is_dir());
    all.flat_map(|folder| names(&folder).into_iter().map(move |name| folder.join(name)))
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("trueup-edit-"))
        .collect()
}

fn run(file: &Path, person: &Person, script: &str) -> Result<Edited, Error> {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let editor = editor(person, script);
    let result = runtime.block_on(edit(file, &person.identities(), &to(&[person]), &editor));
    assert_eq!(left_behind(), Vec::<PathBuf>::new());
    result
}

fn person_with(content: &str) -> (Person, PathBuf) {
    let person = Person::new();
    let file = person.folder.path().join("db.age");
    encrypt(&secret(content), &file, &to(&[&person]), false).unwrap();
    (person, file)
}

#[test]
fn what_the_editor_writes_is_encrypted_and_nothing_is_left_behind() {
    let (person, file) = person_with("password: one\n");
    let seen = person.folder.path().join("seen");
    // Like an editor that writes a backup beside the file, and replaces the file.
    let script = format!(
        "cp \"$1\" \"$1~\"; mkdir \"$(dirname \"$1\")/swap\"; cp \"$1\" \"$(dirname \"$1\")/swap/x\"\n\
         stat -f -c %T \"$1\" > {0}; stat -c %a \"$1\" >> {0}; stat -c %a \"$(dirname \"$1\")\" >> {0}; basename \"$1\" >> {0}\n\
         echo 'password: two' > \"$1.new\"; mv \"$1.new\" \"$1\"",
        seen.display()
    );
    assert_eq!(run(&file, &person, &script).unwrap(), Edited::Written);
    assert_eq!(fs::read_to_string(seen).unwrap(), "tmpfs\n600\n700\ndb.yaml\n");
    assert_eq!(text(&view(&file, &person.identities(), Some("password")).unwrap()), "two");
}

#[test]
fn an_unchanged_secret_is_not_written() {
    let (person, file) = person_with("password: one\n");
    let before = fs::read(&file).unwrap();
    assert_eq!(run(&file, &person, "touch \"$1\"").unwrap(), Edited::Unchanged);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_is_not_there_is_created() {
    let person = Person::new();
    let file = person.folder.path().join("new.env.age");
    assert_eq!(
        run(&file, &person, "test \"$(basename \"$1\")\" = new.env; echo A=1 > \"$1\"").unwrap(),
        Edited::Written
    );
    assert_eq!(text(&view(&file, &person.identities(), Some("A")).unwrap()), "1");
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let (person, file) = person_with("password: one\n");
    let before = fs::read(&file).unwrap();
    for script in ["echo 'password: two' > \"$1\"; exit 3", "kill -9 $$", "rm \"$1\""] {
        assert!(run(&file, &person, script).is_err(), "{script}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    let error = run(&file, &person, "exit 3").err().unwrap();
    assert!(error.to_string().ends_with("it ended with exit status: 3"), "{error}");
}

#[test]
fn content_that_cannot_be_read_any_more_is_refused() {
    let (person, file) = person_with("password: one\n");
    let before = fs::read(&file).unwrap();
    let error = run(&file, &person, "printf 'password: one\\npassword: hunter2\\n' > \"$1\"").err().unwrap();
    assert!(error.to_string().ends_with("line 2 has a duplicate key"), "{error}");
    assert!(!printed(&error).contains("hunter2"));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_process_that_is_killed_leaves_no_plaintext() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(folder) = std::env::var_os("TRUEUP_TEST_KILL_ME") {
        return edit_and_wait(Path::new(&folder));
    }
    for signal in ["-KILL", "-TERM", "-HUP"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "editor::a_process_that_is_killed_leaves_no_plaintext"])
            .env("TRUEUP_TEST_KILL_ME", folder.path())
            .spawn()
            .unwrap();
        until(|| folder.path().join("open").exists());
        assert_eq!(left_behind().len(), 1);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        until(|| left_behind().is_empty());
        fs::write(folder.path().join("end"), "").unwrap();
    }
}

/// Edits in an editor that says that it is open and waits for the test's end.
fn edit_and_wait(folder: &Path) {
    let (person, file) = person_with("password: one\n");
    let script = format!(
        "touch {0}/open; while [ ! -e {0}/end ] && [ -d {0} ]; do sleep 0.05; done",
        folder.display()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result =
        runtime.block_on(edit(&file, &person.identities(), &to(&[&person]), &editor(&person, &script)));
    assert!(matches!(result, Err(Error::Interrupt { .. })));
}

fn until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_mins(2), "it never came true");
        std::thread::yield_now();
    }
}
