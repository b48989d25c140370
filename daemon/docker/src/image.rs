//! Images: what decides about one, whether it is there, and how it is pulled.
//!
//! An image is known by its registry digest where it has one for the repository that it is asked for by,
//! else by the engine's own id. So the same reference means the same before and after it was pulled,
//! and a locally loaded image whose tag moved is a change.

use std::{collections::BTreeMap, sync::Arc};

use bollard::{
    auth::DockerCredentials,
    errors::Error,
    models::{CreateImageInfo, ImageInspect},
    query_parameters::CreateImageOptionsBuilder,
};
use futures::{StreamExt, future::try_join_all};
use trueup_engine::{Blame, RunContext, TargetError, Wanted};
use trueup_plan::ResourceId;
use trueup_schema::{ContentDigest, Materials, ResolvedComponent};

use crate::{
    Docker,
    facts::ImageFact,
    failure::{found, one_line},
    mirror::{Look, Question},
    spec::PullSpec,
};

/// An image that the engine has, or none.
pub(crate) type KnownImage = Option<Arc<ImageInspect>>;

/// What stands for the id of an image that neither engine nor registry could name yet.
const UNRESOLVED: &str = "unresolved:";

/// How long a registry may take to name a digest.
const LOOKUP: std::time::Duration = std::time::Duration::from_secs(10);

/// Returns the digest that a reference names: `sha256:…` of `name:tag@sha256:…`.
pub(crate) fn digest_of(reference: &str) -> Option<&str> {
    reference.split_once('@').map(|(_, digest)| digest)
}

/// Returns the repository of a reference: without tag and digest, and without Docker's own default host.
pub(crate) fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Returns the host of a reference's registry.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Returns what decides about `image` when it is asked for by `reference`.
pub(crate) fn identity(image: &ImageInspect, reference: &str) -> String {
    let digests = image.repo_digests.iter().flatten();
    let named = digest_of(reference);
    let of_repository = digests
        .filter(|entry| repository(entry) == repository(reference))
        .filter_map(|entry| digest_of(entry));
    let mut known: Vec<&str> = of_repository.collect();
    known.sort_unstable();
    named
        .filter(|digest| known.contains(digest))
        .or(known.first().copied())
        .or(image.id.as_deref())
        .unwrap_or_default()
        .to_owned()
}

/// Returns whether `image` is the one that `id` names, by digest or by the engine's id.
pub(crate) fn is_same(image: &ImageInspect, id: &str) -> bool {
    image.id.as_deref() == Some(id)
        || image.repo_digests.iter().flatten().any(|entry| digest_of(entry) == Some(id))
}

/// Returns the pull instructions of a component; credentials stay digests.
pub(crate) fn pull_spec(component: &ResolvedComponent, wanted: &Wanted, id: &str) -> Option<PullSpec> {
    Some(PullSpec {
        reference: component.spec.image.clone()?,
        id: id.to_owned(),
        user: component.spec.pull.as_ref().map(|pull| pull.user.clone()),
        password: wanted.deliveries.get(&component.name).and_then(|delivery| delivery.pull.clone()),
    })
}

impl Docker {
    /// Returns an image that the engine has.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<ImageInspect>, TargetError> {
        found(self.api().inspect_image(reference).await)
            .map_err(|error| self.failed(format!("look at the image `{reference}`"), &error))
    }

    /// Returns what the wanted references mean now, and the images that the engine has of them. A registry that
    /// cannot be asked is no failure here: the pull will say so.
    pub(crate) async fn resolve_images(
        &self,
        look: &Look<'_>,
        wanted: &Wanted,
    ) -> Result<Vec<(String, ImageFact, KnownImage)>, TargetError> {
        let components = wanted.resolved.components.values();
        let pulls: BTreeMap<String, PullSpec> = components
            .filter_map(|component| pull_spec(component, wanted, ""))
            .map(|pull| (pull.reference.clone(), pull))
            .collect();
        try_join_all(pulls.values().map(|pull| self.resolve_image(look, pull, &wanted.materials))).await
    }

    async fn resolve_image(
        &self,
        look: &Look<'_>,
        pull: &PullSpec,
        materials: &Materials,
    ) -> Result<(String, ImageFact, KnownImage), TargetError> {
        let reference = pull.reference.clone();
        let found = self.known_image(look, &reference).await?;
        let fact = if let Some(image) = &found {
            let volumes = image.config.as_ref().and_then(|config| config.volumes.clone()).unwrap_or_default();
            ImageFact { id: identity(image, &reference), present: true, volumes }
        } else {
            let id = match digest_of(&reference) {
                Some(digest) => digest.to_owned(),
                None => self.ask_registry(pull, materials).await,
            };
            ImageFact { id, present: false, volumes: Vec::new() }
        };
        Ok((reference, fact, found))
    }

    /// Returns an image that the engine has, as far as that can have changed.
    pub(crate) async fn known_image(&self, look: &Look<'_>, name: &str) -> Result<KnownImage, TargetError> {
        let call = async { Ok(self.image(name).await?.map(Arc::new)) };
        look.ask(Question::Image(name.to_owned()), call).await
    }

    async fn ask_registry(&self, pull: &PullSpec, materials: &Materials) -> String {
        let unresolved = format!("{UNRESOLVED}{}", pull.reference);
        let Ok(credentials) = credentials(pull, materials) else { return unresolved };
        let asked = self.api().inspect_registry_image(&pull.reference, credentials);
        match tokio::time::timeout(LOOKUP, asked).await {
            Ok(Ok(answer)) => answer.descriptor.digest.unwrap_or(unresolved),
            _ => unresolved,
        }
    }

    /// Pulls an image unless the engine has it, and checks that it is the one that was planned.
    pub(crate) async fn fetch(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        pull: &PullSpec,
    ) -> Result<(), TargetError> {
        if self.image(&pull.reference).await?.is_some_and(|image| is_same(&image, &pull.id)) {
            return Ok(());
        }
        let credentials = credentials(pull, &run.materials)?;
        let options = CreateImageOptionsBuilder::new().from_image(&pull.reference);
        let options = if digest_of(&pull.reference).is_none() && !has_tag(&pull.reference) {
            options.tag("latest").build()
        } else {
            options.build()
        };
        let mut stream = std::pin::pin!(self.api().create_image(Some(options), None, credentials));
        let mut layers = Layers::default();
        loop {
            let item = tokio::select! {
                item = stream.next() => item,
                () = run.cancel.cancelled() => return Err(cancelled(&pull.reference)),
            };
            match item {
                None => break,
                Some(Ok(info)) => layers.add(info).iter().for_each(|text| run.progress.tell(resource, text)),
                Some(Err(error)) => return Err(pull_failure(pull, &error)),
            }
        }
        match self.image(&pull.reference).await? {
            Some(image) if pull.id.starts_with(UNRESOLVED) || is_same(&image, &pull.id) => Ok(()),
            Some(_) => Err(crate::failure::moved(format!("`{}` is another image now", pull.reference))),
            None => Err(TargetError::new(
                Blame::Target,
                format!("the pull of `{}` ended without an image", pull.reference),
            )),
        }
    }
}

fn has_tag(reference: &str) -> bool {
    reference.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

fn credentials(pull: &PullSpec, materials: &Materials) -> Result<Option<DockerCredentials>, TargetError> {
    let Some(digest) = &pull.password else { return Ok(None) };
    let password = secret_text(materials, digest)?;
    Ok(Some(DockerCredentials {
        username: pull.user.clone(),
        password: Some(password),
        serveraddress: Some(registry(&pull.reference).to_owned()),
        ..DockerCredentials::default()
    }))
}

/// Returns the text of a secret without the line end that editors add.
pub(crate) fn secret_text(materials: &Materials, digest: &ContentDigest) -> Result<String, TargetError> {
    let content = materials.get(digest).ok_or_else(|| {
        TargetError::new(Blame::Target, "a secret of the plan is not at hand").help("make a new plan")
    })?;
    std::str::from_utf8(content.expose())
        .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
        .map_err(|_| TargetError::new(Blame::Manifest, "a secret that must be text is none"))
}

fn cancelled(reference: &str) -> TargetError {
    TargetError::new(Blame::Cancelled, format!("the pull of `{reference}` was cancelled"))
}

/// Returns why a pull failed, in one line: no such image, no right to it, no way to the registry.
fn pull_failure(pull: &PullSpec, error: &Error) -> TargetError {
    let reference = &pull.reference;
    let host = registry(reference);
    let said = match error {
        Error::DockerResponseServerError { message, .. } => one_line(message),
        Error::DockerStreamError { error } => one_line(error),
        other => other.to_string(),
    };
    let lower = said.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let failure = if says(&["unauthorized", "denied", "no basic auth", "authentication required"]) {
        let user = pull.user.as_deref().unwrap_or("nobody");
        TargetError::new(Blame::Target, format!("registry `{host}` refused `{reference}` to user `{user}`"))
            .help("check `pull.secret` and `pull.user` of the component")
    } else if says(&["not found", "manifest unknown", "name unknown", "does not exist", "invalid reference"])
    {
        TargetError::new(Blame::Manifest, format!("image `{reference}` does not exist"))
            .help("check its name, tag and digest")
    } else if says(&["no space left"]) {
        TargetError::new(Blame::Target, format!("no space is left for image `{reference}`"))
    } else {
        TargetError::new(Blame::Target, format!("cannot pull `{reference}` from registry `{host}`"))
            .help("check that the engine reaches the registry")
    };
    TargetError { causes: vec![said], ..failure }
}

/// How far the layers of a pull are.
#[derive(Default)]
struct Layers {
    sizes: std::collections::BTreeMap<String, (i64, i64)>,
    told: i64,
}

impl Layers {
    /// Takes one message; returns what to tell when another MiB or the last byte is there.
    fn add(&mut self, info: CreateImageInfo) -> Option<String> {
        let progress = info.progress_detail?;
        if info.status.as_deref() != Some("Downloading") {
            return None;
        }
        self.sizes.insert(info.id?, (progress.current.unwrap_or(0), progress.total.unwrap_or(0)));
        let (current, total) =
            self.sizes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let mib = |bytes: i64| bytes >> 20;
        if mib(current) == self.told && current < total {
            return None;
        }
        self.told = mib(current);
        Some(format!("pulled {} of {} MiB", mib(current), mib(total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_of_a_reference_has_no_tag_no_digest_and_no_default_host() {
        for (reference, expected) in [
            ("postgres", "postgres"),
            ("docker.io/library/postgres:17@sha256:ab", "postgres"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
            ("quay.io/minio/minio@sha256:ab", "quay.io/minio/minio"),
        ] {
            assert_eq!(repository(reference), expected);
        }
        assert_eq!(registry("127.0.0.1:5000/a/b:1"), "127.0.0.1:5000");
        assert_eq!(registry("minio/minio"), "docker.io");
    }

    fn image(id: &str, digests: &[&str]) -> ImageInspect {
        ImageInspect {
            id: Some(id.into()),
            repo_digests: Some(digests.iter().map(|text| (*text).to_owned()).collect()),
            ..ImageInspect::default()
        }
    }

    #[test]
    fn a_registry_digest_decides_and_else_the_engines_id() {
        let pulled = image("sha256:1", &["r.io/a@sha256:2", "other/a@sha256:3"]);
        assert_eq!(identity(&pulled, "r.io/a:1"), "sha256:2");
        assert_eq!(identity(&pulled, "r.io/a:1@sha256:2"), "sha256:2");
        assert_eq!(identity(&image("sha256:1", &[]), "local:1"), "sha256:1");
        assert!(is_same(&pulled, "sha256:3") && is_same(&pulled, "sha256:1"));
        assert!(!is_same(&pulled, "sha256:4"));
    }

    #[test]
    fn a_failed_pull_says_whose_matter_it_is() {
        let pull = PullSpec {
            reference: "127.0.0.1:1/a:1".into(),
            id: String::new(),
            user: Some("ci".into()),
            password: None,
        };
        let blame = |text: &str| pull_failure(&pull, &Error::DockerStreamError { error: text.into() }).blame;
        assert_eq!(blame("manifest for 127.0.0.1:1/a:1 not found: manifest unknown"), Blame::Manifest);
        assert_eq!(blame("unauthorized: authentication required"), Blame::Target);
        assert_eq!(blame("dial tcp 127.0.0.1:1: connect: connection refused"), Blame::Target);
    }
}
