//! Which packages are installed before which: the cut points of compose.
//!
//! What a spec asks for comes last, so that one that asks for more shares everything before it.

use std::collections::BTreeMap;

use providers::distro::Distro;
use providers::lock::{Group, Why};
use providers::rpm::order::Item;
use providers::rpm::solve::{Chosen, PackageId, Universe, meant};

use super::Asked;

/// The group of one of the provider's default packages. What others build on without saying so comes
/// first; the ramdisk is made beside what nothing of it needs.
pub fn default_group(distro: &Distro, name: &str) -> Group {
    if distro.base_set.is_empty() || distro.base_set.contains(name) {
        return Group::Base;
    }
    match distro.initramfs.packages.iter().any(|generator| generator == name) {
        true => Group::Kernel,
        false => Group::Defaults,
    }
}

/// The chosen packages with their groups: kernels and what initial ramdisks are made of come with the
/// kernel.
pub fn items<'u>(distro: &Distro, universe: &'u Universe, asked: &Asked, chosen: &[Chosen]) -> Vec<Item<'u>> {
    let mut groups: BTreeMap<PackageId, Group> = BTreeMap::new();
    for (wish, group) in asked.request.install.iter().zip(&asked.groups).filter(|(_, group)| **group < Group::Rest) {
        for id in meant(universe, wish) {
            let known = groups.entry(id).or_insert(*group);
            *known = (*known).min(*group);
        }
    }
    let item = |one: &Chosen| {
        let package = universe.package(one.package);
        let with_kernel = distro.kernel.matches(&package.name) || distro.initramfs.takes_of(&package.name);
        let latest = if with_kernel { Group::Kernel } else { Group::Rest };
        let group = groups.get(&one.package).map_or(latest, |group| (*group).min(latest));
        Item { package, group, is_asked: one.why == Why::Requested }
    };
    chosen.iter().map(item).collect()
}
