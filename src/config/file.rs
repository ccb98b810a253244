//! The configuration file as it is written, in types.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::spec::decode::{Entries, Located, record};
use crate::spec::names::{FromText, OsName};
use crate::spec::typed::{RemoteCache, Repository};

record! {
    /// The global configuration of image-composer.
    ConfigFile {
        /// Where things are, and how builds run.
        core: Core,
        /// What is kept between builds.
        storage: Storage,
        /// What is shared with other machines.
        cache: Cache,
        /// How single registries are reached: by `image.base.from`, `oci push` and `oci pull`, and layer caches.
        registries: Vec<Located<Registry>>,
        /// Settings of single providers, by name.
        providers: Entries<OsName, Provider>,
    }
}

record! {
    /// Where things are, and how builds run.
    Core {
        /// Where packages, layers and images are kept. Default: `/var/cache/image-composer` for
        /// root, `$XDG_CACHE_HOME/image-composer/cache` for others.
        cache_dir: Option<HostPath>,
        /// Where builds keep what they need while they run. Default: `/var/tmp/image-composer`
        /// for root, `$XDG_CACHE_HOME/image-composer/work` for others.
        work_dir: Option<HostPath>,
        /// What is told: `debug`, `info`, `warn` or `error`. Default: `info`.
        log_level: Option<LogLevel>,
        /// How many builds may run at once with one cache directory. Default: `4`.
        max_concurrent_builds: Option<Located<u32>>,
        /// Whether a failed build removes its work. Default: `true`.
        cleanup_on_failure: Option<bool>,
    }
}

record! {
    /// What is shared with other machines.
    Cache {
        /// Layer caches in registries, asked in this order.
        remote: Vec<Located<RemoteCache>>,
    }
}

record! {
    /// How a registry is reached.
    Registry {
        /// Its name, with the port where it is not the usual one: `registry.example:5000`.
        host: Located<String>,
        /// Whether it is spoken to in plain http. Default: `false`, but for one on this machine.
        insecure: Option<bool>,
        /// A file of certificates (PEM) of further authorities.
        ca_file: Option<Located<String>>,
    }
}

record! {
    /// What is kept between builds.
    Storage {
        /// Downloaded packages.
        package_cache: PackageCache,
        /// Finished images.
        image_cache: ImageCache,
    }
}

record! {
    /// How downloaded packages are kept.
    PackageCache {
        /// Whether they are kept and used at all. Default: `true`.
        enabled: Option<bool>,
        /// Cleaning keeps at most so many GiB. Default: `10`.
        max_size_gb: Option<u32>,
        /// Cleaning keeps what was used in so many days. Default: `30`.
        retention_days: Option<u32>,
    }
}

record! {
    /// How finished images are kept.
    ImageCache {
        /// Whether they are kept and used at all. Default: `true`.
        enabled: Option<bool>,
        /// How many are kept for one spec. Default: `5`.
        max_count: Option<u32>,
    }
}

record! {
    /// Settings of one provider.
    Provider {
        /// The mirror of its own repositories. Default: the mirror that the machine's package
        /// manager uses, where the machine runs the same distribution.
        mirror: Option<Located<String>>,
        /// The public keys that may sign its own repositories, in place of those that ship with the
        /// program: the path of a keyring, or the armored text itself.
        key: Option<Located<String>>,
        /// Its repositories, in place of its own.
        repositories: Vec<Located<Repository>>,
    }
}

/// An absolute path of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPath(pub PathBuf);

impl FromText for HostPath {
    const WHAT: &'static str = "an absolute path";

    fn from_text(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("write the whole path, from '/' on".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("it contains a control character".to_owned());
        }
        Ok(Self(PathBuf::from(text)))
    }
}

impl JsonSchema for HostPath {
    fn schema_name() -> Cow<'static, str> {
        "HostPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/", "description": "an absolute path of this machine" })
    }
}

/// What is told; each level tells what those after it tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// Everything, the output of scripts included.
    Debug,
    /// Stages and what came of them.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl FromText for LogLevel {
    const WHAT: &'static str = "a log level";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err("expected debug, info, warn or error".to_owned()),
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text)
    }
}

impl JsonSchema for LogLevel {
    fn schema_name() -> Cow<'static, str> {
        "LogLevel".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["debug", "info", "warn", "warning", "error"] })
    }
}
