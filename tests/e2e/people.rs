//! What people do at the command line: they plan, apply, decide, interrupt, and are told what is true.

mod decisions;
mod doctor;
mod estate;
mod interruptions;
mod plans;
mod watching;

use libtest_mimic::Trial;

use crate::{app, rig::Engine};

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    let modules = [
        ("plans", &plans::TESTS[..]),
        ("decisions", &decisions::TESTS),
        ("interruptions", &interruptions::TESTS),
        ("estate", &estate::TESTS),
        ("doctor", &doctor::TESTS),
        ("watching", &watching::TESTS),
    ];
    modules
        .into_iter()
        .flat_map(|(name, tests)| app::trials(engine, &format!("people::{name}"), tests))
        .collect()
}
