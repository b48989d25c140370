//! Whether there is a configuration, and whether it can be read.

use std::path::Path;

use super::{Check, Finding, Of};
use crate::{
    args::Global,
    config::{self, Config},
    failure::Failure,
    world::{DEFAULT_CONFIG, checkout, configuration, configuration_file},
};

/// Returns the configuration, or what can be read of it, and what was found.
pub(super) fn examine(global: &Global) -> (Config, Vec<Finding>) {
    let of = Of(Check::Configuration, None);
    let file = configuration_file(global);
    let (mut config, mut findings) = match (configuration(global), &file) {
        (Ok((config, _)), Some(file)) => {
            let found = match config.check() {
                Ok(()) => vec![of.good(said(file, &config))],
                Err(failure) => of.failed(&failure.at(&file.display().to_string())),
            };
            (config, found)
        }
        (Ok((config, _)), None) => {
            (config, vec![of.good(format!("there is no {DEFAULT_CONFIG}: every setting has its default"))])
        }
        (Err(failure), Some(file)) => (readable(file, global), mistakes(of, file, &failure)),
        (Err(failure), None) => (Config::default(), of.failed(&failure)),
    };
    if file.is_none() {
        match checkout(global) {
            Ok(source) => config.sources.push(source),
            Err(failure) => {
                let failure =
                    failure.hint("or name a configuration with `--config`, or a checkout with `-C`");
                findings.extend(Of(Check::Source, None).failed(&failure));
            }
        }
    }
    config.keys.extend(global.key.iter().cloned());
    (config, findings)
}

fn said(file: &Path, config: &Config) -> String {
    let names = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let sources = names(config.sources.iter().map(|source| source.name.to_string()).collect());
    let targets = names(config.targets.keys().map(ToString::to_string).collect());
    format!("{}; sources: {sources}; targets: {targets}", file.display())
}

fn readable(file: &Path, global: &Global) -> Config {
    let mut config = config::read_leniently(file);
    if let Some(state_dir) = &global.state_dir {
        config.state_dir.clone_from(state_dir);
    }
    config
}

/// Returns the mistakes with the whole path of the file: a report knows only its name.
fn mistakes(of: Of<'_>, file: &Path, failure: &Failure) -> Vec<Finding> {
    let folder = file.parent().filter(|folder| failure.is_report() && !folder.as_os_str().is_empty());
    let mut findings = of.failed(failure);
    for finding in &mut findings {
        if let Some(folder) = folder {
            finding.text = format!("{}/{}", folder.display(), finding.text);
        }
        finding.fix.get_or_insert_with(|| "every other check takes what can be read of it".to_owned());
    }
    findings
}
