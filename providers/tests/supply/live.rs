//! The machine's own mirror and Debian's real releases.

use std::path::Path;
use std::sync::Arc;

use layers::Sha256;
use providers::distro::Catalogue;
use providers::fetch::{Fetcher, Silent};
use providers::mirror::{SourceFile, mirrors_of, read};
use providers::repository::{Repository, update_all};
use providers::{Architecture, CacheDir};

use crate::downloads::options;
use crate::referee::now;

/// The machine's apt configuration and the name of its distribution.
fn machine() -> (Vec<SourceFile>, String) {
    let mut files = Vec::new();
    let mut paths = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.flatten().map(|entry| entry.path()));
    }
    paths.sort();
    for path in paths {
        if let Ok(bytes) = std::fs::read(&path) {
            files.push(SourceFile { name: path.display().to_string(), bytes });
        }
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let id = release.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default();
    (files, id.trim_matches('"').to_owned())
}

/// Debian's repositories as this machine reaches them; none when it is not a Debian machine.
fn debian(version: &str) -> Option<Vec<Repository>> {
    let catalogue = Catalogue::embedded().unwrap();
    let distro = catalogue.find("debian", version).unwrap();
    let (files, os) = machine();
    let sources = read(&files).unwrap();
    let mut repositories = Vec::new();
    for facts in &distro.repositories {
        let keys = catalogue.keyring(distro, facts).unwrap();
        let mut repository = Repository::from_facts(facts, keys).unwrap();
        repository.mirrors = mirrors_of(facts, &os, &sources);
        if repository.mirrors.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "CI runs on Debian with a mirror of its own");
            eprintln!("skipped: this machine's configuration names no mirror of {}", facts.id);
            return None;
        }
        repositories.push(repository);
    }
    Some(repositories)
}

#[test]
fn debian_12_and_13_verify_from_the_machines_mirror() {
    for version in ["12", "13"] {
        let Some(repositories) = debian(version) else { return };
        let directory = tempfile::tempdir().unwrap();
        let cache = CacheDir::new(directory.path());
        let fetcher = Fetcher::new(providers::fetch::Options::default(), Arc::new(Silent)).unwrap();
        let amd64: Architecture = "amd64".parse().unwrap();
        let start = std::time::Instant::now();
        let update = update_all(&repositories, &amd64, &fetcher, &cache, now()).unwrap();
        let cold = start.elapsed();
        assert_eq!(update.releases.len(), 3);
        assert_eq!(update.indexes.len(), 12);
        assert!(update.indexes[0].text.len() > 10_000_000);
        assert!(update.releases.iter().all(|release| !release.signers.is_empty()));
        let start = std::time::Instant::now();
        let again = update_all(&repositories, &amd64, &fetcher, &cache, now()).unwrap();
        println!("debian {version}: cold {cold:?}, warm {:?}", start.elapsed());
        assert_eq!(again.indexes[0].sha256, update.indexes[0].sha256);
        // InRelease and Release are one text.
        let release = fetcher
            .document(
                "Release",
                repositories[0].sources(),
                &format!("dists/{}/Release", update.releases[0].suite),
                1 << 24,
            )
            .unwrap()
            .unwrap();
        assert_eq!(Sha256::of(&release.0), update.releases[0].sha256);
        // With the cache alone.
        let offline = Fetcher::new(providers::fetch::Options { offline: true, ..options() }, Arc::new(Silent)).unwrap();
        update_all(&repositories, &amd64, &offline, &cache, now()).unwrap();
    }
}

#[test]
fn debians_release_is_not_believed_with_the_keys_of_its_security_archive() {
    let Some(mut repositories) = debian("13") else { return };
    let security = repositories.pop().unwrap();
    let mut main = repositories.remove(0);
    main.trust = security.trust;
    let directory = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(options(), Arc::new(Silent)).unwrap();
    let error = update_all(&[main], &"amd64".parse().unwrap(), &fetcher, &CacheDir::new(directory.path()), now());
    assert!(matches!(error, Err(providers::repository::Error::Untrusted { .. })));
}
