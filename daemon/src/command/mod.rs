//! One file a command, or a family of them: read the arguments, call the product, show the answer.

mod apply;
mod doctor;
mod drift;
mod env;
mod known;
mod manifests;
pub(crate) mod overview;
mod plan;
mod secret;
mod watch;

pub(crate) use secret::secret_failure;

use clap::CommandFactory;

use crate::{
    args::{Args, Command, Global},
    controller,
    failure::{Failure, Kind},
    show::Screen,
};

/// Runs one command and returns its exit code.
pub(crate) async fn run(args: Args) -> Result<u8, Failure> {
    let Args { global, command } = args;
    let screen = Screen::new(&global);
    match command {
        Command::Daemon => controller::run(global).await,
        Command::Validate => manifests::validate(&global, screen),
        Command::Render { env } => manifests::render(&global, screen, &env),
        Command::Explain { env, path } => manifests::explain(&global, screen, &env, &path),
        Command::Schema => screen.json(&trueup_schema::json_schema()).map(|()| 0),
        Command::Plan(args) => plan::plan(&global, screen, &args).await,
        Command::Diff(args) => plan::diff(&global, screen, &args).await,
        Command::Drift(args) => drift::drift(&global, screen, &args).await,
        Command::Apply(args) => apply::apply(&global, screen, &args).await,
        Command::Rollback { env, to, reason, yes, wait } => {
            apply::rollback(&global, screen, &apply::Back { env, to, reason, yes, wait: wait.0 }).await
        }
        Command::Status { env, watch: true } => watch::watch(&global, screen, env.as_ref()).await,
        Command::Status { env, watch: false } => overview::status(&global, screen, env.as_ref()).await,
        Command::History { env, limit } => overview::history(&global, screen, env.as_ref(), limit).await,
        Command::Logs { run } => overview::logs(&global, screen, run).await,
        Command::Doctor { env } => doctor::doctor(&global, screen, env.as_ref()).await,
        Command::Env(command) => env::run(&global, screen, command).await,
        Command::Secret(command) => secret::run(&global, screen, command).await,
        Command::Completion { shell } => completion(screen, shell),
        Command::Man => manual(screen),
    }
}

fn completion(screen: Screen, shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "trueup", &mut script);
    screen.print(&String::from_utf8_lossy(&script)).map(|()| 0)
}

fn manual(screen: Screen) -> Result<u8, Failure> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(Args::command()).render(&mut page);
    written.map_err(|error| Failure::of(Kind::Internal, &error))?;
    screen.print(&String::from_utf8_lossy(&page)).map(|()| 0)
}

/// The operating system's name of the person who calls, for history and audit.
fn user() -> String {
    std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Asks a person, who must type `yes`. Without a terminal the answer is no.
#[expect(clippy::print_stderr, reason = "a question is no data")]
fn confirmed(question: &str, yes: bool) -> Result<bool, Failure> {
    use std::io::IsTerminal;
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Kind::User, "there is no terminal to ask on").hint("say `--yes`"));
    }
    eprint!("{question} [yes/no] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::of(Kind::User, &error))?;
    Ok(answer.trim() == "yes")
}

/// The folder of the repository around the current one: that of `trueup.yaml`.
pub(crate) fn root(global: &Global) -> std::path::PathBuf {
    let here = std::path::absolute(&global.dir).unwrap_or_else(|_| global.dir.clone());
    let found = here.ancestors().find(|folder| folder.join("trueup.yaml").is_file()).map(Into::into);
    found.unwrap_or(here)
}

/// The files that a command about manifests reads.
fn checkout(global: &Global) -> Result<trueup_schema::Snapshot, Failure> {
    trueup_git::worktree(&root(global), &trueup_git::Limits::default())
        .map_err(|error| crate::world::git_failure(&error))
}
