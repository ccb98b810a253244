//! What is different between two layers, or between the trees of two specs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use layers::TreePath;
use serde::Serialize;

use super::{Store, Subject, stack};
use crate::error::Error;

/// The paths by what happened to them, each in order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Difference {
    /// Only in the second.
    pub added: Vec<String>,
    /// Only in the first.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// A line for each path, in the order of paths.
    pub fn text(&self) -> String {
        let marked = |mark: char, paths: &[String]| -> Vec<(String, char)> {
            paths.iter().map(|path| (path.clone(), mark)).collect()
        };
        let mut lines = [marked('+', &self.added), marked('-', &self.removed), marked('~', &self.changed)].concat();
        lines.sort();
        lines.iter().map(|(path, mark)| format!("{mark} {path}\n")).collect()
    }
}

/// Compares two layers, or two specs.
///
/// # Errors
/// One of each; a layer of a spec that is gone.
pub fn difference(store: &Store, a: &Subject, b: &Subject) -> Result<Difference, Error> {
    match (a, b) {
        (Subject::Layer(a), Subject::Layer(b)) => Ok(between(&a.layer.changes, &b.layer.changes)),
        (Subject::Stack(a), Subject::Stack(b)) => {
            let (a, b) = (stack(store, a)?, stack(store, b)?);
            let entries = |stack: &layers::Stack| -> BTreeMap<TreePath, layers::Entry> {
                stack.tree().iter().map(|(path, entry)| (path.clone(), entry.clone())).collect()
            };
            Ok(between(&entries(&a), &entries(&b)))
        }
        _ => Err(Error::usage("a layer and a spec cannot be compared").hint("name two layers, or two specs")),
    }
}

fn between<T: PartialEq + Debug>(a: &BTreeMap<TreePath, T>, b: &BTreeMap<TreePath, T>) -> Difference {
    let only = |one: &BTreeMap<TreePath, T>, other: &BTreeMap<TreePath, T>| -> Vec<String> {
        one.keys().filter(|path| !other.contains_key(*path)).map(ToString::to_string).collect()
    };
    let changed =
        |(path, entry): (&TreePath, &T)| b.get(path).is_some_and(|other| other != entry).then(|| path.to_string());
    Difference { added: only(b, a), removed: only(a, b), changed: a.iter().filter_map(changed).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_in_their_order() {
        let map = |pairs: &[(&str, u32)]| -> BTreeMap<TreePath, u32> {
            pairs.iter().map(|(path, value)| (TreePath::new(path).unwrap(), *value)).collect()
        };
        let found = between(&map(&[("a", 1), ("b", 1), ("c", 1)]), &map(&[("b", 1), ("c", 2), ("a/x", 1)]));
        assert_eq!(found.text(), "- /a\n+ /a/x\n~ /c\n");
        assert!(between(&map(&[("a", 1)]), &map(&[("a", 1)])).is_empty());
    }
}
