//! The three passes in a row.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Kind};

use super::decode::{Decode, Decoder};
use super::problem::Problem;
use super::read::DOCUMENT_BYTES_MAX;
use super::resolve::{KnownProviders, Resolution, Surroundings, resolve};
use super::{Spec, lower, read};

/// Reads a spec from its text; `path` is how messages name it.
///
/// # Errors
/// Every problem of form, in the order of their places.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Spec, Vec<Problem>> {
    let document = read::read(path, bytes).map_err(|problem| vec![problem])?;
    let mut decoder = Decoder::default();
    let document = lower::lower(document, &mut decoder.problems);
    let spec = Spec::decode(&document, &mut decoder);
    match spec {
        Some(spec) if !decoder.problems.has_errors() => Ok(spec),
        _ => Err(decoder.problems.into_vec()),
    }
}

/// Reads a spec from its file.
///
/// # Errors
/// A file that cannot be read, and every problem of form.
pub fn load(path: &Path) -> Result<Spec, Error> {
    let bytes = read_document(path).map_err(|source| {
        let missing = source.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(Kind::Validation, "read the spec", path, source);
        if missing { error.hint("name the file of a build specification") } else { error }
    })?;
    parse(path, &bytes).map_err(|problems| Error::problems(Kind::Validation, path, problems))
}

/// Reads a spec from its file and resolves it: every problem at once, of form and of meaning.
///
/// # Errors
/// As [`load`], and what [`resolve`] finds.
pub fn load_resolved(path: &Path, current_directory: &Path, providers: &KnownProviders) -> Result<Resolution, Error> {
    let spec = load(path)?;
    let whole = current_directory.join(path);
    let spec_directory = whole.parent().unwrap_or(current_directory);
    let around = Surroundings { spec_directory, current_directory, providers };
    resolve(&spec, &around).map_err(|problems| Error::problems(Kind::Validation, path, problems))
}

/// The bytes of a document, at most one more than are allowed, so that the reader can refuse it.
pub(crate) fn read_document(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
