//! `plan` and `diff`: the preview. Both are `propose`, which holds no writer.

use std::io::Write;

use jiff::Timestamp;
use trueup_plan::{Plan, render};
use trueup_schema::{Catalogue, Limits, Snapshot};

use super::root;
use crate::{
    args::{self, Global, Output},
    config,
    failure::{Failure, Kind},
    reconcile::{Approval, Proposal, Request, propose},
    show::{Screen, differences, differences_json},
    world::{World, git_failure},
};

/// Which files of a repository are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version<'a> {
    /// The newest commit.
    Newest,
    /// One commit.
    At(&'a str),
    /// The files of the checkout.
    Worktree(&'a std::path::Path),
}

/// Shows what would change, why, how, and what it interrupts.
pub(crate) async fn plan(global: &Global, screen: Screen, args: &args::Plan) -> Result<u8, Failure> {
    let proposal = preview(global, args).await?;
    show(screen, &proposal.plan)?;
    Ok(exit_code(args, &proposal))
}

/// Shows every difference, field by field.
pub(crate) async fn diff(global: &Global, screen: Screen, args: &args::Plan) -> Result<u8, Failure> {
    let proposal = preview(global, args).await?;
    screen.either(|| differences(&proposal), || differences_json(&proposal))?;
    Ok(exit_code(args, &proposal))
}

fn exit_code(args: &args::Plan, proposal: &Proposal) -> u8 {
    if args.detailed_exitcode && !proposal.plan.is_empty() { 2 } else { 0 }
}

async fn preview(global: &Global, args: &args::Plan) -> Result<Proposal, Failure> {
    let world = World::open(global)?;
    let source = world.source(global.source.as_ref(), &args.env)?.clone();
    let root = root(global);
    let version = match (&args.revision, args.worktree) {
        (Some(commit), _) => Version::At(commit),
        (None, true) => Version::Worktree(&root),
        (None, false) => Version::Newest,
    };
    let (snapshot, catalogue) = read(&world, &source, version).await?;
    let key = World::key(&source, &args.env);
    let target = catalogue.resolve(&args.env)?.spec.target.id();
    let target = world.target(&target, &source.name)?;
    let request = Request {
        key: &key,
        snapshot: &snapshot,
        catalogue: &catalogue,
        approval: Approval::default(),
        patient: false,
    };
    let proposal = propose(&world.store, &world.keys, &target, &request).await?;
    if let Some(file) = &args.out {
        write(file, &proposal.plan)?;
    }
    Ok(proposal)
}

/// Prints a plan in the form that was asked for.
pub(crate) fn show(screen: Screen, plan: &Plan) -> Result<(), Failure> {
    match screen.output {
        Output::Text => screen.print(&render::text(plan, &screen.style(), Timestamp::now())),
        Output::Json => screen.json(&render::json(plan)),
        Output::Markdown => screen.print(&render::markdown(plan, Timestamp::now())),
        Output::Yaml => Err(Failure::new(Kind::User, "a plan is printed as `text`, `json` or `markdown`")),
    }
}

/// Reads one version of a repository.
pub(crate) async fn read(
    world: &World,
    source: &config::Source,
    version: Version<'_>,
) -> Result<(Snapshot, Catalogue), Failure> {
    let git = world.git(source)?;
    let snapshot = match version {
        Version::Newest => trueup_engine::Source::fetch(&git).await,
        Version::At(commit) => git.snapshot_at(commit).await,
        Version::Worktree(folder) => trueup_git::worktree(folder, &trueup_git::Limits::default()),
    };
    let snapshot = snapshot.map_err(|error| git_failure(&error))?;
    let catalogue = trueup_schema::load(&snapshot, &Limits::default())?;
    Ok((snapshot, catalogue))
}

/// Writes a plan to a file that only its owner can read.
fn write(file: &std::path::Path, plan: &Plan) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        Failure::new(Kind::User, format!("cannot write `{}`: {error}", file.display()))
    };
    let text = serde_json::to_vec_pretty(plan).map_err(|error| Failure::of(Kind::Internal, &error))?;
    let mut out = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    out.write_all(&text).map_err(failed)
}
