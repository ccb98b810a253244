//! From the configuration file to what it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};
use crate::spec::customized::{keyring, remotes, repositories};
use crate::spec::decode::{Decode, Decoder, Located};
use crate::spec::load::read_document;
use crate::spec::problem::{Problem, Problems};
use crate::spec::read;

use super::file::{ConfigFile, LogLevel, Registry};
use super::{Config, ImageCache, PackageCache, ProviderConfig, RegistryConfig};

/// Default bound of the package cache in GiB (the seeds' sample).
const PACKAGE_CACHE_GIB: u32 = 10;
/// Default age of unused packages in days (the seeds' sample).
const RETENTION_DAYS: u32 = 30;
/// Default number of images kept for one spec (the seeds' sample).
const IMAGES_PER_SPEC: u32 = 5;
/// Default number of builds at once (the seeds' sample).
const CONCURRENT_BUILDS: u32 = 4;

/// What holds where neither file nor command line says anything; depends on who runs the program,
/// so the command works it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defaults {
    /// Files that are tried in order; the first that exists is read.
    pub files: Vec<PathBuf>,
    /// Directories of provider files, the more particular later.
    pub provider_directories: Vec<PathBuf>,
    /// The cache directory, absolute.
    pub cache_dir: PathBuf,
    /// The work directory, absolute.
    pub work_dir: PathBuf,
}

/// What the command line says about configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    /// The file; it must exist.
    pub file: Option<PathBuf>,
    /// The cache directory, absolute.
    pub cache_dir: Option<PathBuf>,
    /// The work directory, absolute.
    pub work_dir: Option<PathBuf>,
    /// What is told.
    pub log_level: Option<LogLevel>,
}

/// Reads the configuration file, where there is one, and applies defaults and overrides.
///
/// # Errors
/// A file that the command line names and that is not there, one that cannot be read, and every
/// problem in it.
pub fn load(defaults: &Defaults, overrides: &Overrides) -> Result<Config, Error> {
    let (path, written) = read_first(defaults, overrides)?;
    let mut problems = Problems::default();
    let directory = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let mut providers = BTreeMap::new();
    for (name, provider) in &written.providers.0 {
        if let Some(mirror) = &provider.mirror
            && !["http://", "https://", "file:/"].iter().any(|scheme| mirror.value.starts_with(scheme))
        {
            let problem = Problem::error(&mirror.span, format!("{:?} is not the URL of a mirror", mirror.value));
            problems.push(problem.hint("use https://…, http://… or file:/…"));
        }
        let settings = ProviderConfig {
            mirror: provider.mirror.as_ref().map(|mirror| mirror.value.trim_end_matches('/').to_owned()),
            key: provider.key.as_ref().and_then(|key| keyring(key, directory, &mut problems)),
            repositories: repositories(&provider.repositories, directory, &mut problems),
        };
        providers.insert(name.as_str().to_owned(), settings);
    }
    let builds = written.core.max_concurrent_builds.as_ref();
    if let Some(builds) = builds.filter(|builds| builds.value == 0) {
        problems
            .push(Problem::error(&builds.span, "core.max_concurrent_builds: at least one build must be able to run"));
    }
    let remotes = remotes(&written.cache.remote, directory, &mut problems);
    let registries = registries(&written.registries, directory, &mut problems);
    if problems.has_errors() {
        let path = path.unwrap_or_default();
        return Err(Error::problems(Kind::Configuration, &path, problems.into_vec()));
    }
    let (core, packages, images) = (&written.core, &written.storage.package_cache, &written.storage.image_cache);
    let choose = |over: &Option<PathBuf>, file: &Option<super::file::HostPath>, default: &Path| {
        over.clone().or_else(|| file.as_ref().map(|path| path.0.clone())).unwrap_or_else(|| default.to_owned())
    };
    Ok(Config {
        cache_dir: choose(&overrides.cache_dir, &core.cache_dir, &defaults.cache_dir),
        work_dir: choose(&overrides.work_dir, &core.work_dir, &defaults.work_dir),
        provider_directories: defaults.provider_directories.clone(),
        log_level: overrides.log_level.or(core.log_level).unwrap_or(LogLevel::Info),
        max_concurrent_builds: builds.map_or(CONCURRENT_BUILDS, |builds| builds.value),
        cleanup_on_failure: core.cleanup_on_failure.unwrap_or(true),
        package_cache: PackageCache {
            enabled: packages.enabled.unwrap_or(true),
            max_bytes: u64::from(packages.max_size_gb.unwrap_or(PACKAGE_CACHE_GIB)) << 30,
            retention_days: packages.retention_days.unwrap_or(RETENTION_DAYS),
        },
        image_cache: ImageCache {
            enabled: images.enabled.unwrap_or(true),
            max_count: images.max_count.unwrap_or(IMAGES_PER_SPEC),
        },
        remotes,
        registries,
        providers,
        file: path,
    })
}

/// How registries are reached; each is named once.
fn registries(written: &[Located<Registry>], directory: &Path, problems: &mut Problems) -> Vec<RegistryConfig> {
    let mut known: Vec<RegistryConfig> = Vec::new();
    for Registry { host, insecure, ca_file } in written.iter().map(|located| &located.value) {
        let Ok(name) = host.value.parse::<registry::Host>() else {
            let problem = Problem::error(&host.span, format!("{:?} is no registry", host.value));
            problems.push(problem.hint("write its name as in an image's: registry.example, registry.example:5000"));
            continue;
        };
        if known.iter().any(|other| other.host == name) {
            problems.push(Problem::error(&host.span, format!("the registry {name} is there twice")));
        }
        let ca_file = ca_file.as_ref().map(|path| directory.join(&path.value));
        known.push(RegistryConfig { host: name, insecure: insecure.unwrap_or(false), ca_file });
    }
    known
}

/// The first file that there is, and what it says.
fn read_first(defaults: &Defaults, overrides: &Overrides) -> Result<(Option<PathBuf>, ConfigFile), Error> {
    let nothing = || ConfigFile::missing().ok_or_else(|| Error::other("the configuration has no defaults"));
    let candidates = match &overrides.file {
        Some(file) => std::slice::from_ref(file),
        None => defaults.files.as_slice(),
    };
    for path in candidates {
        match read_document(path) {
            Ok(bytes) => {
                let written =
                    parse(path, &bytes).map_err(|problems| Error::problems(Kind::Configuration, path, problems))?;
                return Ok((Some(path.clone()), written));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && overrides.file.is_none() => {}
            Err(error) => return Err(Error::io(Kind::Configuration, "read the configuration", path, error)),
        }
    }
    Ok((None, nothing()?))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<ConfigFile, Vec<Problem>> {
    // A file whose lines are all comments says nothing, and that is allowed here.
    let says_nothing = std::str::from_utf8(bytes)
        .is_ok_and(|text| text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')));
    let mut decoder = Decoder::default();
    let written = if says_nothing {
        ConfigFile::missing()
    } else {
        let document = read::read(path, bytes).map_err(|problem| vec![problem])?;
        ConfigFile::decode(&document, &mut decoder)
    };
    match written {
        Some(written) if !decoder.problems.has_errors() => Ok(written),
        _ => Err(decoder.problems.into_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(files: Vec<PathBuf>) -> Defaults {
        let (cache_dir, work_dir) = ("/d/cache".into(), "/d/work".into());
        Defaults { files, provider_directories: Vec::new(), cache_dir, work_dir }
    }

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn command_line_wins_over_file_over_defaults() {
        let (_directory, path) = written("core: {cache_dir: /f/cache, work_dir: /f/work, log_level: warn}\n");
        let overrides = Overrides { work_dir: Some("/c/work".into()), ..Overrides::default() };
        let config = load(&defaults(vec!["/nowhere".into(), path.clone()]), &overrides).unwrap();
        assert_eq!(config.file, Some(path));
        assert_eq!(config.work_dir, Path::new("/c/work"));
        assert_eq!(config.cache_dir, Path::new("/f/cache"));
        assert_eq!(config.log_level, LogLevel::Warn);
        let config = load(&defaults(Vec::new()), &Overrides::default()).unwrap();
        assert_eq!((config.cache_dir.as_path(), config.file), (Path::new("/d/cache"), None));
    }

    #[test]
    fn the_seeds_sample_is_understood() {
        let (_directory, path) = written(
            "core:\n  cache_dir: \"/var/cache/image-composer\"     # Cache location\n  work_dir: \"/var/tmp/image-composer\"\n  \
             max_concurrent_builds: 2\n  cleanup_on_failure: false\n\nstorage:\n  package_cache: \n    enabled: true\n    \
             max_size_gb: 11\n    retention_days: 31\n  image_cache:\n    enabled: false\n    max_count: 6\n",
        );
        let config = load(&defaults(vec![path]), &Overrides::default()).unwrap();
        assert_eq!(config.package_cache, PackageCache { enabled: true, max_bytes: 11 << 30, retention_days: 31 });
        assert_eq!(config.image_cache, ImageCache { enabled: false, max_count: 6 });
        assert_eq!((config.max_concurrent_builds, config.cleanup_on_failure), (2, false));
    }

    #[test]
    fn registries_are_named_once() {
        let (_directory, path) =
            written("registries:\n  - {host: a.example, ca_file: ca.pem}\n  - {host: \"b:5000\", insecure: true}\n");
        let config = load(&defaults(vec![path.clone()]), &Overrides::default()).unwrap();
        let [first, second] = config.registries.as_slice() else { panic!("{:?}", config.registries) };
        assert_eq!((first.ca_file.clone(), first.insecure), (Some(path.parent().unwrap().join("ca.pem")), false));
        assert_eq!((second.host.to_string().as_str(), second.insecure), ("b:5000", true));
        let (_directory, path) = written("registries:\n  - {host: \"https://a\"}\n  - {host: b}\n  - {host: b}\n");
        let error = load(&defaults(vec![path]), &Overrides::default()).unwrap_err();
        let said: Vec<&str> = error.problem_list().iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(said, ["\"https://a\" is no registry", "the registry b is there twice"]);
    }

    #[test]
    fn problems_have_exit_code_5() {
        let (_directory, path) = written("core: {cache_dri: /x}\nstorage: {image_cache: {max_count: many}}\n");
        let error = load(&defaults(vec![path]), &Overrides::default()).unwrap_err();
        assert_eq!((error.exit_code(), error.problem_list().len()), (5, 2));
        assert_eq!(error.problem_list()[0].hint.as_deref(), Some("did you mean 'cache_dir'?"));
        let overrides = Overrides { file: Some("/nowhere/config.yaml".into()), ..Overrides::default() };
        assert_eq!(load(&defaults(Vec::new()), &overrides).unwrap_err().exit_code(), 5);
    }

    #[test]
    fn a_file_of_comments_says_nothing() {
        let (_directory, path) = written("# nothing\n\n  # here\n");
        assert!(load(&defaults(vec![path]), &Overrides::default()).is_ok());
    }
}
