//! Paths inside a tree: bytes, relative, already normal.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Longest path that we accept, in bytes (Linux `PATH_MAX`, limits.h, with room for a prefix).
const PATH_BYTES_MAX: usize = 4096;
/// Longest name that Linux file systems accept, in bytes (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// A path inside a tree: no leading slash, no `.`, `..` or empty component; the root is empty.
///
/// Its order puts a directory directly before everything below it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as archives spell it (`./usr/bin/`, `/usr/bin`, `usr/bin`).
    ///
    /// # Errors
    /// `..` components, NUL bytes, and names or paths longer than Linux allows are refused.
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let text = text.as_ref();
        let refuse = |reason| Error::BadPath { path: String::from_utf8_lossy(text).into_owned(), reason };
        if text.contains(&0) {
            return Err(refuse("it contains a NUL byte"));
        }
        let mut normal = Vec::with_capacity(text.len());
        for name in text.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(refuse("it climbs out with '..'")),
                name if name.len() > NAME_BYTES_MAX => return Err(refuse("a name is longer than 255 bytes")),
                name => {
                    if !normal.is_empty() {
                        normal.push(b'/');
                    }
                    normal.extend_from_slice(name);
                }
            }
        }
        if normal.len() > PATH_BYTES_MAX {
            return Err(refuse("it is longer than 4096 bytes"));
        }
        Ok(Self(normal.into()))
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        &self.0[start..]
    }

    /// This path with `rest` below it.
    ///
    /// # Errors
    /// As [`TreePath::new`].
    pub fn join(&self, rest: impl AsRef<[u8]>) -> Result<Self, Error> {
        let mut text = self.0.to_vec();
        text.push(b'/');
        text.extend_from_slice(rest.as_ref());
        Self::new(text)
    }

    /// Whether `self` lies strictly below `directory`.
    pub fn is_below(&self, directory: &Self) -> bool {
        if directory.is_root() {
            return !self.is_root();
        }
        self.0.len() > directory.0.len() && self.0.starts_with(&directory.0) && self.0[directory.0.len()] == b'/'
    }

    /// The components from the top down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Every directory above it, from the root down, itself not included.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let root = (!self.is_root()).then(Self::root);
        let cuts = self.0.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        root.into_iter().chain(cuts.map(|(at, _)| Self(self.0[..at].into())))
    }

    /// Where this path lies below a directory of the host.
    pub fn under(&self, host: &Path) -> PathBuf {
        if self.is_root() { host.to_path_buf() } else { host.join(OsStr::from_bytes(&self.0)) }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // '/' sorts below every other byte, so that a subtree is contiguous ("a/b" before "a-b").
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        // Neighbours have much in common: eight bytes at a time.
        let ((ones, _), (twos, _)) = (self.0.as_chunks::<8>(), other.0.as_chunks::<8>());
        let equal = 8 * ones.iter().zip(twos).take_while(|(one, two)| one == two).count();
        let (one, two) = (&self.0[equal..], &other.0[equal..]);
        match one.iter().zip(two).find(|(one, two)| one != two) {
            Some((&one, &two)) => rank(one).cmp(&rank(two)),
            None => one.len().cmp(&two.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn spellings_of_archives_mean_the_same() {
        assert_eq!(path("./usr//bin/"), path("/usr/bin"));
        assert!(path("./").is_root());
        assert!(TreePath::new("a/../b").is_err());
        assert!(TreePath::new(b"a\0b").is_err());
        assert!(TreePath::new(vec![b'x'; 256]).is_err());
    }

    #[test]
    fn a_subtree_is_contiguous() {
        let mut paths = [path("a-b"), path("a/b"), path("a"), path("a/b/c"), path("a.d")];
        paths.sort();
        let texts: Vec<String> = paths.iter().map(|p| p.to_string()).collect();
        assert_eq!(texts, ["/a", "/a/b", "/a/b/c", "/a-b", "/a.d"]);
    }

    #[test]
    fn parents_and_ancestors() {
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        let above: Vec<String> = path("a/b/c").ancestors().map(|p| p.to_string()).collect();
        assert_eq!(above, ["/", "/a", "/a/b"]);
        assert!(path("a/b").is_below(&path("a")) && !path("ab").is_below(&path("a")));
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_bytes_with_the_slash_first(one in "[a/.-]{0,20}", two in "[a/.-]{0,20}") {
            let (Ok(one), Ok(two)) = (TreePath::new(one), TreePath::new(two)) else { return Ok(()) };
            let ranks = |path: &TreePath| -> Vec<u8> {
                path.as_bytes().iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
            };
            proptest::prop_assert_eq!(one.cmp(&two), ranks(&one).cmp(&ranks(&two)));
        }
    }
}
