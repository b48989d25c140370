//! How a cluster is reached: who says where it is, and what is sent as proof of who asks.
//!
//! kube reads the credentials and does TLS. What it would put around each request besides (tries of its own, a trace of
//! each failure) is left out: `call.rs` is the one place that counts, waits and tells.

use std::{fmt, path::PathBuf, time::Duration};

use http::Uri;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{BoxError, ServiceBuilder};
use trueup_engine::{Blame, TargetError};

use crate::failure;

/// How long a connection may take to be there.
const CONNECTED: Duration = Duration::from_secs(10);

/// How long a connection may be silent before the other side is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// Who says where a cluster is, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// A file as `kubectl` reads it.
    Kubeconfig {
        /// Where it is.
        file: PathBuf,
        /// One of its contexts. Default: its current one.
        context: Option<String>,
        /// Whether it may name commands that are run for credentials.
        allow_exec: bool,
    },
    /// The service account of the pod that this process runs in.
    InCluster,
    /// An API server, and a token for it.
    Server {
        /// `https://` and what follows.
        url: String,
        /// A file with a token. It is read again every minute.
        token_file: PathBuf,
        /// A file with the authorities to trust, read again every minute. Default: those that this machine trusts.
        ca_file: Option<PathBuf>,
    },
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig { file, context: None, .. } => write!(f, "kubeconfig `{}`", file.display()),
            Self::Kubeconfig { file, context: Some(context), .. } => {
                write!(f, "kubeconfig `{}`, context `{context}`", file.display())
            }
            Self::InCluster => f.write_str("the service account of this pod"),
            Self::Server { url, .. } => write!(f, "server `{url}`"),
        }
    }
}

impl Connection {
    /// Returns a client, and where it will ask. It must be called inside of a Tokio runtime.
    pub(crate) fn client(&self) -> Result<(Client, Uri), TargetError> {
        // A second call finds the provider in place, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let config = self.config()?;
        let uri = config.cluster_url.clone();
        Ok((stack(&config).map_err(|error| self.unusable(&error))?, uri))
    }

    fn config(&self) -> Result<Config, TargetError> {
        match self {
            Self::Kubeconfig { file, context, allow_exec } => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| self.unreadable(&error))?;
                self.check(&kubeconfig, context.as_deref(), *allow_exec)?;
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(kubeconfig, &options);
                // It is only declared as if it waited.
                let config =
                    futures::FutureExt::now_or_never(config).expect("it reads files, and waits for nothing");
                config.map_err(|error| self.unreadable(&error))
            }
            Self::InCluster => Config::incluster().map_err(|error| {
                self.wrong("there is none")
                    .caused_by(&error)
                    .help("run it in a pod that has a service account")
            }),
            Self::Server { url, token_file, ca_file } => self.server(url, token_file, ca_file.as_ref()),
        }
    }

    fn server(
        &self,
        url: &str,
        token_file: &PathBuf,
        ca_file: Option<&PathBuf>,
    ) -> Result<Config, TargetError> {
        let uri: Uri = url.parse().map_err(|error| self.wrong("is not an address").caused_by(&error))?;
        if uri.scheme_str() != Some("https") {
            let help = "name an address that begins with `https://`";
            return Err(self.wrong("would get the token without encryption").help(help));
        }
        for file in [Some(token_file), ca_file].into_iter().flatten() {
            std::fs::metadata(file)
                .map_err(|error| self.wrong(format!("cannot read `{}`", file.display())).caused_by(&error))?;
        }
        let mut config = Config::new(uri);
        config.auth_info.token_file = Some(token_file.to_string_lossy().into_owned());
        // The file is trusted instead of the list; without a list all that this machine trusts is loaded first.
        config.root_cert = ca_file.map(|_| Vec::new());
        config.root_cert_file = ca_file.cloned();
        Ok(config)
    }

    /// Refuses what a kubeconfig must not ask for, before anything of it is followed.
    fn check(
        &self,
        kubeconfig: &Kubeconfig,
        context: Option<&str>,
        allow_exec: bool,
    ) -> Result<(), TargetError> {
        let name = context.or(kubeconfig.current_context.as_deref());
        let Some(name) = name else {
            return Err(self.wrong("has no current context").help("name one of its contexts"));
        };
        let found = kubeconfig.contexts.iter().find(|context| context.name == name);
        let Some(context) = found.and_then(|context| context.context.as_ref()) else {
            let names: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
            let help = format!("name one of its contexts: {}", names.join(", "));
            return Err(self.wrong(format!("has no context `{name}`")).help(help));
        };
        let user = kubeconfig.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
        if let Some(user) = user
            && let Some(info) = &user.auth_info
            && !allow_exec
            && let Some((entry, command)) = command_of(info)
        {
            let message = format!("user `{}` has `{entry}`, which runs {command}", user.name);
            return Err(self.wrong(message).help("use a token or a certificate, or set `allowExec: true`"));
        }
        let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
        if cluster.and_then(|cluster| cluster.cluster.as_ref()?.proxy_url.as_ref()).is_some() {
            let message = format!("cluster `{}` has `proxy-url`, which is not supported", context.cluster);
            return Err(self.wrong(message).help("name an address that is reached without a proxy"));
        }
        Ok(())
    }

    fn wrong(&self, what: impl fmt::Display) -> TargetError {
        TargetError::new(Blame::Target, format!("{self}: {what}"))
    }

    /// Returns why a kubeconfig cannot be read. What its parser says may quote it.
    fn unreadable(&self, error: &KubeconfigError) -> TargetError {
        match error {
            KubeconfigError::Parse(_) => {
                self.wrong("is not a kubeconfig").help("look at it with `kubectl config view`")
            }
            other => self.wrong("cannot be used").caused_by(other),
        }
    }

    fn unusable(&self, error: &kube::Error) -> TargetError {
        let failure = self.wrong("has no credentials that can be used");
        match error {
            kube::Error::Auth(error) => TargetError { causes: vec![failure::credential(error)], ..failure },
            other => failure.caused_by(other),
        }
    }
}

/// Returns the entry of a user that has a command run, and what it runs.
fn command_of(info: &AuthInfo) -> Option<(&'static str, String)> {
    if let Some(exec) = &info.exec {
        let command = exec.command.as_deref().unwrap_or("a command");
        return Some(("exec", format!("`{command}`")));
    }
    let provider = info.auth_provider.as_ref()?;
    Some(("auth-provider", format!("what `{}` needs", provider.name)))
}

/// Returns a client with TLS and credentials, and nothing else around a request.
fn stack(config: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECTED));
    connector.set_keepalive(Some(SILENCE));
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests;
