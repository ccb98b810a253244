//! Files that the spec copies into the image.

use layers::Meta;

use super::accounts::Accounts;
use crate::draft::Draft;
use crate::error::{Error, ResultExt};
use crate::spec::resolved::{CopiedFile, SourceKind};

/// Copies one entry of `customizations.files` into a draft, links and directories preserved.
///
/// # Errors
/// An owner that the image does not have; a source that changed since the spec was read.
pub fn copy(file: &CopiedFile, accounts: &Accounts, draft: &mut Draft<'_>) -> Result<(), Error> {
    let (uid, gid) = accounts.resolve(&file.owner)?;
    for entry in &file.entries {
        let path = if entry.path.is_root() {
            file.destination.clone()
        } else {
            file.destination.join(entry.path.as_bytes()).to("place a copied file")?
        };
        let mode = |executable: bool| match file.permissions {
            Some(mode) => mode.0,
            None if executable => 0o755,
            None => 0o644,
        };
        let meta = |draft: &Draft<'_>, mode| -> Meta { draft.owned(mode, uid, gid) };
        match &entry.kind {
            SourceKind::File { origin, content, executable } => {
                let meta = meta(draft, mode(*executable));
                draft.host_file(&path, origin.clone(), *content, meta)?;
            }
            SourceKind::Text(text) => {
                let meta = meta(draft, mode(false));
                let text_path = std::str::from_utf8(path.as_bytes()).to("place a written file")?;
                draft.file(text_path, text.as_bytes(), meta)?;
            }
            SourceKind::Directory => {
                let meta = meta(draft, 0o755);
                draft.ensure_directory(&path, meta)?;
            }
            SourceKind::Symlink(target) => draft.symlink_owned(&path, target, uid, gid)?,
        }
    }
    Ok(())
}
