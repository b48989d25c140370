//! Rules between the components of an environment.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ComponentName, Problem, ZoneName,
    located::Findings,
    manifest::{EnvironmentSpec, Protocol, Publish, Until, Workload},
    resolve::Typed,
    suggest,
};

type Parts = BTreeMap<ComponentName, Typed>;

pub(crate) fn check(spec: &EnvironmentSpec, parts: &Parts, problems: &mut Vec<Problem>) {
    let names: BTreeSet<&ComponentName> = spec.components.iter().collect();
    for (name, part) in parts {
        let mut findings = Findings { located: &part.located, problems };
        let mut link = Link { name, part, parts, names: &names, findings: &mut findings };
        link.zone(spec);
        link.connects();
        link.depends_on();
        link.requires();
    }
    published(parts, problems);
    cycles(parts, problems);
}

struct Link<'a, 'b> {
    name: &'a ComponentName,
    part: &'a Typed,
    parts: &'a Parts,
    names: &'a BTreeSet<&'a ComponentName>,
    findings: &'a mut Findings<'b>,
}

impl Link<'_, '_> {
    fn zone(&mut self, spec: &EnvironmentSpec) {
        match &self.part.spec.zone {
            Some(zone) if !spec.zones.contains_key(zone) => {
                let help =
                    suggest::choose(zone.as_str(), "zones here", spec.zones.keys().map(ZoneName::as_str));
                self.findings.error("zone", format!("the zone `{zone}` does not exist"), help);
            }
            None if !self.part.spec.ports.is_empty() && self.part.spec.workload != Workload::External => {
                let help = suggest::choose("", "zones here", spec.zones.keys().map(ZoneName::as_str));
                self.findings.error(
                    "ports",
                    "nobody can reach these ports: the component has no `zone`",
                    help,
                );
            }
            _ => {}
        }
    }

    /// Returns whether a component that is named here is in the environment.
    fn exists(&mut self, target: &ComponentName, path: &str) -> bool {
        if target == self.name {
            self.findings.error(path, format!("`{target}` names itself"), "remove it");
            return false;
        }
        if !self.names.contains(target) {
            let message = format!("the component `{target}` is not in this environment");
            let help = match suggest::nearest(target.as_str(), self.names.iter().map(|name| name.as_str())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add `{target}` to the environment's `components`"),
            };
            self.findings.error(path, message, help);
            return false;
        }
        true
    }

    fn connects(&mut self) {
        for connect in &self.part.spec.connects {
            let path = format!("connects[{}:{}]", connect.to, connect.port);
            if !self.exists(&connect.to, &format!("{path}.to")) {
                continue;
            }
            // A component that is broken has been reported at its own place.
            let Some(target) = self.parts.get(&connect.to) else { continue };
            if !target.spec.ports.iter().any(|port| port.name == connect.port) {
                let ports = target.spec.ports.iter().map(|port| port.name.as_str());
                let help =
                    suggest::choose(connect.port.as_str(), &format!("ports of `{}`", connect.to), ports);
                let message = format!("`{}` has no port `{}`", connect.to, connect.port);
                self.findings.error(&format!("{path}.port"), message, help);
            }
        }
    }

    fn depends_on(&mut self) {
        for dependency in &self.part.spec.depends_on {
            let path = format!("dependsOn[{}]", dependency.component);
            if !self.exists(&dependency.component, &format!("{path}.component")) {
                continue;
            }
            let Some(target) = self.parts.get(&dependency.component) else { continue };
            let name = &dependency.component;
            let wrong = match (target.spec.workload, dependency.until) {
                (Workload::External, _) => Some(format!("`{name}` is external: it is never started")),
                (Workload::Cron, _) => Some(format!("`{name}` is a cron: it runs by its schedule")),
                (Workload::Job, Some(Until::Healthy)) => {
                    Some(format!("`{name}` is a job: it is never healthy"))
                }
                (Workload::Job, _) => None,
                (_, Some(Until::Completed)) => Some(format!("`{name}` is no job: it never completes")),
                _ => None,
            };
            if let Some(message) = wrong {
                let (field, help) = match target.spec.workload {
                    Workload::Job => ("until", "write `until: completed`"),
                    Workload::External | Workload::Cron => ("component", "remove the dependency"),
                    _ => ("until", "write `until: healthy`"),
                };
                self.findings.error(&format!("{path}.{field}"), message, help);
            }
        }
    }

    fn requires(&mut self) {
        for requirement in &self.part.spec.requires {
            let path = format!("requires[{}].component", requirement.component);
            self.exists(&requirement.component, &path);
        }
    }
}

/// Reports a port of the host that two components publish.
fn published(parts: &Parts, problems: &mut Vec<Problem>) {
    let mut taken: Vec<(Publish, Protocol, &ComponentName)> = Vec::new();
    for (name, part) in parts {
        for port in &part.spec.ports {
            let Some(publish) = port.publish else { continue };
            let clash = taken.iter().find(|(other, protocol, _)| {
                let one_address =
                    other.address.is_none() || publish.address.is_none() || other.address == publish.address;
                other.port == publish.port && *protocol == port.protocol && one_address
            });
            if let Some((_, _, other)) = clash {
                let path = format!("ports[{}].publish", port.name);
                let message = format!("the host's port {} is published by `{other}` too", publish.port);
                Findings { located: &part.located, problems }.error(
                    &path,
                    message,
                    "choose another port of the host",
                );
            }
            taken.push((publish, port.protocol, name));
        }
    }
}

/// Reports each cycle of `dependsOn` once, at the first component of it.
fn cycles(parts: &Parts, problems: &mut Vec<Problem>) {
    let mut done: BTreeSet<&ComponentName> = BTreeSet::new();
    for start in parts.keys() {
        let mut trail = Vec::new();
        if let Some(cycle) = walk(start, parts, &mut trail, &mut done) {
            let part = &parts[cycle[0]];
            let names: Vec<&str> = cycle.iter().chain(&cycle[..1]).map(|name| name.as_str()).collect();
            let next = cycle.get(1).unwrap_or(&cycle[0]);
            let mark = part.located.at(&format!("dependsOn[{next}].component"));
            let message = format!("the components wait for each other: {}", names.join(" -> "));
            problems.push(mark.error(message, "remove one of these dependencies".to_owned()));
        }
    }
}

/// Walks the dependencies of `name` and returns the first cycle, from its first name in order on.
fn walk<'a>(
    name: &'a ComponentName,
    parts: &'a Parts,
    trail: &mut Vec<&'a ComponentName>,
    done: &mut BTreeSet<&'a ComponentName>,
) -> Option<Vec<&'a ComponentName>> {
    if let Some(at) = trail.iter().position(|seen| *seen == name) {
        let mut cycle = trail[at..].to_vec();
        let first = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(at, _)| at);
        cycle.rotate_left(first);
        return Some(cycle);
    }
    let part = parts.get(name).filter(|_| !done.contains(name))?;
    trail.push(name);
    let mut next = part.spec.depends_on.iter().filter(|dependency| dependency.component != *name);
    let found = next.find_map(|dependency| walk(&dependency.component, parts, trail, done));
    trail.pop();
    done.insert(name);
    found
}
