//! No byte of a secret is where it does not belong: outputs, logs, the store, the plan, the engine's disk, a
//! core dump.
//!
//! What is looked for is any eight bytes of the value: as they are, in base64, in hexadecimal, and as in an
//! address. A control is planted first, so that a scanner that finds nothing ever is noticed.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
};

use libtest_mimic::{Failed, Trial};

use crate::{
    app::{self, says},
    lab::{Lab, text_of},
    rig::Engine,
};

/// How many bytes of a secret count as found.
const PIECE: usize = 8;

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(
        engine,
        "secrecy",
        &[
            ("no_byte_of_a_secret_is_left_anywhere", no_byte_is_left_anywhere),
            ("a_failing_cron_is_told_without_its_secret", a_failing_cron_is_told_without_its_secret),
            ("a_crash_dumps_no_memory", a_crash_dumps_no_memory),
        ],
    )
}

/// Finds pieces of one secret in bytes: what a piece begins with, and how it may go on.
struct Scanner(HashMap<[u8; PIECE], Vec<Vec<u8>>>);

impl Scanner {
    fn of(secret: &str) -> Self {
        let mut scanner = Self(HashMap::new());
        for piece in secret.as_bytes().windows(PIECE) {
            scanner.look_for(piece);
            for (each, plain) in [("", false), ("%", false), ("%", true)] {
                let lower = spelled(piece, each, plain);
                scanner.look_for(lower.to_uppercase().as_bytes());
                scanner.look_for(lower.as_bytes());
            }
        }
        // base64 of the same bytes differs by where they begin in a group of three.
        for shift in 0..3 {
            let text = base64(&[&vec![b'.'; shift], secret.as_bytes()].concat());
            // The first and last groups hold bits of what stands around the value.
            let inner = &text[4..text.len() - 4];
            for form in [inner.to_owned(), inner.replace('+', "-").replace('/', "_")] {
                form.as_bytes().windows(PIECE).for_each(|piece| scanner.look_for(piece));
            }
        }
        scanner
    }

    fn look_for(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_first_chunk().expect("a piece has eight bytes or more");
        self.0.entry(*first).or_default().push(rest.to_vec());
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        (0..bytes.len()).any(|at| {
            let Some((first, after)) = bytes[at..].split_first_chunk::<PIECE>() else { return false };
            self.0.get(first).is_some_and(|rests| rests.iter().any(|rest| after.starts_with(rest)))
        })
    }

    /// Returns the files under `folder` that hold a piece. Other file systems are not entered.
    fn find_in(&self, folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failed> {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && !is_mounted(&path) {
                self.find_in(&path, found)?;
            // A file may be gone by now: an engine rotates its own.
            } else if kind.is_file() && self.finds(&fs::read(&path).unwrap_or_default()) {
                found.push(path);
            }
        }
        Ok(())
    }
}

/// Whether something else is mounted there, such as a container's root: its layers are seen below.
fn is_mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(parent) != device(path))
}

/// Spells bytes in hexadecimal, each after `before`; letters and digits may stay `plain`, as in an address.
fn spelled(bytes: &[u8], before: &str, plain: bool) -> String {
    let spell = |byte: &u8| match byte {
        byte if plain && byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
        byte => format!("{before}{byte:02x}"),
    };
    bytes.iter().map(spell).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for n in 0..=group.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    text
}

/// Random letters, digits, and what an address spells in another way.
fn random_secret() -> Result<String, Failed> {
    const LETTERS: &[u8; 64] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ2345678/+&=?@;,~";
    let mut bytes = [0_u8; 40];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
}

fn world(lab: &Lab, secret: &str) -> Result<(), Failed> {
    lab.write("files/app.conf", "password = ${secrets.password}\n")?;
    lab.component(
        "app",
        "  image: trueup-test/busybox:1\n  zone: data\n  command: [sh, -c, \"test -s /run/secrets/password && test -s /etc/app.conf && exec sleep 1000\"]\n  \
         stopSignal: SIGKILL\n  secrets:\n    - {name: password, from: \"secrets/app.age#password\", file: /run/secrets/password}\n  \
         files:\n    - {from: files/app.conf, to: /etc/app.conf, template: true, mode: \"0400\"}\n  \
         health: {exec: [grep, -q, password, /etc/app.conf], startup: 2m}\n",
    )?;
    lab.environment("  zones:\n    data: {}\n  components: [app]\n")?;
    lab.secret("secrets/app.age", &format!("password: '{secret}'\n"))
}

fn no_byte_is_left_anywhere(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    let (first, second) = (random_secret()?, random_secret()?);
    let mut outputs = String::new();
    world(&lab, &first)?;
    lab.commit("a secret")?;
    let daemon = lab.daemon_with(&[("TRUEUP_LOG", "trace")])?;
    lab.wait_for("the first apply", |status| status["sync"] == "Synced" && status["health"] == "Healthy")?;
    world(&lab, &second)?;
    for arguments in [&["plan"][..], &["plan", "-o", "json"], &["diff"], &["plan", "-o", "markdown"]] {
        let mut all = arguments.to_vec();
        all.insert(1, &lab.env);
        outputs += &lab.exits(0, &all)?;
    }
    let commit = lab.commit("another secret")?;
    outputs += &lab.exits(0, &["plan", &lab.env, "--out", "plan.json"])?;
    lab.wait_for("the second apply", |status| {
        status["sync"] == "Synced" && status["revision"]["commit"] == commit.as_str()
    })?;
    // A failing start shows the end of its log, which a component may well write a secret into.
    lab.component(
        "app",
        "  image: trueup-test/busybox:1\n  zone: data\n  command: [sh, -c, \"cat /run/secrets/password; exit 3\"]\n  \
         secrets:\n    - {name: password, from: \"secrets/app.age#password\", file: /run/secrets/password}\n",
    )?;
    lab.commit("tells its secret")?;
    lab.wait_for("the rollback", |status| status["sync"] == "Held")?;
    for arguments in [&["status", "-o", "json"][..], &["history", "-o", "json"], &["logs", "3", "-o", "json"]]
    {
        outputs += &lab.exits(0, arguments)?;
    }
    outputs += &lab.daemon_log();
    outputs += &serde_json::to_string(&lab.picture()?)?;
    daemon.stop()?;

    for (which, secret) in [("first", first), ("second", second)] {
        let scanner = Scanner::of(&secret);
        let control = lab.path("control");
        fs::write(&control, format!("x{}", base64(secret.as_bytes())))?;
        let mut found = Vec::new();
        // The repository's Git objects are compressed and encrypted; its files are encrypted.
        scanner.find_in(&lab.path(""), &mut found)?;
        if found != [control.clone()] {
            return Err(format!("the {which} secret, or not even the control, in {found:?}").into());
        }
        fs::remove_file(control)?;
        if scanner.finds(outputs.as_bytes()) {
            return Err(format!("the {which} secret is in an output:\n{outputs}").into());
        }
        let mut found = Vec::new();
        for folder in &engine.data {
            scanner.find_in(folder, &mut found)?;
        }
        // A container that prints its secret has it in the engine's log of it: that is its own doing.
        found.retain(|path| !path.to_string_lossy().ends_with("-json.log"));
        if !found.is_empty() {
            return Err(format!("the {which} secret is on the engine's disk: {found:?}").into());
        }
    }
    Ok(())
}

fn a_failing_cron_is_told_without_its_secret(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    let secret = random_secret()?;
    lab.component(
        "backup",
        "  image: trueup-test/busybox:1\n  zone: data\n  workload: cron\n  schedule: \"* * * * *\"\n  \
         command: [sh, -c, \"echo It ends; cat /run/secrets/password; exit 3\"]\n  \
         secrets:\n    - {name: password, from: \"secrets/app.age#password\", file: /run/secrets/password}\n",
    )?;
    lab.environment("  zones:\n    data: {}\n  components: [backup]\n")?;
    lab.secret("secrets/app.age", &format!("password: '{secret}'\n"))?;
    lab.commit("a backup that fails")?;
    let daemon = lab.daemon()?;
    let failures = || lab.daemon_log().matches("failed by its schedule").count();
    lab.wait_until("the minute's failure", || Ok(failures() > 0))?;
    daemon.stop()?;
    let told = lab.daemon_log();
    says(&told, &["It ends"])?;

    // Without its secrets nobody knows what to leave out of its output.
    fs::remove_file(lab.path("age.key"))?;
    lab.succeed(&["secret", "init", "age.key"])?;
    let daemon = lab.daemon()?;
    lab.wait_until("the next minute's failure", || Ok(failures() > 1))?;
    daemon.stop()?;
    let log = lab.daemon_log();
    if log[told.len()..].contains("It ends") {
        return Err(format!("its output is told although it could not be cleaned:\n{log}").into());
    }
    if Scanner::of(&secret).finds(log.as_bytes()) {
        return Err(format!("the secret is in the log:\n{log}").into());
    }
    Ok(())
}

fn a_crash_dumps_no_memory(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    world(&lab, &random_secret()?)?;
    lab.commit("a secret")?;
    // What is started from here on may dump its memory, unless it forbids that itself.
    let pid = std::process::id().to_string();
    text_of(Command::new("prlimit").args(["--core=unlimited:", "--pid", &pid]))?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first apply", |status| status["sync"] == "Synced")?;
    let daemon = crash(daemon.process())?;

    let control = crash(&mut Command::new("sleep").arg("600").current_dir(lab.path("")).spawn()?)?;
    if !control.core_dumped() {
        return Err("this machine dumps no core of anything, so nothing was shown".into());
    }
    if daemon.core_dumped() {
        return Err("the daemon's memory was dumped".into());
    }
    Ok(())
}

/// Lets a process abort, as C's `abort` does.
fn crash(child: &mut Child) -> Result<ExitStatus, Failed> {
    let pid = child.id().to_string();
    text_of(Command::new("kill").args(["-ABRT", &pid]))?;
    let status = child.wait()?;
    match status.signal() {
        Some(6) => Ok(status),
        _ => Err(format!("the process ended with {status}").into()),
    }
}
