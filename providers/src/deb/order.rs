//! The order in which packages are unpacked and configured: a pure function of what the lock
//! says, so that a build that resumes at a cut point has done exactly what a cold one does.
//!
//! Groups come one after another (essential, base, kernel, rest). Within a group a package
//! follows what it depends on; where dependencies run in a circle they are given up in an order
//! that does not depend on chance: Depends before Pre-Depends, and of equals the ones on packages
//! that have no postinst (such a package is as good as configured once it is unpacked, which is
//! where dpkg, too, breaks circles).

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::relation::{self, Alternative};
use crate::lock::Group;

/// One package to be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its Pre-Depends field.
    pub pre_depends: &'a str,
    /// Its Depends field.
    pub depends: &'a str,
    /// Its Provides field.
    pub provides: &'a str,
    /// The group it is to be in, or an earlier one if a package of that needs it.
    pub group: Group,
    /// Whether it has a postinst; true where that is not known.
    pub has_postinst: bool,
}

/// A place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The package, by its place in what was given.
    pub item: usize,
    /// The group it ended up in.
    pub group: Group,
}

struct Graph {
    /// For each package what it depends on; `true` for Pre-Depends.
    edges: Vec<BTreeMap<usize, bool>>,
}

/// Orders packages.
///
/// # Errors
/// [`Error::Relation`] for a relation field that cannot be read.
pub fn order(items: &[Item<'_>], architecture: &str) -> Result<Vec<Place>, Error> {
    let graph = connect(items, architecture)?;
    let groups = settle_groups(items, &graph);
    let mut places = Vec::with_capacity(items.len());
    for group in Group::ALL {
        let mut members: Vec<usize> = (0..items.len()).filter(|&at| groups[at] == group).collect();
        members.sort_by_key(|&at| (items[at].name, at));
        let sorted = sort(&members, &graph, items);
        places.extend(sorted.into_iter().map(|item| Place { item, group }));
    }
    Ok(places)
}

fn connect(items: &[Item<'_>], architecture: &str) -> Result<Graph, Error> {
    // Who answers to a name: with the version of the package, or of what it provides.
    let mut named: BTreeMap<&str, Vec<(usize, Option<&str>)>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        named.entry(item.name).or_default().push((at, Some(item.version)));
        for provide in relation::parse_single(item.provides, architecture)? {
            named.entry(provide.name).or_default().push((at, provide.bound.map(|bound| bound.version)));
        }
    }
    let answers = |target: &Alternative<'_>| -> Vec<usize> {
        let known = named.get(target.name).map_or(&[][..], Vec::as_slice);
        let within = |version: &Option<&str>| match (target.bound, version) {
            (None, _) => true,
            (Some(bound), Some(version)) => bound.admits(version),
            (Some(_), None) => false,
        };
        known.iter().filter(|(_, version)| within(version)).map(|&(at, _)| at).collect()
    };
    let mut edges = vec![BTreeMap::new(); items.len()];
    for (at, item) in items.iter().enumerate() {
        for (strict, field) in [(true, item.pre_depends), (false, item.depends)] {
            for relation in relation::parse(field, architecture)? {
                // Any alternative that is there will do for dpkg; the first one is waited for.
                let first = relation.alternatives.iter().map(answers).find(|found| !found.is_empty());
                for target in first.unwrap_or_default().into_iter().filter(|&target| target != at) {
                    *edges[at].entry(target).or_insert(false) |= strict;
                }
            }
        }
    }
    Ok(Graph { edges })
}

/// A package that an earlier group needs belongs to that group.
fn settle_groups(items: &[Item<'_>], graph: &Graph) -> Vec<Group> {
    let mut groups: Vec<Group> = items.iter().map(|item| item.group).collect();
    let mut stack: Vec<usize> = (0..items.len()).collect();
    while let Some(at) = stack.pop() {
        for &target in graph.edges[at].keys() {
            if groups[at] < groups[target] {
                groups[target] = groups[at];
                stack.push(target);
            }
        }
    }
    groups
}

/// Sorts the members of a group: circle by circle, what others need first, by name where free.
fn sort(members: &[usize], graph: &Graph, items: &[Item<'_>]) -> Vec<usize> {
    let inside: BTreeSet<usize> = members.iter().copied().collect();
    let needs = |at: usize| -> Vec<usize> {
        graph.edges[at].keys().copied().filter(|target| inside.contains(target)).collect()
    };
    let mut sorted = Vec::with_capacity(members.len());
    for circle in circles(members, needs) {
        match circle[..] {
            [only] => sorted.push(only),
            _ => sorted.extend(break_circle(&circle, graph, items)),
        }
    }
    sorted
}

/// Orders packages that depend on each other in a circle. One package's edges after another are
/// given up until nothing runs in a circle; the first in this list that there is: Depends on a
/// package without postinst, Depends of a package, anything of a package; each time of the first
/// package by name.
fn break_circle(circle: &[usize], graph: &Graph, items: &[Item<'_>]) -> Vec<usize> {
    let mut members = circle.to_vec();
    members.sort_by_key(|&at| (items[at].name, at));
    let mut edges: BTreeMap<usize, BTreeMap<usize, bool>> = BTreeMap::new();
    for &at in &members {
        let inside = graph.edges[at].iter().filter(|(target, _)| circle.contains(target));
        edges.insert(at, inside.map(|(&target, &strict)| (target, strict)).collect());
    }
    resolve(&members, edges, items)
}

fn resolve(members: &[usize], mut edges: BTreeMap<usize, BTreeMap<usize, bool>>, items: &[Item<'_>]) -> Vec<usize> {
    loop {
        let needs = |at: usize| edges.get(&at).map_or_else(Vec::new, |targets| targets.keys().copied().collect());
        let parts = circles(members, needs);
        if parts.len() > 1 || members.len() < 2 {
            let mut sorted = Vec::with_capacity(members.len());
            for mut part in parts {
                part.sort_by_key(|&at| (items[at].name, at));
                let mut inner = edges.clone();
                inner.retain(|at, _| part.contains(at));
                inner.values_mut().for_each(|targets| targets.retain(|target, _| part.contains(target)));
                match part[..] {
                    [only] => sorted.push(only),
                    _ => sorted.extend(resolve(&part, inner, items)),
                }
            }
            return sorted;
        }
        let soft_on = |target: usize| edges.values().any(|targets| targets.get(&target) == Some(&false));
        let soft_of = |at: &usize| edges.get(at).is_some_and(|targets| targets.values().any(|strict| !strict));
        if let Some(&target) = members.iter().find(|&&at| !items[at].has_postinst && soft_on(at)) {
            edges.values_mut().for_each(|targets| targets.retain(|&at, strict| *strict || at != target));
        } else if let Some(targets) = members.iter().copied().find(soft_of).and_then(|at| edges.get_mut(&at)) {
            targets.retain(|_, strict| *strict);
        } else if let Some(targets) = members.first().and_then(|at| edges.get_mut(at)) {
            targets.clear();
        }
    }
}

/// Strongly connected components, each after those it leads to (Tarjan 1972), without recursion.
/// Roots and edges are taken in the order given, so equal input gives equal output.
fn circles(members: &[usize], needs: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    struct Visit {
        at: usize,
        targets: Vec<usize>,
        next: usize,
    }
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    let mut lowest: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open: Vec<usize> = Vec::new();
    let mut is_open: BTreeSet<usize> = BTreeSet::new();
    let mut found = Vec::new();
    let rank: BTreeMap<usize, usize> = members.iter().enumerate().map(|(rank, &at)| (at, rank)).collect();
    let sorted_needs = |at: usize| {
        let mut targets = needs(at);
        targets.sort_by_key(|target| rank.get(target).copied());
        targets
    };
    for &root in members {
        if numbers.contains_key(&root) {
            continue;
        }
        let mut visits: Vec<Visit> = Vec::new();
        let mut enter = Some(root);
        loop {
            if let Some(at) = enter.take() {
                let number = numbers.len();
                numbers.insert(at, number);
                lowest.insert(at, number);
                open.push(at);
                is_open.insert(at);
                visits.push(Visit { at, targets: sorted_needs(at), next: 0 });
            }
            let Some(visit) = visits.last_mut() else { break };
            let at = visit.at;
            if let Some(&target) = visit.targets.get(visit.next) {
                visit.next += 1;
                match numbers.get(&target) {
                    None => enter = Some(target),
                    Some(&number) if is_open.contains(&target) => {
                        lowest.entry(at).and_modify(|low| *low = (*low).min(number));
                    }
                    Some(_) => {}
                }
                continue;
            }
            visits.pop();
            let low = lowest.get(&at).copied().unwrap_or(0);
            if let Some(parent) = visits.last() {
                lowest.entry(parent.at).and_modify(|parent| *parent = (*parent).min(low));
            }
            if numbers.get(&at) == Some(&low) {
                let start = open.iter().rposition(|&member| member == at).unwrap_or(0);
                let circle = open.split_off(start);
                for member in &circle {
                    is_open.remove(member);
                }
                found.push(circle);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<'a>(name: &'a str, pre_depends: &'a str, depends: &'a str) -> Item<'a> {
        Item { name, version: "1", pre_depends, depends, provides: "", group: Group::Rest, has_postinst: true }
    }

    fn names(items: &[Item<'_>]) -> String {
        let places = order(items, "amd64").unwrap();
        places.iter().map(|place| items[place.item].name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_needed_comes_first_and_names_decide_the_rest() {
        assert_eq!(
            names(&[item("c", "", ""), item("b", "", "d (>= 1)"), item("a", "", ""), item("d", "", "")]),
            "a d b c"
        );
        assert_eq!(names(&[item("a", "", "x | b"), item("b", "", "")]), "b a");
    }

    #[test]
    fn circles_are_broken_at_depends_without_postinst() {
        let mut items = [item("a", "", "b"), item("b", "", "a"), item("c", "a", "")];
        assert_eq!(names(&items), "a b c");
        items[0].has_postinst = false;
        assert_eq!(names(&items), "b a c");
        items[0].has_postinst = true;
        items[1].has_postinst = false;
        assert_eq!(names(&items), "a b c");
        // Pre-Depends hold where Depends give way.
        assert_eq!(names(&[item("a", "b", ""), item("b", "", "a")]), "b a");
        assert_eq!(names(&[item("a", "", "b"), item("b", "a", "")]), "a b");
        // A circle of Pre-Depends has no right order, but always the same one.
        assert_eq!(names(&[item("a", "b", ""), item("b", "a", "")]), "a b");
    }

    #[test]
    fn an_earlier_group_takes_what_it_needs() {
        let mut items = [item("a", "", ""), item("lib", "", ""), item("dpkg", "", "lib")];
        items[2].group = Group::Essential;
        let places = order(&items, "amd64").unwrap();
        let shown: Vec<_> = places.iter().map(|place| (items[place.item].name, place.group)).collect();
        assert_eq!(shown, [("lib", Group::Essential), ("dpkg", Group::Essential), ("a", Group::Rest)]);
    }
}
