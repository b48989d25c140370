//! One conversation with a remote over HTTP: ask for a reference, or fetch it.
//!
//! The token is read from its file for each conversation and lives only in a request header;
//! redirects are refused, so that it cannot be led elsewhere.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gix::{
    ObjectId, Repository,
    protocol::{
        fetch::refmap,
        handshake::Ref,
        transport::{
            Protocol,
            client::blocking_io::http::{self, Transport},
        },
    },
    remote::{Connection, Direction, fetch::Tags, ref_map},
};
use reqwest::Certificate;
use zeroize::Zeroizing;

use crate::{
    Error, Limits, Reference, SourceConfig,
    budget::{Budget, Limit, Metered},
    error::Cause,
};

/// The largest token or certificate file that is read, in bytes.
const SMALL_FILE: u64 = 1 << 20;

/// A remote repository, and how to speak with it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) address: String,
    pub(crate) reference: Reference,
    pub(crate) limits: Limits,
    user: String,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Remote {
    pub(crate) fn new(address: String, config: &SourceConfig) -> Self {
        // A second call finds the provider in place, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        if config.token_file.is_some() && address.starts_with("http://") {
            tracing::warn!(%address, "the token is sent without encryption; use https");
        }
        Self {
            address,
            reference: config.reference.clone(),
            limits: config.limits.clone(),
            user: config.user.clone().unwrap_or_else(|| "git".into()),
            token_file: config.token_file.clone(),
            ca_file: config.ca_file.clone(),
        }
    }

    /// Returns the reference under which the mirror keeps what was fetched.
    pub(crate) fn kept_as(&self) -> Reference {
        match &self.reference {
            Reference::Head => Reference::Branch("HEAD-of-the-remote".into()),
            named => named.clone(),
        }
    }

    /// Returns the id of the commit that the reference names now; it costs two small requests.
    pub(crate) fn head(&self, repository: &Repository, budget: &Arc<Budget>) -> Result<String, Error> {
        let remote = self.remote(repository)?;
        let connection = self.connect(&remote, budget)?;
        let (map, _) = connection
            .ref_map(gix::progress::Discard, ref_map::Options::default())
            .map_err(|error| self.failure(&error, budget))?;
        map.mappings
            .first()
            .and_then(|mapping| commit(&mapping.remote))
            .map(|id| id.to_string())
            .ok_or_else(|| self.missing())
    }

    /// Fetches what the reference names into `repository`.
    pub(crate) fn fetch(&self, repository: &Repository, budget: &Arc<Budget>) -> Result<(), Error> {
        let remote = self.remote(repository)?;
        let connection = self.connect(&remote, budget)?;
        let prepared = connection
            .prepare_fetch(gix::progress::Discard, ref_map::Options::default())
            .map_err(|error| self.failure(&error, budget))?;
        if prepared.ref_map().mappings.iter().all(|mapping| commit(&mapping.remote).is_none()) {
            return Err(self.missing());
        }
        prepared
            .receive(gix::progress::Discard, budget.stop_flag())
            .map(drop)
            .map_err(|error| self.failure(&error, budget))
    }

    fn missing(&self) -> Error {
        Error::FindReference { reference: self.reference.to_string(), location: self.address.clone() }
    }

    fn remote<'r>(&self, repository: &'r Repository) -> Result<gix::Remote<'r>, Error> {
        let spec = format!("+{}:{}", self.reference.full_name(), self.kept_as().full_name());
        repository
            .remote_at_without_url_rewrite(self.address.as_str())
            .and_then(|remote| {
                remote.with_fetch_tags(Tags::None).with_refspecs([spec.as_str()], Direction::Fetch)
            })
            .map_err(|error| self.fetch_error(&error))
    }

    fn connect<'a, 'r>(
        &self,
        remote: &'a gix::Remote<'r>,
        budget: &Arc<Budget>,
    ) -> Result<Connection<'a, 'static, 'r, Transport<Metered>>, Error> {
        let url = gix::Url::try_from(self.address.as_str()).map_err(|error| self.fetch_error(&error))?;
        let transport = Transport::new_http(Metered::new(Arc::clone(budget)), url, Protocol::V2, false);
        let options = http::Options {
            extra_headers: self.authorization()?,
            user_agent: Some(concat!("trueup/", env!("CARGO_PKG_VERSION")).into()),
            backend: Some(Arc::new(Mutex::new(self.client()?))),
            ..http::Options::default()
        };
        let mut connection = remote.to_connection_with_transport(transport);
        connection.set_transport_options(Box::new(options));
        // No helper program is asked for credentials.
        connection.set_credentials(|_| Ok(None));
        Ok(connection)
    }

    fn authorization(&self) -> Result<Vec<String>, Error> {
        let Some(path) = &self.token_file else { return Ok(Vec::new()) };
        let fail = |source| Error::ReadToken { path: path.clone(), source };
        let text = Zeroizing::new(read_small(path).map_err(fail)?);
        let token = str::from_utf8(&text).map(str::trim).unwrap_or_default();
        if token.is_empty() || token.contains(|c: char| c.is_control()) {
            return Err(fail(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it does not hold one line of text",
            )));
        }
        let pair = Zeroizing::new(format!("{}:{token}", self.user));
        Ok(vec![format!("Authorization: Basic {}", STANDARD.encode(pair.as_bytes()))])
    }

    fn client(&self) -> Result<http::reqwest::Options, Error> {
        let certificates = match &self.ca_file {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let idle = self.limits.idle_time;
        Ok(http::reqwest::Options {
            configure_client: Some(Box::new(move |client| {
                let client = client.timeout(idle).connect_timeout(idle);
                Ok(client.tls_certs_merge(certificates.iter().cloned()))
            })),
            // gix refuses redirects once a request may have been changed here.
            configure_request: Some(Box::new(|_| Ok(()))),
        })
    }

    fn fetch_error(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        Error::Fetch { location: self.address.clone(), source: Cause::new(error) }
    }

    /// Returns what a failed conversation means.
    fn failure(&self, error: &gix::Error, budget: &Budget) -> Error {
        let location = self.address.clone();
        match budget.reached() {
            Some(Limit::Time) => return Error::ExceedTime { location, limit: self.limits.fetch_time },
            Some(Limit::Bytes) => return Error::ExceedBytes { location, limit: self.limits.fetch_bytes },
            None => {}
        }
        let cause = Cause::new(error);
        let text = cause.to_string();
        if text.contains("refusing to follow redirect") {
            return Error::RefuseRedirect { location };
        }
        if error.is_unauthenticated() || error.is_permission_denied() || text.contains("HTTP status 403") {
            return Error::Authenticate { location, token_file: self.token_file.clone() };
        }
        Error::Fetch { location, source: cause }
    }
}

/// Returns the commit that a server's reference leads to, through an annotated tag.
fn commit(source: &refmap::Source) -> Option<ObjectId> {
    match source {
        refmap::Source::ObjectId(id) => Some(*id),
        refmap::Source::Ref(
            Ref::Peeled { object, .. } | Ref::Direct { object, .. } | Ref::Symbolic { object, .. },
        ) => Some(*object),
        refmap::Source::Ref(Ref::Unborn { .. }) => None,
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate>, Error> {
    let fail = |source| Error::ReadCertificates { path: path.clone(), source };
    let pem = read_small(path).map_err(|error| fail(Cause::new(&error)))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| fail(Cause::new(&error)))?;
    if certificates.is_empty() {
        return Err(fail(Cause::text("it holds no certificate")));
    }
    // Whether they can be used shows only when a client is built.
    reqwest::blocking::Client::builder()
        .tls_certs_only(certificates.iter().cloned())
        .build()
        .map_err(|error| fail(Cause::new(&error)))?;
    Ok(certificates)
}

fn read_small(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SMALL_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL_FILE {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}
