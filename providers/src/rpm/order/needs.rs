//! Who waits for whom, as rpm notes it before it sorts.

use std::collections::{BTreeSet, HashMap};

use crate::rpm::{Dependency, Package, Relation, Rich};

/// One need between two packages, by their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
    /// Who waits.
    pub waiting: usize,
    /// For whom.
    pub target: usize,
    /// Whether its scriptlets do (Requires(pre), Requires(post)).
    pub strict: bool,
    /// How much it wants to.
    pub weight: Weight,
}

/// How much a package wants another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weight {
    /// It is only wished for (Suggests, Supplements, Enhances, what is recommended on a condition).
    Wished,
    /// It is recommended.
    Recommended,
    /// It is required.
    Required,
}

/// Every need, in the order in which rpm notes them: package after package, of each what it requires
/// first, then what it recommends, suggests, supplements and enhances. With the last two it is the
/// other package that waits (rpm, lib/order.c, `rpmtsOrder` and `addSingleRelation`).
pub fn connect(packages: &[&Package]) -> Vec<Need> {
    let mut provided: HashMap<&str, Vec<(usize, &Dependency)>> = HashMap::new();
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    let rich: HashMap<&str, Rich> = packages
        .iter()
        .flat_map(|package| wishes(package))
        .filter_map(|(relation, _)| match relation {
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
    let mut wanted: Vec<Vec<(Dependency, Wish)>> = Vec::with_capacity(packages.len());
    for package in packages {
        let wishes = wishes(package).flat_map(|(relation, wish)| {
            // What is recommended on a condition comes and goes with others.
            let wish = match (relation, wish) {
                (Relation::Rich(_), Wish::Likes { .. }) => Wish::Likes { recommended: false },
                _ => wish,
            };
            leaves(relation).into_iter().map(move |leaf| (leaf, wish))
        });
        wanted.push(wishes.filter(|(dependency, _)| !dependency.name.starts_with("rpmlib(")).collect());
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
    let mut notes = Notes::new(packages.len());
    for (at, wanted) in wanted.iter().enumerate() {
        for (dependency, wish) in wanted {
            if let Some(other) = answer(at, dependency) {
                notes.note(at, other, *wish);
            }
        }
    }
    notes.needs
}

/// How a package asks for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// It needs it, before its scriptlets where that is said.
    Needs { strict: bool },
    /// It would like to have it, and recommends that.
    Likes { recommended: bool },
    /// It would like to be there with it.
    Joins,
}

/// All that a package asks for, in the order in which rpm looks at it.
fn wishes(package: &Package) -> impl Iterator<Item = (&Relation, Wish)> {
    let needs = package.requires.iter().map(|need| (&need.relation, Wish::Needs { strict: need.before }));
    let likes = package.recommends.iter().map(|relation| (relation, Wish::Likes { recommended: true }));
    let likes = likes.chain(package.suggests.iter().map(|relation| (relation, Wish::Likes { recommended: false })));
    let joins = package.supplements.iter().chain(&package.enhances).map(|relation| (relation, Wish::Joins));
    needs.chain(likes).chain(joins)
}

/// Needs as they are noted.
struct Notes {
    needs: Vec<Need>,
    /// The last need of each package, and the last for each.
    last_of: Vec<Option<usize>>,
    last_for: Vec<Option<usize>>,
}

impl Notes {
    fn new(packages: usize) -> Self {
        Self { needs: Vec::new(), last_of: vec![None; packages], last_for: vec![None; packages] }
    }

    /// Notes what a package asks of another, unless that was the last thing noted there.
    fn note(&mut self, at: usize, other: usize, wish: Wish) {
        let (waiting, target, known) = match wish {
            Wish::Needs { .. } | Wish::Likes { .. } => {
                (at, other, self.last_for[other].filter(|&n| self.needs[n].waiting == at))
            }
            // Not the same thing the other way around: rpm looks at what the package itself waits for.
            Wish::Joins => (other, at, self.last_of[at].filter(|&n| self.needs[n].target == other)),
        };
        let strict = wish == Wish::Needs { strict: true };
        let weight = match wish {
            Wish::Needs { .. } => Weight::Required,
            Wish::Likes { recommended: true } => Weight::Recommended,
            Wish::Likes { recommended: false } | Wish::Joins => Weight::Wished,
        };
        if let Some(known) = known {
            let known = &mut self.needs[known];
            known.strict |= strict;
            known.weight = known.weight.max(weight);
            return;
        }
        let number = self.needs.len();
        self.last_of[waiting] = Some(number);
        self.last_for[target] = Some(number);
        self.needs.push(Need { waiting, target, strict, weight });
    }
}

/// The dependencies of an expression that are waited for: neither conditions nor what is wanted
/// where they do not hold, which rpm overlooks (its `addRelation` reads the whole once more).
fn waited_for(rich: &Rich) -> Vec<Dependency> {
    match rich {
        Rich::Simple(dependency) => vec![dependency.clone()],
        Rich::And(parts) | Rich::Or(parts) => parts.iter().flat_map(waited_for).collect(),
        // One package has all of it.
        Rich::With(parts) => parts.first().map_or_else(Vec::new, waited_for),
        Rich::Without(pair) => waited_for(&pair.0),
        Rich::If(conditional) | Rich::Unless(conditional) => waited_for(&conditional.then),
    }
}
