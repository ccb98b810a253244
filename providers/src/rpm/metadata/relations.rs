//! Versions and dependencies, as primary.xml writes them.

use std::borrow::Cow;
use std::io::BufRead;

use super::Error;
use super::xml::Xml;
use crate::rpm::{Comparison, Dependency, Evr, Relation};

/// The longest name, version, architecture, in bytes: together they are a file's name.
pub(super) const MAX_WORD: usize = 255;

/// The longest dependency, in bytes: rich ones may grow.
const MAX_RELATION: usize = 64 * 1024;

/// The version in the attributes of an element; an epoch that is not there is 0.
pub(super) fn read_evr<R: BufRead>(xml: &Xml<R>) -> Result<Evr, Error> {
    let mut evr = Evr { epoch: Some(0), ..Evr::default() };
    xml.attributes(|name, value| set_evr(&mut evr, name, &value))?;
    Ok(evr)
}

/// Takes over an attribute that is part of a version.
fn set_evr(evr: &mut Evr, name: &str, value: &str) -> Result<(), String> {
    if value.len() > MAX_WORD {
        return Err(format!("a version has more than {MAX_WORD} bytes"));
    }
    match name {
        "epoch" if value.is_empty() => {}
        "epoch" => evr.epoch = Some(value.parse().map_err(|_| format!("an epoch is no number: {value:?}"))?),
        "ver" => evr.version = value.into(),
        "rel" => evr.release = Some(value.into()),
        _ => {}
    }
    Ok(())
}

/// One entry of a list of dependencies.
pub(super) struct EntryOfList {
    pub(super) dependency: Dependency,
    /// Whether it is needed before scriptlets run.
    pub(super) before: bool,
}

impl EntryOfList {
    /// Rich dependencies are those in parentheses.
    pub(super) fn into_relation(self) -> Relation {
        if self.dependency.name.starts_with('(') {
            Relation::Rich(self.dependency.name)
        } else {
            Relation::Simple(self.dependency)
        }
    }
}

/// The entries of one list of dependencies.
pub(super) fn entries<R: BufRead>(xml: &mut Xml<R>, mut each: impl FnMut(EntryOfList)) -> Result<(), Error> {
    let level = xml.level();
    while xml.child(level)? {
        if xml.name() == "entry" {
            each(read_dependency(xml)?);
        }
    }
    Ok(())
}

fn read_dependency<R: BufRead>(xml: &Xml<R>) -> Result<EntryOfList, Error> {
    let mut name: Option<Box<str>> = None;
    let (mut comparison, mut before) = (None, false);
    let mut evr = Evr::default();
    xml.attributes(|attribute, value| {
        match attribute {
            "name" => name = Some(boxed(value)),
            "flags" => {
                comparison = Some(match &*value {
                    "LT" => Comparison::Less,
                    "LE" => Comparison::LessOrEqual,
                    "EQ" => Comparison::Equal,
                    "GE" => Comparison::GreaterOrEqual,
                    "GT" => Comparison::Greater,
                    other => return Err(format!("a dependency compares by {other:?}")),
                });
            }
            "pre" => before = matches!(&*value, "1" | "true"),
            other => set_evr(&mut evr, other, &value)?,
        }
        Ok(())
    })?;
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| xml.wrong("a dependency has no name"))?;
    if name.len() > MAX_RELATION {
        return Err(xml.wrong(format!("a dependency has more than {MAX_RELATION} bytes")));
    }
    let versions = match comparison {
        Some(_) if evr.version.is_empty() => {
            return Err(xml.wrong(format!("the dependency {name:?} compares with no version")));
        }
        Some(comparison) => Some((comparison, evr)),
        None => None,
    };
    Ok(EntryOfList { dependency: Dependency { name, versions }, before })
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    match text {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into_boxed_str(),
    }
}
