//! The repositories of deb packages of a build: the provider's, those of the configuration, those of
//! the spec.

use providers::distro::{Catalogue, Distro};
use providers::fetch::BaseUrl;
use providers::mirror::{self, Source};
use providers::repository::{Repository, Trust};
use providers::trust::Keyring;

use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::packages::ranked::{Ranked, keys};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Repository as SpecRepository, RepositoryKey};

/// apt's usual priority (apt_preferences(5)).
const USUAL_PRIORITY: i32 = 500;

/// Everything that packages may come from, mirrors settled.
///
/// # Errors
/// A repository without a key; an URL that is none.
pub fn repositories(
    spec: &ResolvedSpec,
    distro: &Distro,
    catalogue: &Catalogue,
    cx: &Context,
) -> Result<Vec<Ranked<Repository>>, Error> {
    let architecture = cx.architecture(spec)?;
    let mut ranked = Vec::new();
    let configured = cx.machine.provider_repositories(&distro.os)?;
    if configured.is_empty() {
        let sources = machine_sources(cx)?;
        for facts in distro.repositories_for(&architecture) {
            let keys = keys(catalogue, distro, facts, cx)?;
            let mut repository = Repository::from_facts(facts, keys).to("read the provider's repositories")?;
            repository.mirrors = match &cx.machine.mirror(&distro.os) {
                Some(mirror) => {
                    let mirror = BaseUrl::parse(mirror).to("read the configured mirror")?;
                    vec![mirror::configured(distro, facts, &mirror)]
                }
                None => mirror::mirrors_of(facts, &cx.machine.os, &sources),
            };
            ranked.push(Ranked { repository, priority: USUAL_PRIORITY });
        }
    } else {
        for entry in &configured {
            ranked.push(from_spec(entry)?);
        }
    }
    for entry in &spec.repositories {
        ranked.push(from_spec(entry)?);
    }
    Ok(ranked)
}

fn machine_sources(cx: &Context) -> Result<Vec<Source>, Error> {
    match mirror::read(&cx.machine.apt_sources) {
        Ok(sources) => Ok(sources),
        Err(error) => {
            // The machine's own configuration is a convenience; the provider's URLs do as well.
            tracing::warn!("the machine's package sources cannot be read, its mirror is not used: {error}");
            Ok(Vec::new())
        }
    }
}

fn from_spec(entry: &SpecRepository) -> Result<Ranked<Repository>, Error> {
    let what = format!("use the repository '{}'", entry.name);
    let trust = match &entry.key {
        RepositoryKey::Keyring(bytes) => Trust::Keys(Keyring::parse(bytes).to(&what)?),
        RepositoryKey::TrustedUnsigned => Trust::Anyone,
    };
    let repository = Repository {
        id: entry.name.to_string().try_into().to(&what)?,
        url: BaseUrl::parse(&entry.url).to(&what)?,
        mirrors: Vec::new(),
        suites: entry.suites.clone(),
        components: entry.components.clone(),
        trust,
        check_valid_until: entry.check_valid_until,
    };
    Ok(Ranked { repository, priority: entry.priority.unwrap_or(USUAL_PRIORITY) })
}
