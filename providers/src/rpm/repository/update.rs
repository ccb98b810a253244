//! Brings repositories up to date: repomd.xml, checks, documents, memory.

use std::collections::BTreeMap;
use std::io::Read;

use layers::Sha256;

use super::document::{ADVISORIES, Documents, FILELISTS, GROUPS, MODULES, PRIMARY};
use super::kept::{self, Kept};
use super::source::{Genuine, Place};
use super::{Error, Repository};
use crate::cache::CacheDir;
use crate::fetch::{BaseUrl, Fetcher, FileRequest};
use crate::repository::{RepositoryId, at_once};
use crate::rpm::Package;
use crate::rpm::metadata::{
    self, Advisory, Filter, Groups, Modules, WantedFiles, complete, read_advisories, read_primary,
};
use crate::trust::{Fingerprint, UnixTime};

/// A repomd.xml that is genuine, as far as the repository promises it, and current.
#[derive(Debug, Clone)]
pub struct VerifiedRepomd {
    /// Whose.
    pub repository: RepositoryId,
    /// The repository's canonical URL.
    pub url: BaseUrl,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// When the repository was last changed.
    pub date: UnixTime,
    /// The keys that vouch for it; empty when only packages are signed, or the user wanted none.
    pub signers: Vec<Fingerprint>,
    /// Where it came from, without credentials; none when from the cache.
    pub from: Option<String>,
}

/// What one repository has to offer.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The document that vouches for all else.
    pub repomd: VerifiedRepomd,
    /// Its packages, in the order of primary.xml, for all architectures.
    pub packages: Vec<Package>,
    /// Its modules; empty when it has none.
    pub modules: Modules,
    documents: Documents,
}

/// What repositories have to offer.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Of each, in the order given.
    pub repositories: Vec<Metadata>,
}

impl Update {
    /// The date of the newest repository: the epoch of a lock made from them.
    pub fn epoch(&self) -> Option<UnixTime> {
        self.repositories.iter().map(|metadata| metadata.repomd.date).max()
    }

    /// What hides the packages of module streams that are not active: see [`Modules::filter`].
    pub fn filter(&self, enabled: &BTreeMap<String, String>) -> Filter {
        let mut all = Modules::default();
        for metadata in &self.repositories {
            all.merge(metadata.modules.clone());
        }
        all.filter(enabled)
    }

    /// The groups of all repositories.
    ///
    /// # Errors
    /// A document that did not arrive or is not what it should be.
    pub fn groups(&self, fetcher: &Fetcher, cache: &CacheDir) -> Result<Groups, Error> {
        let mut all = Groups::default();
        for metadata in &self.repositories {
            all.merge(metadata.groups(fetcher, cache)?);
        }
        Ok(all)
    }
}

impl Metadata {
    /// Its groups (comps.xml), fetched when first asked for; empty when it has none.
    ///
    /// # Errors
    /// The document did not arrive or is not what it should be.
    pub fn groups(&self, fetcher: &Fetcher, cache: &CacheDir) -> Result<Groups, Error> {
        Ok(self.documents.read(&GROUPS, fetcher, cache, |input| Groups::parse(input))?.unwrap_or_default())
    }

    /// Its advisories (updateinfo.xml), fetched when first asked for; empty when it has none.
    ///
    /// # Errors
    /// The document did not arrive or is not what it should be.
    pub fn advisories(&self, fetcher: &Fetcher, cache: &CacheDir) -> Result<Vec<Advisory>, Error> {
        Ok(self.documents.read(&ADVISORIES, fetcher, cache, |input| read_advisories(input))?.unwrap_or_default())
    }

    /// Adds the wanted files to the packages that have them (filelists.xml, fetched when first asked
    /// for), and gives the number of paths added.
    ///
    /// # Errors
    /// The document did not arrive, is not there, or is not what it should be; then the packages are
    /// as before.
    pub fn complete_files(
        &mut self,
        wanted: &WantedFiles,
        fetcher: &Fetcher,
        cache: &CacheDir,
    ) -> Result<usize, Error> {
        if matches!(wanted, WantedFiles::Paths(paths) if paths.is_empty()) {
            return Ok(0);
        }
        // Nothing may show before the whole document has been hashed.
        let before: Vec<usize> = self.packages.iter().map(|package| package.files.len()).collect();
        let packages = &mut self.packages;
        let added = self.documents.need(&FILELISTS, fetcher, cache, |input| complete(input, packages, wanted));
        if added.is_err() {
            for (package, length) in self.packages.iter_mut().zip(before) {
                package.files.truncate(length);
            }
        }
        added
    }

    /// How one of its packages is to be fetched.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] when its `xml:base` leads to another server.
    pub fn request(&self, package: &Package) -> Result<FileRequest, Error> {
        let what = format!("{}-{}.{}", package.name, package.evr, package.architecture);
        let mirrors = match &package.location.base {
            None => self.documents.sources.clone(),
            Some(base) => {
                let elsewhere = || Error::Elsewhere {
                    repository: self.repomd.repository.clone(),
                    package: what.clone(),
                    base: base.to_string(),
                };
                let resolved = self.repomd.url.resolve(base).map_err(|_| elsewhere())?;
                if !resolved.has_origin_of(&self.repomd.url) {
                    return Err(elsewhere());
                }
                vec![resolved]
            }
        };
        let paths = vec![package.location.path.to_string()];
        Ok(FileRequest { what, mirrors, paths, size: package.size, sha256: package.sha256 })
    }
}

/// Repositories whose repomd.xml is genuine and current, and whose documents are still to be read.
pub struct Opening<'a> {
    opened: Vec<Opened<'a>>,
}

struct Opened<'a> {
    repository: &'a Repository,
    verified: VerifiedRepomd,
    documents: Documents,
    memory: Option<Kept>,
    kept: Kept,
}

/// Fetches and verifies repomd.xml of several repositories, all at once.
///
/// # Errors
/// The first repository that fails, in the order given; none is left out.
pub fn open_all<'a>(
    repositories: &'a [Repository],
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Opening<'a>, Error> {
    let opened = at_once(repositories.iter().collect(), |repository| open(repository, fetcher, cache, now))?;
    Ok(Opening { opened })
}

/// Brings several repositories up to date, all at once.
///
/// # Errors
/// The first repository that fails, in the order given; none is left out.
pub fn update_all(
    repositories: &[Repository],
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Update, Error> {
    open_all(repositories, fetcher, cache, now)?.read(fetcher, cache)
}

impl Opening<'_> {
    /// What vouches for each repository, in the order given.
    pub fn repomds(&self) -> impl Iterator<Item = &VerifiedRepomd> {
        self.opened.iter().map(|opened| &opened.verified)
    }

    /// Reads packages and modules, and remembers each repomd.xml.
    ///
    /// # Errors
    /// The first repository that fails; none is left out.
    pub fn read(self, fetcher: &Fetcher, cache: &CacheDir) -> Result<Update, Error> {
        Ok(Update { repositories: at_once(self.opened, |opened| read(opened, fetcher, cache))? })
    }
}

fn open<'a>(
    repository: &'a Repository,
    fetcher: &Fetcher,
    cache: &CacheDir,
    now: UnixTime,
) -> Result<Opened<'a>, Error> {
    let place = Place::new(repository, cache)?;
    let Genuine { obtained, repomd, signers, date } = place.open(fetcher, cache, now)?;
    let verified = VerifiedRepomd {
        repository: repository.id.clone(),
        url: repository.url.clone(),
        sha256: Sha256::of(obtained.repomd.as_bytes()),
        date,
        signers,
        from: obtained.from,
    };
    let kept = Kept { date, repomd: obtained.repomd, signature: obtained.signature.map(hex::encode) };
    let documents = Documents { repository: repository.id.clone(), repomd, sources: obtained.sources };
    Ok(Opened { repository, verified, documents, memory: place.memory, kept })
}

fn read(opened: Opened<'_>, fetcher: &Fetcher, cache: &CacheDir) -> Result<Metadata, Error> {
    let Opened { repository, verified, documents, memory, kept } = opened;
    let packages = documents.need(&PRIMARY, fetcher, cache, |input| read_primary(input))?;
    let modules = documents.read(&MODULES, fetcher, cache, |input| {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|error| metadata::Error {
            document: "modules.yaml",
            at: None,
            sentence: error.to_string(),
        })?;
        Modules::parse(&text)
    })?;
    // Only now, so that what is remembered can be used offline.
    if memory.as_ref() != Some(&kept) {
        kept::remember(cache, repository, &kept)?;
    }
    Ok(Metadata { repomd: verified, packages, modules: modules.unwrap_or_default(), documents })
}
