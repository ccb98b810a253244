//! Features by the names that mke2fs.conf uses (ext4 docs, "Super Block": feature flags).

use super::unsupported;
use crate::Error;

/// One feature: the word of the superblock that holds it, and its bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    word: usize,
    bit: u32,
}

const COMPATIBLE: usize = 0;
const INCOMPATIBLE: usize = 1;
const READ_ONLY_COMPATIBLE: usize = 2;

macro_rules! features {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $word:ident, $bit:literal;)*) => {
        impl Feature {
            $($(#[$doc])* pub const $constant: Self = Self { word: $word, bit: $bit };)*
        }
        const NAMES: &[(&str, Feature)] = &[$(($name, Feature::$constant)),*];
    };
}

features! {
    /// A journal.
    HAS_JOURNAL = "has_journal", COMPATIBLE, 0x4;
    /// Extended attributes.
    EXT_ATTR = "ext_attr", COMPATIBLE, 0x8;
    /// Room for group descriptors to grow while mounted.
    RESIZE_INODE = "resize_inode", COMPATIBLE, 0x10;
    /// Hashed directories.
    DIR_INDEX = "dir_index", COMPATIBLE, 0x20;
    /// A file that holds the list of orphans.
    ORPHAN_FILE = "orphan_file", COMPATIBLE, 0x1000;
    /// Directory entries know the kind of what they name.
    FILETYPE = "filetype", INCOMPATIBLE, 0x2;
    /// Files are mapped by extents.
    EXTENT = "extent", INCOMPATIBLE, 0x40;
    /// 64-bit block numbers, 64-byte group descriptors.
    BITS_64 = "64bit", INCOMPATIBLE, 0x80;
    /// Metadata of several groups lies together.
    FLEX_BG = "flex_bg", INCOMPATIBLE, 0x200;
    /// The checksum seed is kept, so that the UUID can change.
    METADATA_CSUM_SEED = "metadata_csum_seed", INCOMPATIBLE, 0x2000;
    /// Backups of the superblock in few groups.
    SPARSE_SUPER = "sparse_super", READ_ONLY_COMPATIBLE, 0x1;
    /// Files of 2 GiB and more.
    LARGE_FILE = "large_file", READ_ONLY_COMPATIBLE, 0x2;
    /// Files of 2 TiB and more.
    HUGE_FILE = "huge_file", READ_ONLY_COMPATIBLE, 0x8;
    /// Checksums of group descriptors alone, by CRC-16.
    UNINIT_BG = "uninit_bg", READ_ONLY_COMPATIBLE, 0x10;
    /// Directories with more than 65,000 directories in them.
    DIR_NLINK = "dir_nlink", READ_ONLY_COMPATIBLE, 0x20;
    /// Inodes say how much of them is used.
    EXTRA_ISIZE = "extra_isize", READ_ONLY_COMPATIBLE, 0x40;
    /// Checksums of all metadata, by CRC-32C.
    METADATA_CSUM = "metadata_csum", READ_ONLY_COMPATIBLE, 0x400;
}

/// Blocks from which on there is a journal (libext2fs, ext2fs_default_journal_size).
pub(super) const JOURNAL_FROM: u64 = 2048;

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    words: [u32; 3],
}

/// What every release's mke2fs.conf has under `base_features`.
const BASE: &str = "sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr";
/// What e2fsprogs 1.47.0 as Debian 12 ships it has under `ext4` in mke2fs.conf.
const EXT4: &str = "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize";

impl Default for Features {
    /// Those of Debian 12's mke2fs.conf.
    fn default() -> Self {
        let mut features = Self { words: [0; 3] };
        for name in BASE.split(',').chain(EXT4.split(',')) {
            if let Some((_, feature)) = NAMES.iter().find(|(known, _)| *known == name) {
                features = features.with(*feature);
            }
        }
        features
    }
}

impl Features {
    /// Reads a list as mke2fs.conf has it under `features` of `ext4`: names separated by commas
    /// or blanks, on top of mke2fs.conf's usual `base_features`; `^name` takes one away.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for names that this writer does not know, and for sets it cannot
    /// write.
    pub fn parse(list: &str) -> Result<Self, Error> {
        let mut features = Self { words: [0; 3] };
        let names = list.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty());
        for name in BASE.split(',').chain(names) {
            let (bare, wanted) = match name.strip_prefix('^') {
                Some(bare) => (bare, false),
                None => (name, true),
            };
            let Some((_, feature)) = NAMES.iter().find(|(known, _)| *known == bare) else {
                return Err(unsupported(format!("the feature {bare:?}"), "it is not one that we write"));
            };
            features = if wanted { features.with(*feature) } else { features.without(*feature) };
        }
        features.check()?;
        Ok(features)
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, feature: Feature) -> Self {
        self.words[feature.word] |= feature.bit;
        self
    }

    /// These but one.
    #[must_use]
    pub fn without(mut self, feature: Feature) -> Self {
        self.words[feature.word] &= !feature.bit;
        self
    }

    /// Whether a feature is among them.
    pub fn has(&self, feature: Feature) -> bool {
        self.words[feature.word] & feature.bit != 0
    }

    /// Those that a file system of so many blocks can have, as mke2fs drops them: below 2048 blocks
    /// there is no room for a journal; past 2^32 the resize inode cannot map.
    pub(super) fn at(self, blocks: u64) -> Self {
        let mut features = self;
        if blocks < JOURNAL_FROM {
            features = features.without(Feature::HAS_JOURNAL).without(Feature::ORPHAN_FILE);
        }
        if blocks > u64::from(u32::MAX) {
            features = features.without(Feature::RESIZE_INODE);
        }
        features
    }

    /// Whether group descriptors have checksums, which also lets groups stay unwritten.
    pub(super) fn has_group_checksums(&self) -> bool {
        self.has(Feature::METADATA_CSUM) || self.has(Feature::UNINIT_BG)
    }

    /// The three words of the superblock: compatible, incompatible, read-only compatible.
    pub(super) fn words(&self) -> [u32; 3] {
        self.words
    }

    /// The names of the features, in the order of the superblock's words.
    pub fn names(&self) -> Vec<&'static str> {
        NAMES.iter().filter(|(_, feature)| self.has(*feature)).map(|(name, _)| *name).collect()
    }

    pub(super) fn from_words(words: [u32; 3]) -> Self {
        Self { words }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        for (needed, name) in [
            (Feature::EXTENT, "extent"),
            (Feature::FILETYPE, "filetype"),
            (Feature::SPARSE_SUPER, "sparse_super"),
            (Feature::LARGE_FILE, "large_file"),
        ] {
            if !self.has(needed) {
                return Err(unsupported(format!("features without {name}"), "this writer always uses it"));
            }
        }
        if self.has(Feature::METADATA_CSUM) && self.has(Feature::UNINIT_BG) {
            return Err(unsupported("metadata_csum with uninit_bg", "each is a checksum of its own, take one"));
        }
        if self.has(Feature::METADATA_CSUM_SEED) && !self.has(Feature::METADATA_CSUM) {
            return Err(unsupported("metadata_csum_seed", "it needs metadata_csum"));
        }
        if self.has(Feature::ORPHAN_FILE) && !self.has(Feature::HAS_JOURNAL) {
            return Err(unsupported("orphan_file", "it needs has_journal"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_mke2fs_conf_is_read() {
        let newer = Features::parse(
            "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,orphan_file",
        )
        .unwrap();
        assert!(newer.has(Feature::ORPHAN_FILE) && newer.has(Feature::RESIZE_INODE));
        assert_eq!(Features::parse(EXT4).unwrap(), Features::default());
        assert!(!Features::parse("extent ^resize_inode").unwrap().has(Feature::RESIZE_INODE));
        assert!(Features::parse("extent,casefold").is_err());
        assert!(Features::parse("has_journal").is_err(), "without extents");
    }
}
