//! What an engine honours only in part, said once in the plan.

use std::collections::BTreeSet;

use trueup_schema::{ResolvedComponent, manifest::Update};

use crate::{
    compile::{Scene, container_ids, volume_resource},
    names::engine_name,
};

/// Adds what is worth knowing about one component.
pub(crate) fn component(scene: &Scene<'_>, component: &ResolvedComponent, notes: &mut BTreeSet<String>) {
    let name = &component.name;
    for volume in &component.spec.volumes {
        let advisory: Vec<&str> = [
            ("size", volume.size.is_some()),
            ("class", volume.class.is_some()),
            ("backup", volume.backup.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, is_set)| is_set.then_some(field))
        .collect();
        if !advisory.is_empty() {
            notes.insert(format!(
                "{name}: volume `{}` has no {} on Docker",
                volume.name,
                advisory.join(", ")
            ));
        }
    }
    notes.extend(taken_over(scene, component));
    let exposed = scene.wanted.deliveries.get(name).into_iter().flat_map(|delivery| delivery.exposed.keys());
    for variable in exposed {
        notes.insert(format!("{name}: the engine stores and shows the secret in `{variable}`"));
    }
    if component.spec.update == Update::StartFirst {
        notes.insert(format!("{name}: the old and the new one both answer while it is replaced"));
    }
    if component.spec.resources.memory.is_some() && !scene.facts.engine.swap_limit {
        notes.insert("the host's kernel cannot limit swap: memory limits are without it".to_owned());
    }
    let image = component.spec.image.as_ref().and_then(|image| scene.facts.images.get(image));
    for path in image.into_iter().flat_map(|image| &image.volumes) {
        let declared = component.spec.volumes.iter().any(|volume| volume.path.trim_end_matches('/') == path);
        let in_memory = component.spec.docker.tmpfs.iter().any(|entry| entry.split(':').next() == Some(path));
        if !declared && !in_memory {
            notes.insert(format!("{name}: what it writes to `{path}` is lost when it is replaced"));
        }
    }
}

/// Says which volumes are taken over from a destroyed environment, as long as nothing of the component is there.
fn taken_over(scene: &Scene<'_>, component: &ResolvedComponent) -> Vec<String> {
    if container_ids(component).iter().any(|id| scene.live.resources.contains_key(id)) {
        return Vec::new();
    }
    let volumes = component.spec.volumes.iter();
    let names =
        volumes.map(|volume| engine_name(scene.identity, &volume_resource(component, volume.name.as_str())));
    names
        .filter(|name| scene.facts.inherited.contains(name))
        .map(|name| format!("volume `{name}` is taken over with what a destroyed environment left in it"))
        .collect()
}
