//! One line an environment, worst first.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use trueup_engine::{
    EnvKey, Holder, RunId,
    record::{AppliedRevision, Health, Hold, HoldKind, Observation, Suspended, SyncStatus},
};
use trueup_plan::Foreign;
use trueup_schema::Revision;

use super::{ago, table::table};

/// What is known of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: EnvKey,
    pub(crate) seen: Option<Observation>,
    pub(crate) applied: Option<AppliedRevision>,
    /// Newest first; one that the newest commit does not meet is left out of what is shown.
    pub(crate) holds: Vec<Hold>,
    pub(crate) suspended: Option<Suspended>,
    /// Who runs it at this moment.
    pub(crate) holder: Option<Holder>,
    /// The run that has no end yet.
    pub(crate) run: Option<RunId>,
    /// Whether its process died: it has no end, and nobody has the environment.
    pub(crate) interrupted: bool,
}

/// The word of the SYNC column; the order is from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Standing {
    Held,
    Blocked,
    OutOfSync,
    Unknown,
    Progressing,
    Suspended,
    Synced,
}

impl Standing {
    /// Every word.
    pub(crate) const ALL: [Self; 7] = [
        Self::Held,
        Self::Blocked,
        Self::OutOfSync,
        Self::Unknown,
        Self::Progressing,
        Self::Suspended,
        Self::Synced,
    ];
}

impl Row {
    /// The hold that matters now: a person's, or that of the desired state that was compared last. What
    /// could not be compared is told by its own reason, not by that of an earlier commit.
    pub(crate) fn hold(&self) -> Option<&Hold> {
        let compared = self.seen.as_ref().is_some_and(|seen| {
            seen.revision.is_some() && !matches!(seen.sync, SyncStatus::Synced | SyncStatus::Unknown)
        });
        self.holds.iter().find(|hold| match hold.kind {
            HoldKind::Person { .. } => true,
            HoldKind::Automatic { .. } => compared,
        })
    }

    /// The word of the SYNC column.
    pub(crate) fn sync(&self) -> Standing {
        if self.holder.is_some() {
            return Standing::Progressing;
        }
        if self.interrupted {
            return Standing::Unknown;
        }
        if self.suspended.is_some() {
            return Standing::Suspended;
        }
        match (self.hold(), self.seen.as_ref().map(|seen| seen.sync)) {
            (Some(Hold { kind: HoldKind::Automatic { blocked: true, .. }, .. }), _)
            | (None, Some(SyncStatus::Blocked)) => Standing::Blocked,
            (Some(_), _) => Standing::Held,
            (None, Some(SyncStatus::Synced)) => Standing::Synced,
            (None, Some(SyncStatus::OutOfSync)) => Standing::OutOfSync,
            (None, Some(SyncStatus::Unknown) | None) => Standing::Unknown,
        }
    }

    /// The word of the HEALTH column.
    pub(crate) fn health(&self) -> Health {
        // What was seen before the run does not say what it has left.
        let seen = self.seen.as_ref().filter(|_| !self.interrupted);
        seen.as_ref().map_or(Health::Unknown, |seen| seen.health)
    }

    /// The one line that says why, never empty where something is wrong; trouble with the source is never
    /// left out.
    fn why(&self, now: Timestamp) -> String {
        let why = self.standing(now);
        match self.seen.as_ref().and_then(|seen| seen.trouble.as_ref()) {
            Some(trouble) if !why.contains(trouble.as_str()) => format!("{why}; {trouble}"),
            _ => why,
        }
    }

    fn standing(&self, now: Timestamp) -> String {
        if let Some(holder) = &self.holder {
            return super::holder(holder, self.run, now);
        }
        if let Some(run) = self.run.filter(|_| self.interrupted) {
            return format!(
                "run {run} was interrupted: it is ended at the next start of the daemon or `trueup apply {}`",
                self.key.environment
            );
        }
        if let Some(suspended) = &self.suspended {
            return suspended.wait().to_string();
        }
        if let Some(hold) = self.hold() {
            return hold.wait().to_string();
        }
        match &self.seen {
            Some(seen) if !seen.why.is_empty() => seen.why.clone(),
            Some(Observation { foreign, .. }) if !foreign.is_empty() => among_others(foreign),
            Some(seen) => {
                let when = |at| match ago(at, now).as_str() {
                    "now" => "now".to_owned(),
                    ago => format!("{ago} ago"),
                };
                let files = seen.as_of.map(|at| format!("; files inside containers as of {}", when(at)));
                format!("observed {}{}", when(seen.observed), files.unwrap_or_default())
            }
            None => "not observed yet".into(),
        }
    }

    /// The commit that runs: the one that was compared and found equal, else the one that was applied.
    fn revision(&self) -> Option<&Revision> {
        let synced = self.seen.as_ref().filter(|seen| seen.sync == SyncStatus::Synced);
        let applied = self.applied.as_ref().map(|applied| &applied.revision);
        synced.and_then(|seen| seen.revision.as_ref()).or(applied)
    }

    /// Returns whether it tells what another one does, whenever each was looked at.
    pub(crate) fn tells_the_same(&self, other: &Self) -> bool {
        let timeless = |row: &Self| {
            let mut row = row.clone();
            if let Some(seen) = &mut row.seen {
                seen.observed = seen.since;
                seen.as_of = None;
            }
            if let Some(applied) = &mut row.applied {
                (applied.at, applied.drifted) = (applied.revision.time, 0);
            }
            row
        };
        timeless(self) == timeless(other)
    }

    fn since(&self) -> Option<Timestamp> {
        let hold = self.hold().map(|hold| hold.since);
        hold.or_else(|| self.seen.as_ref().map(|seen| seen.since))
    }
}

/// Names the first that nobody declared, and says how many more there are.
fn among_others(foreign: &[Foreign]) -> String {
    let named = foreign.first().map(|first| format!("{} {}", first.what, first.why)).unwrap_or_default();
    match foreign.len() {
        0 | 1 => named,
        count => format!("{named}; and {} more", count - 1),
    }
}

/// Returns the table, worst first.
pub(crate) fn status(rows: &mut [Row], now: Timestamp) -> String {
    if rows.is_empty() {
        return "no environment is known yet: run `trueup apply ENV` in a checkout, or name a source in the \
                daemon's configuration"
            .into();
    }
    rows.sort_by_key(|row| (row.sync(), row.key.clone()));
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.key.environment.to_string(),
                row.seen.as_ref().map_or_else(|| "-".into(), |seen| seen.target.clone()),
                format!("{:?}", row.sync()),
                format!("{:?}", row.health()),
                row.revision().map_or_else(|| "-".into(), |revision| revision.short().to_owned()),
                row.since().map_or_else(|| "-".into(), |since| ago(since, now)),
                row.why(now),
            ]
        })
        .collect();
    table(["ENVIRONMENT", "TARGET", "SYNC", "HEALTH", "REVISION", "SINCE", "WHY"], &lines)
}

/// Returns the same facts for programs.
pub(crate) fn status_json(rows: &mut [Row], now: Timestamp) -> Value {
    rows.sort_by_key(|row| (row.sync(), row.key.clone()));
    let environments: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "source": row.key.source,
                "name": row.key.environment,
                "target": row.seen.as_ref().map(|seen| &seen.target),
                "sync": row.sync(),
                "health": row.health(),
                "revision": row.revision(),
                "compared": row.seen.as_ref().and_then(|seen| seen.revision.as_ref()),
                "since": row.since(),
                "observed": row.seen.as_ref().map(|seen| seen.observed),
                "foreign": row.seen.as_ref().map_or(&[][..], |seen| &seen.foreign),
                "asOf": row.seen.as_ref().and_then(|seen| seen.as_of),
                "why": row.why(now),
                "hold": row.hold(),
                "suspended": row.suspended,
                "holder": row.holder,
            })
        })
        .collect();
    json!({ "apiVersion": "trueup.dev/v1", "environments": environments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_look_that_saw_the_same_tells_the_same() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let seen = Observation {
            target: "docker/local".into(),
            revision: None,
            sync: SyncStatus::Synced,
            health: Health::Healthy,
            why: String::new(),
            trouble: None,
            since: at(1),
            observed: at(2),
            checked: None,
            as_of: None,
            foreign: Vec::new(),
        };
        let applied = |second, drifted| {
            let text = || "x".to_owned();
            let revision =
                Revision { commit: text(), reference: text(), author: text(), subject: text(), time: at(1) };
            AppliedRevision { revision, at: at(second), drifted }
        };
        let row = |seen: Observation| Row {
            key: EnvKey { source: "git".parse().unwrap(), environment: "dev".parse().unwrap() },
            seen: Some(seen),
            applied: Some(applied(2, 0)),
            holds: Vec::new(),
            suspended: None,
            holder: None,
            run: None,
            interrupted: false,
        };
        let first = row(seen.clone());
        assert!(first.tells_the_same(&row(Observation { observed: at(9), ..seen.clone() })));
        assert!(first.tells_the_same(&Row { applied: Some(applied(9, 1)), ..first.clone() }));
        assert!(!first.tells_the_same(&Row { applied: None, ..first.clone() }));
        assert!(!first.tells_the_same(&row(Observation { since: at(9), ..seen })));
        let guest = |name: &str| Foreign {
            what: format!("container {name}"),
            why: "is in zone `data`, and nobody declared it".into(),
            blocks: false,
        };
        let mut visited = first.clone();
        visited.seen.as_mut().unwrap().foreign = vec![guest("web"), guest("db")];
        assert!(!visited.tells_the_same(&first));
        assert_eq!(visited.why(at(9)), "container web is in zone `data`, and nobody declared it; and 1 more");
        let dead = Row { run: Some(RunId(7)), interrupted: true, ..first };
        assert_eq!((dead.sync(), dead.health()), (Standing::Unknown, Health::Unknown));
        assert!(dead.why(at(9)).starts_with("run 7 was interrupted"), "{}", dead.why(at(9)));
    }
}
