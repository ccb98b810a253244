//! Which group each package is in.

use super::Item;
use super::needs::{Weight, connect};
use crate::lock::Group;

/// A package that an earlier group requires belongs to that group, and so does one that it recommends
/// where that counts. Of several that can answer, one that is there already does, then one that
/// nobody asked for by name: what a spec asks for besides should change no earlier group.
pub(super) fn settle(items: &[Item<'_>], recommended: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = items.iter().map(|item| item.group).collect();
    if groups.windows(2).all(|pair| pair[0] == pair[1]) {
        return groups;
    }
    let least = if recommended { Weight::Recommended } else { Weight::Required };
    loop {
        // The first that can answer is taken for the answer.
        let mut ranked: Vec<usize> = (0..items.len()).collect();
        ranked.sort_by_key(|&at| (groups[at], items[at].is_asked));
        let mut targets: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
        for need in connect(&ranked.iter().map(|&at| items[at].package).collect::<Vec<_>>()) {
            if need.weight >= least {
                targets[ranked[need.waiting]].push(ranked[need.target]);
            }
        }
        let before = groups.clone();
        let mut stack = ranked;
        while let Some(at) = stack.pop() {
            for &target in &targets[at] {
                if groups[at] < groups[target] {
                    groups[target] = groups[at];
                    stack.push(target);
                }
            }
        }
        if groups == before {
            return groups;
        }
    }
}
