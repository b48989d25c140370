//! How much time and how many bytes one conversation with a remote may take.
//!
//! Every byte of every answer passes through [`Metered`], so that a server that drips, or sends
//! without end, is left at the limit whatever the protocol is doing at that moment.

use std::{
    any::Any,
    io::{self, BufRead, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse, reqwest::Remote,
};

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Time,
    Bytes,
}

/// The limits of one conversation, and the flag that ends it.
pub(crate) struct Budget {
    deadline: Instant,
    bytes: AtomicU64,
    stop: AtomicBool,
    reached: Mutex<Option<Limit>>,
}

impl Budget {
    pub(crate) fn new(time: Duration, bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            deadline: Instant::now() + time,
            bytes: AtomicU64::new(bytes),
            stop: AtomicBool::new(false),
            reached: Mutex::new(None),
        })
    }

    /// Returns the flag that gix looks at between reads.
    pub(crate) fn stop_flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Ends the conversation because of a limit; the first limit is the one that is told.
    pub(crate) fn stop(&self, limit: Limit) {
        self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(limit);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns which limit ended the conversation.
    pub(crate) fn reached(&self) -> Option<Limit> {
        *self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        let spent =
            self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if spent.is_err() {
            self.stop(Limit::Bytes);
        } else if Instant::now() > self.deadline {
            self.stop(Limit::Time);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the limit of this fetch is reached"));
        }
        Ok(())
    }
}

/// gix's HTTP client, with every answer metered.
pub(crate) struct Metered {
    remote: Remote,
    budget: Arc<Budget>,
}

impl Metered {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { remote: Remote::default(), budget }
    }

    fn meter<R>(&self, reader: R) -> Meter<R> {
        Meter { reader, budget: Arc::clone(&self.budget) }
    }
}

impl Http for Metered {
    type Headers = Meter<<Remote as Http>::Headers>;
    type ResponseBody = Meter<<Remote as Http>::ResponseBody>;
    type PostBody = <Remote as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let answer = self.remote.get(url, base_url, headers)?;
        Ok(GetResponse { headers: self.meter(answer.headers), body: self.meter(answer.body) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let answer = self.remote.post(url, base_url, headers, body)?;
        Ok(PostResponse {
            post_body: answer.post_body,
            headers: self.meter(answer.headers),
            body: self.meter(answer.body),
        })
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result<()> {
        self.remote.configure(config)
    }
}

/// A reader whose bytes are counted.
pub(crate) struct Meter<R> {
    reader: R,
    budget: Arc<Budget>,
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Asked before as well: gix drains an answer after an error, and the next byte may never come.
        self.budget.spend(0)?;
        let count = self.reader.read(buffer)?;
        self.budget.spend(count)?;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Meter<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.budget.spend(0)?;
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The next read or `fill_buf` reports that the limit is reached.
        drop(self.budget.spend(count));
        self.reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_over_the_limit_ends_the_reading() {
        let budget = Budget::new(Duration::from_mins(1), 10);
        let mut meter = Meter { reader: io::Cursor::new(vec![0_u8; 11]), budget: Arc::clone(&budget) };
        assert!(meter.read_to_end(&mut Vec::new()).is_err());
        assert_eq!(budget.reached(), Some(Limit::Bytes));
    }

    #[test]
    fn a_deadline_that_has_passed_ends_the_reading() {
        let budget = Budget::new(Duration::ZERO, 10);
        let mut meter = Meter { reader: io::Cursor::new(vec![0_u8; 1]), budget: Arc::clone(&budget) };
        assert!(meter.read(&mut [0]).is_err());
        assert_eq!(budget.reached(), Some(Limit::Time));
    }
}
