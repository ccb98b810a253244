//! Manifests: the small documents that say what belongs together (distribution-spec 1.1, "Pulling
//! manifests", "Pushing Manifests").

use bytes::Bytes;
use layers::Sha256;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{Remote, Repository};
use crate::descriptor::{Descriptor, digest_text, media_type, read_digest};
use crate::error::{Error, Reason, told};
use crate::outgoing::Outgoing;
use crate::reference::{Selector, Tag};
use crate::request::{Call, header};
use crate::retry::{Budget, Stop};

/// The largest manifest, in bytes (distribution-spec 1.1, "Pushing Manifests": clients and
/// registries should expect up to 4 MiB).
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// A manifest as it came: its bytes are what its digest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What kind of manifest; one of those asked for.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Sha256,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// As a descriptor of it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.bytes.len() as u64)
    }

    /// What it says.
    ///
    /// # Errors
    /// It is not what its media type promises.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let what = format!("read the manifest {}", digest_text(&self.digest));
            Error::registry(&what, Reason::Protocol(told(&error.to_string())))
        })
    }
}

impl Repository {
    /// A manifest of one of the types in `accept`; `None` when there is none.
    ///
    /// # Errors
    /// It is of another type, larger than [`MANIFEST_LIMIT`], not what its digest says, or the
    /// registry does not give it.
    pub fn manifest(&self, selector: &Selector, accept: &[&str]) -> Result<Option<Manifest>, Error> {
        self.block_on(self.remote.manifest(selector, accept))
    }

    /// What a manifest is, without its bytes; `None` when there is none.
    ///
    /// # Errors
    /// As for [`Repository::manifest`].
    pub fn manifest_descriptor(&self, selector: &Selector, accept: &[&str]) -> Result<Option<Descriptor>, Error> {
        self.block_on(self.remote.manifest_descriptor(selector, accept))
    }

    /// Pushes a manifest, by tag or by its digest alone; everything that it names must be there.
    ///
    /// # Errors
    /// It is larger than [`MANIFEST_LIMIT`], or the registry does not take it.
    pub fn push_manifest(&self, tag: Option<&Tag>, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        self.block_on(async {
            let (descriptor, _) = self.remote.push_manifest(tag, media_type, bytes).await?;
            Ok(descriptor)
        })
    }
}

impl Remote {
    pub(crate) async fn manifest(&self, selector: &Selector, accept: &[&str]) -> Result<Option<Manifest>, Error> {
        let what = format!("pull the manifest {selector} from {}", self.place());
        let mut budget = Budget::new(&self.inner.options);
        loop {
            match self.manifest_once(Method::GET, selector, accept).await {
                Ok(None) => return Ok(None),
                Ok(Some(response)) => match self.verified(response, selector, accept).await {
                    Ok(manifest) => return Ok(Some(manifest)),
                    Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
                },
                Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
            }
        }
    }

    async fn manifest_once(
        &self,
        method: Method,
        selector: &Selector,
        accept: &[&str],
    ) -> Result<Option<Response>, Stop> {
        let access = self.access(false);
        let url = self.url(&format!("manifests/{selector}")).await?;
        let response = self.inner.send(&Call::new(method, url, &access).header(ACCEPT, accept.join(", "))).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(response)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.inner.refused(response).await),
        }
    }

    async fn verified(&self, response: Response, selector: &Selector, accept: &[&str]) -> Result<Manifest, Stop> {
        let stated = header(&response, "content-type").map(bare_type).unwrap_or_default();
        let promised = header(&response, "docker-content-digest").map(read_digest);
        let bytes = self.inner.body(response, MANIFEST_LIMIT).await?;
        let got = Sha256::of(&bytes);
        let check = |expected: Option<Sha256>| match expected.filter(|expected| *expected != got) {
            Some(expected) => Err(Reason::Digest { got, expected }),
            None => Ok(()),
        };
        if let Selector::Digest(digest) = selector {
            check(Some(*digest))?;
        }
        let media_type = kind_of(&bytes, &stated)?;
        if !accept.contains(&media_type.as_str()) {
            return Err(Reason::MediaType { found: told(&media_type), expected: accept.join(" or ") }.into());
        }
        // After the type, as the digest of docker's schema 1 is not that of its bytes. A digest of
        // another algorithm is one that cannot be checked here.
        check(promised.flatten())?;
        Ok(Manifest { media_type, digest: got, bytes })
    }

    async fn manifest_descriptor(&self, selector: &Selector, accept: &[&str]) -> Result<Option<Descriptor>, Error> {
        let what = format!("look for the manifest {selector} at {}", self.place());
        let mut budget = Budget::new(&self.inner.options);
        let response = loop {
            match self.manifest_once(Method::HEAD, selector, accept).await {
                Ok(None) => return Ok(None),
                Ok(Some(response)) => break response,
                Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
            }
        };
        let stated = header(&response, "content-type").map(bare_type).filter(|found| accept.contains(&found.as_str()));
        let size = header(&response, "content-length").and_then(|text| text.parse::<u64>().ok());
        let digest = match selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(_) => header(&response, "docker-content-digest").and_then(read_digest),
        };
        match (stated, digest, size) {
            (Some(media_type), Some(digest), Some(size)) if size <= MANIFEST_LIMIT => {
                Ok(Some(Descriptor::new(&media_type, digest, size)))
            }
            // Not all registries put everything into the headers.
            _ => Ok(self.manifest(selector, accept).await?.map(|manifest| manifest.descriptor())),
        }
    }

    /// Pushes a manifest; says whether the registry keeps track of its subject.
    pub(crate) async fn push_manifest(
        &self,
        tag: Option<&Tag>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(Descriptor, bool), Error> {
        let descriptor = Descriptor::of(media_type, bytes);
        let selector = tag.map_or(Selector::Digest(descriptor.digest), |tag| Selector::Tag(tag.clone()));
        let what = format!("push the manifest {selector} to {}", self.place());
        if descriptor.size > MANIFEST_LIMIT {
            return Err(Error::registry(&what, Reason::Long { limit: MANIFEST_LIMIT }));
        }
        let body = Outgoing::all(Bytes::copy_from_slice(bytes));
        let access = self.access(true);
        let mut budget = Budget::new(&self.inner.options);
        loop {
            let attempt = async {
                let url = self.url(&format!("manifests/{selector}")).await?;
                let call = Call::new(Method::PUT, url, &access).header(CONTENT_TYPE, media_type).body(&body);
                let response = self.inner.send(&call).await?;
                if !response.status().is_success() {
                    return Err(self.inner.refused(response).await);
                }
                let got = header(&response, "docker-content-digest").and_then(read_digest);
                if let Some(got) = got.filter(|got| *got != descriptor.digest) {
                    return Err(Reason::Digest { got, expected: descriptor.digest }.into());
                }
                Ok(header(&response, "oci-subject").is_some())
            };
            match attempt.await {
                Ok(tracks) => return Ok((descriptor, tracks)),
                Err(stop) => self.inner.again(&what, &mut budget, stop, 0).await?,
            }
        }
    }
}

/// A media type without parameters.
pub(crate) fn bare_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What kind of manifest bytes are. The header and the document must agree, and the document must
/// be readable in one way only (image spec 1.1, manifest.md, on `mediaType`; CVE-2021-41190).
fn kind_of(bytes: &[u8], stated: &str) -> Result<String, Reason> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        layers: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        config: Option<serde::de::IgnoredAny>,
    }
    // serde would also take the fields one after the other in an array.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Reason::Protocol("the manifest is not a JSON object".into()));
    }
    let shape: Shape = serde_json::from_slice(bytes)
        .map_err(|error| Reason::Protocol(format!("the manifest is not JSON: {}", told(&error.to_string()))))?;
    let found = match shape.media_type.map(|text| told(&text)) {
        Some(inner) if stated.is_empty() || stated == inner => inner,
        // Registries that know nothing better say what every JSON document is.
        Some(inner) if stated == "application/json" || stated == "application/octet-stream" => inner,
        Some(inner) => {
            return Err(Reason::MediaType { found: inner, expected: format!("{stated}, as the registry says") });
        }
        None => stated.to_owned(),
    };
    let is_index = matches!(found.as_str(), media_type::IMAGE_INDEX | media_type::DOCKER_LIST);
    let is_manifest = matches!(found.as_str(), media_type::IMAGE_MANIFEST | media_type::DOCKER_MANIFEST);
    if is_index && (shape.layers.is_some() || shape.config.is_some()) || is_manifest && shape.manifests.is_some() {
        return Err(Reason::Protocol("the manifest could be read as an image and as an index".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_one_thing_only() {
        let image = media_type::IMAGE_MANIFEST;
        assert_eq!(kind_of(b"{\"layers\":[]}", image).unwrap(), image);
        let typed = format!("{{\"mediaType\":\"{image}\",\"layers\":[]}}");
        assert_eq!(kind_of(typed.as_bytes(), image).unwrap(), image);
        assert_eq!(kind_of(typed.as_bytes(), "application/json").unwrap(), image);
        assert!(matches!(kind_of(typed.as_bytes(), media_type::IMAGE_INDEX), Err(Reason::MediaType { .. })));
        assert!(matches!(kind_of(b"{\"layers\":[],\"manifests\":[]}", image), Err(Reason::Protocol(_))));
        assert!(matches!(kind_of(b"{\"layers\":[]}", media_type::IMAGE_INDEX), Err(Reason::Protocol(_))));
        for nonsense in [&b""[..], b"[]", b"3", b"{\"mediaType\":3}", &b"[".repeat(100_000)] {
            assert!(kind_of(nonsense, image).is_err());
        }
    }
}
