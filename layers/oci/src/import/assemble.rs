//! What the members of a tar come to: the changes of a layer, whatever their order was.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Change, Entry, Kind, Layer, Meta, Stack, Time, TreePath};

use super::files::Files;
use super::unpack::{Failed, refuse};

pub(super) struct Assembly<'b> {
    below: &'b Stack,
    entries: BTreeMap<TreePath, Entry>,
    /// Directories that no member has: whoever comes for one of them says what it is.
    implied: BTreeSet<TreePath>,
    gone: BTreeSet<TreePath>,
    opaque: BTreeSet<TreePath>,
    /// Other names, by the path that the tar has the file at.
    links: BTreeMap<TreePath, TreePath>,
    /// Files of the layers below that got a name in this one, and the path that they have there.
    copied: Vec<(TreePath, TreePath)>,
}

impl<'b> Assembly<'b> {
    pub(super) fn new(below: &'b Stack) -> Self {
        Self {
            below,
            entries: BTreeMap::new(),
            implied: BTreeSet::new(),
            gone: BTreeSet::new(),
            opaque: BTreeSet::new(),
            links: BTreeMap::new(),
            copied: Vec::new(),
        }
    }

    /// Sees that a path can have a new entry: it has none yet, and what is above it is a directory.
    /// Members that replace each other mean different trees to different readers.
    pub(super) fn expect(&mut self, path: &TreePath) -> Result<(), Failed> {
        if path.is_root() {
            return refuse(path, "the root is not a directory");
        }
        if self.entries.contains_key(path) {
            return refuse(path, "it comes twice");
        }
        self.parents(path)
    }

    fn parents(&mut self, path: &TreePath) -> Result<(), Failed> {
        for above in path.ancestors() {
            match self.entries.get(&above) {
                Some(entry) if entry.is_directory() => continue,
                Some(_) => return refuse(path, "it lies below something that is not a directory"),
                None => {}
            }
            match self.below.tree().get(&above) {
                Some(entry) if entry.is_directory() => {}
                // One reader would follow the link, another replace it.
                Some(_) => return refuse(path, "what is above it is not a directory in the layers below"),
                None => self.imply(above),
            }
        }
        Ok(())
    }

    /// A directory that nothing is said of.
    fn imply(&mut self, path: TreePath) {
        self.entries.insert(path.clone(), Entry::directory(Meta::root_owned(0o755, Time::default())));
        self.implied.insert(path);
    }

    pub(super) fn add(&mut self, path: TreePath, entry: Entry) {
        self.entries.insert(path, entry);
    }

    pub(super) fn directory(&mut self, path: &TreePath, entry: Entry) -> Result<(), Failed> {
        if self.entries.get(path).is_some_and(|there| !there.is_directory()) {
            return refuse(path, "it comes twice");
        }
        self.parents(path)?;
        // Said twice of a directory, the last is what any reader ends with.
        self.implied.remove(path);
        self.entries.insert(path.clone(), entry);
        Ok(())
    }

    pub(super) fn opaque(&mut self, directory: TreePath) -> Result<(), Failed> {
        self.opaque.insert(directory);
        Ok(())
    }

    pub(super) fn gone(&mut self, path: TreePath) -> Result<(), Failed> {
        self.gone.insert(path);
        Ok(())
    }

    /// Another name of a file that came before, or that a layer below has.
    pub(super) fn link(&mut self, path: TreePath, target: &TreePath, files: &mut Files<'_>) -> Result<(), Failed> {
        let file = self.links.get(target).unwrap_or(target).clone();
        if file == path {
            return refuse(&path, "it is a link to itself");
        }
        if let Some(entry) = self.entries.get(&file) {
            if entry.is_directory() {
                return refuse(&path, "it is a hard link to a directory");
            }
            files.link(&path, &file, &entry.kind)?;
            // Its place is taken; what it is follows at the end.
            self.entries.insert(path.clone(), entry.clone());
            self.links.insert(path, file);
            return Ok(());
        }
        let tree = self.below.tree();
        let lower = match tree.get(&file) {
            Some(Entry { kind: Kind::HardLink(first), .. }) => first.clone(),
            Some(entry) if !entry.is_directory() => file,
            _ => return refuse(&path, "it is a hard link to a file that is not there"),
        };
        let Some(entry) = tree.get(&lower) else {
            return refuse(&path, "it is a hard link to a file that is not there");
        };
        match &entry.kind {
            Kind::File(content) => files.copy_up(&path, content)?,
            Kind::Symlink(target) => files.symlink(&path, target)?,
            _ => {}
        }
        self.entries.insert(path.clone(), entry.clone());
        self.copied.push((path, lower));
        Ok(())
    }

    /// Whether this layer hides what the layers below have at a path.
    fn hidden(&self, path: &TreePath) -> bool {
        self.gone.contains(path)
            || path.ancestors().any(|above| self.gone.contains(&above) || self.opaque.contains(&above))
    }

    pub(super) fn finish(mut self, files: &mut Files<'_>) -> Result<Layer, Failed> {
        self.name_copies(files)?;
        self.name_directories(files)?;
        files.finish(self.entries.iter().rev())?;
        self.settle_links();
        let tree = self.below.tree();
        let mut changes = BTreeMap::new();
        for (path, entry) in &self.entries {
            let hides = self.gone.contains(path) || self.opaque.contains(path);
            let change = match entry.is_directory() && hides {
                true => Change::Replace(entry.clone()),
                false => Change::Set(entry.clone()),
            };
            changes.insert(path.clone(), change);
        }
        for path in &self.gone {
            // Below something else that is hidden there is nothing left to hide.
            let covered = path.ancestors().any(|above| self.gone.contains(&above) || self.opaque.contains(&above));
            if !self.entries.contains_key(path) && !covered && tree.get(path).is_some() {
                changes.insert(path.clone(), Change::Remove);
            }
        }
        Ok(Layer { changes })
    }

    /// The other names that a copied file has below are names of the copy.
    fn name_copies(&mut self, files: &Files<'_>) -> Result<(), Failed> {
        if self.copied.is_empty() {
            return Ok(());
        }
        let mut homes: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        for (path, lower) in std::mem::take(&mut self.copied) {
            match homes.get(&lower) {
                // A second name for the same file of the layers below.
                Some(home) => {
                    self.links.insert(path, home.clone());
                }
                None => {
                    homes.insert(lower, path);
                }
            }
        }
        let tree = self.below.tree();
        for (path, entry) in tree.iter() {
            let lower = if let Kind::HardLink(first) = &entry.kind { first } else { path };
            let Some(home) = homes.get(lower) else { continue };
            if self.entries.contains_key(path) || self.hidden(path) {
                continue;
            }
            let Some(copy) = self.entries.get(home).cloned() else { continue };
            files.link(path, home, &copy.kind)?;
            self.entries.insert(path.clone(), copy);
            self.links.insert(path.clone(), home.clone());
        }
        Ok(())
    }

    /// Directories that are here only because something is below them, although this layer hides
    /// what the layers below had there; and opaque ones that are told by nothing else.
    fn name_directories(&mut self, files: &Files<'_>) -> Result<(), Failed> {
        let tree = self.below.tree();
        let mut missing = BTreeSet::new();
        for path in self.entries.keys() {
            missing.extend(path.ancestors().filter(|above| !self.entries.contains_key(above) && self.hidden(above)));
        }
        for path in missing {
            self.imply(path);
        }
        for path in self.opaque.clone() {
            if self.entries.contains_key(&path) || self.hidden(&path) {
                continue;
            }
            // Where there is nothing, there is nothing to hide either.
            if let Some(entry) = tree.get(&path).filter(|entry| entry.is_directory()) {
                self.entries.insert(path.clone(), entry.clone());
                files.directory(&path)?;
            }
        }
        for path in &self.implied {
            files.directory(path)?;
        }
        Ok(())
    }

    /// The name that comes first in the order of paths is the file, the others are links to it.
    fn settle_links(&mut self) {
        let mut names: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
        for (path, file) in &self.links {
            names.entry(file.clone()).or_default().push(path.clone());
        }
        for (file, mut all) in names {
            let Some(entry) = self.entries.get(&file).cloned() else { continue };
            all.push(file);
            all.sort();
            let mut all = all.into_iter();
            let Some(first) = all.next() else { continue };
            for path in all {
                let link = Entry { kind: Kind::HardLink(first.clone()), meta: Meta::default() };
                self.entries.insert(path, link);
            }
            self.entries.insert(first, entry);
        }
    }
}
