//! A proxy in front of the engine's socket that counts what the engine is asked for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The proxy; it ends when it is dropped.
pub(crate) struct Counter {
    path: PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
    /// Ends the connections that there are.
    cut: Arc<Mutex<CancellationToken>>,
    _accepts: JoinSet<()>,
}

impl Counter {
    /// Listens at `path` and passes everything on to the engine.
    pub(crate) fn start(engine: &str, path: &Path) -> Self {
        let engine = engine.trim_start_matches("unix://").to_owned();
        let listener = UnixListener::bind(path).unwrap();
        let (calls, cut) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<CancellationToken>>::default());
        let (counted, ends) = (Arc::clone(&calls), Arc::clone(&cut));
        let mut accepts = JoinSet::new();
        accepts.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&engine).await.unwrap();
                let end = ends.lock().unwrap().clone();
                tokio::spawn(end.run_until_cancelled_owned(pass(client, server, Arc::clone(&counted))));
            }
        });
        Self { path: path.to_owned(), calls, cut, _accepts: accepts }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Returns the calls since the last time, the stream of events left out.
    pub(crate) fn take(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        calls.into_iter().filter(|call| !call.starts_with("GET /events")).collect()
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

async fn pass(client: UnixStream, server: UnixStream, calls: Arc<Mutex<Vec<String>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server): (_, OwnedWriteHalf) = server.into_split();
    let up = async {
        let mut bytes = vec![0; 65536];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            note(&bytes[..count], &calls);
            to_server.write_all(&bytes[..count]).await.unwrap();
        }
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    futures::future::join(up, down).await;
}

/// The client sends one request at a time, so one begins where bytes begin with a method.
fn note(bytes: &[u8], calls: &Mutex<Vec<String>>) {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let call = head.lines().next().unwrap_or_default();
    if ["GET ", "POST ", "PUT ", "DELETE ", "HEAD "].iter().any(|method| call.starts_with(method)) {
        calls.lock().unwrap().push(call.to_owned());
    }
}
