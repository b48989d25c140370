//! Collects every reason why a target cannot honour a manifest, each with its place.

use crate::{Place, PlainObject, Problem, Report, Resolved, ResolvedComponent, Severity};

/// The reasons found so far.
#[derive(Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem at a path of a component.
    pub fn component(
        &mut self,
        component: &ResolvedComponent,
        path: &str,
        message: impl Into<String>,
        help: &str,
    ) {
        let file = format!("components/{}.yaml", component.name);
        self.add(component.places.find(path).cloned(), &file, message.into(), help);
    }

    /// Adds a problem at a path of the environment.
    pub fn environment(&mut self, resolved: &Resolved, path: &str, message: impl Into<String>, help: &str) {
        let file = format!("environments/{}/environment.yaml", resolved.name);
        self.add(resolved.places.find(path).cloned(), &file, message.into(), help);
    }

    /// Adds a problem of a plain object.
    pub fn object(
        &mut self,
        resolved: &Resolved,
        object: &PlainObject,
        message: impl Into<String>,
        help: &str,
    ) {
        let file = format!("environments/{}/environment.yaml", resolved.name);
        self.add(object.places.find("").cloned(), &file, message.into(), help);
    }

    fn add(&mut self, place: Option<Place>, file: &str, message: String, help: &str) {
        let whole_file = || Place {
            file: file.parse().expect("names have no characters that a path refuses"),
            line: 1,
            column: 1,
        };
        self.0.push(Problem {
            place: place.unwrap_or_else(whole_file),
            severity: Severity::Error,
            message,
            help: Some(help.to_owned()),
            source_line: None,
            width: 1,
        });
    }

    /// Returns all problems as an error, sorted by place.
    pub fn into_result(mut self) -> Result<(), Report> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort();
        self.0.dedup();
        let mut files: Vec<_> = self.0.iter().map(|problem| problem.place.file.clone()).collect();
        files.dedup();
        Err(Report { files: files.len(), problems: self.0 })
    }
}
