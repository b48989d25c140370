//! Whether a repository can be reached, and which commit of it is the newest.

use jiff::Timestamp;
use trueup_git::{GitSource, Location};
use trueup_schema::Snapshot;

use super::{Check, DEADLINE, Finding, Of, blocking, cannot_look, in_time, mode};
use crate::{
    config::{Config, Source},
    show::ago,
    world::{git, git_failure, limits},
};

/// Looks at a source, and returns the newest commit of it that is on this machine.
pub(super) async fn examine(config: &Config, source: &Source) -> (Vec<Finding>, Option<Snapshot>) {
    let of = Of(Check::Source, Some(source.name.as_str()));
    // What still waits for the remote when the time is up should end soon after.
    let limits = trueup_git::Limits { fetch_time: DEADLINE, idle_time: DEADLINE, ..limits(config) };
    let mut findings = token_file(source).await;
    let opened = blocking({
        let (config, source) = (config.clone(), source.clone());
        move || git(&config, &source, limits)
    });
    let git = match opened.await {
        Some(Ok(git)) => git,
        Some(Err(failure)) => return ([of.failed(&failure), findings].concat(), None),
        None => return ([vec![of.late()], findings].concat(), None),
    };
    let (head, fetched) = futures::join!(in_time(git.peek()), in_time(git.fetched()));
    let snapshot = match fetched {
        Some(Ok(snapshot)) => snapshot,
        Some(Err(error)) => {
            findings.extend(of.failed(&git_failure(&error)));
            None
        }
        None => None,
    };
    let first = match head {
        Some(Ok(head)) => vec![at(of, &git, &head, snapshot.as_ref())],
        Some(Err(error)) => of.failed(&git_failure(&error)),
        None => vec![of.late()],
    };
    ([first, findings].concat(), snapshot)
}

fn at(of: Of<'_>, git: &GitSource, head: &str, fetched: Option<&Snapshot>) -> Finding {
    let what = format!("{} of {}", git.reference(), git.location());
    let short = head.get(..7).unwrap_or(head);
    let text = match fetched.map(|snapshot| &snapshot.revision) {
        Some(newest) if newest.commit == head => {
            format!("{what} is at {newest}, {}", age(newest.time))
        }
        Some(older) => format!("{what} is at {short}; {older} was fetched last, {}", age(older.time)),
        None => {
            let text =
                format!("{what} is at {short}; nothing was fetched yet, so its environments are unknown");
            return of.attention(text, "run `trueup daemon`, or `trueup plan ENV`, which fetch it");
        }
    };
    of.good(text)
}

fn age(time: Timestamp) -> String {
    match ago(time, Timestamp::now()) {
        now if now == "now" => now,
        ago => format!("{ago} ago"),
    }
}

/// Looks at the token's file: whether others may read it, and whether it leaves the machine in the clear.
async fn token_file(source: &Source) -> Vec<Finding> {
    let of = Of(Check::TokenFile, Some(source.name.as_str()));
    let Some(file) = source.token_file.clone() else { return Vec::new() };
    let found = blocking({
        let file = file.clone();
        move || file.metadata()
    });
    let shown = file.display();
    let found = match found.await {
        None => return vec![of.late()],
        Some(Err(error)) => return of.failed(&cannot_look(&file, &error)),
        Some(Ok(found)) => mode(&found),
    };
    if found & 0o007 != 0 {
        let text = format!("{shown} is open to others (mode {found:04o})");
        return vec![of.bad(text, format!("chmod 600 {shown}"))];
    }
    let location = source.url.parse();
    if matches!(&location, Ok(Location::Remote(address)) if address.starts_with("http://")) {
        return vec![of.attention(format!("{shown} is sent without encryption"), "use an https:// address")];
    }
    vec![of.good(format!("{shown} (mode {found:04o})"))]
}
