//! updateinfo.xml: what was wrong with packages, and which version mends it.

use std::io::BufRead;

use super::Error;
use super::xml::Xml;
use crate::rpm::Evr;

/// The longest id, title, URL, version, in bytes.
const MAX_WORD: usize = 16 * 1024;

/// The largest number of advisories, and of references and packages of one.
const MAX_ADVISORIES: usize = 1_000_000;

/// One advisory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advisory {
    /// Its id, such as `RHSA-2026:1234`.
    pub id: Box<str>,
    /// Its kind: `security`, `bugfix`, `enhancement` or another word.
    pub kind: Box<str>,
    /// How bad it is, in the distribution's own words; empty when it does not say.
    pub severity: Box<str>,
    /// Its title.
    pub title: Box<str>,
    /// When it was published, as it says.
    pub issued: Box<str>,
    /// What it refers to.
    pub references: Vec<Reference>,
    /// The packages that mend it.
    pub packages: Vec<AdvisoryPackage>,
}

/// What an advisory refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// `cve`, `bugzilla`, `self` or another word.
    pub kind: Box<str>,
    /// Its id, such as `CVE-2026-1234`.
    pub id: Box<str>,
    /// Where it is.
    pub href: Box<str>,
}

/// A package that mends what an advisory tells of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdvisoryPackage {
    /// Its name.
    pub name: Box<str>,
    /// The first good version.
    pub evr: Evr,
    /// Its architecture.
    pub architecture: Box<str>,
}

/// Reads updateinfo.xml.
///
/// # Errors
/// Not XML, not whole, or an advisory without an id.
pub(crate) fn read(input: impl BufRead) -> Result<Vec<Advisory>, Error> {
    let mut xml = Xml::open(input, "updateinfo.xml", "updates")?;
    let level = xml.level();
    let mut advisories = Vec::new();
    while xml.child(level)? {
        if xml.name() != "update" {
            continue;
        }
        advisories.push(read_advisory(&mut xml)?);
        if advisories.len() > MAX_ADVISORIES {
            return Err(xml.wrong(format!("it has more than {MAX_ADVISORIES} advisories")));
        }
    }
    xml.finish()?;
    Ok(advisories)
}

fn read_advisory<R: BufRead>(xml: &mut Xml<R>) -> Result<Advisory, Error> {
    let level = xml.level();
    let mut advisory = Advisory { kind: attribute(xml, "type")?, ..Advisory::default() };
    while xml.child(level)? {
        match xml.name() {
            "id" => advisory.id = xml.word("an id", MAX_WORD)?,
            "title" => advisory.title = xml.word("a title", MAX_WORD)?,
            "severity" => advisory.severity = xml.word("a severity", MAX_WORD)?,
            "issued" => advisory.issued = attribute(xml, "date")?,
            "references" => {
                let level = xml.level();
                while xml.child(level)? {
                    if xml.name() == "reference" {
                        let (kind, id) = (attribute(xml, "type")?, attribute(xml, "id")?);
                        advisory.references.push(Reference { kind, id, href: attribute(xml, "href")? });
                    }
                }
            }
            "pkglist" => read_collections(xml, &mut advisory.packages)?,
            _ => {}
        }
    }
    if advisory.id.is_empty() {
        return Err(xml.wrong("an advisory has no id"));
    }
    Ok(advisory)
}

fn read_collections<R: BufRead>(xml: &mut Xml<R>, packages: &mut Vec<AdvisoryPackage>) -> Result<(), Error> {
    let level = xml.level();
    while xml.child(level)? {
        let level = xml.level();
        while xml.child(level)? {
            if xml.name() == "package" {
                packages.push(read_package(xml)?);
            }
        }
    }
    Ok(())
}

fn read_package<R: BufRead>(xml: &Xml<R>) -> Result<AdvisoryPackage, Error> {
    let mut package = AdvisoryPackage::default();
    xml.attributes(|name, value| {
        match name {
            "name" => package.name = value.into(),
            "arch" => package.architecture = value.into(),
            "version" => package.evr.version = value.into(),
            "release" => package.evr.release = Some(value.into()),
            "epoch" if value.is_empty() => {}
            "epoch" => {
                package.evr.epoch = Some(value.parse().map_err(|_| format!("an epoch is no number: {value:?}"))?);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(package)
}

fn attribute<R: BufRead>(xml: &Xml<R>, name: &str) -> Result<Box<str>, Error> {
    let text = xml.attribute(name)?.unwrap_or_default();
    if text.len() > MAX_WORD {
        return Err(xml.wrong(format!("the attribute {name} has more than {MAX_WORD} bytes")));
    }
    Ok(text.into_boxed_str())
}
