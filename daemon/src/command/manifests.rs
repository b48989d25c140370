//! `validate`, `render` and `explain`: what is written, uncommitted edits included. Nothing else is read.

use trueup_schema::{EnvironmentName, ExplainError, Limits, explain as explain_value, load};

use super::checkout;
use crate::{
    args::{Global, Output},
    failure::{Failure, Kind},
    show::Screen,
};

/// Checks every manifest of the checkout.
pub(crate) fn validate(global: &Global, screen: Screen) -> Result<u8, Failure> {
    let snapshot = checkout(global)?;
    let report = match load(&snapshot, &Limits::default()) {
        Ok(catalogue) => catalogue.validate(),
        Err(report) => report,
    };
    screen.either(|| report.to_string(), || &report)?;
    Ok(u8::from(report.has_errors()))
}

/// Prints an environment as it is resolved.
pub(crate) fn render(global: &Global, screen: Screen, env: &EnvironmentName) -> Result<u8, Failure> {
    let snapshot = checkout(global)?;
    let resolved = load(&snapshot, &Limits::default())?.resolve(env)?;
    let value = trueup_schema::render(&resolved);
    match screen.output {
        Output::Text | Output::Yaml => {
            let text = serde_yaml::to_string(&value).map_err(|error| Failure::of(Kind::Internal, &error))?;
            screen.print(&text)?;
        }
        Output::Json => screen.json(&value)?,
        Output::Markdown => {
            return Err(Failure::new(Kind::User, "`render` prints `yaml` or `json`"));
        }
    }
    Ok(0)
}

/// Says where a value came from.
pub(crate) fn explain(
    global: &Global,
    screen: Screen,
    env: &EnvironmentName,
    path: &str,
) -> Result<u8, Failure> {
    let snapshot = checkout(global)?;
    let catalogue = load(&snapshot, &Limits::default())?;
    let explanation = explain_value(&catalogue, env, path).map_err(|error| match error {
        ExplainError::Resolve(report) => report.into(),
        ExplainError::UnknownPath { ref help, .. } => {
            Failure::new(Kind::User, error.to_string()).hint(help.clone())
        }
    })?;
    screen.either(|| explanation.to_string(), || &explanation)?;
    Ok(0)
}
