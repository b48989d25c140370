//! A namespace of its own for each test, and the hands in it: the adapter's, and others'.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use trueup_kubernetes::{Answer, ApiError, Apply, Connection, Gvk, Kubernetes, Object, Owners};

/// How long something may take to be seen by all parts of a cluster.
const SEEN: Duration = Duration::from_mins(1);

/// The cluster of the rig.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) kubeconfig: PathBuf,
    /// That of somebody who may do nothing.
    pub(crate) stranger: PathBuf,
    kubectl: PathBuf,
}

impl Cluster {
    /// Returns what the environment names.
    pub(crate) fn find() -> Option<Self> {
        let get = |key: &str| std::env::var_os(format!("TRUEUP_RIG_KUBERNETES{key}")).map(PathBuf::from);
        Some(Self { kubeconfig: get("")?, stranger: get("_STRANGER")?, kubectl: get("_KUBECTL")? })
    }
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) namespace: String,
}

/// Runs a test in a namespace of its own.
pub(crate) fn in_world<F>(cluster: &Cluster, test: impl FnOnce(World) -> F) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>>,
{
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let namespace = format!("trueup-test-{}-{number}", std::process::id());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let kubernetes = connect(&cluster.kubeconfig)?;
        let world = World { cluster: cluster.clone(), kubernetes, namespace: namespace.clone() };
        world.kubectl(&["create", "namespace", &namespace])?;
        let away = ["delete", "namespace", &namespace, "--wait=false"];
        let result = test(world).await;
        let (cluster, kubernetes) = (cluster.clone(), connect(&cluster.kubeconfig)?);
        World { cluster, kubernetes, namespace: namespace.clone() }.kubectl(&away)?;
        result
    })
}

pub(crate) fn connect(kubeconfig: &std::path::Path) -> Result<Kubernetes, Failed> {
    let file = kubeconfig.to_owned();
    Ok(Kubernetes::connect(&Connection::Kubeconfig { file, context: None, allow_exec: false })?)
}

impl World {
    /// Returns a declared object of this namespace.
    pub(crate) fn object(&self, mut document: Value) -> Object {
        document["metadata"]["namespace"] = json!(self.namespace);
        document.into()
    }

    pub(crate) async fn apply(&self, declared: &Object, how: Apply) -> Result<Answer, ApiError> {
        apply(&self.kubernetes, declared, how).await
    }

    /// Applies, and takes what others have.
    pub(crate) async fn force(&self, declared: &Object) -> Result<Object, Failed> {
        let answer = self.apply(declared, Apply { force: true, dry_run: false }).await;
        Ok(answer?.object.into())
    }

    /// Returns what is there of a declared object.
    pub(crate) async fn live(&self, declared: &Object) -> Result<Object, Failed> {
        let resource = self.kubernetes.resource(&declared.gvk()).await?.ok_or("there is no such kind")?;
        let answer = self.kubernetes.call(&resource.get(declared.namespace(), declared.name())).await;
        Ok(answer?.object.into())
    }

    pub(crate) async fn owners(&self, declared: &Object) -> Result<Owners, Failed> {
        Ok(Owners::of(&self.live(declared).await?))
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        self.kubectl_with(arguments, "", &BTreeMap::new())
    }

    /// Runs `kubectl` with a document.
    pub(crate) fn kubectl_on(&self, arguments: &[&str], document: &Value) -> Result<String, Failed> {
        self.kubectl_with(arguments, &document.to_string(), &BTreeMap::new())
    }

    pub(crate) fn kubectl_with(
        &self,
        arguments: &[&str],
        input: &str,
        environment: &BTreeMap<&str, &str>,
    ) -> Result<String, Failed> {
        let mut kubectl = Command::new(&self.cluster.kubectl)
            .arg("--kubeconfig")
            .arg(&self.cluster.kubeconfig)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        kubectl.stdin.take().unwrap().write_all(input.as_bytes())?;
        let output = kubectl.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

pub(crate) async fn apply(
    kubernetes: &Kubernetes,
    declared: &Object,
    how: Apply,
) -> Result<Answer, ApiError> {
    let gvk: Gvk = declared.gvk();
    let resource = kubernetes.resource(&gvk).await.unwrap().unwrap_or_else(|| panic!("there is no {gvk}"));
    kubernetes.call(&resource.apply(declared, how)).await
}

/// Returns the status of an answer, good or bad.
pub(crate) fn status(answer: &Result<Answer, ApiError>) -> u16 {
    match answer {
        Ok(answer) => answer.status,
        Err(error) => error.code.unwrap_or_default(),
    }
}

/// Asks until it is so.
pub(crate) async fn until(
    what: &str,
    mut so: impl AsyncFnMut() -> Result<bool, Failed>,
) -> Result<(), Failed> {
    let waiting = async {
        while !so().await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    tokio::time::timeout(SEEN, waiting).await.map_err(|_| Failed::from(format!("never: {what}")))?
}

/// Fails with words unless it holds.
pub(crate) fn ensure(holds: bool, what: impl Into<String>) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into().into()) }
}
