//! The note that stays beside a package's layer: what installing it takes besides its files, so that
//! a warm build opens no package.

use std::collections::{BTreeMap, BTreeSet};

use layers::TreePath;
use providers::unpack::Owner;

use crate::compose::note::{Reader, Writer};

/// What is kept of a package beside its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Its signature header, as in the file.
    pub signature: Vec<u8>,
    /// Its header, as in the file.
    pub header: Vec<u8>,
    /// Owners other than root, by path.
    pub owners: BTreeMap<TreePath, Owner>,
    /// Directories that the package has things in, and that are not its own.
    pub implied: BTreeSet<TreePath>,
}

impl Note {
    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.signature);
        out.bytes(&self.header);
        out.count(self.owners.len());
        for (path, owner) in &self.owners {
            [path.as_bytes(), &*owner.user, &*owner.group].iter().for_each(|part| out.bytes(part));
        }
        out.count(self.implied.len());
        self.implied.iter().for_each(|path| out.bytes(path.as_bytes()));
        out.finish()
    }

    /// Reads it; `None` for anything else, which counts as a miss of the store.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (signature, header) = (reader.bytes()?.to_vec(), reader.bytes()?.to_vec());
        let mut owners = BTreeMap::new();
        for _ in 0..reader.count()? {
            let path = TreePath::new(reader.bytes()?).ok()?;
            owners.insert(path, Owner { user: reader.bytes()?.into(), group: reader.bytes()?.into() });
        }
        let mut implied = BTreeSet::new();
        for _ in 0..reader.count()? {
            implied.insert(TreePath::new(reader.bytes()?).ok()?);
        }
        reader.is_at_end().then_some(Self { signature, header, owners, implied })
    }
}
