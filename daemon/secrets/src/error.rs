//! What can go wrong with secrets. No message ever holds a byte of a key or of a plaintext.

use std::{io, path::PathBuf};

/// What can go wrong with secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write `{}`", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is there already and is not replaced.
    #[error("write `{}`: it exists", path.display())]
    KeepFile {
        /// The file.
        path: PathBuf,
    },
    /// A key file cannot be used.
    #[error("use the key file {}:{line}: {reason}", path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
        /// What to do about it.
        help: String,
    },
    /// A recipient cannot be used.
    #[error("use the recipient `{text}`: {reason}")]
    ParseRecipient {
        /// How it starts.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
        /// What to do about it.
        help: &'static str,
    },
    /// There is nobody to encrypt to.
    #[error("encrypt without recipients")]
    NoRecipients,
    /// A secret file cannot be decrypted.
    #[error("open `{file}`: {reason}")]
    OpenFile {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// What was decrypted is not what was expected.
    #[error("read the secret in `{file}`: {reason}")]
    ReadContent {
        /// The file.
        file: String,
        /// What is wrong with it: a line or a key, never content.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// The encryption failed.
    #[error("encrypt `{}`", path.display())]
    Encrypt {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A name of a key cannot be written.
    #[error("create the secret `{key}`: it is no valid name")]
    NameKey {
        /// The name.
        key: String,
    },
    /// The system gave no random bytes.
    #[error("get random bytes from the system")]
    Random,
    /// There is no memory-backed folder for a plaintext.
    #[error("edit a secret: there is no folder in memory")]
    NoMemoryFolder,
    /// The editor failed or could not be started.
    #[error("edit with `{editor}`: {reason}")]
    Edit {
        /// The editor.
        editor: String,
        /// What went wrong.
        reason: String,
    },
    /// A signal came while the editor was open.
    #[error("edit with `{editor}`: interrupted, nothing was written")]
    Interrupt {
        /// The editor.
        editor: String,
    },
    /// The process could not be protected.
    #[error("forbid core dumps")]
    ForbidCoreDumps {
        /// What went wrong.
        source: io::Error,
    },
}

impl Error {
    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::ReadKey { help, .. } | Self::OpenFile { help, .. } | Self::ReadContent { help, .. } => {
                help.clone()
            }
            Self::ParseRecipient { help, .. } => (*help).into(),
            Self::KeepFile { .. } => "name another file, or remove this one first".into(),
            Self::NoRecipients => {
                "name who may read it under `encryption.recipients` of the environment".into()
            }
            Self::NameKey { .. } => "use letters, digits, `_`, `-` and `.`".into(),
            Self::NoMemoryFolder => {
                "mount a tmpfs on /dev/shm, or set XDG_RUNTIME_DIR to a folder on one".into()
            }
            Self::Edit { .. } => "set EDITOR to an editor that waits until the file is closed".into(),
            _ => return None,
        })
    }
}
