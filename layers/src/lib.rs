//! Trees, layers and the store that keeps them.
//!
//! A [`Tree`] is a whole filesystem as data; a [`Layer`] is the change from one tree to the
//! next, named by the digest of its canonical index; the [`Store`] keeps layers as plain
//! directories that overlay can mount. What the host's filesystem cannot hold (foreign owners,
//! devices, capabilities, deletions) is in the index and nowhere else.

mod answers;
mod besides;
pub mod content;
mod damage;
pub mod digest;
pub mod entry;
pub mod error;
mod forgotten;
pub mod index;
pub mod path;
mod plain;
pub mod recipe;
mod record;
mod register;
pub mod stack;
pub mod store;
pub mod tar;
pub mod tree;
mod upkeep;
pub mod workplace;

pub use answers::{Answer, Loose};
pub use content::{Contents, MemoryContents};
pub use damage::Damage;
pub use digest::{Blake3, Key, KeyBuilder, Sha256};
pub use entry::{Content, Entry, Kind, Meta, Time};
pub use error::Error;
pub use index::{Change, Layer};
pub use path::TreePath;
pub use plain::open_plain;
pub use recipe::{Input, Recipe, RecipeBuilder};
pub use register::{Flaw, Listed};
pub use stack::{Stack, make_parents, needs_materialising, plain_mode};
pub use store::{Store, StoredLayer};
pub use tree::Tree;
pub use upkeep::size_of;
pub use workplace::{Staging, Workplace, is_named_as_ours};
