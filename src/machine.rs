//! What this machine says about itself and its configuration: read once, at the edge of the
//! program.

use std::path::Path;

use providers::mirror::SourceFile;

use crate::error::Error;
use crate::spec::resolved::Repository;

/// Largest configuration file of apt that is read, in bytes.
const SOURCE_FILE_MAX: u64 = 1 << 20;

/// What this machine says about itself.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `ID` of os-release(5).
    pub os: String,
    /// apt's source files.
    pub apt_sources: Vec<SourceFile>,
    /// Repositories and mirrors of the global configuration, by provider.
    pub providers: std::collections::BTreeMap<String, ProviderSettings>,
}

/// What the global configuration says of one provider.
#[derive(Clone, Debug, Default)]
pub struct ProviderSettings {
    /// Replace the provider's own.
    pub repositories: Vec<Repository>,
    /// Serves the provider's own.
    pub mirror: Option<String>,
    /// The keyring that the provider's own are believed by, in place of the built-in keys.
    pub key: Option<Vec<u8>>,
}

impl Machine {
    /// Reads os-release and apt's sources; what is not there is empty.
    pub fn read() -> Self {
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let os = os_release
            .lines()
            .find_map(|line| line.strip_prefix("ID="))
            .map(|id| id.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default();
        let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
        if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        }
        files.sort();
        let apt_sources = files
            .into_iter()
            .filter(|path| path.metadata().is_ok_and(|meta| meta.len() <= SOURCE_FILE_MAX))
            .filter_map(|path| {
                let bytes = std::fs::read(&path).ok()?;
                Some(SourceFile { name: path.to_string_lossy().into_owned(), bytes })
            })
            .collect();
        Self { os, apt_sources, providers: Default::default() }
    }

    /// The repositories that the configuration gives a provider; empty: the provider's own.
    ///
    /// # Errors
    /// None at present.
    pub fn provider_repositories(&self, os: &str) -> Result<Vec<Repository>, Error> {
        Ok(self.providers.get(os).map(|settings| settings.repositories.clone()).unwrap_or_default())
    }

    /// The keyring that the configuration gives a provider.
    pub fn key(&self, os: &str) -> Option<&[u8]> {
        self.providers.get(os).and_then(|settings| settings.key.as_deref())
    }

    /// The mirror that the configuration gives a provider.
    pub fn mirror(&self, os: &str) -> Option<String> {
        self.providers.get(os).and_then(|settings| settings.mirror.clone())
    }
}
