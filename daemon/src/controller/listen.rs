//! `/livez`, `/readyz` and `/metrics` over HTTP, for whoever can reach the address: nothing is asked for, and
//! nothing can be changed.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::{Daemon, metrics, probes};
use crate::failure::{Failure, Kind};

/// The format of the metrics (`OpenMetrics` 1.0).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Takes the address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::of(Kind::Config, &error)
            .at(&format!("listen: cannot listen at `{address}`"))
            .hint("choose another address, or stop what listens there")
    })
}

/// Answers until the process ends.
pub(crate) async fn serve(daemon: Arc<Daemon>, listener: TcpListener) {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(daemon);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "nobody is listened to any more");
    }
}

async fn livez(State(daemon): State<Arc<Daemon>>) -> Response {
    match probes::alive(&daemon).await {
        Ok(()) => "ok\n".into_response(),
        Err(why) => unavailable(why),
    }
}

async fn readyz(State(daemon): State<Arc<Daemon>>) -> Response {
    match probes::ready(&daemon).await {
        Ok(()) => "ok\n".into_response(),
        Err(missing) => unavailable(&missing.join("\n")),
    }
}

async fn scrape(State(daemon): State<Arc<Daemon>>) -> Response {
    match metrics::text(&daemon).await {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(failure) => unavailable(&failure.one_line()),
    }
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
