//! OCI images: out of a build or a layout into a directory, a file or a registry, and back.

pub mod attach;
pub mod connection;
pub mod credentials;
pub mod destination;
pub mod document;
pub mod platforms;
pub mod pull;
pub mod push;
pub mod source;

use std::path::PathBuf;

use ::oci::oci_spec::image::Descriptor;

use crate::error::Error;

pub use document::{Document, Part};

/// An error of the OCI library, as one of exit code 1.
pub fn failed(action: &str) -> impl FnOnce(::oci::Error) -> Error + '_ {
    move |error| {
        let hint = error.hint();
        let failed = Error::other(format!("failed to {action}")).caused_by(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// An error of the registry library, as one of exit code 1.
pub fn refused(action: String) -> impl FnOnce(registry::Error) -> Error {
    move |error| {
        if matches!(error, registry::Error::Cancelled) {
            return Error::interrupted();
        }
        let hint = error.hint();
        let failed = Error::other(format!("failed to {action}")).caused_by(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// Where a blob of an image lies as a file.
pub type Place<'a> = dyn Fn(&Descriptor) -> Result<PathBuf, Error> + 'a;
