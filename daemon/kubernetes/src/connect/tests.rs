use std::fs;

use tempfile::TempDir;

use super::*;

/// What a message must never hold.
const SECRET: &str = "s3cret-token";

fn kubeconfig(user: &str, cluster: &str) -> (TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
         contexts: [{{name: prod, context: {{cluster: prod, user: me}}}}]\n\
         clusters: [{{name: prod, cluster: {{server: 'https://127.0.0.1:1'{cluster}}}}}]\n\
         users: [{{name: me, user: {{{user}}}}}]\n"
    );
    fs::write(&file, text).unwrap();
    (folder, Connection::Kubeconfig { file, context: None, allow_exec: false })
}

fn refusal(connection: &Connection) -> String {
    let error = connection.client().err().expect("it is refused");
    let text = format!("{error:?}");
    assert!(!text.contains(SECRET), "{text}");
    format!("{}; {}", error.message, error.help.unwrap_or_default())
}

#[tokio::test]
async fn a_command_is_refused_by_name_and_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("ran");
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['{}']}}",
        trace.display()
    );
    let (_folder, connection) = kubeconfig(&exec, "");
    let refusal = refusal(&connection);
    assert!(
        refusal.ends_with(
            "user `me` has `exec`, which runs `touch`; use a token or a certificate, or set `allowExec: true`"
        ),
        "{refusal}"
    );
    assert!(!trace.exists());

    let Connection::Kubeconfig { file, context, .. } = connection else { unreachable!("it is a kubeconfig") };
    let allowed = Connection::Kubeconfig { file, context, allow_exec: true };
    assert!(allowed.client().is_err(), "it prints no credential");
    assert!(trace.exists());
}

#[tokio::test]
async fn a_provider_of_credentials_is_refused_by_name() {
    let (_folder, connection) = kubeconfig("auth-provider: {name: gcp, config: {}}", "");
    assert!(refusal(&connection).contains("`auth-provider`, which runs what `gcp` needs"));
}

#[tokio::test]
async fn only_the_user_of_the_context_matters() {
    let (_folder, connection) =
        kubeconfig(&format!("token: {SECRET}}}}}, {{name: other, user: {{exec: {{command: x}}"), "");
    assert!(connection.client().is_ok());
}

#[tokio::test]
async fn a_proxy_is_refused_by_name() {
    let (_folder, connection) = kubeconfig(&format!("token: {SECRET}"), ", proxy-url: 'http://127.0.0.1:2'");
    assert!(refusal(&connection).contains("cluster `prod` has `proxy-url`, which is not supported"));
}

#[tokio::test]
async fn a_wrong_context_is_named_with_those_that_there_are() {
    let (_folder, connection) = kubeconfig(&format!("token: {SECRET}"), "");
    let Connection::Kubeconfig { file, .. } = connection else { unreachable!("it is a kubeconfig") };
    let wrong = Connection::Kubeconfig { file, context: Some("dev".into()), allow_exec: false };
    assert!(refusal(&wrong).ends_with("context `dev`: has no context `dev`; name one of its contexts: prod"));
}

#[tokio::test]
async fn a_file_that_is_no_kubeconfig_is_not_quoted() {
    let (_folder, connection) = kubeconfig(&format!("token: [{SECRET}, {{a: {SECRET}"), "");
    assert!(refusal(&connection).contains("is not a kubeconfig"));
    let missing = Connection::Kubeconfig { file: "/nowhere/config".into(), context: None, allow_exec: false };
    assert!(refusal(&missing).starts_with("kubeconfig `/nowhere/config`: cannot be used"));
}

#[tokio::test]
async fn a_server_needs_encryption_and_files_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, SECRET).unwrap();
    let server = |url: &str, ca_file: Option<PathBuf>| Connection::Server {
        url: url.into(),
        token_file: token_file.clone(),
        ca_file,
    };
    assert!(refusal(&server("http://127.0.0.1:1", None)).contains("without encryption"));
    let missing = refusal(&server("https://127.0.0.1:1", Some("/nowhere/ca.pem".into())));
    assert!(missing.contains("server `https://127.0.0.1:1`: cannot read `/nowhere/ca.pem`"), "{missing}");
}
