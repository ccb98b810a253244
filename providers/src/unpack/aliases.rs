//! Directories that a distribution reaches by two names.

use std::collections::BTreeMap;

use layers::TreePath;

/// Directories that are reached by another name: the `/bin -> usr/bin` of a merged /usr. What a
/// package ships below the alias belongs below the real directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aliases {
    real: BTreeMap<TreePath, TreePath>,
}

impl Aliases {
    /// Aliases from pairs of alias and real directory, such as `bin` and `usr/bin`.
    ///
    /// # Errors
    /// Paths that no tree may hold; an alias that lies in another alias, or leads to one.
    pub fn new<A: AsRef<[u8]>, R: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (A, R)>) -> Result<Self, layers::Error> {
        let mut real = BTreeMap::new();
        for (alias, target) in pairs {
            real.insert(TreePath::new(alias)?, TreePath::new(target)?);
        }
        let aliases = Self { real };
        for (alias, target) in &aliases.real {
            let plain = |path: &TreePath| path == alias || aliases.alias_of(path).is_none();
            if !plain(alias) || alias == target || aliases.alias_of(target).is_some() {
                let path = format!("{alias} -> {target}");
                return Err(layers::Error::BadPath { path, reason: "an alias leads to another alias" });
            }
        }
        Ok(aliases)
    }

    /// The aliases of a merged /usr as Debian's `usr-is-merged` has them for 64-bit architectures. The
    /// rpm distributions have no more of them than these.
    pub fn merged_usr() -> Self {
        // The pairs are sound, so the fallback is never taken.
        Self::new(
            ["bin", "sbin", "lib", "lib64", "lib32", "libx32", "libo32"].map(|name| (name, format!("usr/{name}"))),
        )
        .unwrap_or_default()
    }

    /// The aliases with their real directories.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &TreePath)> {
        self.real.iter()
    }

    pub(crate) fn alias_of(&self, path: &TreePath) -> Option<(&TreePath, &TreePath)> {
        self.real.iter().find(|(alias, _)| path == *alias || path.is_below(alias))
    }

    /// Where a path that lies below an alias really is; the alias itself stays.
    ///
    /// # Errors
    /// The real path is longer than paths may be.
    pub fn canonical(&self, path: &TreePath) -> Result<TreePath, layers::Error> {
        match self.alias_of(path) {
            Some((alias, real)) if path != alias => real.join(&path.as_bytes()[alias.as_bytes().len()..]),
            _ => Ok(path.clone()),
        }
    }
}
