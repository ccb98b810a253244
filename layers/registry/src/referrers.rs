//! Artifacts that are about a manifest: SBOMs, signatures, disk images (distribution-spec 1.1,
//! "Listing Referrers", "Pushing Manifests with Subject").

use layers::Sha256;

use crate::client::{Remote, Repository};
use crate::descriptor::{Descriptor, ImageIndex, ImageManifest, digest_text, media_type};
use crate::error::{Error, Reason};
use crate::manifest::{MANIFEST_LIMIT, Manifest};
use crate::reference::{Selector, Tag};
use crate::tags::PAGES_MAX;

/// How often the list of a registry that does not keep it itself is written anew, when others write
/// to it at the same time.
const ROUNDS: usize = 5;
/// Referrers that are taken.
const REFERRERS_MAX: usize = 100_000;

impl Repository {
    /// The artifacts that are about a manifest, of one type or of all; also from registries that
    /// do not keep track of them, where a tag with the digest's name does.
    ///
    /// # Errors
    /// The registry does not give the list.
    pub fn referrers(&self, subject: &Sha256, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let mut found = self.block_on(self.remote.referrers(subject, artifact_type))?;
        // Registries need not filter, and say so in a header that some forget.
        found.retain(|one| artifact_type.is_none_or(|wanted| one.artifact_type.as_deref() == Some(wanted)));
        Ok(found)
    }

    /// Pushes an artifact that is about another manifest, its [`ImageManifest::subject`]. Where the
    /// registry does not keep track, the list under the digest's tag is written, too: that is not
    /// safe against others who do the same at the same moment, so it is looked at again afterwards.
    ///
    /// # Errors
    /// The manifest has no subject, or the registry does not take it.
    pub fn push_referrer(&self, manifest: &ImageManifest) -> Result<Descriptor, Error> {
        self.block_on(self.remote.push_referrer(manifest))
    }
}

impl Remote {
    async fn referrers(&self, subject: &Sha256, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let what = format!("list what refers to {} in {}", digest_text(subject), self.place());
        let mut url =
            self.url(&format!("referrers/{}", digest_text(subject))).await.map_err(|stop| stop.into_error(&what))?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut found = Vec::new();
        let mut next = Some(url);
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else { return Ok(found) };
            let page = self.page(&what, &url, MANIFEST_LIMIT, Some(media_type::IMAGE_INDEX)).await?;
            let Some((body, following)) = page else {
                // A registry that knows of referrers answers with an empty index, never with 404.
                return Ok(self.tagged_referrers(subject).await?.map(|(index, _)| index.manifests).unwrap_or_default());
            };
            let index: ImageIndex = serde_json::from_slice(&body)
                .map_err(|_| Error::registry(&what, Reason::Protocol("the list is not an image index".into())))?;
            found.extend(index.manifests);
            if found.len() > REFERRERS_MAX {
                break;
            }
            next = following;
        }
        Err(Error::registry(&what, Reason::Protocol("the list of referrers has no end".into())))
    }

    async fn tagged_referrers(&self, subject: &Sha256) -> Result<Option<(ImageIndex, Manifest)>, Error> {
        let selector = Selector::Tag(fallback_tag(subject)?);
        match self.manifest(&selector, &[media_type::IMAGE_INDEX]).await? {
            None => Ok(None),
            Some(manifest) => Ok(Some((manifest.read()?, manifest))),
        }
    }

    async fn push_referrer(&self, manifest: &ImageManifest) -> Result<Descriptor, Error> {
        let what = format!("push an artifact to {}", self.place());
        let fail = |sentence: &str| Error::registry(&what, Reason::Protocol(sentence.into()));
        let subject = manifest.subject.as_ref().ok_or_else(|| fail("the artifact has no subject"))?;
        let bytes = serde_json::to_vec(manifest).map_err(|error| fail(&error.to_string()))?;
        let (pushed, tracks) = self.push_manifest(None, media_type::IMAGE_MANIFEST, &bytes).await?;
        if tracks {
            return Ok(pushed);
        }
        let kind = manifest.artifact_type.clone().unwrap_or_else(|| manifest.config.media_type.clone());
        let entry =
            Descriptor { artifact_type: Some(kind), annotations: manifest.annotations.clone(), ..pushed.clone() };
        let tag = fallback_tag(&subject.digest)?;
        for _ in 0..ROUNDS {
            let mut index = match self.tagged_referrers(&subject.digest).await? {
                Some((index, _)) => index,
                None => ImageIndex::of(Vec::new()),
            };
            if index.manifests.iter().any(|one| one.digest == entry.digest) {
                return Ok(pushed);
            }
            index.manifests.push(entry.clone());
            let bytes = serde_json::to_vec(&index).map_err(|error| fail(&error.to_string()))?;
            self.push_manifest(Some(&tag), media_type::IMAGE_INDEX, &bytes).await?;
        }
        match self.tagged_referrers(&subject.digest).await? {
            Some((index, _)) if index.manifests.iter().any(|one| one.digest == entry.digest) => Ok(pushed),
            _ => Err(fail("the list of referrers was changed by others again and again")),
        }
    }
}

/// The tag of the list at registries that do not keep one (distribution-spec 1.1, "Unavailable
/// Referrers API").
fn fallback_tag(subject: &Sha256) -> Result<Tag, Error> {
    let text = digest_text(subject).replace(':', "-");
    text.parse().map_err(|_| Error::registry("name a list of referrers", Reason::Protocol(text.clone())))
}
