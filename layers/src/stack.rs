//! Layers on top of each other: the tree they make, and where its bytes lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::error::IoContext;
use crate::store::StoredLayer;
use crate::{Blake3, Content, Contents, Error, Tree, TreePath};

/// Layers on top of each other, the bottom first.
#[derive(Clone, Default)]
pub struct Stack {
    layers: Vec<StoredLayer>,
    /// Looked up only, never walked, so its order reaches no output.
    places: HashMap<Blake3, (u32, TreePath)>,
    tree: Tree,
}

impl Stack {
    /// Puts a layer on top.
    ///
    /// # Errors
    /// Changes that do not fit the tree below.
    pub fn push(&mut self, layer: StoredLayer) -> Result<(), Error> {
        self.tree.apply(&layer.layer)?;
        let position =
            u32::try_from(self.layers.len()).map_err(|_| Error::damaged("a stack", "it has too many layers"))?;
        for (path, content) in layer.layer.files() {
            self.places.entry(content.digest).or_insert_with(|| (position, path.clone()));
        }
        self.layers.push(layer);
        Ok(())
    }

    /// The tree that the layers make.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The layers, the bottom first.
    pub fn layers(&self) -> &[StoredLayer] {
        &self.layers
    }

    /// The directories that overlay mounts, the bottom first.
    pub fn lower_directories(&self) -> Vec<PathBuf> {
        self.layers.iter().map(StoredLayer::directory).collect()
    }

    fn place(&self, content: &Content) -> Result<PathBuf, Error> {
        let (layer, path) = self.places.get(&content.digest).ok_or(Error::NoContent { digest: content.digest })?;
        let layer = self.layers.get(*layer as usize).ok_or(Error::NoContent { digest: content.digest })?;
        Ok(path.under(&layer.directory()))
    }
}

impl Contents for Stack {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, Error> {
        let path = self.place(content)?;
        Ok(Box::new(File::open(&path).at("open", path)?))
    }

    fn host_file(&self, content: &Content) -> Result<Option<File>, Error> {
        let path = self.place(content)?;
        Ok(Some(File::open(&path).at("open", path)?))
    }
}
