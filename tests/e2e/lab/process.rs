//! Programs that go on while a test does, and programs that are waited for.

use std::{
    io::{Read, Write},
    process::{Child, Command, Output},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;

use super::PATIENCE;

/// A daemon that is killed, with `SIGKILL`, when it is dropped.
pub(crate) struct Daemon(pub(super) Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Daemon {
    /// Returns whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> Result<bool, Failed> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Returns the process.
    pub(crate) fn process(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Asks it to stop, with `SIGTERM`, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Failed> {
        text_of(Command::new("kill").arg(self.0.id().to_string()))?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}").into()) }
    }

    /// Kills it at once and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A command that goes on; it is killed when it is dropped.
pub(crate) struct Started(pub(super) Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Started {
    /// Returns what it prints on standard output while it does.
    pub(crate) fn output(&mut self) -> Result<Printed, Failed> {
        let from = self.child()?.stdout.take().ok_or("standard output is a pipe")?;
        let (sender, pieces) = channel();
        std::thread::spawn(move || forward(from, &sender));
        Ok(Printed { pieces, seen: String::new() })
    }

    /// Types something on its terminal.
    pub(crate) fn type_in(&mut self, text: &str) -> Result<(), Failed> {
        let to = self.child()?.stdin.as_mut().ok_or("standard input is a pipe")?;
        Ok(to.write_all(text.as_bytes())?)
    }

    /// Closes its standard output, so that nobody reads it any more.
    pub(crate) fn close_output(&mut self) -> Result<(), Failed> {
        drop(self.child()?.stdout.take());
        Ok(())
    }

    /// Waits until it has ended by itself, and returns the exit code.
    pub(crate) fn end(mut self) -> Result<Option<i32>, Failed> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child()?.try_wait()? {
                return Ok(status.code());
            }
            if start.elapsed() > PATIENCE {
                return Err("waited in vain for its end".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn child(&mut self) -> Result<&mut Child, Failed> {
        Ok(self.0.as_mut().ok_or("it was started")?)
    }

    /// Sends what Ctrl-C sends, and returns the exit code and both outputs.
    pub(crate) fn interrupt(mut self) -> Result<(Option<i32>, String), Failed> {
        let child = self.0.take().ok_or("it was started")?;
        text_of(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
        let output = child.wait_with_output()?;
        Ok((output.status.code(), both(&output)))
    }
}

/// Sends everything that is read until its end, or until nobody wants it.
fn forward(mut from: impl Read, to: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.send(buffer[..length].to_vec()).is_err() {
            return;
        }
    }
}

/// What a command that goes on prints.
pub(crate) struct Printed {
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl Printed {
    /// Waits until everything that was printed so far is as wanted, and returns it.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<&str, Failed> {
        while !wanted(&self.seen) {
            let piece = self.pieces.recv_timeout(PATIENCE);
            let piece = piece.map_err(|_| format!("waited in vain for {what}; printed:\n{}", self.seen))?;
            self.seen.push_str(&String::from_utf8_lossy(&piece));
        }
        Ok(&self.seen)
    }
}

pub(super) fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command, which must succeed, and returns its standard output without the last line's end.
pub(crate) fn text_of(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}:\n{}", output.status, both(&output)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
