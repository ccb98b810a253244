//! All provider files that there are, by name: ours, and those of the configuration directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::facts::FORMAT;
use super::{Distro, Error, Family, RepositoryFacts, scaffold};
use crate::trust::Keyring;

/// The largest provider or key file read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The provider files that ship with the program.
const EMBEDDED: &[(&str, &str)] = &[
    ("azurelinux-3.0.yaml", include_str!("../../data/azurelinux-3.0.yaml")),
    ("debian-12.yaml", include_str!("../../data/debian-12.yaml")),
    ("debian-13.yaml", include_str!("../../data/debian-13.yaml")),
    ("elxr-12.yaml", include_str!("../../data/elxr-12.yaml")),
    ("elxr-13.yaml", include_str!("../../data/elxr-13.yaml")),
    ("emt-3.0.yaml", include_str!("../../data/emt-3.0.yaml")),
    ("redhat-10.yaml", include_str!("../../data/redhat-10.yaml")),
    ("ubuntu-22.04.yaml", include_str!("../../data/ubuntu-22.04.yaml")),
    ("ubuntu-24.04.yaml", include_str!("../../data/ubuntu-24.04.yaml")),
];

/// The key files that ship with the program.
const EMBEDDED_KEYS: &[(&str, &str)] = &[
    ("debian.asc", include_str!("../../data/keys/debian.asc")),
    ("ubuntu.asc", include_str!("../../data/keys/ubuntu.asc")),
];

/// The provider files that there are.
#[derive(Debug, Clone)]
pub struct Catalogue {
    distros: BTreeMap<(String, String), Distro>,
    /// Directories whose `keys/` is searched before the embedded ones.
    directories: Vec<PathBuf>,
}

impl Catalogue {
    /// Those that ship with the program.
    ///
    /// # Errors
    /// A file is not well-formed, which a test rules out.
    pub fn embedded() -> Result<Self, Error> {
        let mut catalogue = Self { distros: BTreeMap::new(), directories: Vec::new() };
        for (name, text) in EMBEDDED {
            catalogue.add(name, text)?;
        }
        Ok(catalogue)
    }

    /// Adds the `*.yaml` files of a directory, in order of their names; a release that is already
    /// known is replaced. A directory that does not exist adds nothing. Key files are looked for
    /// in its `keys/` from now on.
    ///
    /// # Errors
    /// A file cannot be read, or is not well-formed.
    pub fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        let fail = |verb, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::File { verb, path, source }
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail("read the directory", directory)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail("read the directory", directory))?.path();
            if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            let name = path.display().to_string();
            let text = read_text(&path)?.ok_or_else(|| Error::Content {
                name: name.clone(),
                sentence: format!("it is larger than {MAX_FILE} bytes, or not text"),
            })?;
            self.add(&name, &text)?;
        }
        self.directories.insert(0, directory.to_path_buf());
        Ok(())
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let distro: Distro = serde_saphyr::from_str(text)
            .map_err(|source| Error::Syntax { name: name.into(), source: Box::new(source) })?;
        check(&distro).map_err(|sentence| Error::Content { name: name.into(), sentence })?;
        self.distros.insert((distro.os.clone(), distro.version.clone()), distro);
        Ok(())
    }

    /// All that images can be built of, sorted by name and version.
    pub fn distros(&self) -> impl Iterator<Item = &Distro> {
        self.described().filter(|distro| distro.family.is_supported())
    }

    /// All that there are files of, sorted by name and version; of some no image can be built yet.
    pub fn described(&self) -> impl Iterator<Item = &Distro> {
        self.distros.values()
    }

    /// One release, by its version or another of its names.
    ///
    /// # Errors
    /// There is none, the error says which there are; or no image can be built of it yet.
    pub fn find(&self, os: &str, version: &str) -> Result<&Distro, Error> {
        let of_os: Vec<&Distro> = self.described().filter(|distro| distro.os == os).collect();
        if of_os.is_empty() {
            let mut known: Vec<String> = self.distros().map(|distro| distro.os.clone()).collect();
            known.dedup();
            return Err(Error::UnknownOs { os: os.into(), known });
        }
        let is_called = |distro: &&&Distro| distro.version == version || distro.aliases.contains(version);
        match of_os.iter().find(is_called) {
            Some(distro) if distro.family.is_supported() => Ok(distro),
            Some(distro) => {
                Err(Error::NotSupported { os: os.into(), version: distro.version.clone(), family: distro.family })
            }
            None => Err(Error::UnknownVersion {
                os: os.into(),
                version: version.into(),
                known: of_os.iter().map(|distro| distro.version.clone()).collect(),
            }),
        }
    }

    /// The keys of one of a release's repositories: of its key file, those whose fingerprints the
    /// provider file pins.
    ///
    /// # Errors
    /// [`Error::NoKey`] when there is no key file, which the user's configuration can mend.
    pub fn keyring(&self, distro: &Distro, repository: &RepositoryFacts) -> Result<Keyring, Error> {
        let none = || Error::NoKey {
            os: distro.os.clone(),
            repository: repository.id.to_string(),
            published: repository.key_url.clone(),
        };
        let file = repository.keys.as_deref().ok_or_else(none)?;
        let text = self.key_file(file)?.ok_or_else(none)?;
        Keyring::parse(text.as_bytes())
            .and_then(|keyring| keyring.pinned(&repository.fingerprints))
            .map_err(|source| Error::Key { os: distro.os.clone(), repository: repository.id.to_string(), source })
    }

    fn key_file(&self, name: &str) -> Result<Option<String>, Error> {
        for directory in &self.directories {
            if let Some(text) = read_text(&directory.join("keys").join(name))? {
                return Ok(Some(text));
            }
        }
        Ok(EMBEDDED_KEYS.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }
}

fn read_text(path: &Path) -> Result<Option<String>, Error> {
    crate::cache::read_bounded(path, MAX_FILE)
        .map(|bytes| bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
        .map_err(|error| Error::File { verb: error.verb, path: error.path, source: error.source })
}

/// What the types cannot say.
fn check(distro: &Distro) -> Result<(), String> {
    if distro.format != FORMAT {
        return Err(format!("it has format {}, this program reads format {FORMAT}", distro.format));
    }
    for repository in &distro.repositories {
        let id = &repository.id;
        check_places(distro, repository).map_err(|sentence| format!("repository {id}: {sentence}"))?;
        if let Some(name) = &repository.keys {
            if name.contains('/') || name.starts_with('.') {
                return Err(format!("repository {id}: the key file {name:?} is not a plain name"));
            }
            if repository.fingerprints.is_empty() {
                return Err(format!("repository {id} has a key file, but pins no fingerprint"));
            }
        }
    }
    for architecture in distro.architectures.keys() {
        if distro.repositories_for(architecture).next().is_none() {
            return Err(format!("no repository serves {architecture}"));
        }
    }
    distro.scaffold.iter().try_for_each(scaffold::check)
}

/// Whether a repository can be found as its family looks for it.
fn check_places(distro: &Distro, repository: &RepositoryFacts) -> Result<(), String> {
    let lists: Vec<&String> = repository.metalink.iter().chain(&repository.mirrorlist).collect();
    for architecture in distro.architectures.keys() {
        let of = |url: &str| repository.for_architecture(url, architecture);
        crate::fetch::BaseUrl::parse(&of(&repository.url)).map_err(|error| error.to_string())?;
        for list in &lists {
            crate::fetch::DocumentUrl::parse(&of(list)).map_err(|error| error.to_string())?;
        }
    }
    match distro.family {
        Family::Deb if repository.suites.is_empty() => Err("it has no suites".into()),
        Family::Deb if !lists.is_empty() => Err("deb repositories have no metalink and no mirrorlist".into()),
        Family::Deb if !repository.gpgcheck || !repository.repo_gpgcheck => {
            Err("gpgcheck and repo_gpgcheck are for rpm repositories".into())
        }
        Family::Deb if repository.url.contains("{arch}") => Err("the URL of a deb repository has no {arch}".into()),
        Family::Rpm if !repository.suites.is_empty() || !repository.components.is_empty() => {
            Err("rpm repositories have no suites and no components".into())
        }
        Family::Rpm if repository.mirror.is_some() => Err("only deb repositories have mirrors by rule".into()),
        Family::Rpm if !repository.gpgcheck && !repository.repo_gpgcheck => {
            Err("neither its metadata nor its packages are signed".into())
        }
        _ => Ok(()),
    }
}
