//! The note that stays beside a package's layer: what dpkg's database needs of the package, so
//! that a warm build opens no archive.

use std::collections::{BTreeMap, BTreeSet};

use layers::TreePath;
use providers::deb::Control;
use providers::deb::archive::ControlFile;

use crate::compose::note::{Reader, Writer};

/// What is kept of a package beside its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Its control member.
    pub control: Control,
    /// Its paths as dpkg lists them, in the archive's order.
    pub listed: Vec<Vec<u8>>,
    /// MD5 of its conffiles.
    pub conffiles: BTreeMap<Vec<u8>, [u8; 16]>,
    /// Directories whose metadata is made up and yields to any other package's.
    pub implied: BTreeSet<TreePath>,
    /// Its md5sums as dpkg makes them, where it brings none.
    pub md5sums: Vec<u8>,
}

impl Note {
    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(self.control.stanza().as_str().as_bytes());
        out.count(self.control.files.len());
        for (name, file) in &self.control.files {
            out.bytes(name.as_bytes());
            out.count(file.mode as usize);
            out.bytes(&file.bytes);
        }
        out.count(self.listed.len());
        self.listed.iter().for_each(|path| out.bytes(path));
        out.count(self.conffiles.len());
        for (path, md5) in &self.conffiles {
            out.bytes(path);
            out.bytes(md5);
        }
        out.count(self.implied.len());
        self.implied.iter().for_each(|path| out.bytes(path.as_bytes()));
        out.bytes(&self.md5sums);
        out.finish()
    }

    /// Reads it; `None` for anything else, which counts as a miss of the store.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let text = reader.bytes()?.to_vec();
        let mut files = BTreeMap::new();
        for _ in 0..reader.count()? {
            let name = String::from_utf8(reader.bytes()?.to_vec()).ok()?;
            let mode = reader.count()?;
            files.insert(name, ControlFile { bytes: reader.bytes()?.to_vec(), mode });
        }
        let mut listed = Vec::new();
        for _ in 0..reader.count()? {
            listed.push(reader.bytes()?.to_vec());
        }
        let mut conffiles = BTreeMap::new();
        for _ in 0..reader.count()? {
            conffiles.insert(reader.bytes()?.to_vec(), reader.bytes()?.try_into().ok()?);
        }
        let mut implied = BTreeSet::new();
        for _ in 0..reader.count()? {
            implied.insert(TreePath::new(reader.bytes()?).ok()?);
        }
        let md5sums = reader.bytes()?.to_vec();
        let control = Control::new(&text, files, "a note of the store").ok()?;
        reader.is_at_end().then_some(Self { control, listed, conffiles, implied, md5sums })
    }
}
