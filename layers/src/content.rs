//! Where the bytes of files come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};

use crate::{Blake3, Content, Error};

/// Gives the bytes of a file by digest. Writers of file systems and archives read through it.
pub trait Contents: Sync {
    /// Opens content for reading from its start.
    ///
    /// # Errors
    /// [`Error::NoContent`] when nothing here holds the digest; I/O errors with their path.
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, Error>;

    /// The plain host file that holds exactly these bytes, if there is one: lets a writer share
    /// blocks or copy inside the kernel.
    ///
    /// # Errors
    /// As [`Contents::open`].
    fn host_file(&self, content: &Content) -> Result<Option<File>, Error> {
        let _ = content;
        Ok(None)
    }
}

/// Contents in memory: for generated files and tests.
#[derive(Default, Clone, Debug)]
pub struct MemoryContents {
    blobs: BTreeMap<Blake3, Vec<u8>>,
}

impl MemoryContents {
    /// Keeps these bytes and gives their content.
    pub fn add(&mut self, bytes: impl Into<Vec<u8>>) -> Content {
        let bytes = bytes.into();
        let content = Content::of(&bytes);
        self.blobs.insert(content.digest, bytes);
        content
    }
}

impl Contents for MemoryContents {
    fn host_file(&self, content: &Content) -> Result<Option<File>, Error> {
        match self.blobs.contains_key(&content.digest) {
            true => Ok(None),
            false => Err(Error::NoContent { digest: content.digest }),
        }
    }

    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, Error> {
        match self.blobs.get(&content.digest) {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
            None => Err(Error::NoContent { digest: content.digest }),
        }
    }
}
