//! The port of OTLP/HTTP, where the local page is too.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch};

use crate::config::Config;
#[cfg(feature = "page")]
use crate::exporter::page::{config, server::LocalPage};
use crate::receiver::answer::AnswerBody;
use crate::receiver::otlp::http;
use crate::receiver::otlp::intake::OtlpReceiver;
use crate::receiver::server;

pub(super) struct OtlpPort {
    receiver: Arc<OtlpReceiver>,
    /// `None` if the page is off.
    #[cfg(feature = "page")]
    page: Option<LocalPage>,
}

impl OtlpPort {
    /// `stop` turns true when the extension stops.
    #[cfg(feature = "page")]
    pub(super) fn new(
        receiver: Arc<OtlpReceiver>,
        config: &Config,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let page = config.page().map(|settings| {
            let registry = receiver.invocations.registry();
            LocalPage::new(settings.clone(), receiver.pipeline.clone(), registry, stop)
        });
        Self { receiver, page }
    }

    #[cfg(not(feature = "page"))]
    pub(super) fn new(receiver: Arc<OtlpReceiver>, _: &Config, _: watch::Receiver<bool>) -> Self {
        Self { receiver }
    }

    /// The page's address, from that of the port.
    #[cfg(feature = "page")]
    pub(super) fn page_address(&self, bound: SocketAddr) -> Option<String> {
        self.page.as_ref().map(|_| config::url(bound))
    }

    #[cfg(not(feature = "page"))]
    pub(super) fn page_address(&self, _: SocketAddr) -> Option<String> {
        None
    }

    /// Answers until `stop` turns true.
    pub(super) async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let port = Arc::new(self);
        let handle = move |request| {
            let port = Arc::clone(&port);
            async move {
                #[cfg(feature = "page")]
                if let Some(page) = port.page.as_ref().filter(|page| page.owns(&request)) {
                    return page.answer(request).await;
                }
                http::handle(&port.receiver, request).await.map(AnswerBody::from)
            }
        };
        server::serve(listener, stop, handle).await;
    }
}
