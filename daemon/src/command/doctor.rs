//! `doctor`: what is around a reconciliation, with the fix of what is not well.

use trueup_schema::EnvironmentName;

use crate::{
    args::Global,
    doctor::{self, State},
    failure::Failure,
    show::{self, Screen},
};

/// Shows one line a check; exits with 1 when something will fail.
pub(crate) async fn doctor(
    global: &Global,
    screen: Screen,
    env: Option<&EnvironmentName>,
) -> Result<u8, Failure> {
    let findings = doctor::examine(global, env).await;
    screen.either(|| show::doctor(&findings, &screen.style()), || show::doctor_json(&findings))?;
    Ok(u8::from(findings.iter().any(|finding| finding.state == State::Bad)))
}
