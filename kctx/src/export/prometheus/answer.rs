//! Requests to answers.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
};

use super::accept;
use super::health;
use super::page::{Pages, Wanted};
use super::settings::PrometheusSettings;
use crate::export::totals::{Totals, lock};

type Answer = Response<Full<Bytes>>;

/// What is asked, and whom.
pub(super) struct Desk {
    pub(super) totals: Arc<Totals>,
    pub(super) pages: Mutex<Pages>,
    pub(super) settings: PrometheusSettings,
    pub(super) started: Instant,
}

impl Desk {
    /// Answers a request. Its body is never read.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD\n".to_owned(),
            );
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allowed);
            return refused;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request.headers()),
            "/healthz" => {
                let last = self.totals.last_offered().unwrap_or(self.started);
                verdict(health::alive(last.elapsed(), self.settings.patience()))
            }
            "/readyz" => verdict(health::ready(self.totals.fold_queued())),
            "/" => text(
                StatusCode::OK,
                format!(
                    "kctx {}\n/metrics\n/healthz\n/readyz\n",
                    env!("CARGO_PKG_VERSION")
                ),
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Answer {
        let wanted = Wanted {
            exposition: accept::exposition(joined(headers, &header::ACCEPT).as_deref()),
            gzip: accept::gzip(joined(headers, &header::ACCEPT_ENCODING).as_deref()),
        };
        let page = match lock(&self.pages).page(wanted) {
            Ok(page) => page,
            Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        };
        let mut answer = Response::new(Full::new(page));
        let headers = answer.headers_mut();
        let content_type = HeaderValue::from_static(wanted.exposition.content_type());
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(
            header::VARY,
            HeaderValue::from_static("accept, accept-encoding"),
        );
        if wanted.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// A list that may come in several headers; what is no text is left out.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = (headers.get_all(name).iter())
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn verdict(verdict: Result<(), String>) -> Answer {
    match verdict {
        Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}
