//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use trueup_schema::{EnvironmentName, RepoPath, SourceName};

/// Brings what runs into line with what is written down: an environment in Git, applied to Docker as
/// one transaction, rolled back and held when it fails.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, max_term_width = 100, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done or in sync, 1 error, 2 changes pending (with --detailed-exitcode), 3 refused \
by policy, hold, lock or stale plan, 4 failed and rolled back, 5 failed and the rollback failed too, 64 usage, 130 interrupted";

/// What every command understands.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The operator's configuration [default: /etc/trueup/trueup-daemon.yaml when it exists].
    #[arg(long, global = true, env = "TRUEUP_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The checkout to read when there is no configuration.
    #[arg(short = 'C', long, global = true, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The source, where several have an environment of that name.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) source: Option<SourceName>,
    /// An age key file, beside those of the configuration. May be given several times.
    #[arg(long, global = true, env = "TRUEUP_KEY_FILE", value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
    /// Where the store is, when there is no configuration [default: /var/lib/trueup for root].
    #[arg(long, global = true, env = "TRUEUP_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// How data is printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs; the shapes are stable.
    Json,
    /// For `render`.
    Yaml,
    /// For pull requests, of a plan.
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the controller until it is told to stop.
    Daemon,
    /// Checks every manifest of a checkout, uncommitted edits included.
    Validate,
    /// Prints an environment with all layers merged and all values computed.
    Render { env: EnvironmentName },
    /// Says which file and line a value came from, and through which layers.
    Explain {
        env: EnvironmentName,
        /// The value, such as `postgresql.resources.memory`.
        path: String,
    },
    /// Prints the JSON Schema of the manifests, for editors.
    Schema,
    /// Shows what would change, why, how and what it interrupts. Changes nothing.
    Plan(Plan),
    /// Shows every difference between what is declared and what runs, field by field.
    Diff(Plan),
    /// Shows what runs otherwise than it was applied: what, since when, and what becomes of it.
    Drift(Drift),
    /// Brings an environment to its newest revision, or back to where it was.
    Apply(Apply),
    /// Goes back to an earlier revision and holds the environment there.
    Rollback {
        env: EnvironmentName,
        /// The commit, or a prefix of it [default: the one applied before].
        #[arg(long, value_name = "REVISION")]
        to: Option<String>,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// How long to wait while somebody else runs this environment.
        #[arg(long, value_name = "TIME", default_value = "10s")]
        wait: trueup_schema::manifest::Span,
    },
    /// Shows one line an environment, worst first.
    Status {
        env: Option<EnvironmentName>,
        /// Shows it again whenever something has changed, until Ctrl-C: in place on a terminal; else one table, or
        /// with `-o json` one line, after the other.
        #[arg(short, long)]
        watch: bool,
    },
    /// Shows what was run, newest first.
    History {
        env: Option<EnvironmentName>,
        /// How many runs.
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows everything that is known of one run, step by step.
    Logs {
        /// The number of the run, as `history` shows it.
        run: i64,
    },
    /// Checks everything around a reconciliation, with the fix of what is not well. Changes nothing.
    Doctor {
        /// Only this environment, beside what all have in common.
        env: Option<EnvironmentName>,
    },
    /// Suspends, holds, releases, adopts or destroys an environment.
    #[command(subcommand)]
    Env(Env),
    /// Makes, changes and checks age secrets.
    #[command(subcommand)]
    Secret(Secret),
    /// Prints the completion script of a shell.
    Completion { shell: clap_complete::Shell },
    /// Prints the manual page.
    Man,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Plan {
    pub(crate) env: EnvironmentName,
    /// A commit instead of the newest one.
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
    /// Reads the files of the checkout, uncommitted edits included.
    #[arg(long, conflicts_with = "revision")]
    pub(crate) worktree: bool,
    /// Writes the plan to a file, for `apply --plan FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exits with 2 when something would change.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Drift {
    /// The environment [default: all that were applied].
    pub(crate) env: Option<EnvironmentName>,
    /// Exits with 2 when something has drifted.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Apply {
    pub(crate) env: EnvironmentName,
    /// Runs exactly this plan, a file or the digest that `plan` printed, or refuses because something moved.
    #[arg(long, value_name = "FILE|DIGEST")]
    pub(crate) plan: Option<String>,
    /// A commit instead of the newest one.
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revision: Option<String>,
    /// Does not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Allows more deletions than `sync.maxDeletes`.
    #[arg(long)]
    pub(crate) confirm_deletes: bool,
    /// How long to wait while somebody else runs this environment.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) wait: trueup_schema::manifest::Span,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Because {
    pub(crate) env: EnvironmentName,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// Stops reconciling; what runs keeps running.
    Suspend(Because),
    /// Reconciles again.
    Resume(Because),
    /// Holds the environment at what runs until a person releases it.
    Hold(Because),
    /// Ends a hold, so that the same revision is tried again.
    Release(Because),
    /// Takes over the containers of a lost or another store.
    Adopt(Because),
    /// Removes everything that trueup made for the environment; its volumes stay for the next one of its name.
    Destroy {
        #[command(flatten)]
        because: Because,
        /// Removes its volumes as well.
        #[arg(long)]
        volumes: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Makes an age key file, readable by its owner alone, and prints its recipient.
    Init {
        /// The file to make.
        file: PathBuf,
    },
    /// Encrypts standard input for an environment's recipients.
    Encrypt {
        env: EnvironmentName,
        /// The secret file, such as `secrets/postgresql.age`, from the environment's folder.
        file: RepoPath,
        /// Replaces a file that is there.
        #[arg(long)]
        replace: bool,
    },
    /// Opens a secret file in `$EDITOR`; no plaintext is left behind.
    Edit { env: EnvironmentName, file: RepoPath },
    /// Prints a secret file in the clear.
    View { env: EnvironmentName, file: RepoPath },
    /// Encrypts every secret of an environment again, for its current recipients.
    Rekey { env: EnvironmentName },
    /// Says which secrets can be read, and which are stale against `encryption.recipients`.
    Check { env: EnvironmentName },
}
