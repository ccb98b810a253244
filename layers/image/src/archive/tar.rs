//! Members of a tar archive: `layers` knows their bytes, since layers travel as tars too.

use layers::{Entry, Kind, Tree, TreePath, tar};

use super::Member;
use crate::Error;

/// Everything is in blocks of so many bytes.
pub(super) const UNIT_BYTES: u64 = tar::BLOCK_BYTES;

pub(super) struct Encoder<'t>(pub &'t Tree);

impl Encoder<'_> {
    /// `None` for a socket, which tar does not know.
    pub(super) fn member<'t>(&self, path: &TreePath, entry: &'t Entry) -> Result<Option<Member<'t>>, Error> {
        let meta = match &entry.kind {
            Kind::HardLink(first) => &self.0.get(first).ok_or_else(|| missing(path, first))?.meta,
            _ => &entry.meta,
        };
        let content = if let Kind::File(content) = &entry.kind { Some(content) } else { None };
        Ok(tar::head(b"./", path, entry, meta)?.map(|head| Member { head, content }))
    }
}

fn missing(path: &TreePath, first: &TreePath) -> Error {
    let reason = format!("it is a hard link to {first}, which is not there");
    Error::Unsupported { format: "tar", what: path.to_string(), reason }
}

/// Two empty blocks end an archive.
pub(super) fn trailer() -> Vec<u8> {
    tar::END.to_vec()
}
