//! The stream of an engine's events, line by line.
//!
//! It is asked for in HTTP/1.0, so that the answer is nothing but lines until its end. That it has begun is
//! known by its head: the library's stream says nothing before the first event, which may be hours away.

use std::{io, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::event;
use crate::Endpoint;

/// How long the answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

trait Connection: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Connection for T {}

/// The events of an engine.
pub(crate) struct Events(Lines<BufReader<Pin<Box<dyn Connection>>>>);

impl Events {
    /// Begins to listen. The engine repeats what has happened since `since`, in seconds of its own clock:
    /// it answers a moment before it listens itself.
    pub(crate) async fn open(endpoint: &Endpoint, since: &str) -> io::Result<Self> {
        timeout(PATIENCE, begin(endpoint, since)).await?
    }

    /// Returns the next line; none when the engine has ended the stream.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        self.0.next_line().await
    }
}

async fn begin(endpoint: &Endpoint, since: &str) -> io::Result<Events> {
    let connection: Pin<Box<dyn Connection>> = match endpoint {
        Endpoint::Unix(path) => Box::pin(UnixStream::connect(path).await?),
        Endpoint::Tcp(host) => Box::pin(TcpStream::connect(host).await?),
    };
    let mut connection = BufReader::new(connection);
    let filters = encoded(&event::filter());
    let request = format!("GET /events?since={since}&filters={filters} HTTP/1.0\r\nHost: docker\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut lines = connection.lines();
    let status = lines.next_line().await?.unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("the engine answered `{status}`")));
    }
    while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
    Ok(Events(lines))
}

/// Writes what is no letter or digit by its number (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() {
            all.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_can_be_part_of_an_address() {
        assert_eq!(encoded(r#"{"a":1}"#), "%7B%22a%22%3A1%7D");
    }
}
