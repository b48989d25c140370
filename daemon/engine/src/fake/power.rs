//! Whether the process that a test simulates is alive.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Shared by a world and its store: when it is cut, neither answers any more.
#[derive(Debug, Clone, Default)]
pub struct Power(Arc<Mutex<CancellationToken>>);

impl Power {
    fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cuts it: the process is dead from now on.
    pub fn cut(&self) {
        self.token().cancel();
    }

    /// Gives the process back its life.
    pub fn restore(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
    }

    /// Returns when it is cut.
    pub async fn is_cut(&self) {
        self.token().cancelled().await;
    }

    /// Lets another task go first, and never returns once it is cut.
    pub(crate) async fn check(&self) {
        tokio::task::yield_now().await;
        if self.token().is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}
