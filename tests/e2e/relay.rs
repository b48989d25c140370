//! A port in front of a server that can be closed and opened again.

use std::{
    io::{self, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use libtest_mimic::Failed;

/// Passes connections on to a server while it is open.
pub(crate) struct Relay {
    server: String,
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on a free port.
    pub(crate) fn start(server: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut relay = Self { server: server.to_owned(), address, closing: Arc::default(), listening: None };
        relay.listen(listener);
        Ok(relay)
    }

    /// Returns `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Closes the port: whoever connects is refused.
    pub(crate) fn stop(&mut self) -> Result<(), Failed> {
        self.closing.store(true, Ordering::SeqCst);
        // Accepting ends with one more connection.
        drop(TcpStream::connect(self.address)?);
        let listening = self.listening.take().ok_or("it is open")?;
        listening.join().map_err(|_| "the relay panicked".into())
    }

    /// Opens the same port again.
    pub(crate) fn resume(&mut self) -> Result<(), Failed> {
        self.closing.store(false, Ordering::SeqCst);
        self.listen(TcpListener::bind(self.address)?);
        Ok(())
    }

    /// Opens the same port again: whoever connects gets this answer, and after it nothing. Returns how many did.
    pub(crate) fn answer(&mut self, answer: &'static [u8]) -> Result<Arc<AtomicUsize>, Failed> {
        self.closing.store(false, Ordering::SeqCst);
        let (listener, closing) = (TcpListener::bind(self.address)?, Arc::clone(&self.closing));
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        self.listening = Some(thread::spawn(move || keep_waiting(&listener, answer, &closing, &count)));
        Ok(answered)
    }

    fn listen(&mut self, listener: TcpListener) {
        let (server, closing) = (self.server.clone(), Arc::clone(&self.closing));
        self.listening = Some(thread::spawn(move || accept(&listener, &server, &closing)));
    }
}

/// Takes connections until the one that comes when the port is closing.
fn accept(listener: &TcpListener, server: &str, closing: &AtomicBool) {
    let clients = listener.incoming().flatten();
    for client in clients.take_while(|_| !closing.load(Ordering::SeqCst)) {
        if let Ok(server) = TcpStream::connect(server) {
            pass(&client, &server);
        }
    }
}

/// Answers connections and keeps them open, until the one that comes when the port is closing.
fn keep_waiting(listener: &TcpListener, answer: &[u8], closing: &AtomicBool, count: &AtomicUsize) {
    let mut waiting = Vec::new();
    let clients = listener.incoming().flatten();
    for mut client in clients.take_while(|_| !closing.load(Ordering::SeqCst)) {
        client.write_all(answer).ok();
        count.fetch_add(1, Ordering::SeqCst);
        waiting.push(client);
    }
}

/// Passes bytes both ways until both ends are done.
fn pass(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        thread::spawn(move || {
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Write).ok();
        });
    }
}
