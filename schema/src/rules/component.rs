//! Rules on a Component alone.

use std::collections::BTreeMap;

use crate::{
    located::Findings,
    manifest::{ComponentSpec, DockerSpec, Health, MAX_STOP_GRACE, PortRef, Restart, Update, Workload},
    suggest,
};

use super::container;

pub(crate) fn check(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if spec.workload == Workload::External {
        external(spec, findings);
    } else {
        image(spec, findings);
        if spec.address.is_some() {
            findings.error(
                "address",
                "only an `external` component has an `address`",
                "remove it, or write `workload: external`",
            );
        }
    }
    schedule(spec, findings);
    restart(spec, findings);
    replicas(spec, findings);
    update(spec, findings);
    volumes(spec, findings);
    ports(spec, findings);
    if let Some(health) = &spec.health {
        self::health(spec, health, findings);
    }
    process(spec, findings);
    resources(spec, findings);
    docker(&spec.docker, findings);
}

fn external(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    match &spec.address {
        None => findings.error(
            "workload",
            "an `external` component needs an `address`",
            "write `address: host.example.org`",
        ),
        Some(address) if !container::is_host(address) => {
            let message = format!("`{address}` is not a host name or an IPv4 address");
            findings.error("address", message, "write it without scheme and port; ports stand in `ports`");
        }
        Some(_) => {}
    }
    let given = [
        ("image", spec.image.is_some()),
        ("command", spec.command.is_some()),
        ("args", spec.args.is_some()),
        ("env", !spec.env.is_empty()),
        ("secrets", !spec.secrets.is_empty()),
        ("files", !spec.files.is_empty()),
        ("volumes", !spec.volumes.is_empty()),
        ("health", spec.health.is_some()),
        ("zone", spec.zone.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        let message = format!("`{field}` means nothing for an `external` component, which is not run");
        findings.error(field, message, format!("remove `{field}`"));
    }
}

fn image(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    match &spec.image {
        None => findings.error(
            "",
            "`image` is missing",
            "write `image: name:tag@sha256:...`; only an `external` component has none",
        ),
        Some(image) => {
            if let Err(reason) = container::check_image(image) {
                let help = "write `[registry/]name:tag@sha256:...`, such as `postgres:17.7`";
                findings.error("image", format!("`{image}` is not an image reference: {reason}"), help);
            }
        }
    }
}

fn schedule(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if spec.missed_runs.is_some() && spec.workload != Workload::Cron {
        let help = "remove it, or write `workload: cron`";
        findings.error("missedRuns", "only a `cron` has `missedRuns`", help);
    }
    match (&spec.schedule, spec.workload) {
        (None, Workload::Cron) => {
            findings.error(
                "workload",
                "a `cron` needs a `schedule`",
                "write `schedule: \"0 3 * * *\"`, in UTC",
            );
        }
        (Some(schedule), Workload::Cron) => {
            if let Err(reason) = container::check_schedule(schedule) {
                let help = "write five fields: minute, hour, day of month, month, day of week; `0 3 * * *` is every day at 03:00 UTC";
                findings.error("schedule", format!("`{schedule}` is not a schedule: {reason}"), help);
            }
        }
        (Some(_), _) => {
            findings.error(
                "schedule",
                "only a `cron` has a `schedule`",
                "remove it, or write `workload: cron`",
            );
        }
        (None, _) => {}
    }
}

fn restart(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    let once = matches!(spec.workload, Workload::Job | Workload::Cron);
    if once && spec.restart.is_some_and(|restart| restart != Restart::No) {
        let message = "what runs once is not started again by the engine";
        findings.error("restart", message, "remove `restart`, or write `restart: \"no\"`");
    }
}

fn replicas(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if spec.replicas == 0 {
        findings.error(
            "replicas",
            "at least one has to run",
            "to run none, take it out of the environment's `components`",
        );
    }
    if spec.replicas < 2 {
        return;
    }
    if !matches!(spec.workload, Workload::Service | Workload::Stateful) {
        findings.error("replicas", "only a service has several `replicas`", "remove `replicas`");
    }
    if !spec.volumes.is_empty() {
        let message =
            format!("{} replicas cannot share the volume `{}`", spec.replicas, spec.volumes[0].name);
        findings.error("replicas", message, "write `replicas: 1`, or declare a component for each");
    }
    if let Some(port) = spec.ports.iter().find(|port| port.publish.is_some()) {
        let message = format!("{} replicas cannot publish one port of the host", spec.replicas);
        let help = "remove `publish` and put a proxy in front, or write `replicas: 1`";
        findings.error(&format!("ports[{}].publish", port.name), message, help);
    }
}

fn update(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if spec.update != Update::StartFirst {
        return;
    }
    let help = "write `update: stopFirst`";
    if !spec.volumes.is_empty() {
        findings.error("update", "`startFirst` would run two versions on one volume", help);
    }
    if spec.ports.iter().any(|port| port.publish.is_some()) {
        findings.error("update", "`startFirst` would publish one port of the host twice", help);
    }
    if !spec.workload.is_long_running() {
        findings.error("update", "`startFirst` is for what runs all the time", "remove `update`");
    }
}

fn volumes(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if !spec.volumes.is_empty() && !matches!(spec.workload, Workload::Stateful | Workload::External) {
        findings.error(
            "volumes",
            "volumes need `workload: stateful`",
            "write `workload: stateful`, or remove `volumes`",
        );
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for volume in &spec.volumes {
        let path = format!("volumes[{}].path", volume.name);
        if let Err(reason) = container::check_path(&volume.path) {
            findings.error(
                &path,
                format!("`{}` is not a path in a container: {reason}", volume.path),
                "write an absolute path such as `/var/lib/data`",
            );
        }
        if let Some(other) = taken.insert(&volume.path, volume.name.as_str()) {
            findings.error(
                &path,
                format!("`{}` is the path of volume `{other}` too", volume.path),
                "give each its own path",
            );
        }
        owner(&format!("volumes[{}].owner", volume.name), volume.owner.as_deref(), findings);
    }
}

/// Checks `uid` or `uid:gid`.
pub(super) fn owner(path: &str, owner: Option<&str>, findings: &mut Findings<'_>) {
    if let Some(owner) = owner
        && container::parse_owner(owner).is_none()
    {
        let message = format!("`{owner}` is not an owner");
        findings.error(
            path,
            message,
            "write numbers, `uid` or `uid:gid`, such as \"70:70\": names are only known inside the image",
        );
    }
}

fn ports(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    let mut taken = BTreeMap::new();
    for port in &spec.ports {
        let path = format!("ports[{}]", port.name);
        if let Some(other) = taken.insert((port.port, port.protocol), &port.name) {
            let message = format!("`{}` is the number of port `{other}` too", port.port);
            findings.error(&format!("{path}.port"), message, "remove one");
        }
        let scheme_ok = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_lowercase())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        };
        if let Some(scheme) = port.scheme.as_deref().filter(|scheme| !scheme_ok(scheme)) {
            let message = format!("`{scheme}` is not a scheme of a URL");
            findings.error(
                &format!("{path}.scheme"),
                message,
                "write it without `://`, such as `https` or `postgresql`",
            );
        }
    }
}

fn health(spec: &ComponentSpec, health: &Health, findings: &mut Findings<'_>) {
    if matches!(spec.workload, Workload::Job | Workload::Cron) {
        findings.error("health", "what runs once has no `health`: it has to exit with 0", "remove `health`");
    }
    let given = [health.exec.is_some(), health.http.is_some(), health.tcp.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        1 => {}
        0 => findings.error(
            "health",
            "the health check checks nothing",
            "write one of `exec`, `http` and `tcp`",
        ),
        _ => findings.error(
            "health",
            "there are several health checks",
            "keep one of `exec`, `http` and `tcp`",
        ),
    }
    if health.exec.as_ref().is_some_and(Vec::is_empty) {
        findings.error(
            "health.exec",
            "the command is empty",
            "write its words as a list: [pg_isready, -U, postgres]",
        );
    }
    if let Some(http) = &health.http {
        port_ref(spec, &http.port, "health.http.port", findings);
        if !http.path.starts_with('/') {
            findings.error(
                "health.http.path",
                format!("`{}` does not start with `/`", http.path),
                "write the path from the root on",
            );
        }
    }
    if let Some(tcp) = &health.tcp {
        port_ref(spec, &tcp.port, "health.tcp.port", findings);
    }
    for (field, span) in
        [("interval", health.interval), ("timeout", health.timeout), ("startup", health.startup)]
    {
        if span.0.is_zero() {
            findings.error(
                &format!("health.{field}"),
                format!("`{field}` is zero"),
                "write a length of time such as `5s`",
            );
        }
    }
}

fn port_ref(spec: &ComponentSpec, port: &PortRef, path: &str, findings: &mut Findings<'_>) {
    match port {
        PortRef::Number(0) => {
            findings.error(path, "there is no port 0", "write the name of one of the `ports`");
        }
        PortRef::Name(name) if !spec.ports.iter().any(|port| port.name == *name) => {
            let help = suggest::choose(
                name.as_str(),
                "ports here",
                spec.ports.iter().map(|port| port.name.as_str()),
            );
            findings.error(path, format!("the port `{name}` does not exist"), help);
        }
        _ => {}
    }
}

fn process(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if let Some(signal) = spec.stop_signal.as_deref().filter(|signal| !container::is_signal(signal)) {
        let help = suggest::choose(
            signal,
            "usual ones",
            ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL"],
        );
        findings.error("stopSignal", format!("`{signal}` is not a signal"), help);
    }
    if spec.stop_grace > MAX_STOP_GRACE {
        let message = format!("`{}` is longer than a stop may take", spec.stop_grace);
        findings.error("stopGrace", message, format!("write `{MAX_STOP_GRACE}` or less"));
    }
    if let Some(folder) = spec.working_dir.as_deref()
        && let Err(reason) = container::check_path(folder)
    {
        findings.error(
            "workingDir",
            format!("`{folder}` is not a path in a container: {reason}"),
            "write an absolute path such as `/srv`",
        );
    }
    if spec.command.as_ref().is_some_and(Vec::is_empty) {
        findings.error("command", "the command is empty", "write its words as a list, or remove `command`");
    }
    if let Some(user) =
        spec.user.as_deref().filter(|user| user.is_empty() || user.contains(char::is_whitespace))
    {
        findings.error("user", format!("`{user}` is not a user"), "write `name`, `uid` or `uid:gid`");
    }
    for name in spec.env.keys().filter(|name| !container::is_env_name(name)) {
        findings.error_at_key(
            &format!("env.{name}"),
            format!("`{name}` is not a name of an environment variable"),
            "write letters, digits and `_`",
        );
    }
    for name in
        spec.labels.keys().filter(|name| name.starts_with("trueup.dev/") || name.starts_with("dev.trueup."))
    {
        findings.error_at_key(
            &format!("labels.{name}"),
            format!("the label `{name}` belongs to trueup"),
            "choose another name",
        );
    }
}

fn resources(spec: &ComponentSpec, findings: &mut Findings<'_>) {
    if let Some(memory) = spec.resources.memory.filter(|memory| memory.0 < 6 << 20) {
        findings.error(
            "resources.memory",
            format!("`{memory}` is less than an engine allows"),
            "write `6Mi` or more",
        );
    }
    if spec.resources.cpu.is_some_and(|cpu| cpu.millis < 10) {
        findings.error(
            "resources.cpu",
            "that is less than an engine allows",
            "write `10m` or more: ten thousandths of a processor",
        );
    }
    if spec.resources.pids == Some(0) {
        findings.error("resources.pids", "nothing could run", "write 1 or more, or remove `pids`");
    }
}

fn docker(docker: &DockerSpec, findings: &mut Findings<'_>) {
    for (name, limit) in &docker.ulimits {
        let path = format!("docker.ulimits.{name}");
        if !container::ULIMITS.contains(&name.as_str()) {
            let help = suggest::choose(name, "limits", container::ULIMITS);
            findings.error(&path, format!("the limit `{name}` does not exist"), help);
        }
        let above = limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard);
        if above || limit.soft < -1 || limit.hard < -1 {
            findings.error(
                &path,
                "the soft limit is above the hard one",
                "write `soft` up to `hard`; -1 is unlimited",
            );
        }
    }
    for (field, names) in [("capAdd", &docker.cap_add), ("capDrop", &docker.cap_drop)] {
        for (number, name) in names.iter().enumerate().filter(|(_, name)| !container::is_capability(name)) {
            let path = format!("docker.{field}[{number}]");
            let bare = name.trim_start_matches("CAP_").to_uppercase();
            let help = if container::is_capability(&bare) {
                format!("write `{bare}`")
            } else {
                suggest::choose(&bare, "capabilities", container::CAPABILITIES)
            };
            findings.error(&path, format!("the capability `{name}` does not exist"), help);
        }
    }
    for (number, mount) in docker.tmpfs.iter().enumerate() {
        let folder = mount.split(':').next().unwrap_or_default();
        if let Err(reason) = container::check_path(folder) {
            let message = format!("`{folder}` is not a path in a container: {reason}");
            findings.error(
                &format!("docker.tmpfs[{number}]"),
                message,
                "write an absolute path such as `/tmp`",
            );
        }
    }
}
