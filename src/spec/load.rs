//! The three passes in a row.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Kind};

use super::decode::{Decode, Decoder};
use super::problem::{Problem, Problems};
use super::read::DOCUMENT_BYTES_MAX;
use super::resolve::{KnownProviders, Resolution, Surroundings, resolve};
use super::{Spec, lower, read};

/// Reads a spec from its text; `path` is how messages name it.
///
/// # Errors
/// Every problem of form, in the order of their places.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Spec, Vec<Problem>> {
    match read_all(path, bytes) {
        (Some(spec), problems) if !problems.has_errors() => Ok(spec),
        (_, problems) => Err(problems.into_vec()),
    }
}

/// What can be read of a spec, and every problem of form.
fn read_all(path: &Path, bytes: &[u8]) -> (Option<Spec>, Problems) {
    let mut decoder = Decoder::default();
    let spec = match read::read(path, bytes) {
        Ok(document) => {
            let document = lower::lower(document, &mut decoder.problems);
            Spec::decode(&document, &mut decoder)
        }
        Err(problem) => {
            decoder.problems.push(problem);
            None
        }
    };
    (spec, decoder.problems)
}

/// Reads a spec from its file.
///
/// # Errors
/// A file that cannot be read, and every problem of form.
pub fn load(path: &Path) -> Result<Spec, Error> {
    parse(path, &bytes_of(path)?).map_err(|problems| Error::problems(Kind::Validation, path, problems))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Error> {
    read_document(path).map_err(|source| {
        let missing = source.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(Kind::Validation, "read the spec", path, source);
        if missing { error.hint("name the file of a build specification") } else { error }
    })
}

/// Reads a spec from its file and resolves it.
///
/// # Errors
/// A file that cannot be read, and every problem at once: of form, and, as far as the rest can be
/// read, of meaning.
pub fn load_resolved(path: &Path, current_directory: &Path, providers: &KnownProviders) -> Result<Resolution, Error> {
    let whole = current_directory.join(path);
    let spec_directory = whole.parent().unwrap_or(current_directory);
    let around = Surroundings { spec_directory, current_directory, providers };
    resolve_text(path, &bytes_of(path)?, &around).map_err(|problems| Error::problems(Kind::Validation, path, problems))
}

/// Reads a spec from its text and resolves it, as [`load_resolved`].
///
/// # Errors
/// Every problem at once.
pub fn resolve_text(path: &Path, bytes: &[u8], around: &Surroundings<'_>) -> Result<Resolution, Vec<Problem>> {
    let (spec, mut problems) = read_all(path, bytes);
    match spec.map(|spec| resolve(&spec, around)) {
        Some(Ok(resolution)) if !problems.has_errors() => Ok(resolution),
        Some(Err(more)) => {
            more.into_iter().for_each(|problem| problems.push(problem));
            Err(problems.into_vec())
        }
        _ => Err(problems.into_vec()),
    }
}

/// The bytes of a document, at most one more than are allowed, so that the reader can refuse it.
pub(crate) fn read_document(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
