//! The order in which packages are installed: rpm's own (a topological sort over Requires, in which
//! what others need most comes first and circles are broken far from Requires(pre)), as a pure
//! function of what the lock and the repositories say, so that a build that resumes at a cut point
//! has done exactly what a cold one does.
//!
//! Groups come one after another ([`Group::ALL`]), each as a transaction of its own
//! would: nothing in it needs what comes later, and its order is rpm's for the group's packages alone,
//! given to it by name. So a package more in the last group changes no other. What is only wished for counts as with rpm 4.18 and
//! 4.19; later versions leave it out. rpm also puts packages with programs of the architecture it
//! prefers before those of another, and a repository's metadata does not tell: here there is one.

mod groups;
mod needs;

use std::collections::BTreeMap;

use super::Package;
use crate::lock::Group;
use groups::settle;
use needs::{Need, connect};

/// One package to be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What the repository says of it.
    pub package: &'a Package,
    /// The group it is to be in, or an earlier one if a package of that needs it.
    pub group: Group,
    /// Whether the spec names it: where others can do what an earlier group needs, they do it.
    pub is_asked: bool,
}

/// A place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The package, by its place in what was given.
    pub item: usize,
    /// The group it ended up in.
    pub group: Group,
}

/// One need of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edge {
    target: usize,
    strict: bool,
}

/// Orders packages. The order in which they are given makes no difference. What a group recommends is
/// in it too where what is `recommended` is taken.
pub fn order(items: &[Item<'_>], recommended: bool) -> Vec<Place> {
    let mut sorted: Vec<usize> = (0..items.len()).collect();
    sorted.sort_by(|&a, &b| {
        let (first, second) = (items[a].package, items[b].package);
        let names = first.name.cmp(&second.name);
        names
            .then_with(|| first.evr.compare(&second.evr))
            .then_with(|| first.architecture.cmp(&second.architecture))
            .then_with(|| first.sha256.cmp(&second.sha256))
    });
    let by_name: Vec<Item<'_>> = sorted.iter().map(|&at| items[at]).collect();
    let groups = settle(&by_name, recommended);
    let mut places = Vec::with_capacity(items.len());
    for group in Group::ALL {
        let members: Vec<usize> = (0..by_name.len()).filter(|&at| groups[at] == group).collect();
        let own: Vec<&Package> = members.iter().map(|&at| by_name[at].package).collect();
        let placed = Sorter::new(members.len(), &connect(&own)).sort();
        places.extend(placed.into_iter().map(|number| Place { item: sorted[members[number]], group }));
    }
    places
}

/// A circle: packages that need each other.
#[derive(Debug, Default)]
struct Circle {
    members: Vec<usize>,
    /// Needs of its members that are outside and not yet there.
    open: usize,
}

/// The state of one sort.
struct Sorter {
    /// What each package needs.
    needs: Vec<Vec<Edge>>,
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

impl Sorter {
    fn new(packages: usize, noted: &[Need]) -> Self {
        let mut needs: Vec<Vec<Edge>> = vec![Vec::new(); packages];
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); packages];
        for need in noted {
            needs[need.waiting].push(Edge { target: need.target, strict: need.strict });
            needed_by[need.target].push(need.waiting);
        }
        needed_by.iter_mut().for_each(|list| list.reverse());
        let mut sorter = Self {
            open: needs.iter().map(Vec::len).collect(),
            circle_of: vec![None; packages],
            circles: Vec::new(),
            is_placed: vec![false; packages],
            placed: Vec::with_capacity(packages),
            needed_by,
            needs,
        };
        for members in circles(&sorter.needed_by) {
            let number = sorter.circles.len();
            for &member in &members {
                sorter.circle_of[member] = Some(number);
            }
            sorter.circles.push(Circle { members, open: 0 });
        }
        for (at, edges) in sorter.needs.iter().enumerate() {
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
