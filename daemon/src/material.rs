//! The bytes around a plan: secrets opened, files delivered, and what the store keeps for the way back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use trueup_engine::{EnvKey, Store, StoreError, Wanted, record::Kept};
use trueup_plan::Applied;
use trueup_schema::{
    Catalogue, ContentDigest, DigestKey, Limits, Materials, Resolved, Snapshot, TargetId, load,
};
use trueup_secrets::Identities;

use crate::{
    failure::{Failure, Kind},
    reconcile::{Approval, Proposal, Request},
};

/// Opens the secrets of an environment and computes what each component gets delivered.
pub(crate) fn open(
    digest_key: &DigestKey,
    keys: &Identities,
    snapshot: &Snapshot,
    resolved: Resolved,
    jobs_done: BTreeSet<String>,
) -> Result<Wanted, Failure> {
    let files = snapshot.files.as_ref();
    let opened = trueup_secrets::open(&resolved.secret_refs(), files, keys)?;
    let (deliveries, materials) = resolved.deliver(files, &opened, digest_key)?;
    Ok(Wanted { resolved, deliveries, materials, digest_key: digest_key.share(), jobs_done, before: None })
}

/// Returns a digest of what an environment wants: its manifests as resolved, and what is delivered. A commit
/// that touches none of it has the same.
pub(crate) fn intent(key: &DigestKey, wanted: &Wanted) -> Result<String, Failure> {
    let Resolved { name, spec, components, objects, .. } = &wanted.resolved;
    let of_components = (name, spec, components, &wanted.deliveries);
    // Without plain objects it is what it was before there were any: a hold stays one.
    let bytes = match objects.as_slice() {
        [] => serde_json::to_vec(&of_components),
        objects => serde_json::to_vec(&(of_components, objects)),
    };
    bytes.map(|bytes| key.digest(&bytes)).map_err(|error| Failure::of(Kind::Internal, &error))
}

/// Returns what the store keeps of a revision: its files as they are in Git, and plain texts for later
/// differences.
pub(crate) fn kept(snapshot: &Snapshot, proposal: &Proposal) -> Result<Kept, Failure> {
    let mut inputs = BTreeMap::new();
    for path in proposal.wanted.resolved.inputs.keys() {
        let bytes = snapshot.files.read(path).map_err(|error| Failure::of(Kind::Target, &error))?;
        inputs.insert(path.clone(), bytes);
    }
    let plain =
        proposal.materials.plain().map(|(digest, bytes)| (digest.clone(), Arc::clone(bytes))).collect();
    Ok(Kept { inputs, plain })
}

/// Returns the bytes behind the digests of the last applied revision, for the way back.
///
/// Files that are still where they were delivered are not needed, so that a key that is gone does not
/// stop a rollback here: what is missing is met, with its name, when it is needed.
pub(crate) async fn of_last_applied<S: Store>(store: &S, keys: &Identities, key: &EnvKey) -> Materials {
    match applied(store, keys, key).await {
        Ok(materials) => materials,
        Err(failure) => {
            tracing::warn!(environment = %key, "the last applied revision cannot be read again: {failure}");
            Materials::default()
        }
    }
}

/// The revision that was applied last, as the store kept it: it needs no Git.
pub(crate) struct LastApplied {
    snapshot: Snapshot,
    catalogue: Catalogue,
}

impl LastApplied {
    /// Asks for its state, as the daemon does while the newest commit cannot be applied.
    pub(crate) fn request<'a>(&'a self, key: &'a EnvKey) -> Request<'a> {
        let (snapshot, catalogue) = (&self.snapshot, &self.catalogue);
        Request { key, snapshot, catalogue, approval: Approval::default(), patient: true }
    }

    /// Returns the target that it runs on.
    pub(crate) fn target(&self, key: &EnvKey) -> Result<TargetId, Failure> {
        Ok(self.catalogue.resolve(&key.environment)?.spec.target.id())
    }
}

/// Returns the revision that was applied last; none when nothing was.
pub(crate) async fn last_applied<S: Store>(store: &S, key: &EnvKey) -> Result<Option<LastApplied>, Failure> {
    let Some(last) = store.kept(key).await?.into_iter().next() else { return Ok(None) };
    let Some(files) = store.inputs(last.run).await? else { return Ok(None) };
    let snapshot = Snapshot { revision: last.revision, files: Arc::new(files) };
    let catalogue = load(&snapshot, &Limits::default())?;
    Ok(Some(LastApplied { snapshot, catalogue }))
}

/// Returns the bytes behind the digests of the last applied revision; none when nothing was applied.
pub(crate) async fn applied<S: Store>(
    store: &S,
    keys: &Identities,
    key: &EnvKey,
) -> Result<Materials, Failure> {
    let Some(applied) = last_applied(store, key).await? else { return Ok(Materials::default()) };
    let resolved = applied.catalogue.resolve(&key.environment)?;
    open(store.digest_key(), keys, &applied.snapshot, resolved, BTreeSet::new())
        .map(|wanted| wanted.materials)
}

/// The texts of plain files, before and after.
pub(crate) struct Texts(BTreeMap<String, String>);

impl Texts {
    /// Collects the texts of what is wanted and of what was applied.
    pub(crate) async fn collect<S: Store>(
        store: &S,
        materials: &Materials,
        applied: Option<&Applied>,
    ) -> Result<Self, StoreError> {
        let mut texts = BTreeMap::new();
        for (digest, _) in materials.plain() {
            if let Some(text) = materials.text(digest) {
                texts.insert(digest.as_str().to_owned(), text.to_owned());
            }
        }
        let before = applied.into_iter().flat_map(|applied| applied.desired.resources.values());
        let before = before.filter_map(|declared| declared.spec.get("files")?.as_object());
        let digests = before.flat_map(|files| files.values()).filter_map(|file| file.get("digest")?.as_str());
        for digest in digests.map(str::to_owned).collect::<BTreeSet<_>>() {
            if texts.contains_key(&digest) || digest.starts_with("keyed:") {
                continue;
            }
            let digest_typed: Option<ContentDigest> = serde_json::from_value(digest.clone().into()).ok();
            let Some(typed) = digest_typed else { continue };
            if let Some(text) = store.plain(&typed).await?.and_then(|bytes| String::from_utf8(bytes).ok()) {
                texts.insert(digest, text);
            }
        }
        Ok(Self(texts))
    }
}

impl trueup_plan::Texts for Texts {
    fn text(&self, digest: &str) -> Option<&str> {
        self.0.get(digest).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use trueup_schema::{Revision, snapshot::MemoryFiles};

    use super::*;

    const FILES: [(&str, &str); 4] = [
        (
            "trueup.yaml",
            "{apiVersion: trueup.dev/v1, kind: Repository, metadata: {name: platform}, spec: {}}",
        ),
        (
            "components/web.yaml",
            "{apiVersion: trueup.dev/v1, kind: Component, metadata: {name: web}, spec: {
                image: 'nginx:1.29', zone: data, env: {MODE: fast},
                ports: [{name: http, port: 80, publish: '127.0.0.1:8080'}], health: {http: {port: http}},
                files: [{from: files/web/nginx.conf, to: /etc/nginx/nginx.conf}]}}",
        ),
        (
            "environments/dev/environment.yaml",
            "{apiVersion: trueup.dev/v1, kind: Environment, metadata: {name: dev}, spec: {
                target: {docker: local}, zones: {data: {subnet: 10.9.0.0/24}}, components: [web],
                patches: {web: {resources: {memory: 64Mi}}}}}",
        ),
        ("files/web/nginx.conf", "events {}\n"),
    ];

    /// A hold is kept under this digest: where it changes, every hold in every store is let go of.
    #[test]
    fn what_an_environment_wants_has_the_digest_that_it_had() {
        let files = FILES.map(|(path, text)| (path.parse().unwrap(), Arc::from(text.as_bytes())));
        let revision = Revision {
            commit: "3f2a9c01".into(),
            reference: "main".into(),
            author: "somebody".into(),
            subject: "web".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let snapshot = Snapshot { revision, files: Arc::new(MemoryFiles::from_iter(files)) };
        let catalogue = load(&snapshot, &Limits::default()).unwrap();
        let resolved = catalogue.resolve(&"dev".parse().unwrap()).unwrap();
        let (key, keys) = (DigestKey::new([7; 32]), Identities::load(&[]).unwrap());
        let wanted = open(&key, &keys, &snapshot, resolved, BTreeSet::new()).unwrap();
        let target = serde_json::to_string(&wanted.resolved.spec.target).unwrap();
        assert_eq!(target, r#"{"docker":"local"}"#);
        assert_eq!(
            intent(&key, &wanted).unwrap(),
            "dec3d663ef4cd5b3d960e272dcae6c52d9a33599cb8bfa5355ef4d42560e0970"
        );
    }
}
