//! The environments of a source that need no look because no commit has said anything new of them, and the files
//! that could.

use std::collections::{BTreeMap, BTreeSet};

use trueup_schema::{EnvironmentName, RepoPath};

/// Settled environments, each with the files that it depends on.
#[derive(Debug, Default)]
pub struct Settled {
    inputs: BTreeMap<EnvironmentName, Box<[RepoPath]>>,
    users: BTreeMap<RepoPath, BTreeSet<EnvironmentName>>,
}

impl Settled {
    /// Notes that nothing new is said of an environment as long as these files are as they are.
    pub fn settle(&mut self, name: &EnvironmentName, inputs: impl IntoIterator<Item = RepoPath>) {
        self.unsettle(name);
        let inputs: Box<[RepoPath]> = inputs.into_iter().collect();
        for path in &inputs {
            self.users.entry(path.clone()).or_default().insert(name.clone());
        }
        self.inputs.insert(name.clone(), inputs);
    }

    /// Notes that an environment needs a look, whatever the files say.
    pub fn unsettle(&mut self, name: &EnvironmentName) {
        for path in self.inputs.remove(name).into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&path)
                && users.remove(name)
                && users.is_empty()
            {
                self.users.remove(&path);
            }
        }
    }

    /// Unsettles every environment that depends on one of these files. It costs what depends on them.
    pub fn touch<'a>(&mut self, files: impl IntoIterator<Item = &'a RepoPath>) {
        let users: BTreeSet<EnvironmentName> =
            files.into_iter().filter_map(|path| self.users.get(path)).flatten().cloned().collect();
        for name in &users {
            self.unsettle(name);
        }
    }

    /// Unsettles all of them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns whether an environment is settled.
    pub fn contains(&self, name: &EnvironmentName) -> bool {
        self.inputs.contains_key(name)
    }

    /// Returns whether none is.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        text.parse().unwrap()
    }

    fn name(text: &str) -> EnvironmentName {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_unsettles_those_that_depend_on_it() {
        let mut settled = Settled::default();
        settled.settle(&name("a"), [path("shared"), path("one")]);
        settled.settle(&name("b"), [path("shared"), path("two")]);
        settled.touch(&[path("nobody")]);
        assert!(settled.contains(&name("a")) && settled.contains(&name("b")));
        settled.touch(&[path("one")]);
        assert!(!settled.contains(&name("a")) && settled.contains(&name("b")));
        settled.settle(&name("a"), [path("one")]);
        settled.touch(&[path("shared")]);
        assert!(settled.contains(&name("a")), "it depends on it no longer");
        settled.unsettle(&name("a"));
        assert!(settled.is_empty() && settled.users.is_empty());
    }
}
