//! The order in which packages are installed: rpm's own (a topological sort over Requires, in which
//! what others need most comes first and circles are broken far from Requires(pre)), as a pure
//! function of what the lock and the repositories say, so that a build that resumes at a cut point
//! has done exactly what a cold one does.
//!
//! Groups come one after another (essential, base, kernel, rest); within each the order is rpm's for
//! the group's packages, given to it by name. rpm also puts packages with 64-bit programs before
//! others where it is free to; that is not in a repository's metadata and makes no difference here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rich::Conditional;
use super::{Dependency, Package, Relation, Rich};
use crate::lock::Group;

/// One package to be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What the repository says of it.
    pub package: &'a Package,
    /// The group it is to be in, or an earlier one if a package of that needs it.
    pub group: Group,
}

/// A place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The package, by its place in what was given.
    pub item: usize,
    /// The group it ended up in.
    pub group: Group,
}

/// One need: who is needed, and whether scriptlets need it (Requires(pre), Requires(post)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edge {
    target: usize,
    strict: bool,
}

/// Orders packages. The order in which they are given makes no difference.
pub fn order(items: &[Item<'_>]) -> Vec<Place> {
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by(|&a, &b| {
        let (first, second) = (items[a].package, items[b].package);
        let names = first.name.cmp(&second.name);
        names
            .then_with(|| first.evr.compare(&second.evr))
            .then_with(|| first.architecture.cmp(&second.architecture))
            .then_with(|| first.sha256.cmp(&second.sha256))
    });
    let packages: Vec<&Package> = sorted.iter().map(|&at| items[at].package).collect();
    let needs = connect(&packages);
    let groups = settle_groups(sorted.iter().map(|&at| items[at].group).collect(), &needs);
    let mut places = Vec::with_capacity(items.len());
    for group in [Group::Essential, Group::Base, Group::Kernel, Group::Rest] {
        let members: Vec<usize> = (0..packages.len()).filter(|&at| groups[at] == group).collect();
        let numbers: BTreeMap<usize, usize> = members.iter().enumerate().map(|(number, &at)| (at, number)).collect();
        let inside = |edge: &Edge| numbers.get(&edge.target).map(|&target| Edge { target, ..*edge });
        let needs: Vec<Vec<Edge>> = members.iter().map(|&at| needs[at].iter().filter_map(inside).collect()).collect();
        let placed = Sorter::new(&needs).sort();
        places.extend(placed.into_iter().map(|number| Place { item: sorted[members[number]], group }));
    }
    places
}

/// What each package needs of the others, in the order in which it says so.
fn connect(packages: &[&Package]) -> Vec<Vec<Edge>> {
    let mut provided: HashMap<&str, Vec<(usize, &Dependency)>> = HashMap::new();
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    let rich: HashMap<&str, Rich> = packages
        .iter()
        .flat_map(|package| &package.requires)
        .filter_map(|requirement| match &requirement.relation {
            Relation::Rich(text) => Some((&**text, Rich::parse(text).ok()?)),
            Relation::Simple(_) => None,
        })
        .collect();
    let leaves = |relation: &'_ Relation| -> Vec<Dependency> {
        match relation {
            Relation::Simple(dependency) => vec![dependency.clone()],
            Relation::Rich(text) => rich.get(&**text).map_or_else(Vec::new, waited_for),
        }
    };
    for (at, package) in packages.iter().enumerate() {
        for provide in &package.provides {
            provided.entry(&provide.name).or_default().push((at, provide));
        }
    }
    let mut wanted: Vec<Vec<(Dependency, bool)>> = Vec::with_capacity(packages.len());
    for package in packages {
        let requires = package.requires.iter().flat_map(|requirement| {
            leaves(&requirement.relation).into_iter().map(|dependency| (dependency, requirement.before))
        });
        wanted.push(requires.filter(|(dependency, _)| !dependency.name.starts_with("rpmlib(")).collect());
    }
    for (dependency, _) in wanted.iter().flatten().filter(|(dependency, _)| dependency.name.starts_with('/')) {
        paths.insert(&dependency.name);
    }
    let mut owners: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, package) in packages.iter().enumerate() {
        for path in package.files.iter().filter(|path| paths.contains(&***path)) {
            owners.entry(path).or_default().push(at);
        }
    }
    // The first that can, files before capabilities; nobody where the package can itself.
    let answer = |at: usize, dependency: &Dependency| -> Option<usize> {
        let found: Vec<usize> = match owners.get(&*dependency.name) {
            Some(owners) => owners.clone(),
            None => {
                let known = provided.get(&*dependency.name)?.iter();
                known.filter(|(_, provide)| dependency.matches(provide)).map(|&(other, _)| other).collect()
            }
        };
        found.first().copied().filter(|_| !found.contains(&at))
    };
    let edges = wanted.iter().enumerate().map(|(at, wanted)| {
        let mut edges: Vec<Edge> = Vec::new();
        for (dependency, strict) in wanted {
            let Some(target) = answer(at, dependency) else { continue };
            // rpm notes what is said again with the need noted last, whichever that is.
            match (edges.iter().any(|edge| edge.target == target), edges.last_mut()) {
                (true, Some(last)) => last.strict |= strict,
                _ => edges.push(Edge { target, strict: *strict }),
            }
        }
        edges
    });
    edges.collect()
}

/// The dependencies of an expression that are waited for: all but conditions.
fn waited_for(rich: &Rich) -> Vec<Dependency> {
    match rich {
        Rich::Simple(dependency) => vec![dependency.clone()],
        Rich::And(parts) | Rich::Or(parts) | Rich::With(parts) => parts.iter().flat_map(waited_for).collect(),
        Rich::Without(pair) => waited_for(&pair.0),
        Rich::If(conditional) | Rich::Unless(conditional) => {
            let Conditional { then, otherwise, .. } = &**conditional;
            let mut found = waited_for(then);
            found.extend(otherwise.iter().flat_map(waited_for));
            found
        }
    }
}

/// A package that an earlier group needs belongs to that group.
fn settle_groups(mut groups: Vec<Group>, needs: &[Vec<Edge>]) -> Vec<Group> {
    let mut stack: Vec<usize> = (0..groups.len()).collect();
    while let Some(at) = stack.pop() {
        for edge in &needs[at] {
            if groups[at] < groups[edge.target] {
                groups[edge.target] = groups[at];
                stack.push(edge.target);
            }
        }
    }
    groups
}

/// A circle: packages that need each other.
#[derive(Debug, Default)]
struct Circle {
    members: Vec<usize>,
    /// Needs of its members that are outside and not yet there.
    open: usize,
}

/// The state of one sort.
struct Sorter<'a> {
    /// What each package needs.
    needs: &'a [Vec<Edge>],
    /// Who needs each package, the last that said so first.
    needed_by: Vec<Vec<usize>>,
    /// Needs of each package that are not yet there.
    open: Vec<usize>,
    /// The circle of each package.
    circle_of: Vec<Option<usize>>,
    circles: Vec<Circle>,
    is_placed: Vec<bool>,
    placed: Vec<usize>,
}

impl<'a> Sorter<'a> {
    fn new(needs: &'a [Vec<Edge>]) -> Self {
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
        for (at, edges) in needs.iter().enumerate() {
            for edge in edges {
                needed_by[edge.target].push(at);
            }
        }
        needed_by.iter_mut().for_each(|list| list.reverse());
        let mut sorter = Self {
            needs,
            open: needs.iter().map(Vec::len).collect(),
            circle_of: vec![None; needs.len()],
            circles: Vec::new(),
            is_placed: vec![false; needs.len()],
            placed: Vec::with_capacity(needs.len()),
            needed_by,
        };
        for members in circles(&sorter.needed_by) {
            let number = sorter.circles.len();
            for &member in &members {
                sorter.circle_of[member] = Some(number);
            }
            sorter.circles.push(Circle { members, open: 0 });
        }
        for (at, edges) in needs.iter().enumerate() {
            if let Some(number) = sorter.circle_of[at] {
                let outside = edges.iter().filter(|edge| sorter.circle_of[edge.target] != Some(number)).count();
                sorter.circles[number].open += outside;
            }
        }
        sorter
    }

    fn sort(mut self) -> Vec<usize> {
        let mut queue: Vec<usize> = Vec::new();
        for at in 0..self.needs.len() {
            if self.open[at] == 0 {
                self.enqueue(at, &mut queue);
            }
        }
        let ready: Vec<usize> = self
            .circles
            .iter()
            .filter(|circle| circle.open == 0)
            .filter_map(|circle| circle.members.first().copied())
            .collect();
        for member in ready {
            self.enqueue(member, &mut queue);
        }
        while !queue.is_empty() {
            let at = queue.remove(0);
            match self.circle_of[at] {
                Some(number) => self.place_circle(number, &mut queue),
                None => self.place(at, &mut queue, None),
            }
        }
        self.placed
    }

    /// Puts a package into a queue: before the first that is needed no more than it is.
    fn enqueue(&self, at: usize, queue: &mut Vec<usize>) {
        let rank = self.needed_by[at].len();
        let place = queue.iter().position(|&other| self.needed_by[other].len() <= rank).unwrap_or(queue.len());
        queue.insert(place, at);
    }

    /// Places a package, and queues what waited for nothing but it. Within a circle what is outside
    /// goes to the outer queue.
    fn place(&mut self, at: usize, queue: &mut Vec<usize>, mut outer: Option<&mut Vec<usize>>) {
        self.placed.push(at);
        let own = self.circle_of[at];
        for next in 0..self.needed_by[at].len() {
            let waiting = self.needed_by[at][next];
            if self.is_placed[waiting] {
                continue;
            }
            self.open[waiting] = self.open[waiting].saturating_sub(1);
            let theirs = self.circle_of[waiting];
            if self.open[waiting] == 0 {
                match &mut outer {
                    Some(outer) if own != theirs => self.enqueue(waiting, outer),
                    _ => self.enqueue(waiting, queue),
                }
            }
            if let Some(number) = theirs.filter(|_| own != theirs) {
                self.circles[number].open = self.circles[number].open.saturating_sub(1);
                if self.circles[number].open == 0 {
                    match &mut outer {
                        Some(outer) => self.enqueue(waiting, outer),
                        None => self.enqueue(waiting, queue),
                    }
                }
            }
        }
        self.is_placed[at] = true;
    }

    /// Places the packages of a circle, each time beginning with the one that is farthest from what
    /// scriptlets need.
    fn place_circle(&mut self, number: usize, outer: &mut Vec<usize>) {
        let members = std::mem::take(&mut self.circles[number].members);
        let distances = self.distances(number, &members);
        loop {
            let left = members.iter().copied().filter(|&member| !self.is_placed[member]);
            let Some(best) = left.max_by_key(|member| distances.get(member).copied().unwrap_or(usize::MAX)) else {
                return;
            };
            let mut queue = vec![best];
            while !queue.is_empty() {
                let at = queue.remove(0);
                self.place(at, &mut queue, Some(outer));
            }
        }
    }

    /// How many steps lead from a package with a strict need to each member; those that none leads
    /// to are not in it.
    fn distances(&self, number: usize, members: &[usize]) -> BTreeMap<usize, usize> {
        let inside = |edge: &&Edge| self.circle_of[edge.target] == Some(number);
        // The last said need is looked at first, as everywhere in rpm.
        let edges = |at: usize| self.needs[at].iter().rev();
        let mut distances: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue: Vec<usize> = Vec::new();
        for &member in members {
            if edges(member).filter(inside).any(|edge| edge.strict) {
                distances.insert(member, 0);
                queue.push(member);
            }
        }
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let distance = distances.get(&at).copied().unwrap_or(0).saturating_add(1);
            for edge in edges(at).filter(inside) {
                if distances.get(&edge.target).is_none_or(|&known| known > distance) {
                    distances.insert(edge.target, distance);
                    queue.push(edge.target);
                }
            }
        }
        distances
    }
}

/// Strongly connected components of more than one member (Tarjan 1972), without recursion, in the
/// order in which they are found; members in the order in which they were reached.
fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let mut numbers = vec![NEW; edges.len()];
    let mut lowest = vec![NEW; edges.len()];
    let mut is_open = vec![false; edges.len()];
    let mut open: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    let mut count = 0;
    for root in 0..edges.len() {
        if numbers[root] != NEW {
            continue;
        }
        let mut visits: Vec<(usize, usize)> = Vec::new();
        let mut enter = Some(root);
        loop {
            if let Some(at) = enter.take() {
                numbers[at] = count;
                lowest[at] = count;
                count += 1;
                open.push(at);
                is_open[at] = true;
                visits.push((at, 0));
            }
            let Some((at, next)) = visits.last_mut() else { break };
            let at = *at;
            if let Some(&target) = edges[at].get(*next) {
                *next += 1;
                if numbers[target] == NEW {
                    enter = Some(target);
                } else if is_open[target] {
                    lowest[at] = lowest[at].min(numbers[target]);
                }
                continue;
            }
            visits.pop();
            if let Some(&(parent, _)) = visits.last() {
                lowest[parent] = lowest[parent].min(lowest[at]);
            }
            if lowest[at] == numbers[at] {
                let start = open.iter().rposition(|&member| member == at).unwrap_or(0);
                let circle = open.split_off(start);
                for &member in &circle {
                    is_open[member] = false;
                }
                if circle.len() > 1 {
                    found.push(circle);
                }
            }
        }
    }
    found
}
