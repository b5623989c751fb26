//! The endpoint as given -> the URL that is spoken to.

use std::fmt::Display;

use hyper::http::uri::{PathAndQuery, Scheme, Uri};

use super::env::Env;
use super::settings::{Protocol, SettingsError};
use super::signal::Signal;
use super::transport::TransportConfig;

/// An endpoint as given: by whom, and whether as a base or whole.
pub(super) struct Endpoint {
    source: String,
    text: String,
    whole: bool,
}

impl Endpoint {
    /// Whoever comes first in the order of sources.
    pub(super) fn find(config: &TransportConfig, signal: Signal, env: &Env<'_>) -> Option<Self> {
        let of_config = |given: &Option<(&str, String)>, whole| {
            let (source, text) = given.as_ref()?;
            let text = text.trim();
            (!text.is_empty()).then(|| Self {
                source: (*source).to_owned(),
                text: text.to_owned(),
                whole,
            })
        };
        let of_environment = || {
            let (source, text) = env.otlp(signal, "ENDPOINT")?;
            let whole = source.contains(signal.variable());
            Some(Self {
                source,
                text,
                whole,
            })
        };
        of_config(&config.whole, true)
            .or_else(|| of_config(&config.base, false))
            .or_else(of_environment)
    }

    /// The URL that is spoken to (OTLP exporter specification, "Endpoint URLs").
    pub(super) fn uri(
        &self,
        protocol: Protocol,
        insecure: bool,
        signal: Signal,
        env: &mut Env<'_>,
    ) -> Result<Uri, SettingsError> {
        let (source, text) = (&self.source, &self.text);
        let bad = |why: &dyn Display| SettingsError(format!("{source}: {text:?} {why}"));
        let with_scheme = match (text.contains("://"), protocol) {
            (true, _) => text.clone(),
            (false, Protocol::Grpc) if insecure => format!("http://{text}"),
            (false, Protocol::Grpc) => format!("https://{text}"),
            (false, Protocol::HttpProtobuf) => {
                return Err(bad(&format!(
                    "has no scheme: give http://{text} or https://{text}"
                )));
            }
        };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|error| bad(&format!("is no URL: {error}")))?;
        let mut parts = uri.into_parts();
        match parts.scheme.as_ref().map(Scheme::as_str) {
            Some("http" | "https") => {}
            _ => return Err(bad(&"is neither http:// nor https://")),
        }
        let Some(authority) = parts.authority.as_ref().filter(|a| !a.host().is_empty()) else {
            return Err(bad(&"names no host"));
        };
        if authority.as_str().contains('@') {
            // Not quoted: it is a secret.
            return Err(SettingsError(format!(
                "{source} holds a user or password: give them as an Authorization header"
            )));
        }
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(bad(&"has no valid port"));
        }
        let given = parts.path_and_query.as_ref();
        let path = given.map_or("", PathAndQuery::path).trim_end_matches('/');
        let query = given.and_then(PathAndQuery::query);
        let new = match protocol {
            Protocol::Grpc => {
                if !path.is_empty() || query.is_some() {
                    env.warn(format!("{source}: the path is ignored, gRPC has its own"));
                }
                Some("/".to_owned())
            }
            Protocol::HttpProtobuf if self.whole => None,
            Protocol::HttpProtobuf => {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                Some(format!("{path}/{}{query}", signal.path()))
            }
        };
        if let Some(new) = new {
            let new = PathAndQuery::try_from(new).map_err(|error| bad(&error))?;
            parts.path_and_query = Some(new);
        }
        Uri::from_parts(parts).map_err(|error| bad(&error))
    }
}
