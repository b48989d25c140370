//! Where a value was written.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::RepoPath;

/// A file, a line and a column, both counted from 1; the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file, from the repository's root.
    pub file: RepoPath,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The places of the values of one document, by their path.
///
/// A path is written as `health.interval` or, in a list of named things,
/// `files[/etc/app.conf].mode` with the key of the entry (its index where it has none). A leading
/// `/` or a dot inside a key is kept as it is; brackets group it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(pub BTreeMap<String, Place>);

impl Places {
    /// Returns the place of the value at `path`, or of the nearest value around it.
    pub fn find(&self, path: &str) -> Option<&Place> {
        let mut rest = path;
        loop {
            if let Some(place) = self.0.get(rest) {
                return Some(place);
            }
            rest = parent(rest)?;
        }
    }
}

/// Returns the path around the last step of `path`: `a[b.c].d` → `a[b.c]` → `a` → the empty path.
pub(crate) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    if path.ends_with(']') {
        return Some(&path[..path.rfind('[')?]);
    }
    let after_bracket = path.rfind(']').map_or(0, |at| at + 1);
    Some(path[after_bracket..].rfind('.').map_or(&path[..after_bracket], |at| &path[..after_bracket + at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_a_place_has_that_of_the_nearest_one_around_it() {
        let place = |line| Place { file: "a.yaml".parse().unwrap(), line, column: 1 };
        let places = Places(BTreeMap::from([
            (String::new(), place(1)),
            ("files[/etc/a.conf]".into(), place(7)),
            ("health".into(), place(9)),
        ]));
        assert_eq!(places.find("files[/etc/a.conf].mode").unwrap().line, 7);
        assert_eq!(places.find("health.interval").unwrap().line, 9);
        assert_eq!(places.find("files[/etc/b.conf]").unwrap().line, 1);
        assert_eq!(places.find("restart").unwrap().line, 1);
    }
}
