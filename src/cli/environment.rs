//! The one place that reads the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use providers::fetch::Proxies;

use crate::config::Defaults;
use crate::error::Error;

/// The program's name in paths below configuration and cache directories.
const NAME: &str = "image-composer";
/// Configuration for all users of a machine.
const SYSTEM_CONFIG: &str = "/etc/image-composer";
/// Cache directory when root builds (the seeds' sample).
const ROOT_CACHE: &str = "/var/cache/image-composer";
/// Work directory when root builds (the seeds' sample).
const ROOT_WORK: &str = "/var/tmp/image-composer";

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where the command runs.
    pub current_directory: PathBuf,
    /// Where configuration is looked for, and where caches lie.
    pub defaults: Defaults,
    /// `SOURCE_DATE_EPOCH` (reproducible-builds.org), in seconds since the epoch.
    pub source_date_epoch: Option<i64>,
    /// Proxies, by the variables that curl reads and most programs follow.
    pub proxies: Proxies,
    /// Files of credentials for registries, the most particular first: podman's, then docker's.
    pub credentials: Vec<PathBuf>,
    /// The kind of terminal, `$TERM`.
    pub term: Option<String>,
}

impl Environment {
    /// Reads it.
    ///
    /// # Errors
    /// A current directory that is gone; a `SOURCE_DATE_EPOCH` that is no number.
    pub fn read() -> Result<Self, Error> {
        Self::from_variables(
            |name| env::var_os(name).filter(|value| !value.is_empty()),
            rustix::process::geteuid().is_root(),
        )
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Result<Self, Error> {
        let current_directory = env::current_dir()
            .map_err(|source| Error::other("failed to find the current directory").caused_by(source))?;
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().into_owned());
        let source_date_epoch = match text("SOURCE_DATE_EPOCH") {
            None => None,
            Some(value) => Some(value.parse().map_err(|_| {
                Error::usage(format!("SOURCE_DATE_EPOCH is {value:?}"))
                    .hint("set it to a number of seconds since 1970, or unset it")
            })?),
        };
        // Upper-case HTTP_PROXY is left alone: CGI sets it from a request's header (httpoxy).
        let either = |lower: &str, upper: &str| text(lower).or_else(|| text(upper));
        let proxies = Proxies {
            http: text("http_proxy").or_else(|| either("all_proxy", "ALL_PROXY")),
            https: either("https_proxy", "HTTPS_PROXY").or_else(|| either("all_proxy", "ALL_PROXY")),
            except: either("no_proxy", "NO_PROXY"),
        };
        Ok(Self {
            current_directory,
            defaults: defaults(&get, is_root),
            source_date_epoch,
            proxies,
            credentials: credentials(&get),
            term: text("TERM"),
        })
    }
}

/// Where credentials for registries are (containers-auth.json(5); docker's `DOCKER_CONFIG`).
fn credentials(get: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| get(name).map(PathBuf::from);
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = path("HOME");
    let at_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let podman = "containers/auth.json";
    let docker = path("DOCKER_CONFIG").or_else(|| at_home(".docker")).map(|directory| directory.join("config.json"));
    [
        path("XDG_RUNTIME_DIR").map(|directory| directory.join(podman)),
        path("XDG_CONFIG_HOME").or_else(|| at_home(".config")).map(|directory| directory.join(podman)),
        docker,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Paths by the XDG base directory specification, version 0.8: relative ones are ignored.
fn defaults(get: &impl Fn(&str) -> Option<OsString>, is_root: bool) -> Defaults {
    let absolute = |name: &str| get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME");
    let below = |variable: &str, directory: &str| {
        absolute(variable).or_else(|| home.as_ref().map(|home| home.join(directory))).map(|path| path.join(NAME))
    };
    let own_config = below("XDG_CONFIG_HOME", ".config");
    let mut directories = vec![PathBuf::from(SYSTEM_CONFIG)];
    if !is_root && let Some(own) = own_config {
        directories.insert(0, own);
    }
    let (cache_dir, work_dir) = match below("XDG_CACHE_HOME", ".cache") {
        Some(own) if !is_root => (own.join("cache"), own.join("work")),
        _ if is_root => (PathBuf::from(ROOT_CACHE), PathBuf::from(ROOT_WORK)),
        // No home: a build user in a container. /var/tmp is on disk, as a cache should be.
        _ => {
            let own = Path::new("/var/tmp").join(format!("{NAME}-{}", rustix::process::geteuid().as_raw()));
            (own.join("cache"), own.join("work"))
        }
    };
    Defaults {
        files: directories.iter().map(|directory| directory.join("config.yaml")).collect(),
        provider_directories: directories.iter().rev().map(|directory| directory.join("providers")).collect(),
        cache_dir,
        work_dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], is_root: bool) -> Result<Environment, Error> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Environment::from_variables(get, is_root)
    }

    #[test]
    fn an_ordinary_user_has_directories_of_their_own() {
        let own = with(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/fast/a")], false).unwrap().defaults;
        assert_eq!(own.cache_dir, Path::new("/fast/a/image-composer/cache"));
        assert_eq!(own.work_dir, Path::new("/fast/a/image-composer/work"));
        let files = ["/home/a/.config/image-composer/config.yaml", "/etc/image-composer/config.yaml"];
        assert_eq!(own.files, files.map(PathBuf::from));
        let root = with(&[("HOME", "/root"), ("XDG_CACHE_HOME", "relative")], true).unwrap().defaults;
        assert_eq!(root.cache_dir, Path::new("/var/cache/image-composer"));
        assert_eq!(root.files.len(), 1);
        let homeless = with(&[], false).unwrap().defaults;
        assert!(homeless.cache_dir.starts_with("/var/tmp"));
    }

    #[test]
    fn credentials_are_where_podman_and_docker_keep_them() {
        let found = with(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")], false).unwrap().credentials;
        let expected = ["/run/u/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(found, expected.map(PathBuf::from));
        let found = with(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")], false).unwrap().credentials;
        assert_eq!(found.last().unwrap(), Path::new("/d/config.json"));
        let found = with(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a")], false).unwrap().credentials;
        assert_eq!(found, [PathBuf::from("/a")]);
    }

    #[test]
    fn a_wrong_epoch_is_an_error() {
        assert_eq!(with(&[("SOURCE_DATE_EPOCH", "1700000000")], false).unwrap().source_date_epoch, Some(1_700_000_000));
        assert_eq!(with(&[("SOURCE_DATE_EPOCH", "today")], false).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn proxies_are_found_in_both_spellings() {
        let found = with(&[("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "http://evil"), ("no_proxy", "a,b")], false);
        let proxies = found.unwrap().proxies;
        assert_eq!(proxies.http, None);
        assert_eq!(proxies.https.as_deref(), Some("http://p:1"));
        assert_eq!(proxies.except.as_deref(), Some("a,b"));
    }
}
