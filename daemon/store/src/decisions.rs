//! What people decide about environments, as soon as they do.
//!
//! Whoever adds to the audit trail writes a file beside the store, too; who follows the decisions watches that file, and
//! then reads the trail from where it was read last. So a hint that is lost is made up for by the next one.

use std::{collections::BTreeSet, path::Path};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use trueup_engine::{EnvKey, StoreError};

use crate::{Sqlite, folder::cannot_open};

/// The decisions that are made from some moment on.
pub struct Decisions {
    store: Sqlite,
    /// The last line of the audit trail that was read.
    last: i64,
    hints: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Sqlite {
    /// Follows what people decide from now on, in whichever process.
    pub async fn decisions(&self) -> Result<Decisions, StoreError> {
        let (sender, hints) = mpsc::channel(1);
        let watcher = watch(self.bell(), sender)
            .map_err(|error| cannot_open(self.bell(), std::io::Error::other(error)))?;
        let (last, _) = self.audited_since(i64::MAX).await?;
        Ok(Decisions { store: self.clone(), last, hints, _watcher: watcher })
    }
}

impl Decisions {
    /// Waits for decisions; returns the environments that they are about.
    pub async fn next(&mut self) -> Result<BTreeSet<EnvKey>, StoreError> {
        loop {
            // The watcher has the other end for as long as this lives.
            self.hints.recv().await;
            let (last, about) = self.store.audited_since(self.last).await?;
            self.last = last;
            if !about.is_empty() {
                return Ok(about);
            }
        }
    }
}

fn watch(bell: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
            // A full channel already holds a hint.
            let _ = sender.try_send(());
        }
    })?;
    watcher.watch(bell, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
