//! `trueup`: one binary; `trueup daemon` is the controller, the other subcommands are its CLI.
//!
//! The product is in [`reconcile`]: everything else here reads arguments, wires parts together and
//! shows what happened.

mod args;
mod command;
mod config;
mod controller;
mod doctor;
mod failure;
mod health;
mod material;
mod meter;
mod progress;
mod publish;
mod reconcile;
mod show;
mod target;
mod telemetry;
mod world;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return failure::usage(&error),
    };
    if let Err(error) = trueup_secrets::forbid_core_dumps() {
        return failure::exit(Err(command::secret_failure(&error)));
    }
    let runtime =
        tokio::runtime::Runtime::new().expect("threads and epoll are there on every supported system");
    let result = runtime.block_on(command::run(args));
    // A blocked call, such as a name lookup, must not hold up the exit.
    runtime.shutdown_background();
    failure::exit(result)
}
