//! What stands in the sandbox while packages are configured and is never part of the image: it
//! lies in a lower directory on top, so nothing has to be put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use layers::{Tree, TreePath};
use providers::distro::ScaffoldFile;

use crate::error::{Error, Kind, ResultExt};

/// Nothing is started while an image is built (Debian's invoke-rc.d(8), policy-rc.d).
const POLICY: &str = "#!/bin/sh\nexit 101\n";
/// The initial ramdisk is made once, in a step of its own.
const DEFERRED: &str = "#!/bin/sh\nexit 0\n";

/// Those of the provider's files that concern a tree: dpkg knows the package that reads them.
/// Elsewhere the directories above them would be the only thing of that package.
///
/// # Errors
/// A package's name that no file may have.
pub fn wanted<'f>(files: &'f [ScaffoldFile], tree: &Tree) -> Result<Vec<&'f ScaffoldFile>, Error> {
    let mut wanted = Vec::new();
    for file in files {
        let list = format!("var/lib/dpkg/info/{}.list", file.package);
        if tree.get(&TreePath::new(list).to("name a package of the scaffold")?).is_some() {
            wanted.push(file);
        }
    }
    Ok(wanted)
}

/// Makes the scaffold in a directory; `deferred` is the initramfs command that packages call, and
/// `below` what it is laid on: a directory that both have shows itself with the scaffold's mode.
///
/// # Errors
/// I/O errors; a file with a name that no tree may hold.
pub fn scaffold(
    directory: &Path,
    deferred: Option<&str>,
    files: &[&ScaffoldFile],
    below: &Tree,
) -> Result<PathBuf, Error> {
    let root = directory.join("scaffold");
    for file in files {
        write(&root, &file.path, file.text.as_bytes(), 0o644, below)?;
    }
    program(&root, "usr/sbin/policy-rc.d", POLICY, below)?;
    if let Some(path) = deferred {
        let path = if path.contains('/') { path.to_owned() } else { format!("usr/sbin/{path}") };
        program(&root, &path, DEFERRED, below)?;
    }
    Ok(root)
}

fn program(root: &Path, path: &str, text: &str, below: &Tree) -> Result<(), Error> {
    write(root, path, text.as_bytes(), 0o755, below)
}

/// Writes a file of the scaffold.
///
/// # Errors
/// I/O errors; a file with a name that no tree may hold.
pub fn write(root: &Path, path: &str, bytes: &[u8], mode: u32, below: &Tree) -> Result<(), Error> {
    let path = TreePath::new(path).to("name a file of the scaffold")?;
    layers::make_parents(root, &path, below).to("make the scaffold")?;
    let host = path.under(root);
    let io = |source| Error::io(Kind::Build, "write", &host, source);
    fs::write(&host, bytes).map_err(io)?;
    fs::set_permissions(&host, fs::Permissions::from_mode(mode)).map_err(io)
}

#[cfg(test)]
mod tests {
    use layers::{Content, Entry, Meta};

    use super::*;

    #[test]
    fn a_file_stands_only_where_its_package_is_and_changes_no_directory() {
        let conf = ScaffoldFile {
            path: "/etc/tool/conf.d/here.conf".into(),
            package: "tool".into(),
            text: "make = no\n".into(),
            why: "a test".into(),
        };
        let files = [conf];
        let mut tree = Tree::default();
        assert!(wanted(&files, &tree).unwrap().is_empty());
        let mut lay = |path: &str, directory_mode: u32| {
            let path = TreePath::new(path).unwrap();
            let meta = Meta { mode: directory_mode, ..Meta::default() };
            tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
            tree.insert(path, Entry::file(Content::of(b""), Meta::default())).unwrap();
        };
        lay("var/lib/dpkg/info/tools.list", 0o755);
        lay("etc/tool/conf", 0o750);
        assert!(wanted(&files, &tree).unwrap().is_empty(), "another package's");
        tree.insert(
            TreePath::new("var/lib/dpkg/info/tool.list").unwrap(),
            Entry::file(Content::of(b""), Meta::default()),
        )
        .unwrap();
        let found = wanted(&files, &tree).unwrap();
        assert_eq!(found, [&files[0]]);

        let place = tempfile::tempdir().unwrap();
        let root = scaffold(place.path(), Some("defer"), &found, &tree).unwrap();
        assert_eq!(fs::read(root.join("etc/tool/conf.d/here.conf")).unwrap(), b"make = no\n");
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("etc/tool"), mode("etc/tool/conf.d"), mode("usr/sbin/defer")), (0o750, 0o755, 0o755));
    }
}
