//! Files that only the file lists know.

use std::collections::BTreeSet;

use super::Request;
use super::universe::{PackageId, Universe};
use crate::glob;
use crate::rpm::{Dependency, Relation, Rich};

/// Whether primary.xml has all packages that own a path (createrepo_c's rule, which the repository
/// format's users rely on): below `/etc/`, in a directory whose path ends in `bin`, and sendmail.
fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

/// The paths that a request may need and that primary.xml does not answer for. Where there are
/// some, the caller reads the repositories' file lists, completes [`crate::rpm::Package::files`],
/// and asks again, until nothing new is wanted.
pub fn wanted_paths(universe: &Universe, request: &Request) -> BTreeSet<Box<str>> {
    let mut wanted: BTreeSet<Box<str>> = BTreeSet::new();
    let mut stack: Vec<PackageId> = Vec::new();
    for wish in &request.install {
        let text = wish.text.as_str();
        if (text.starts_with('/') || text.starts_with("*/")) && (glob::is_pattern(text) || !is_primary(text)) {
            wanted.insert(text.into());
        }
    }
    // Wishes that cannot be found as yet lead nowhere; those that can are found without the others.
    for wish in &request.install {
        let one = Request { install: vec![wish.clone()], ..Request::default() };
        if let Ok(goal) = super::goal::settle(universe, &one) {
            stack.extend(goal.wishes.into_iter().flat_map(|wish| wish.candidates));
        }
    }
    if request.recommends {
        stack.extend(universe.ids().filter(|&id| !universe.package(id).supplements.is_empty()));
    }
    let mut reached: BTreeSet<PackageId> = BTreeSet::new();
    while let Some(id) = stack.pop() {
        if !reached.insert(id) || universe.is_installed(id) {
            continue;
        }
        let package = universe.package(id);
        let requires = package.requires.iter().map(|requirement| &requirement.relation);
        let recommends = package.recommends.iter().chain(&package.supplements).filter(|_| request.recommends);
        for (relation, leads_on) in requires
            .chain(recommends)
            .map(|relation| (relation, true))
            .chain(package.conflicts.iter().map(|relation| (relation, false)))
        {
            each(relation, &mut |dependency| {
                let answers = universe.satisfiers(dependency);
                if leads_on && answers.iter().any(|&id| universe.is_installed(id)) {
                    return;
                }
                if dependency.name.starts_with('/') && !is_primary(&dependency.name) {
                    wanted.insert(dependency.name.clone());
                }
                if leads_on {
                    stack.extend(answers);
                }
            });
        }
    }
    wanted
}

fn each(relation: &Relation, visit: &mut impl FnMut(&Dependency)) {
    match relation {
        Relation::Simple(dependency) => visit(dependency),
        Relation::Rich(text) => {
            if let Ok(rich) = Rich::parse(text) {
                rich.dependencies().into_iter().for_each(visit);
            }
        }
    }
}
