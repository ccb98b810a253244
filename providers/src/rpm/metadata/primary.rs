//! primary.xml: every package of the repository, with all that a choice among them needs but the
//! rare file dependency.

use std::collections::HashMap;
use std::io::BufRead;

use layers::Sha256;

use super::relations::{MAX_WORD, entries, read_evr};
use super::xml::Xml;
use super::{Checksum, Error, inner_path};
use crate::rpm::{Dependency, Evr, Location, Package, Relation, Requirement};

/// The largest number of packages: the largest distributions have about a hundred thousand.
const MAX_PACKAGES: usize = 1_000_000;

/// The longest path of a file, in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;

/// Reads all packages but those of sources.
///
/// # Errors
/// Not XML, not whole; a package without name, version, digest or place, with a digest that is not
/// SHA-256, or with a path that leads out of the repository; one name, version and architecture
/// with two digests.
pub(crate) fn read(input: impl BufRead) -> Result<Vec<Package>, Error> {
    let mut xml = Xml::open(input, "primary.xml", "metadata")?;
    let level = xml.level();
    let mut packages = Vec::new();
    let mut known: HashMap<Box<str>, Sha256> = HashMap::new();
    while xml.child(level)? {
        if xml.name() != "package" {
            continue;
        }
        if xml.attribute("type")?.is_some_and(|kind| kind != "rpm") {
            continue;
        }
        let package = read_package(&mut xml)?;
        if matches!(&*package.architecture, "src" | "nosrc") {
            continue;
        }
        if packages.len() >= MAX_PACKAGES {
            return Err(xml.wrong(format!("it has more than {MAX_PACKAGES} packages")));
        }
        let id = identity(&package);
        match known.get(id.as_str()) {
            Some(digest) if *digest == package.sha256 => continue,
            Some(_) => return Err(xml.wrong(format!("it has two different packages {id}"))),
            None => known.insert(id.into(), package.sha256),
        };
        packages.push(package);
    }
    xml.finish()?;
    packages.shrink_to_fit();
    Ok(packages)
}

/// Name, epoch, version, release and architecture.
fn identity(package: &Package) -> String {
    let Package { name, evr, architecture, .. } = package;
    format!("{name}-{evr}.{architecture}")
}

/// What is known of a package so far.
#[derive(Default)]
struct Draft {
    name: Option<Box<str>>,
    evr: Option<Evr>,
    architecture: Option<Box<str>>,
    checksum: Option<Checksum>,
    size: Option<u64>,
    installed_size: u64,
    build_time: i64,
    location: Option<Location>,
    source: Box<str>,
    relations: Relations,
    files: Vec<Box<str>>,
}

#[derive(Default)]
struct Relations {
    provides: Vec<Dependency>,
    requires: Vec<Requirement>,
    conflicts: Vec<Relation>,
    obsoletes: Vec<Dependency>,
    recommends: Vec<Relation>,
    suggests: Vec<Relation>,
    supplements: Vec<Relation>,
    enhances: Vec<Relation>,
}

fn read_package<R: BufRead>(xml: &mut Xml<R>) -> Result<Package, Error> {
    let level = xml.level();
    let mut draft = Draft::default();
    while xml.child(level)? {
        match xml.name() {
            "name" => draft.name = Some(xml.word("a package's name", MAX_WORD)?),
            "arch" => draft.architecture = Some(xml.word("an architecture", MAX_WORD)?),
            "version" => draft.evr = Some(read_evr(xml)?),
            "checksum" => {
                let kind = xml.attribute("type")?.unwrap_or_default();
                let digits = xml.word("a checksum", 256)?;
                draft.checksum = Checksum::parse(&kind, &digits);
            }
            "time" => {
                if let Some(text) = xml.attribute("build")? {
                    draft.build_time =
                        text.parse().map_err(|_| xml.wrong(format!("a build time is no number: {text:?}")))?;
                }
            }
            "size" => read_size(xml, &mut draft)?,
            "location" => draft.location = Some(read_location(xml)?),
            "format" => read_format(xml, &mut draft)?,
            _ => {}
        }
    }
    settle(xml, draft)
}

/// A package whose parts are all there and sound.
fn settle<R: BufRead>(xml: &Xml<R>, draft: Draft) -> Result<Package, Error> {
    let name = draft.name.unwrap_or_default();
    if !is_word(&name) {
        return Err(xml.wrong(format!("a package has the name {name:?}")));
    }
    let lacks = |what: &str| xml.wrong(format!("the package {name} has no {what}"));
    let architecture = draft.architecture.filter(|text| is_word(text)).ok_or_else(|| lacks("architecture"))?;
    let evr = draft.evr.ok_or_else(|| lacks("version"))?;
    if !is_version(&evr.version) || !evr.release.as_deref().is_some_and(is_version) {
        return Err(xml.wrong(format!("the package {name} has the version {:?}", evr.to_string())));
    }
    let sha256 = match draft.checksum {
        Some(Checksum::Sha256(digest)) => digest,
        Some(Checksum::Sha512(_)) => {
            return Err(xml.wrong(format!("the package {name} has a SHA-512 digest; only SHA-256 is read")));
        }
        Some(Checksum::Weak(kind)) => {
            return Err(xml.wrong(format!("the package {name} has a checksum of the kind {kind:?}, which is too weak")));
        }
        None => return Err(lacks("checksum that is one")),
    };
    let Relations { provides, requires, conflicts, obsoletes, recommends, suggests, supplements, enhances } =
        draft.relations;
    Ok(Package {
        evr,
        architecture,
        sha256,
        size: draft.size.ok_or_else(|| lacks("size"))?,
        installed_size: draft.installed_size,
        build_time: draft.build_time,
        location: draft.location.ok_or_else(|| lacks("location"))?,
        source: draft.source,
        provides,
        requires,
        conflicts,
        obsoletes,
        recommends,
        suggests,
        supplements,
        enhances,
        files: draft.files,
        name,
    })
}

/// Whether a text can be a name or an architecture: it becomes part of file names.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['.', '-']) && !text.contains(|c: char| c == '/' || !c.is_ascii_graphic())
}

/// Whether a text can be a version or a release.
fn is_version(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| matches!(c, '-' | '/') || !c.is_ascii_graphic())
}

fn read_size<R: BufRead>(xml: &Xml<R>, draft: &mut Draft) -> Result<(), Error> {
    xml.attributes(|name, value| {
        let number = || value.parse::<u64>().map_err(|_| format!("a size is no number: {value:?}"));
        match name {
            "package" => draft.size = Some(number()?),
            "installed" => draft.installed_size = number()?,
            _ => {}
        }
        Ok(())
    })
}

fn read_location<R: BufRead>(xml: &Xml<R>) -> Result<Location, Error> {
    let href = xml.attribute("href")?.unwrap_or_default();
    let path = inner_path(&href)
        .ok_or_else(|| xml.wrong(format!("a package has a path that is not below the repository: {href:?}")))?;
    // What it leads to is looked at when the package is wanted.
    let base = xml.attribute("xml:base")?.filter(|base| !base.is_empty()).map(String::into_boxed_str);
    if base.as_ref().is_some_and(|base| base.len() > MAX_PATH) {
        return Err(xml.wrong(format!("an xml:base has more than {MAX_PATH} bytes")));
    }
    Ok(Location { path: path.into(), base })
}

fn read_format<R: BufRead>(xml: &mut Xml<R>, draft: &mut Draft) -> Result<(), Error> {
    let level = xml.level();
    let relations = &mut draft.relations;
    while xml.child(level)? {
        match xml.name() {
            "sourcerpm" => draft.source = xml.word("a source package's name", MAX_WORD)?,
            "provides" => entries(xml, |entry| relations.provides.push(entry.dependency))?,
            "obsoletes" => entries(xml, |entry| relations.obsoletes.push(entry.dependency))?,
            "requires" => entries(xml, |entry| {
                let before = entry.before;
                relations.requires.push(Requirement { relation: entry.into_relation(), before });
            })?,
            "conflicts" => entries(xml, |entry| relations.conflicts.push(entry.into_relation()))?,
            "recommends" => entries(xml, |entry| relations.recommends.push(entry.into_relation()))?,
            "suggests" => entries(xml, |entry| relations.suggests.push(entry.into_relation()))?,
            "supplements" => entries(xml, |entry| relations.supplements.push(entry.into_relation()))?,
            "enhances" => entries(xml, |entry| relations.enhances.push(entry.into_relation()))?,
            "file" => draft.files.push(read_file(xml)?),
            _ => {}
        }
    }
    relations.provides.shrink_to_fit();
    relations.requires.shrink_to_fit();
    draft.files.shrink_to_fit();
    Ok(())
}

/// The path in a `<file>`.
pub(super) fn read_file<R: BufRead>(xml: &mut Xml<R>) -> Result<Box<str>, Error> {
    let path = xml.text()?;
    if !path.starts_with('/') || path.len() > MAX_PATH || path.contains('\0') {
        let shown: String = path.chars().take(80).collect();
        return Err(xml.wrong(format!("the path of a file is not absolute, or too long: {shown:?}")));
    }
    Ok(path.into())
}
