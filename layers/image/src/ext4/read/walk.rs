//! Every path of a file system, in the order of trees.

use std::collections::BTreeSet;

use layers::TreePath;

use super::{FileKind, Node, Volume, damaged};
use crate::Error;

/// How much a walk may find. A file system can claim far more than its medium holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of paths.
    pub entries: u64,
    /// Bytes of all files together, holes included.
    pub content_bytes: u64,
}

impl Default for Limits {
    /// Ten million paths and a tebibyte.
    fn default() -> Self {
        Self { entries: 10_000_000, content_bytes: 1 << 40 }
    }
}

impl Volume<'_> {
    /// Visits every path, the root first, parents before children, names in order.
    ///
    /// # Errors
    /// As [`Volume::node`] and [`Volume::names`]; a directory with two names; more paths than the
    /// limit; errors of the visitor.
    pub fn walk(
        &self,
        limits: &Limits,
        visit: &mut dyn FnMut(&TreePath, Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut left = limits.entries;
        let mut directories = BTreeSet::new();
        // The names of each open directory that are still to come, the last one first.
        let mut open: Vec<(TreePath, Vec<super::Name>)> = Vec::new();
        let mut enter = |path: TreePath, node: &Node, open: &mut Vec<_>| -> Result<(), Error> {
            if !directories.insert(node.number) {
                return Err(damaged(0, format!("the directory {path} is reached by two paths")));
            }
            let mut names = self.names(node, left)?;
            left -= names.len() as u64;
            names.reverse();
            open.push((path, names));
            Ok(())
        };
        let root = self.root()?;
        visit(&TreePath::root(), root.clone())?;
        enter(TreePath::root(), &root, &mut open)?;
        while let Some((directory, names)) = open.last_mut() {
            let Some(name) = names.pop() else {
                open.pop();
                continue;
            };
            let path = directory.join(&name.name)?;
            let node = self.node(name.inode)?;
            if node.kind == FileKind::Directory {
                visit(&path, node.clone())?;
                enter(path, &node, &mut open)?;
            } else {
                visit(&path, node)?;
            }
        }
        Ok(())
    }
}
