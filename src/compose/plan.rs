//! What dpkg would make of the next package's files on top of those that are there.
//!
//! Overlay shows the topmost layer's directory and file; dpkg keeps the first directory's mode and
//! owner, lets a file win only where Replaces allows it, and refuses the rest (dpkg, unpack
//! phase; Debian policy 7.6.1).

use std::collections::BTreeMap;

use layers::{Change, Entry, Kind, Layer, Stack, TreePath};

use super::unpack::Unpacked;
use crate::error::{Error, ResultExt};

/// Which package owns each path that is not a directory.
#[derive(Clone, Default, Debug)]
pub struct Ownership {
    owners: BTreeMap<TreePath, String>,
    /// What earlier packages say they replace.
    replaces: BTreeMap<String, Vec<String>>,
}

impl Ownership {
    /// Puts a package's layer on a stack the way dpkg would unpack it.
    ///
    /// # Errors
    /// Two packages ship the same path and neither replaces the other; a directory where another
    /// package has a link.
    pub fn stack(&mut self, package: &Unpacked, stack: &mut Stack) -> Result<(), Error> {
        let name = &package.package.name;
        let replaces = replaced_names(package);
        let mut meaning = Layer::default();
        for (path, change) in &package.layer.layer.changes {
            let Change::Set(entry) = change else { continue };
            let Some(there) = stack.tree().get(path) else {
                self.own(path, entry, name);
                meaning.changes.insert(path.clone(), change.clone());
                continue;
            };
            match (entry.is_directory(), there.is_directory()) {
                (true, true) => {}
                (true, false) => {
                    let real = stack.tree().resolve(path).to("follow links in the image")?;
                    // A link of the image to the same directory: the package's entry means that one.
                    if !stack.tree().get(&real).is_some_and(Entry::is_directory) {
                        return Err(self.collision(path, name));
                    }
                    return Err(Error::build(format!(
                        "failed to unpack {name}: it ships the directory {path}, which is a link to {real} in the image"
                    ))
                    .hint("this layout is not supported yet"));
                }
                (false, true) => return Err(self.collision(path, name)),
                (false, false) => {
                    let other = self.owners.get(path).cloned().unwrap_or_default();
                    let theirs = self.replaces.get(&other).is_some_and(|names| names.contains(name));
                    if theirs && !replaces.contains(&other) {
                        return Err(Error::build(format!(
                            "failed to unpack {name}: {other} replaces its {path} and is unpacked before it"
                        ))
                        .hint("this order is not supported yet"));
                    }
                    if !replaces.contains(&other) && entry != there && !other.is_empty() {
                        return Err(self.collision(path, name));
                    }
                    self.own(path, entry, name);
                    meaning.changes.insert(path.clone(), change.clone());
                }
            }
        }
        self.replaces.insert(name.clone(), replaces);
        stack.push_as(package.layer.clone(), &meaning).to("apply a package's layer")
    }

    fn own(&mut self, path: &TreePath, entry: &Entry, name: &str) {
        if !matches!(entry.kind, Kind::Directory) {
            self.owners.insert(path.clone(), name.to_owned());
        }
    }

    fn collision(&self, path: &TreePath, name: &str) -> Error {
        let other = self.owners.get(path).map_or("another package", String::as_str);
        Error::build(format!("failed to unpack {name}: it would overwrite {path}, which is also in {other}"))
            .hint("one of the two has to replace, divert or conflict with the other; remove one from the spec")
    }
}

fn replaced_names(package: &Unpacked) -> Vec<String> {
    let Some(field) = package.note.control.stanza().get("Replaces") else { return Vec::new() };
    field
        .split([',', '|'])
        .map(|relation| relation.split(['(', ':', '[']).next().unwrap_or("").trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}
