//! Connections: TCP, and TLS by rustls with the system's roots and those given.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::export::otlp::settings::Protocol;
use crate::export::otlp::transport::Transport;

/// One address that does not answer must not use up an unlimited export's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {path}: {reason}: give a readable PEM file")]
    Pem { path: PathBuf, reason: String },
    #[error("{path} holds no certificate: give a PEM file of certificates")]
    NoCertificate { path: PathBuf },
    #[error(
        "no trusted certificates found on this system: install ca-certificates, or set SSL_CERT_FILE \
         or OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoRoots,
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

pub(super) type Connector = HttpsConnector<HttpConnector>;

pub(super) fn connector(transport: &Transport) -> Result<Connector, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls(transport)?)
        .https_or_http();
    Ok(match transport.protocol {
        Protocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        Protocol::HttpProtobuf => builder.enable_all_versions().wrap_connector(tcp),
    })
}

fn tls(transport: &Transport) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // Not read for plain text: a system without a store can still use that.
    if transport.endpoint.scheme_str() == Some("https") {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if let Some(path) = &transport.certificate {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &transport.client_identity {
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(&identity.key)
                .map_err(|error| unreadable(&identity.key, &error))?;
            config.with_client_auth_cert(certificates(&identity.certificate)?, key)?
        }
        None => config.with_no_client_auth(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))?;
    if certificates.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::NoCertificate { path });
    }
    Ok(certificates)
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
