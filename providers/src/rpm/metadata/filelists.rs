//! filelists.xml: every file of every package. It is many times larger than all else, so it is
//! read in one pass, and only what is wanted of it is kept.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::BufRead;

use layers::Sha256;

use super::primary::read_file;
use super::xml::Xml;
use super::{Checksum, Error};
use crate::rpm::Package;

/// The files that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedFiles {
    /// Those with these paths: what file dependencies name.
    Paths(BTreeSet<Box<str>>),
    /// All of the packages with these digests.
    Of(BTreeSet<Sha256>),
}

/// Adds the wanted files to the packages that have them; each package keeps those it had. Gives
/// the number of paths that were added.
///
/// # Errors
/// Not XML, not whole, or not about all of these packages.
pub(crate) fn complete(input: impl BufRead, packages: &mut [Package], wanted: &WantedFiles) -> Result<usize, Error> {
    let index: HashMap<Sha256, usize> = packages.iter().enumerate().map(|(at, package)| (package.sha256, at)).collect();
    let mut missing: HashSet<Sha256> = index.keys().copied().collect();
    let mut xml = Xml::open(input, "filelists.xml", "filelists")?;
    let level = xml.level();
    let mut added = 0usize;
    while xml.child(level)? {
        if xml.name() != "package" {
            continue;
        }
        let digits = xml.attribute("pkgid")?.unwrap_or_default();
        let Some(Checksum::Sha256(id)) = Checksum::parse("sha256", &digits) else {
            return Err(
                xml.wrong(format!("a package has the digest {:?}", digits.chars().take(80).collect::<String>()))
            );
        };
        // Packages of sources are in here too.
        let Some(package) = index.get(&id).and_then(|at| packages.get_mut(*at)) else { continue };
        missing.remove(&id);
        let all = match wanted {
            WantedFiles::Of(digests) if !digests.contains(&id) => continue,
            WantedFiles::Of(_) => true,
            WantedFiles::Paths(_) => false,
        };
        added = added.saturating_add(read_files(&mut xml, package, wanted, all)?);
    }
    xml.finish()?;
    // A file list that passes over packages would hide what they conflict with or provide.
    if let Some(id) = missing.into_iter().min() {
        return Err(xml.wrong(format!("it says nothing of a package of primary.xml, that with the digest {id}")));
    }
    Ok(added)
}

fn read_files<R: BufRead>(
    xml: &mut Xml<R>,
    package: &mut Package,
    wanted: &WantedFiles,
    all: bool,
) -> Result<usize, Error> {
    let mut known: HashSet<Box<str>> = HashSet::new();
    if all {
        known.extend(package.files.iter().cloned());
    }
    let level = xml.level();
    let mut added = 0usize;
    while xml.child(level)? {
        if xml.name() != "file" {
            continue;
        }
        let path = read_file(xml)?;
        let take = match wanted {
            WantedFiles::Paths(paths) => paths.contains(&path) && !package.files.contains(&path),
            WantedFiles::Of(_) => known.insert(path.clone()),
        };
        if take {
            package.files.push(path);
            added = added.saturating_add(1);
        }
    }
    Ok(added)
}
