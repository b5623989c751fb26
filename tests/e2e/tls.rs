//! TLS to a real server, for metrics and for logs: whose certificates are trusted, and what kctx shows of itself.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use kctx_tests::{
    program::{self, Ended},
    stream::{self, Names},
    troubled::Endpoint,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tempfile::TempDir;

use crate::otlp::eventful;

/// An authority of our own, and in a folder what kctx reads: its certificate, a client's and its key.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    folder: TempDir,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?;
        let authority = Self {
            issuer: Issuer::new(parameters, key),
            certificate,
            folder: tempfile::tempdir()?,
        };
        let (client, key) = authority.sign("client.example")?;
        for (file, pem) in [
            ("ca.pem", authority.certificate.pem()),
            ("client.pem", client.pem()),
            ("client.key", key.serialize_pem()),
        ] {
            fs::write(authority.folder.path().join(file), pem)?;
        }
        Ok(authority)
    }

    fn sign(&self, name: &str) -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        let parameters = CertificateParams::new(vec![name.to_owned()])?;
        Ok((parameters.signed_by(&key, &self.issuer)?, key))
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// A server of this authority; one that asks clients for its certificates, or does not.
    fn server(&self, asks: bool) -> Result<Endpoint> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone())?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()?;
        let none: Arc<dyn ClientCertVerifier> = WebPkiClientVerifier::no_client_auth();
        let (certificate, key) = self.sign("127.0.0.1")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(if asks { verifier } else { none })
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Endpoint::start(Some(config))
    }
}

/// Replays what happened into the server with these variables beside.
fn replay(server: &Endpoint, variables: &[(&str, &str)]) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    let bundle: PathBuf = folder.path().join("eventful.kctx.tar.zst");
    stream::record(&eventful(), &Names::default(), &bundle)?;
    let mut command = program::kctx(["replay", &bundle.to_string_lossy()])?;
    command
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("https://{}", server.address),
        )
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
        .envs(variables.iter().copied());
    program::run_command(command)
}

fn came(server: &Endpoint) -> [usize; 2] {
    ["/v1/metrics", "/v1/logs"].map(|path| server.came(path).len())
}

#[test]
fn a_given_root_is_trusted_by_metrics_and_logs_and_headers_come_along() -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.server(false)?;
    let root = authority.file("ca.pem");
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*root),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
    ];
    replay(&server, &variables)?.success()?;
    assert_eq!(came(&server), [3, 2]);
    for path in ["/v1/metrics", "/v1/logs"] {
        for one in server.came(path) {
            let headers = one.request.headers;
            assert!(
                headers
                    .iter()
                    .any(|line| line == "authorization: bearer abc"),
                "{path}: {headers:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_systems_roots_are_trusted_and_no_others() -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.server(false)?;
    let ours = authority.file("ca.pem");
    replay(&server, &[("SSL_CERT_FILE", &ours)])?.success()?;
    assert_eq!(came(&server), [3, 2]);

    let server = authority.server(false)?;
    let other = Authority::new()?.folder.keep().join("ca.pem");
    let ended = replay(&server, &[("SSL_CERT_FILE", &other.to_string_lossy())])?;
    fs::remove_dir_all(other.parent().context("a folder")?)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
    assert_eq!(came(&server), [0, 0]);
    Ok(())
}

#[test]
fn a_client_shows_its_certificate_where_it_has_one() -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.server(true)?;
    let [root, certificate, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let trusted = ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*root);
    let ended = replay(&server, &[trusted])?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(came(&server), [0, 0]);
    let identity = [
        trusted,
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
    ];
    replay(&server, &identity)?.success()?;
    assert_eq!(came(&server), [3, 2]);
    Ok(())
}

/// The logs' own variables, without a word about metrics.
#[test]
fn logs_alone_have_the_same_settings() -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.server(true)?;
    let [root, certificate, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let endpoint = format!("https://{}/some/path", server.address);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", &root),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", &key),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-tenant=logs"),
    ];
    replay(&server, &variables)?.success()?;
    assert_eq!(came(&server), [0, 0]);
    let logs = server.came("/some/path");
    assert_eq!(logs.len(), 2);
    let headers = &logs[0].request.headers;
    assert!(
        headers.iter().any(|line| line == "x-tenant: logs"),
        "{headers:?}"
    );
    Ok(())
}

#[test]
fn a_file_that_is_no_certificate_is_one_line() -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.server(false)?;
    let key = authority.file("client.key");
    let ended = replay(
        &server,
        &[
            ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", &key),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    )?;
    let last = ended.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(
        last.contains("client.key") && last.contains("certificate"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status.code(), Some(1));
    Ok(())
}
