//! How far the packages of a group can be unpacked in one go.
//!
//! A preinst may change where files of packages land that are unpacked after it: its own and later
//! ones. dpkg runs preinst and unpacking in turns, so there it comes naturally; here a group is
//! unpacked by one plan, and cut where the plan needs to know what a preinst has done.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Change, Entry, Stack};
use providers::deb::relation;

use super::rules::Rules;
use super::unpack::Unpacked;
use crate::error::{Error, ResultExt};

/// What a preinst names if it changes where files land.
const MARKS: [&[u8]; 3] = [b"dpkg-divert", b"dpkg-statoverride", LINK];
/// A link may stand where a package has a directory.
const LINK: &[u8] = b"ln -s";

/// How a segment ends.
#[derive(Clone)]
pub enum Ending<'a> {
    /// With everything configured that is not yet.
    Configure(Vec<&'a Unpacked>),
    /// With these configured, then with the preinst of a package that is unpacked afterwards.
    Pause(Vec<&'a Unpacked>, Option<&'a Unpacked>),
}

/// Packages that are unpacked by one plan, and what runs then.
pub struct Segment<'a> {
    /// The packages.
    pub packages: Vec<&'a Unpacked>,
    /// The first one's preinst has run already.
    pub first_ran: bool,
    /// What runs at its end.
    pub ending: Ending<'a>,
    /// Whether the rules that its preinsts leave behind are looked at.
    pub watched: bool,
}

/// How far a group has come.
#[derive(Clone, Default)]
pub struct Progress {
    /// The first package that is not unpacked.
    pub next: usize,
    /// Whether its preinst has run.
    pub ran: bool,
    /// Places of packages that are configured.
    pub configured: BTreeSet<usize>,
    /// Whether every preinst that may change where files land ends a segment.
    pub careful: bool,
}

impl Unpacked {
    /// Whether a script of the package may change where files land.
    pub fn is_marked(&self, script: &str) -> bool {
        names_any(self, script, &MARKS)
    }
}

fn names_any(package: &Unpacked, script: &str, marks: &[&[u8]]) -> bool {
    let Some(script) = package.note.control.file(script) else { return false };
    marks.iter().any(|mark| script.windows(mark.len()).any(|window| window == *mark))
}

impl Segment<'_> {
    /// Whether the rules are printed before anything is configured: postinsts have theirs for files
    /// that lie there already.
    pub fn prints_rules(&self) -> bool {
        self.watched && matches!(self.ending, Ending::Configure(_))
    }

    /// Whether a preinst of the segment changed where files of the segment land: another rule for
    /// one of their names, or something else in the place of one of their directories.
    pub fn is_concerned(&self, before: &Rules, after: &Rules, stack: &Stack) -> bool {
        let changed: BTreeSet<&[u8]> = before.changed_names(after).collect();
        let names = self.packages.iter().flat_map(|package| &package.note.listed);
        if !changed.is_empty() && names.clone().any(|name| changed.contains(name.as_slice())) {
            return true;
        }
        // Only then can the scripts of a whole session be told from a preinst that makes a link.
        if !self.packages.iter().any(|package| names_any(package, "preinst", &[LINK])) {
            return false;
        }
        let captured = stack.layers().last().into_iter().flat_map(|layer| &layer.layer.changes);
        let in_the_way = captured.filter(|(_, change)| !matches!(change, Change::Set(entry) if entry.is_directory()));
        let ships = |path| {
            let is_directory = |change: &Change| matches!(change, Change::Set(entry) if Entry::is_directory(entry));
            self.packages.iter().any(|package| package.layer.layer.changes.get(path).is_some_and(is_directory))
        };
        in_the_way.into_iter().any(|(path, _)| ships(path))
    }
}

/// What has to be configured before a package is unpacked: what it pre-depends on, with all that
/// needs in turn (Debian policy 7.2), where somebody can tell: a preinst, or a postinst that may
/// change where files land. Places in the group, in order; none where a circle makes it impossible.
///
/// # Errors
/// A relation that cannot be read.
pub fn needs(
    packages: &[&Unpacked],
    at: usize,
    configured: &BTreeSet<usize>,
    architecture: &str,
) -> Result<Vec<usize>, Error> {
    let what = "read what a package needs";
    let Some(package) = packages.get(at) else { return Ok(Vec::new()) };
    let wanted = package.note.control.stanza().get("Pre-Depends").unwrap_or("");
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, package) in packages.iter().enumerate() {
        named.entry(&package.package.name).or_default().push(place);
        let provides = package.note.control.stanza().get("Provides").unwrap_or("");
        for provided in relation::parse(provides, architecture).to(what)? {
            for one in &provided.alternatives {
                named.entry(one.name).or_default().push(place);
            }
        }
    }
    let mut found: BTreeSet<usize> = BTreeSet::new();
    let mut fields = vec![wanted];
    while let Some(field) = fields.pop() {
        for relation in relation::parse(field, architecture).to(what)? {
            let answers = relation.alternatives.iter().filter_map(|one| named.get(one.name)).flatten();
            for &place in answers.filter(|place| !configured.contains(place)) {
                if found.insert(place)
                    && let Some(needed) = packages.get(place)
                {
                    let stanza = needed.note.control.stanza();
                    fields.extend(["Pre-Depends", "Depends"].into_iter().filter_map(|name| stanza.get(name)));
                }
            }
        }
    }
    let later = found.iter().any(|place| *place >= at);
    let matters = |needed: &&&Unpacked| match package.has_script("preinst") {
        true => needed.has_script("postinst"),
        false => needed.is_marked("postinst"),
    };
    let matters = found.iter().filter_map(|place| packages.get(*place)).any(|needed| matters(&needed));
    Ok(if later || !matters { Vec::new() } else { found.into_iter().collect() })
}
