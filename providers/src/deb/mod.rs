//! The `deb` package family: versions, relations, indexes, archives, the choice of packages, the
//! order in which they are configured, and the data that dpkg keeps of them. All of it describes;
//! nothing here runs a command.

pub mod archive;
pub mod control;
pub mod dpkg;
pub mod error;
pub mod order;
pub mod payload;
pub mod preseed;
pub mod relation;
pub mod solve;
pub mod version;

pub use archive::{Control, read_control};
pub use control::{MultiArch, Package, Stanza};
pub use error::Error;
pub use payload::{Aliases, Owner, Payload, extract};
pub use solve::{Chosen, PackageId, RepositoryRef, Request, Solution, Universe, Unsolvable, Variant, Wish};
pub use version::Version;
