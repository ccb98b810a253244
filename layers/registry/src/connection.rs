//! The HTTP clients: one for https, made when first needed, and one for plain http.

use std::sync::{Arc, OnceLock};

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, Url};

use crate::error::{Error, Reason};
use crate::options::{Options, Proxies};

/// The clients. A machine without root certificates can still use a registry on loopback, so TLS is
/// not set up before it is wanted.
pub(crate) struct Clients {
    plain: Client,
    tls: OnceLock<Result<Client, String>>,
    extra: Vec<Certificate>,
    options: Options,
}

impl Clients {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let empty = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(setup)?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let plain = base(options)?.tls_backend_preconfigured(empty).build().map_err(setup)?;
        let mut extra = Vec::new();
        for pem in &options.certificates {
            let found = Certificate::from_pem_bundle(pem).map_err(setup)?;
            if found.is_empty() {
                return Err(setup("a file of certificates has none in it (PEM)"));
            }
            extra.extend(found);
        }
        Ok(Self { plain, tls: OnceLock::new(), extra, options: options.clone() })
    }

    /// The client for a URL.
    pub(crate) fn of(&self, url: &Url) -> Result<&Client, Reason> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        self.tls.get_or_init(|| self.make_tls()).as_ref().map_err(|sentence| Reason::Connection(sentence.clone()))
    }

    fn make_tls(&self) -> Result<Client, String> {
        // Fails when someone has installed one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let say = |error: &dyn std::error::Error| {
            format!("cannot set up TLS: {}; install the package ca-certificates", chain(error))
        };
        let mut builder = base(&self.options).map_err(|error| say(&error))?;
        if !self.extra.is_empty() {
            builder = builder.tls_certs_merge(self.extra.iter().cloned());
        }
        builder.build().map_err(|error| say(&error))
    }
}

fn setup(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Setup(error.into())
}

fn base(options: &Options) -> Result<ClientBuilder, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("image-composer/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect)
        .pool_max_idle_per_host(options.parallel.get())
        .referer(false)
        // Redirects are followed by hand: each one decides anew who may see the credentials.
        .redirect(Policy::none())
        .no_proxy();
    let Proxies { http, https, except } = &options.proxies;
    let except = || except.as_deref().and_then(NoProxy::from_string);
    if let Some(proxy) = http {
        builder = builder.proxy(Proxy::http(proxy.as_str()).map_err(setup)?.no_proxy(except()));
    }
    if let Some(proxy) = https {
        builder = builder.proxy(Proxy::https(proxy.as_str()).map_err(setup)?.no_proxy(except()));
    }
    Ok(builder)
}

/// What a request failed of.
pub(crate) fn failure(error: reqwest::Error) -> Reason {
    let host = error.url().and_then(|url| url.host_str()).unwrap_or("the registry").to_owned();
    let error = error.without_url();
    match certificate_problem(&error, 0) {
        Some(why) => Reason::Certificate { host, why },
        None => Reason::Connection(chain(&error)),
    }
}

/// What is wrong with a certificate, if that is what an error is about.
fn certificate_problem(error: &(dyn std::error::Error + 'static), depth: usize) -> Option<String> {
    if depth > 16 {
        return None;
    }
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
        return Some(error.to_string());
    }
    // The source of an io::Error is that of what it wraps, which would be skipped.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if let Some(found) = wrapped.and_then(|inner| certificate_problem(inner, depth + 1)) {
        return Some(found);
    }
    error.source().and_then(|source| certificate_problem(source, depth + 1))
}

/// Whether nobody listens there.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// An error and its causes in one line: what a connection failed of is in the last of them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Whether two URLs lead to the same server: scheme, host and port.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// A URL for people: without user, password and query, which may hold a signature.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
