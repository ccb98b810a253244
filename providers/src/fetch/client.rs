//! The HTTP clients: one that can do TLS, made when first needed, and one that cannot.

use std::sync::{Arc, OnceLock};

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, NoProxy, Proxy, Url};

use super::{Error, Options, Proxies};

/// Redirects followed before giving up: mirrors' redirectors need two or three.
const MAX_REDIRECTS: usize = 10;

/// The clients. A machine without root certificates can still use `http`, whose contents are
/// verified like all others, so TLS is not set up before it is wanted.
pub(super) struct Clients {
    plain: Client,
    tls: OnceLock<Result<Client, String>>,
    options: Options,
}

impl Clients {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let empty = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Setup(Box::new(error)))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let plain = base(options)?
            .tls_backend_preconfigured(empty)
            // This client would refuse any certificate: hand a redirect to TLS back instead.
            .redirect(Policy::custom(|attempt| {
                if attempt.url().scheme() == "https" {
                    attempt.stop()
                } else if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error("too many redirects")
                } else {
                    attempt.follow()
                }
            }))
            .build()
            .map_err(|error| Error::Setup(Box::new(error)))?;
        Ok(Self { plain, tls: OnceLock::new(), options: options.clone() })
    }

    /// The client for a URL; a sentence when there is none.
    pub(super) fn of(&self, url: &Url) -> Result<&Client, String> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        self.tls.get_or_init(|| tls(&self.options)).as_ref().map_err(Clone::clone)
    }
}

fn tls(options: &Options) -> Result<Client, String> {
    // Fails when someone has installed one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let say = |error: &dyn std::error::Error| {
        format!(
            "cannot set up TLS: {}; install the package ca-certificates, or use an http mirror",
            super::attempt::chain(error)
        )
    };
    base(options)
        .map_err(|error| say(&error))?
        // Nobody who was asked by https may send us where others can answer.
        .redirect(Policy::custom(|attempt| match attempt.url().scheme() {
            "https" if attempt.previous().len() <= MAX_REDIRECTS => attempt.follow(),
            "https" => attempt.error("too many redirects"),
            _ => attempt.error("it redirects from https to something else"),
        }))
        .build()
        .map_err(|error| say(&error))
}

fn base(options: &Options) -> Result<ClientBuilder, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("image-composer/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect)
        .pool_max_idle_per_host(options.parallel.get())
        .no_proxy();
    let Proxies { http, https, except } = &options.proxies;
    let except = || except.as_deref().and_then(NoProxy::from_string);
    if let Some(proxy) = http {
        let proxy = Proxy::http(proxy.as_str()).map_err(|error| Error::Setup(Box::new(error)))?;
        builder = builder.proxy(proxy.no_proxy(except()));
    }
    if let Some(proxy) = https {
        let proxy = Proxy::https(proxy.as_str()).map_err(|error| Error::Setup(Box::new(error)))?;
        builder = builder.proxy(proxy.no_proxy(except()));
    }
    Ok(builder)
}
