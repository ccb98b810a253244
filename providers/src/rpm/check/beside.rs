//! What packages that are installed already say of new ones.

use super::{Error, Member, Set};
use crate::rpm::header::Header;
use crate::rpm::{Relation, Rich};

/// What installed packages, which come first, say of new ones: what they exclude, and what they need
/// where these are there, if they had it so far.
///
/// # Errors
/// The first relation that does not hold.
pub(super) fn check(installed: usize, members: &[Member], set: &Set<'_>, headers: &[&Header]) -> Result<(), Error> {
    let there = members.get(..installed).unwrap_or_default();
    let mut before: Option<Set<'_>> = None;
    let is_new = |other: &usize| *other >= installed;
    for member in there {
        let package = || member.said.nevra();
        let named = |other: usize| members.get(other).map(|other| other.said.nevra());
        let rich = |relations: &'_ [(Relation, Rich)]| -> Vec<(Relation, Rich)> {
            relations.iter().filter(|(_, rich)| !matches!(rich, Rich::Simple(_))).cloned().collect()
        };
        for (relation, expression) in rich(&member.requires) {
            let before = before.get_or_insert_with(|| Set::of(headers.get(..installed).unwrap_or_default(), there));
            if before.holds(&expression) && !set.holds(&expression) {
                return Err(Error::Unmet { package: package(), relation });
            }
        }
        for (relation, expression) in rich(&member.conflicts) {
            let before = before.get_or_insert_with(|| Set::of(headers.get(..installed).unwrap_or_default(), there));
            if !before.holds(&expression) && set.holds(&expression) {
                return Err(Error::Conflict { package: package(), relation, other: None });
            }
        }
        for (relation, expression) in &member.conflicts {
            if let Rich::Simple(dependency) = expression
                && let Some(other) = set.answers(dependency).find(is_new)
            {
                return Err(Error::Conflict { package: package(), relation: relation.clone(), other: named(other) });
            }
        }
        for relation in &member.said.obsoletes {
            let Relation::Simple(dependency) = relation else { continue };
            let mut named = set.named.get(&*dependency.name).into_iter().flatten().copied().filter(is_new);
            let others = named.find_map(|other| members.get(other).filter(|other| dependency.admits(&other.said.evr)));
            if let Some(other) = others {
                let other = other.said.nevra();
                return Err(Error::Obsolete { package: package(), relation: relation.clone(), other });
            }
        }
    }
    Ok(())
}
