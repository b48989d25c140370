//! The one way to an API server: every request is counted, bounded in time and size, and leaves no trace of its body.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use http::{
    Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use serde_json::Value;

use crate::{
    Kubernetes,
    ask::Ask,
    failure::{ApiError, TIMED_OUT, UNREADABLE},
};

/// How large an answer may be.
const LARGEST: usize = 16 << 20;

/// How often, and how long in all, a request waits because the API server says that it should.
const WAITS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// What an API server answers when it has done what was asked.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status: 201 is said of an object that was not there before.
    pub status: u16,
    /// The document.
    pub object: Value,
}

impl Kubernetes {
    /// Asks, and returns what is answered with a status of success.
    pub async fn call(&self, ask: &Ask) -> Result<Answer, ApiError> {
        let began = Instant::now();
        let mut waits = 0;
        loop {
            // The time is the API server's: that of waiting for a turn is not counted.
            let turn = self.0.gate.acquire().await.expect("the gate is never closed");
            let attempt = tokio::time::timeout(ask.limit, self.attempt(ask)).await;
            drop(turn);
            let (response, document) = attempt.unwrap_or_else(|_| {
                let seconds = ask.limit.as_secs();
                Err(ApiError::unanswered(TIMED_OUT, format!("no answer within {seconds}s"), &ask.about))
            })?;
            let status = response.status();
            if status.is_success() {
                return Ok(Answer { status: status.as_u16(), object: document? });
            }
            let pause = pause(&response)
                .filter(|pause| waits < WAITS && began.elapsed().saturating_add(*pause) <= PATIENCE);
            let Some(pause) = pause else {
                // What stands between us and an API server answers in words of its own.
                let said = document.unwrap_or_default();
                return Err(ApiError::answered(status.as_u16(), &said, &ask.about));
            };
            waits += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once, and reads what comes.
    async fn attempt(&self, ask: &Ask) -> Result<(Response<()>, Result<Value, ApiError>), ApiError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(ACCEPT, ask.accept)
            .header(CONTENT_TYPE, ask.content_type)
            .body(Body::from(ask.body.clone()))
            .map_err(|_| ApiError::unanswered(UNREADABLE, "the address is too long", &ask.about))?;
        let answer =
            self.0.client.send(request).await.map_err(|error| ApiError::unsent(&error, &ask.about))?;
        let (parts, body) = answer.into_parts();
        let document = match Limited::new(body, LARGEST).collect().await {
            Ok(body) => parse(&body.to_bytes(), ask),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(ApiError::unanswered(UNREADABLE, "the answer is larger than 16 MiB", &ask.about))
            }
            Err(error) => match error.downcast::<kube::Error>() {
                Ok(error) => return Err(ApiError::unsent(&error, &ask.about)),
                Err(_) => Err(ApiError::unanswered(UNREADABLE, "the answer has no end", &ask.about)),
            },
        };
        Ok((Response::from_parts(parts, ()), document))
    }

    /// Returns how many requests were sent.
    pub fn sent(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}

fn parse(body: &[u8], ask: &Ask) -> Result<Value, ApiError> {
    let document = serde_json::from_slice(body).ok().filter(Value::is_object);
    document.ok_or_else(|| ApiError::unanswered(UNREADABLE, "the answer is not a document", &ask.about))
}

/// Returns how long the API server wants a request to wait before it is sent again.
fn pause(response: &Response<()>) -> Option<Duration> {
    let waits = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if !waits.contains(&response.status()) {
        return None;
    }
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
