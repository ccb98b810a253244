//! Compose: the packages become a configured system.

use super::{Composed, PackageSet};
use crate::compose;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;

/// Unpacks and configures the packages.
///
/// # Errors
/// A damaged package, colliding packages, a maintainer script that fails.
pub fn compose(spec: &ResolvedSpec, packages: &PackageSet, cx: &Context) -> Result<Composed, Error> {
    let answers: Vec<providers::deb::preseed::Answer> = packages
        .distro
        .debconf
        .iter()
        .map(|answer| providers::deb::preseed::Answer {
            package: answer.package.clone(),
            question: answer.question.clone(),
            kind: answer.kind.clone(),
            value: answer.value.clone(),
        })
        .chain(spec.debconf.iter().map(|answer| providers::deb::preseed::Answer {
            package: answer.package.to_string(),
            question: answer.question.clone(),
            kind: answer.kind.as_str().to_owned(),
            value: answer.value.clone(),
        }))
        .collect();
    let text = providers::deb::preseed::selections(&answers).to("read the answers for debconf")?;
    let preseeds: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(Composed(compose::compose(packages, &preseeds, cx)?))
}
