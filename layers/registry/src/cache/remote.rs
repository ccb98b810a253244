//! Looking a key up, and answering it for others.

use layers::Key;

use super::{Answer, Signature, Signer, Trust, empty_config, tag_of};
use crate::client::Repository;
use crate::descriptor::{Descriptor, ImageManifest, media_type};
use crate::error::{Error, Reason};
use crate::push::BlobPush;
use crate::reference::Selector;

/// What a repository says about a key; `None` when nothing. Of the blobs nothing is pulled yet.
///
/// # Errors
/// The registry does not answer, or [`Reason::Untrusted`]: the answer is none to be used, and the
/// step is to be run as if there were none.
pub fn look_up(repository: &Repository, key: &Key, trust: &Trust) -> Result<Option<Answer>, Error> {
    let selector = Selector::Tag(tag_of(key));
    let Some(manifest) = repository.manifest(&selector, &[media_type::IMAGE_MANIFEST])? else { return Ok(None) };
    let place = format!("use the layer cache {}/{}", repository.host(), repository.name());
    let document: ImageManifest = manifest.read()?;
    let answer = Answer::from_manifest(&document, key, trust);
    answer.map(Some).map_err(|error| Error::registry(&place, Reason::Untrusted(error)))
}

/// Whether a repository says anything about a key, whatever it is: a HEAD, where the registry puts enough
/// into its headers.
///
/// # Errors
/// The registry does not answer.
pub fn has_answer(repository: &Repository, key: &Key) -> Result<bool, Error> {
    let selector = Selector::Tag(tag_of(key));
    match repository.manifest_descriptor(&selector, &[media_type::IMAGE_MANIFEST]) {
        Ok(found) => Ok(found.is_some()),
        // Something else is there, which helps nobody.
        Err(error) if matches!(error.reason(), Some(Reason::MediaType { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Answers a key for others, whose blobs have been pushed; signed, if there is a signer. Signatures
/// of others on the same answer stay.
///
/// # Errors
/// The registry does not take it.
pub fn publish(repository: &Repository, answer: &Answer, signer: Option<&Signer>) -> Result<Descriptor, Error> {
    let place = format!("write to the layer cache {}/{}", repository.host(), repository.name());
    let mut answer = match signer {
        Some(signer) => answer.clone().signed(signer),
        None => answer.clone(),
    };
    // What is there now may be anything; only signatures on this very answer are of use.
    if let Ok(Some(there)) = look_up(repository, &answer.key, &Trust::Everybody)
        && there.statement() == answer.statement()
    {
        let is_new = |one: &Signature| answer.signatures.iter().all(|own| own.by != one.by);
        let others: Vec<Signature> = there.signatures.into_iter().filter(is_new).collect();
        answer.signatures.extend(others);
        answer.signatures.sort_by(|one, other| one.by.cmp(&other.by));
    }
    repository.push_blobs(vec![BlobPush::of(empty_config())])?;
    let bytes = serde_json::to_vec(&answer.to_manifest())
        .map_err(|error| Error::registry(&place, Reason::Protocol(error.to_string())))?;
    repository.push_manifest(Some(&tag_of(&answer.key)), media_type::IMAGE_MANIFEST, &bytes)
}
