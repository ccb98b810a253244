//! The global configuration: what holds for every build on a machine.
//!
//! [`file`] is what a person writes; [`Config`] is what it means, with every default. Precedence
//! is command line, spec, file, defaults: [`Overrides`] carries what the command line says.

pub mod file;
mod settle;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::spec::resolved::{RemoteCache, Repository};

pub use file::LogLevel;
pub use settle::{Defaults, Overrides, load};

/// The global configuration with every default applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The file it was read from; `None`: there is none, and all are defaults.
    pub file: Option<PathBuf>,
    /// Where packages, layers and images are kept; absolute.
    pub cache_dir: PathBuf,
    /// Where builds keep what they need while they run; absolute.
    pub work_dir: PathBuf,
    /// Directories of provider files, each of which may replace what those before it say.
    pub provider_directories: Vec<PathBuf>,
    /// What is told.
    pub log_level: LogLevel,
    /// How many builds may run at once with one cache directory; at least 1.
    pub max_concurrent_builds: u32,
    /// Whether a failed build removes its work.
    pub cleanup_on_failure: bool,
    /// Keeping packages.
    pub package_cache: PackageCache,
    /// Keeping images.
    pub image_cache: ImageCache,
    /// Layer caches in registries.
    pub remotes: Vec<RemoteCache>,
    /// How single registries are reached.
    pub registries: Vec<RegistryConfig>,
    /// Settings of single providers, by name.
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// How a registry is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryConfig {
    /// The registry.
    pub host: registry::Host,
    /// Whether it is spoken to in plain http.
    pub insecure: bool,
    /// A file of certificates of further authorities, absolute.
    pub ca_file: Option<PathBuf>,
}

/// How downloaded packages are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackageCache {
    /// Whether they are kept and used at all.
    pub enabled: bool,
    /// Cleaning keeps at most this much, in bytes.
    pub max_bytes: u64,
    /// Cleaning keeps what was used in so many days.
    pub retention_days: u32,
}

/// How finished images are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageCache {
    /// Whether they are kept and used at all.
    pub enabled: bool,
    /// How many are kept for one spec.
    pub max_count: u32,
}

/// Settings of one provider.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProviderConfig {
    /// The mirror of its own repositories, in place of the machine's and the default.
    pub mirror: Option<String>,
    /// The keyring that its own repositories are believed by, in place of the built-in keys.
    pub key: Option<Vec<u8>>,
    /// Its repositories; where there are any, they replace the provider's own.
    pub repositories: Vec<Repository>,
}
