//! Delivered files on an engine that does not see this machine: they are put into the created container, and read back
//! from there.

use std::{collections::BTreeMap, io::Read, pin::pin};

use bollard::{
    body_full,
    query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder},
};
use futures::{StreamExt, future::try_join_all};
use jiff::Timestamp;
use trueup_engine::{Blame, TargetError};
use trueup_schema::ContentDigest;

use crate::{ANSWER, Docker, body::Blueprint, deliver::FileSpecs, failure::found, spec::FileSpec};

/// How much is read of a file in a container, in bytes: more than any that is delivered has.
const MOST: usize = 2 << 20;

/// How many files are read side by side, in all containers of an engine. Each may hold [`MOST`] bytes twice: packed and
/// unpacked.
pub(crate) const SIDE_BY_SIDE: usize = 4;

/// What the files in a container hold; one that is not there is left out.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// When they were read.
    pub(crate) at: Timestamp,
    digests: BTreeMap<String, ContentDigest>,
}

impl Uploaded {
    /// Returns the files as they are, where `files` says as which they were put there.
    pub(crate) fn instead_of(&self, files: &FileSpecs) -> FileSpecs {
        let there = |(path, file): (&String, &FileSpec)| {
            let digest = self.digests.get(path)?.clone();
            Some((path.clone(), FileSpec { digest, ..file.clone() }))
        };
        files.iter().filter_map(there).collect()
    }
}

impl Docker {
    /// Puts the plain files of a container into it, before it is started for the first time.
    pub(crate) async fn upload(&self, id: &str, blueprint: &Blueprint<'_>) -> Result<(), TargetError> {
        let archive = archive(blueprint)?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let sent = self.api().upload_to_container(id, Some(options), body_full(archive.into())).await;
        sent.map_err(|error| self.failed(format!("deliver the files of `{}`", blueprint.resource), &error))
    }

    /// Reads the files of a container, running or not, by their paths in `files`.
    pub(crate) async fn uploaded(&self, id: &str, files: &FileSpecs) -> Result<Uploaded, TargetError> {
        let at = Timestamp::now();
        let reads = files.keys().map(|path| async move {
            let digest = self.read_file(id, path).await?;
            Ok(digest.map(|digest| (path.clone(), digest)))
        });
        let there = try_join_all(reads).await?;
        Ok(Uploaded { at, digests: there.into_iter().flatten().collect() })
    }

    /// Returns the digest of a file in a container; none when there is no such file.
    async fn read_file(&self, id: &str, path: &str) -> Result<Option<ContentDigest>, TargetError> {
        let _turn = self.uploads_read().acquire().await.expect("it is never closed");
        let cannot = || TargetError::new(Blame::Target, format!("cannot read `{path}` in a container"));
        // The client waits for an answer to begin, and for ever for the rest of it.
        let read = tokio::time::timeout(ANSWER, self.read_archive(id, path)).await;
        match read.map_err(|late| cannot().caused_by(&late))?? {
            Some(archive) => content(&archive).map_err(|error| cannot().caused_by(&error)),
            None => Ok(None),
        }
    }

    /// Returns the archive of a file in a container, or as much of it as is read.
    async fn read_archive(&self, id: &str, path: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut pieces = pin!(self.api().download_from_container(id, Some(options)));
        let mut archive = Vec::new();
        while archive.len() <= MOST {
            let Some(piece) = pieces.next().await else { break };
            let piece =
                found(piece).map_err(|error| self.failed(format!("read `{path}` in a container"), &error))?;
            let Some(piece) = piece else { return Ok(None) };
            archive.extend_from_slice(&piece);
        }
        Ok(Some(archive))
    }
}

/// Returns the digest of the one file in an archive, of as much of it as there is; none when it holds something else.
fn content(archive: &[u8]) -> std::io::Result<Option<ContentDigest>> {
    let mut archive = tar::Archive::new(archive);
    let Some(file) = archive.entries()?.next().transpose()? else { return Ok(None) };
    if !file.header().entry_type().is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST as u64).read_to_end(&mut bytes)?;
    Ok(Some(ContentDigest::of_plain(&bytes)))
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
