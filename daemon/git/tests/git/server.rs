//! HTTP servers: Git's own, through `git http-backend`, and hostile ones.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

/// A server on a free port, until the test ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    /// The `Authorization` headers that came.
    pub(crate) logins: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}/repository.git", self.address)
    }

    /// Serves each connection with `answer`.
    pub(crate) fn new(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let logins = Arc::new(Mutex::new(Vec::new()));
        let (count, seen, answer) = (Arc::clone(&requests), Arc::clone(&logins), Arc::new(answer));
        let serve = move |mut stream: TcpStream| {
            let (count, seen, answer) = (Arc::clone(&count), Arc::clone(&seen), Arc::clone(&answer));
            thread::spawn(move || {
                let request = Request::read(&stream)?;
                count.fetch_add(1, Ordering::SeqCst);
                seen.lock().unwrap().extend(request.headers.get("authorization").cloned());
                answer(&request, &mut stream);
                Some(())
            });
        };
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        Self { address, requests, logins }
    }

    /// Serves the repository at `path` to whoever sends `login`, the value of an `Authorization` header.
    pub(crate) fn git(path: &Path, login: Option<&str>) -> Self {
        let (path, login) = (path.to_owned(), login.map(ToOwned::to_owned));
        Self::new(move |request, stream| {
            if login.is_some() && request.headers.get("authorization") != login.as_ref() {
                let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n";
                let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
                return;
            }
            request.run_git(&path, stream);
        })
    }
}

/// A server over TLS, whose certificate is from an authority of its own.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    pub(crate) authority: PathBuf,
    _folder: TempDir,
}

impl TlsServer {
    /// Serves the repository at `path` to everybody.
    pub(crate) fn git(path: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Arc::new(certified(folder.path()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let path = path.to_owned();
        let serve = move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let Some(request) = Request::read(&mut stream) else { return };
            request.run_git(&path, &mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        };
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        Self { address, authority: folder.path().join("ca.pem"), _folder: folder }
    }
}

/// Makes an authority and a certificate of it for 127.0.0.1.
fn certified(folder: &Path) -> ServerConfig {
    let request =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let openssl = |arguments: &[&str]| {
        let made =
            Command::new("openssl").current_dir(folder).args(request).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl(&[
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-addext",
        "keyUsage=keyCertSign",
    ]);
    openssl(&[
        "-subj",
        "/CN=server",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// One request.
pub(crate) struct Request {
    method: String,
    pub(crate) path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: impl Read) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|kind| kind == "chunked") {
            let mut done = false;
            while !done {
                let mut size = String::new();
                reader.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).ok()?;
                body.extend_from_slice(&chunk[..size]);
                done = size == 0;
            }
        } else if let Some(size) = headers.get("content-length") {
            body.resize(size.parse().ok()?, 0);
            reader.read_exact(&mut body).ok()?;
        }
        Some(Self { method, path: path.to_owned(), query: query.to_owned(), headers, body })
    }

    fn run_git(&self, repository: &Path, stream: &mut impl Write) {
        let header = |name: &str| self.headers.get(name).cloned().unwrap_or_default();
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", repository)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &self.method)
            .env("PATH_INFO", self.path.trim_start_matches("/repository.git"))
            .env("QUERY_STRING", &self.query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&self.body).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let length = output.len() - end;
        let _ =
            write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}");
        let _ = stream.write_all(&output[end..]);
    }
}

/// The head of an answer that says what Git's servers say, without a length.
pub(crate) const ADVERTISEMENT: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\
     Content-Type: application/x-git-upload-pack-advertisement\r\n\r\n";
