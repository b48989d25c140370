//! What no real API server can be made to say on request is said by a socket.

use std::fs;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{Connection, failure::UNREACHABLE};

const SECRET: &str = "s3cret-value";

/// Returns a cluster whose answers are these, one a connection.
async fn cluster(answers: Vec<String>) -> Kubernetes {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _read = socket.read(&mut request).await.unwrap();
            // Who has read enough closes the connection.
            let _written = socket.write_all(answer.as_bytes()).await;
        }
    });
    at(&format!("http://{address}"))
}

fn at(url: &str) -> Kubernetes {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
         clusters: [{{name: a, cluster: {{server: '{url}'}}}}]\nusers: []\n"
    );
    fs::write(&file, text).unwrap();
    Kubernetes::connect(&Connection::Kubeconfig { file, context: None, allow_exec: false }).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

fn ask() -> Ask {
    Ask::document("/api", "application/json")
}

/// Returns the failure of a call, which must not hold a word of what was answered.
async fn failure(kubernetes: &Kubernetes, ask: &Ask) -> ApiError {
    let error = kubernetes.call(ask).await.err().expect("it fails");
    assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    error
}

#[tokio::test]
async fn a_request_waits_when_it_is_told_to() {
    let busy = answer("429 Too Many Requests", "Retry-After: 1\r\n", "");
    let kubernetes = cluster(vec![busy, answer("200 OK", "", "{\"a\": 1}")]).await;
    let began = Instant::now();
    assert_eq!(kubernetes.call(&ask()).await.unwrap().object["a"], 1);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(kubernetes.sent(), 2);
}

#[tokio::test]
async fn it_waits_three_times_and_not_for_long() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", "");
    let kubernetes = cluster(vec![busy; 4]).await;
    assert_eq!(failure(&kubernetes, &ask()).await.code, Some(503));
    assert_eq!(kubernetes.sent(), 4);
    let long = answer("429 Too Many Requests", "Retry-After: 31\r\n", "");
    let kubernetes = cluster(vec![long]).await;
    assert_eq!(failure(&kubernetes, &ask()).await.code, Some(429));
}

#[tokio::test]
async fn what_is_not_json_is_not_quoted() {
    for status in ["200 OK", "502 Bad Gateway"] {
        let kubernetes = cluster(vec![answer(status, "", SECRET)]).await;
        failure(&kubernetes, &ask()).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let body = format!("\"{}\"", "a".repeat(LARGEST));
    let kubernetes = cluster(vec![answer("200 OK", "", &body)]).await;
    assert_eq!(failure(&kubernetes, &ask()).await.message, "the answer is larger than 16 MiB");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{{\"a\": \"{SECRET}");
    let kubernetes = cluster(vec![cut]).await;
    assert_eq!(failure(&kubernetes, &ask()).await.reason, UNREACHABLE);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubernetes = at(&format!("http://{}", listener.local_addr().unwrap()));
    let error = failure(&kubernetes, &ask().within(Duration::from_millis(50))).await;
    assert_eq!(error.reason, TIMED_OUT);
    drop(listener);
    assert_eq!(failure(&kubernetes, &ask()).await.reason, UNREACHABLE);
}
