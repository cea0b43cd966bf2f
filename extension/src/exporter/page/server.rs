//! Answers requests for the page at the address of OTLP/HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::exporter::page::access;
use crate::exporter::page::api::{self, ApiAnswer};
use crate::exporter::page::assets::{INDEX, asset};
use crate::exporter::page::config::PageConfig;
use crate::exporter::page::previews::Previews;
use crate::exporter::page::query::{PageQuery, PageRefusal};
use crate::exporter::page::stream;
use crate::exporter::page::stream::StreamReader;
use crate::exporter::page::views::destinations::destinations;
use crate::invocation::registry::Registry;
use crate::pipeline::PipelineHandle;
use crate::receiver::answer::AnswerBody;
use crate::receiver::server::ClientConnection;

/// Nothing from elsewhere runs or is shown, and no other page shows ours.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct LocalPage(Arc<PageParts>);

#[derive(Debug)]
struct PageParts {
    config: PageConfig,
    pipeline: PipelineHandle,
    previews: Arc<Previews>,
    instance: u64,
    readers: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

type PageResult = Result<Response<AnswerBody>, PageRefusal>;

impl LocalPage {
    /// `stop` turns true when the extension stops.
    pub fn new(
        config: PageConfig,
        pipeline: PipelineHandle,
        registry: &Registry,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let previews = Arc::new(Previews::new(&config.previews, registry));
        let readers = Arc::new(Semaphore::new(stream::MAX_READERS));
        let instance = stream::instance();
        Self(Arc::new(PageParts { config, pipeline, previews, instance, readers, stop }))
    }

    /// Whether a request is for the page and not for the receiver of OTLP.
    pub fn owns<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        match *request.method() {
            Method::GET | Method::HEAD => !path.starts_with("/v1/"),
            Method::POST => path == "/api/clear",
            _ => false,
        }
    }

    pub async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let answered = match access::check(&request) {
            Ok(()) => self.route(&request).await,
            Err(refusal) => Err(refusal),
        };
        let mut answer = answered.unwrap_or_else(|refusal| refused(&refusal));
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let policy = HeaderValue::from_static("same-origin");
        answer.headers_mut().insert("cross-origin-resource-policy", policy);
        answer
    }

    async fn route(&self, request: &Request<Incoming>) -> PageResult {
        let path = request.uri().path();
        let query = PageQuery::parse(request.uri().query().unwrap_or_default());
        if let Some(name) = path.strip_prefix("/assets/") {
            return file(name).ok_or_else(|| not_found("there is no such file"));
        }
        let Some(path) = path.strip_prefix("/api/") else {
            return file(INDEX).ok_or_else(|| not_found("there is no page"));
        };
        match path {
            "stream" => self.stream(request),
            "clear" => self.clear(request.method()),
            "destinations" => self.destinations().await,
            path => self.read(path.to_owned(), query).await,
        }
    }

    /// Answers from a snapshot, on a blocking thread: receiving goes on meanwhile.
    async fn read(&self, path: String, query: PageQuery) -> PageResult {
        let (store, previews) = (self.0.config.store.clone(), Arc::clone(&self.0.previews));
        let read = move || api::read(&store, &previews, &path, &query);
        let read = tokio::task::spawn_blocking(read).await;
        let ApiAnswer { media_type, body, file_name } = read.map_err(|_| failed())??;
        let mut answer = ok(media_type, body.into());
        let name = file_name.and_then(|name| {
            HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")).ok()
        });
        answer.headers_mut().extend(name.map(|name| (header::CONTENT_DISPOSITION, name)));
        Ok(answer)
    }

    async fn destinations(&self) -> PageResult {
        let PageParts { config, pipeline, .. } = &*self.0;
        let stats = pipeline.summary().await.map_err(|_| failed())?;
        json_answer(&destinations(stats, &config.endpoints, config.trace_url.clone()))
    }

    fn clear(&self, method: &Method) -> PageResult {
        if method != Method::POST {
            let reason = "use POST".to_owned();
            return Err(PageRefusal(StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        self.0.config.store.clear();
        let mut answer = Response::new(AnswerBody::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    }

    fn stream(&self, request: &Request<Incoming>) -> PageResult {
        let permit = Arc::clone(&self.0.readers).try_acquire_owned();
        let Ok(permit) = permit else {
            let reason = format!("{} pages are open already", stream::MAX_READERS);
            return Err(PageRefusal(StatusCode::SERVICE_UNAVAILABLE, reason));
        };
        let connection =
            request.extensions().get::<ClientConnection>().cloned().ok_or_else(failed)?;
        // Readers stay for hours, which must not take a slot of a client that sends spans.
        connection.release_slot();
        let (events, chunks) = mpsc::channel(1);
        let reader = StreamReader { events, connection, permit, stop: self.0.stop.clone() };
        tokio::spawn(stream::feed(self.0.config.store.clone(), self.0.instance, reader));
        let mut answer = Response::new(AnswerBody::of_chunks(chunks));
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(answer)
    }
}

fn file(name: &str) -> Option<Response<AnswerBody>> {
    let (media_type, content) = asset(name)?;
    Some(ok(media_type, Bytes::from_static(content)))
}

fn ok(media_type: &'static str, body: Bytes) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::from(Full::new(body)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn json_answer(value: &impl Serialize) -> PageResult {
    let body = serde_json::to_vec(value).map_err(|_| failed())?;
    Ok(ok("application/json", body.into()))
}

fn refused(PageRefusal(status, reason): &PageRefusal) -> Response<AnswerBody> {
    let mut answer = ok("application/json", json!({"error": reason}).to_string().into());
    *answer.status_mut() = *status;
    if *status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 requires the list of methods.
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}

fn not_found(reason: &str) -> PageRefusal {
    PageRefusal(StatusCode::NOT_FOUND, reason.to_owned())
}

fn failed() -> PageRefusal {
    PageRefusal(StatusCode::INTERNAL_SERVER_ERROR, "the extension could not read this".to_owned())
}
