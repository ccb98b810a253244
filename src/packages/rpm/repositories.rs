//! The repositories of rpm packages of a build: the provider's, those of the configuration, those of
//! the spec.

use providers::distro::{Architecture, Distro};
use providers::fetch::BaseUrl;
use providers::mirror;
use providers::repository::Trust;
use providers::rpm::repository::Repository;
use providers::trust::Keyring;

use super::RpmRepository;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::packages::ranked::{Ranked, keys};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Repository as SpecRepository, RepositoryKey};

/// dnf's usual priority, of which lower ones win (dnf.conf(5)).
const USUAL_PRIORITY: i32 = 99;

/// Everything that packages may come from, mirrors settled.
///
/// # Errors
/// A repository without a key; an URL that is none.
pub fn repositories(spec: &ResolvedSpec, distro: &Distro, cx: &Context) -> Result<Vec<Ranked<RpmRepository>>, Error> {
    let architecture = cx.architecture(spec)?;
    let mut ranked = Vec::new();
    let configured = cx.machine.provider_repositories(&distro.os)?;
    if configured.is_empty() {
        for facts in distro.repositories_for(&architecture) {
            let keys = keys(&cx.catalogue, distro, facts, cx)?;
            let mut repository =
                Repository::from_facts(facts, &architecture, keys).to("read the provider's repositories")?;
            if let Some(mirror) = &cx.machine.mirror(&distro.os) {
                let mirror = BaseUrl::parse(mirror).to("read the configured mirror")?;
                repository.mirrors = vec![mirror::configured(distro, facts, &mirror)];
            }
            let repository = RpmRepository { repository, exclude: Vec::new() };
            ranked.push(Ranked { repository, priority: USUAL_PRIORITY });
        }
    }
    for entry in configured.iter().chain(&spec.repositories) {
        ranked.push(from_spec(entry, &architecture)?);
    }
    Ok(ranked)
}

fn from_spec(entry: &SpecRepository, architecture: &Architecture) -> Result<Ranked<RpmRepository>, Error> {
    let what = format!("use the repository '{}'", entry.name);
    if !entry.suites.is_empty() || !entry.components.is_empty() {
        return Err(Error::build(format!(
            "failed to {what}: repositories of rpm packages have no suites and components"
        ))
        .hint("leave them out: the URL alone says where its repodata is"));
    }
    let trust = match &entry.key {
        RepositoryKey::Keyring(bytes) => Trust::Keys(Keyring::parse(bytes).to(&what)?),
        RepositoryKey::TrustedUnsigned => Trust::Anyone,
    };
    let url = entry.url.replace("{arch}", architecture.as_str());
    let repository = Repository {
        id: entry.name.to_string().try_into().to(&what)?,
        url: BaseUrl::parse(&url).to(&what)?,
        mirrors: Vec::new(),
        list: None,
        trust,
        repo_gpgcheck: entry.repo_gpgcheck,
        gpgcheck: entry.gpgcheck,
    };
    let repository = RpmRepository { repository, exclude: entry.exclude.clone() };
    Ok(Ranked { repository, priority: entry.priority.unwrap_or(USUAL_PRIORITY) })
}
