//! Where the fields of a configuration were written.

use trueup_plan::diff::join;
use trueup_schema::{Deliveries, Places, ResolvedComponent};

/// Fields of a container whose name in the manifest is another.
const RENAMED: [(&str, &str); 10] = [
    ("capAdd", "docker.capAdd"),
    ("capDrop", "docker.capDrop"),
    ("ulimits", "docker.ulimits"),
    ("sysctls", "docker.sysctls"),
    ("shmSize", "docker.shmSize"),
    ("tmpfs", "docker.tmpfs"),
    ("log", "docker.logging"),
    ("init", "docker.init"),
    ("networks", "zone"),
    ("resources.swap", "resources.memory"),
];

/// Fields of a container that are called the same in the manifest.
const SAME: [&str; 16] = [
    "image",
    "command",
    "args",
    "user",
    "workingDir",
    "stopSignal",
    "stopGrace",
    "readOnly",
    "restart",
    "resources",
    "resources.cpu",
    "resources.memory",
    "resources.pids",
    "labels",
    "env",
    "health",
];

/// Returns where each field of a container was written, by the field's path.
pub(crate) fn container_places(component: &ResolvedComponent, deliveries: Option<&Deliveries>) -> Places {
    let written = &component.places;
    let mut places = Places::default();
    let mut put = |path: String, source: &str| {
        if let Some(place) = written.find(source) {
            places.0.insert(path, place.clone());
        }
    };
    put(String::new(), "");
    for path in SAME {
        put(path.to_owned(), path);
    }
    for (path, source) in RENAMED {
        put(path.to_owned(), source);
    }
    let spec = &component.spec;
    for key in spec.env.keys() {
        put(join("env", key), &join("env", key));
    }
    for key in spec.labels.keys() {
        put(join("labels", key), &format!("labels.{key}"));
    }
    for port in &spec.ports {
        put(join("ports", port.name.as_str()), &format!("ports[{}]", port.name));
    }
    for volume in &spec.volumes {
        put(join("volumes", &volume.path), &format!("volumes[{}]", volume.name));
    }
    for secret in &spec.secrets {
        for name in secret.path_env.iter().chain(&secret.env) {
            put(join("env", name), &format!("secrets[{}]", secret.name));
        }
        if let Some(file) = &secret.file {
            put(join("files", file), &format!("secrets[{}]", secret.name));
        }
    }
    for file in &spec.files {
        put(join("files", &file.to), &format!("files[{}]", file.to));
    }
    for (path, file) in deliveries.iter().flat_map(|deliveries| &deliveries.files) {
        places.0.insert(join(&join("files", path), "digest"), file.origin.clone());
    }
    places
}
