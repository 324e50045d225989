//! Taking connections: TCP, TLS where that is wanted, HTTP/1.1.
//!
//! One task for each connection, all of them owned by the server's own. Whoever is one too many is told
//! so in a few bytes and closed.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Peer;
use super::desk::Desk;
use super::routes;
use crate::limits::{
    HTTP_CONNECTIONS_MAX, HTTP_HEADER_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_HEADERS_TIME_MAX,
};

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Time that a stop gives to requests that are being served.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Pause after the system could not give out a connection: it lacks file descriptors, perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time in which somebody who is one too many takes the answer that says so.
const REFUSAL_TIME: Duration = Duration::from_millis(200);
/// What somebody who is one too many is told.
const FULL: &str = "{\"type\":\"/v1/problems/overloaded\",\"title\":\"Too many calls wait\",\
    \"status\":503,\"code\":\"overloaded\",\"detail\":\"this node has as many connections as it \
    takes; nothing was done\",\"applied\":false}";

/// How a node speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What TLS shows; without it connections are plain.
    pub tls: Option<TlsFiles>,
    /// How many requests of one caller are taken in a second; without it as many as come.
    pub rate: Option<NonZeroU32>,
}

impl HttpConfig {
    /// Whether each request must show a token: others than this machine's users reach the address.
    pub fn needs_token(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

/// The files of a certificate and its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why a node cannot speak HTTP.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen for HTTP on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file of the certificate cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// The certificate and the key do not fit together, or are of a kind that nobody uses.
    #[error("cannot use this certificate with this key")]
    Tls(#[source] rustls::Error),
}

/// A socket that waits for connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Tls>,
}

struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Server {
    /// Listens. Nobody is served before [`Server::run`].
    ///
    /// # Errors
    ///
    /// [`HttpError`].
    pub async fn bind(config: &HttpConfig) -> Result<Self, HttpError> {
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let listen = config.listen;
        let failed = |source| HttpError::Listen { addr: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr, tls })
    }

    /// Returns where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `cancel`; then requests that are being served have a moment to end.
    pub async fn run(self, desk: Desk, cancel: CancellationToken) {
        let router = routes::router(desk);
        let closing = CancellationToken::new();
        let mut connections = JoinSet::new();
        let mut refusals = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                Some(_) = refusals.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection for HTTP");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if connections.len() >= HTTP_CONNECTIONS_MAX {
                // Of those, too, only so many: the others are just closed.
                if refusals.len() < HTTP_CONNECTIONS_MAX {
                    refusals.spawn(refuse(stream, self.tls.is_some()));
                }
                continue;
            }
            let (router, closing) = (router.clone(), closing.clone());
            let tls = self.tls.as_ref().map(|tls| tls.0.clone());
            connections.spawn(connection(stream, peer, tls, router, closing));
        }
        drop(self.listener);
        closing.cancel();
        let rest = async { while connections.join_next().await.is_some() {} };
        if timeout(DRAIN_TIME, rest).await.is_err() {
            tracing::info!(connections = connections.len(), "stopped in the middle of requests");
        }
    }
}

async fn refuse(mut stream: TcpStream, is_tls: bool) {
    // Who speaks TLS would not understand it.
    if is_tls {
        return;
    }
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
         Retry-After: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{FULL}",
        FULL.len()
    );
    let told = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with something unread, the answer would be lost on its way.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    drop(timeout(REFUSAL_TIME, told).await);
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    closing: CancellationToken,
) {
    // Answers are small, and somebody waits for each.
    stream.set_nodelay(true).ok();
    match tls {
        None => serve(stream, peer, router, closing).await,
        Some(tls) => match timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, peer, router, closing).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        },
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, router: Router, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            let response = router.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEADERS_TIME_MAX)
        .max_buf_size(HTTP_HEADER_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // The other side went away, mostly.
        tracing::debug!(%peer, %error, "a connection for HTTP ended");
    }
}

fn acceptor(files: &TlsFiles) -> Result<Tls, HttpError> {
    let TlsFiles { certificate, key } = files;
    let text = |path: &Path| {
        fs::read(path).map_err(|source| HttpError::File { path: path.to_owned(), source })
    };
    let wrong =
        |path: &Path, what, reason: String| HttpError::Pem { path: path.to_owned(), what, reason };
    let chain = CertificateDer::pem_slice_iter(&text(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "certificate", "there is none in it".to_owned()));
    }
    let of_file = PrivateKeyDer::from_pem_slice(&text(key)?);
    let private = of_file.map_err(|error| wrong(key, "private key", error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(HttpError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls(TlsAcceptor::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::TlsConnector;

    use super::super::desk::Shared;
    use super::*;
    use crate::net::{Endpoint, Identity, Secret};

    /// A server with nobody behind it, and what is shown for `localhost`.
    async fn with_tls() -> (SocketAddr, CertificateDer<'static>, JoinSet<()>) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert"), folder.path().join("key"));
        fs::write(&certificate, issued.cert.pem()).unwrap();
        fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let tls = Some(TlsFiles { certificate, key });
        let server = Server::bind(&HttpConfig { listen, tls, rate: None }).await.unwrap();
        let name = "app_node1".parse().unwrap();
        let identity = Identity::node(&Secret::generate(), &name).unwrap();
        let endpoint = Endpoint::bind(listen, identity).unwrap();
        let desk = Shared::new(name, endpoint.tokens(), false, None);
        let addr = server.addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(desk, CancellationToken::new()));
        (addr, issued.cert.der().clone(), tasks)
    }

    #[tokio::test]
    async fn with_a_certificate_only_tls_is_spoken() {
        let (addr, certificate, _server) = with_tls().await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let ask = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut stream =
            connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        stream.write_all(ask).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
        assert!(told.contains("it is not a member of its cluster yet"), "{told}");

        let mut plain = TcpStream::connect(addr).await.unwrap();
        plain.write_all(ask).await.unwrap();
        let mut told = Vec::new();
        // It is closed, or reset, after what TLS says of such a thing.
        drop(plain.read_to_end(&mut told).await);
        assert!(!told.starts_with(b"HTTP"), "{told:?}");
    }

    #[test]
    fn who_is_one_too_many_is_told_a_problem() {
        let problem: serde_json::Value = serde_json::from_str(FULL).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&"overloaded".into(), &503.into()));
    }
}
