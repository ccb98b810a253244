//! Which version of the kernel's package is meant.

use providers::deb::solve::Universe;
use providers::deb::version::compare;
use providers::distro::Distro;
use providers::rpm::solve::Universe as RpmUniverse;

use crate::error::Error;

/// The kernel to ask for: the package's name, with the best version that begins as the spec wants.
///
/// # Errors
/// The repositories have no such version; the hint says what they have.
pub fn named(distro: &Distro, universe: &Universe, package: &str, version: Option<&str>) -> Result<String, Error> {
    let Some(wanted) = version else { return Ok(package.to_owned()) };
    let mut versions: Vec<&str> = universe.packages_named(package).iter().map(|id| universe.version(*id)).collect();
    versions.sort_by(|a, b| compare(b, a));
    if let Some(found) = versions.iter().find(|version| begins(version, wanted)) {
        return Ok(format!("{package}={found}"));
    }
    // The name of a package that always brings the newest; those that it chooses from have a version
    // in their names and stay longer.
    let mut others: Vec<&str> = universe
        .package_names()
        .filter(|name| distro.kernel.matches(name) && !name.ends_with("-unsigned") && !name.contains("-dbg"))
        .filter(|name| universe.candidate(name).is_some_and(|id| begins(universe.version(id), wanted)))
        .collect();
    others.sort_unstable();
    let hint = match (others.as_slice(), versions.as_slice()) {
        ([], []) => format!("no repository has '{package}'"),
        ([], versions) => format!("the repositories have {}", versions.join(", ")),
        (others, _) => {
            let some: Vec<&str> = others.iter().take(6).copied().collect();
            format!("packages of that version, for kernel.package: {}", some.join(", "))
        }
    };
    Err(Error::build(format!("Package not found: '{package}' in a version that begins with {wanted}")).hint(hint))
}

/// As [`named`], of rpm packages.
///
/// # Errors
/// As [`named`].
pub fn of_rpm(universe: &RpmUniverse, package: &str, version: Option<&str>) -> Result<String, Error> {
    let Some(wanted) = version else { return Ok(package.to_owned()) };
    let mut ids: Vec<_> = universe.packages_named(package).to_vec();
    // The preferred repository's first, as for a wish without a version.
    ids.sort_by(|a, b| {
        let priority = |id| universe.repository(id).priority;
        priority(*a).cmp(&priority(*b)).then_with(|| universe.evr(*b).compare(universe.evr(*a)))
    });
    let mut found: Vec<_> = ids.into_iter().map(|id| universe.evr(id)).collect();
    if let Some(best) = found.iter().find(|evr| begins(&evr.to_string(), wanted)) {
        return Ok(format!("{package} = {best}"));
    }
    found.dedup();
    let hint = match found.as_slice() {
        [] => format!("no repository has '{package}'"),
        versions => {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            format!("the repositories have {}", versions.join(", "))
        }
    };
    Err(Error::build(format!("Package not found: '{package}' in a version that begins with {wanted}")).hint(hint))
}

/// Whether a version begins with the words wanted, up to the end of a number: 6.1 is not 6.12.
fn begins(version: &str, wanted: &str) -> bool {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    [version, upstream].iter().any(|version| {
        version.strip_prefix(wanted).is_some_and(|rest| {
            !(wanted.ends_with(|last: char| last.is_ascii_digit())
                && rest.starts_with(|next: char| next.is_ascii_digit()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::begins;

    #[test]
    fn a_version_begins_where_its_numbers_end() {
        assert!(begins("6.12.107-1", "6.12") && begins("6.12.107-1", "6.12.107-1") && begins("1:6.12-1", "6.12"));
        assert!(!begins("6.12.107-1", "6.1") && !begins("6.12.107-1", "12"));
    }
}
