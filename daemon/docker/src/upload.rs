//! Delivered files on an engine that does not see this machine: they are put into the created container.

use bollard::{body_full, query_parameters::UploadToContainerOptionsBuilder};
use trueup_engine::{Blame, TargetError};

use crate::{Docker, body::Blueprint};

impl Docker {
    /// Puts the plain files of a container into it, before it is started for the first time.
    pub(crate) async fn upload(&self, id: &str, blueprint: &Blueprint<'_>) -> Result<(), TargetError> {
        let archive = archive(blueprint)?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let sent = self.api().upload_to_container(id, Some(options), body_full(archive.into())).await;
        sent.map_err(|error| self.failed(format!("deliver the files of `{}`", blueprint.resource), &error))
    }
}

fn archive(blueprint: &Blueprint<'_>) -> Result<Vec<u8>, TargetError> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in &blueprint.spec.files {
        let content = blueprint.materials.get(&file.digest).filter(|content| !content.is_secret());
        let content = content.ok_or_else(|| {
            TargetError::new(Blame::Manifest, format!("file `{path}` cannot be delivered to a remote engine"))
        })?;
        let bytes = content.expose();
        let (uid, gid) = file.owner_ids();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(file.mode_bits());
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        let added = archive.append_data(&mut header, path.trim_start_matches('/'), bytes);
        added.map_err(|error| {
            TargetError::new(Blame::Manifest, format!("cannot pack file `{path}`")).caused_by(&error)
        })?;
    }
    archive
        .into_inner()
        .map_err(|error| TargetError::new(Blame::Target, "cannot pack the delivered files").caused_by(&error))
}
