//! Whether a cluster is found, and what is said when it is not.

use std::{fs, time::Duration};

use libtest_mimic::Failed;
use serde_json::json;
use trueup_engine::{Blame, TargetError};
use trueup_kubernetes::{Apply, Connection, Gvk, Kubernetes};

use crate::{
    Test,
    samples::definition,
    world::{Cluster, apply, connect, ensure, in_world, until},
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("reach::all_kinds_cost_two_requests", kinds),
        ("reach::a_kind_that_was_defined_since_is_found", defined_since),
        ("reach::a_token_in_a_file_is_enough", by_token),
        ("reach::who_may_nothing_is_told_what_is_missing", stranger),
        ("reach::whoever_is_not_the_cluster_is_not_told_the_token", untrusted),
    ]
}

fn kinds(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let kubernetes = &world.kubernetes;
        let deployment = kubernetes.resource(&Gvk::new("apps/v1", "Deployment")).await?.unwrap();
        assert_eq!((deployment.full_name().as_str(), deployment.namespaced), ("deployments.apps", true));
        let namespace = kubernetes.resource(&Gvk::new("v1", "Namespace")).await?.unwrap();
        assert!(!namespace.namespaced && namespace.verbs.contains("patch"));
        assert_eq!(kubernetes.sent(), 2);
        assert_eq!(kubernetes.resource(&Gvk::new("apps/v1", "Nonsense")).await?, None);
        assert_eq!(kubernetes.sent(), 4, "what is not known is asked for");
        Ok(())
    })
}

fn defined_since(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let (definition, kind) = definition(&world.namespace);
        assert_eq!(world.kubernetes.resource(&kind).await?, None);
        world.force(&definition.clone()).await?;
        until("the kind is found", async || Ok(world.kubernetes.resource(&kind).await?.is_some())).await?;
        world.kubectl(&["delete", "crd", definition.name(), "--wait=false"])?;
        Ok(())
    })
}

/// Returns the address, the token and the authority that a kubeconfig of the rig has.
fn parts(cluster: &Cluster) -> Result<(String, String, Vec<u8>), Failed> {
    let text = fs::read_to_string(&cluster.kubeconfig)?;
    let after = |key: &str| {
        let rest = text.split_once(key).map(|(_, rest)| rest).unwrap_or_default();
        rest.split(['\n', '}']).next().unwrap_or_default().trim().to_owned()
    };
    let authority = base64(&after("certificate-authority-data:"));
    Ok((after("server:"), after("token:"), authority))
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u32> = text
        .bytes()
        .filter_map(|byte| u32::try_from(LETTERS.iter().position(|letter| *letter == byte)?).ok())
        .collect();
    let group = |group: &[u32]| {
        let word = group.iter().enumerate().fold(0, |word, (at, bits)| word | bits << (18 - 6 * at));
        word.to_be_bytes()[1..group.len()].to_vec()
    };
    bits.chunks(4).flat_map(group).collect()
}

fn by_token(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let (url, token, authority) = parts(&world.cluster)?;
        let folder = tempfile::tempdir()?;
        let (token_file, ca_file) = (folder.path().join("token"), folder.path().join("ca.pem"));
        fs::write(&token_file, token)?;
        fs::write(&ca_file, authority)?;
        let server = Connection::Server { url, token_file, ca_file: Some(ca_file) };
        let found = Kubernetes::connect(&server)?.resource(&Gvk::new("v1", "Secret")).await?;
        ensure(found.is_some(), "there are no secrets")
    })
}

fn stranger(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let kubernetes = connect(&world.cluster.stranger)?;
        let declared = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let declared = world.object(declared);
        let error: TargetError = apply(&kubernetes, &declared, Apply::default()).await.err().unwrap().into();
        assert_eq!(error.blame, Blame::Target);
        assert_eq!(error.message, format!("may not patch configmaps `a` in `{}`", world.namespace));
        let help = error.help.unwrap_or_default();
        let right = format!("allow `patch` of `configmaps` in `{}`", world.namespace);
        ensure(help.starts_with(&right), help.clone())
    })
}

fn untrusted(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let (url, token, _) = parts(&world.cluster)?;
        let folder = tempfile::tempdir()?;
        let token_file = folder.path().join("token");
        fs::write(&token_file, &token)?;
        let server = Connection::Server { url, token_file, ca_file: None };
        let (kubernetes, secrets) = (Kubernetes::connect(&server)?, Gvk::new("v1", "Secret"));
        let asked = tokio::time::timeout(Duration::from_secs(20), kubernetes.resource(&secrets)).await?;
        let error = asked.unwrap_err();
        assert!(!format!("{error:?}").contains(&token));
        assert_eq!(error.blame, Blame::Target, "{error:?}");
        let help = error.help.clone().unwrap_or_default();
        ensure(help == "name the authority that has signed its certificate", format!("{error:?}"))
    })
}
