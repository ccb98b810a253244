//! Compose for the rpm family.
//!
//! One layer per package; then the scriptlets and triggers run in the order of a transaction of rpm
//! (rpm-scriptlets(7)), each seeing what rpm would let it see; the database is written by us.
//!
//! ```text
//! every %pretrans → per package: %pre, its files, file triggers, %post, %triggerin
//!                 → every %posttrans → %transfiletriggerin → the database → the initial ramdisk
//! ```

mod note;
mod place;
mod registry;
mod segment;
mod unpack;

use std::path::Path;

use layers::{Layer, RecipeBuilder, Stack};
use providers::distro::{RpmFacts, VolatilePath};
use providers::lock::{Group, LockedPackage};
use providers::rpm::transaction::{Action, Package, Rules, coalesce_ldconfig, order};
use providers::unpack::Aliases;

use place::{Members, knows_owners, plan};
use segment::Segment;
use unpack::{Unpacked, unpack_one};

use super::initramfs;
use super::scaffold::scaffold;
use super::settled::settle;
use super::step::run_step;
use super::unpack::unpack_ahead;
use crate::configure::Accounts;
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

/// Grows whenever the same packages may be installed in another way.
const TRANSACTION_VERSION: u32 = 1;

/// The groups of a lock, in order.
const GROUPS: [Group; 4] = [Group::Essential, Group::Base, Group::Kernel, Group::Rest];

/// Composes a package set.
///
/// # Errors
/// A damaged package, colliding packages, a scriptlet that fails and must not.
pub fn compose(set: &PackageSet, cx: &Context) -> Result<Stack, Error> {
    let distro = &set.distro;
    let aliases = Aliases::new(&distro.merged_usr).to("read the provider's merged /usr")?;
    let unpack = |package: &LockedPackage, file: &Path| {
        unpack_one(package, file, set.keys.get(&package.repository), &aliases, cx)
    };
    // A transaction begins with what all of its packages want run, so the groups are taken as one.
    let packages = unpack_ahead(set, &GROUPS, cx, unpack, |unpacked| {
        let groups: Result<Vec<_>, _> = GROUPS.iter().map(|_| unpacked.next()).collect();
        Ok(groups?.into_iter().flatten().collect::<Vec<Unpacked>>())
    })?;
    let mut transaction = Transaction { set, cx, members: Members::default(), stack: Stack::default() };
    transaction.carry_out(&packages)?;
    let Transaction { mut stack, .. } = transaction;
    let all: Vec<&Unpacked> = packages.iter().collect();
    registry::database(cx, &all, &distro.rpm, &mut stack)?;
    initramfs::make(cx, distro, &mut stack)?;
    Ok(stack)
}

/// Where scriptlets leave each other notes (rpm's `%_localstatedir/lib/rpm-state`).
const NOTES: &[u8] = b"var/lib/rpm-state/any";

/// Where a segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// Within the transaction.
    Between,
    /// With it.
    End,
}

/// An installation under way.
struct Transaction<'a, 'p> {
    set: &'a PackageSet,
    cx: &'a Context,
    members: Members<'p>,
    stack: Stack,
}

impl<'p> Transaction<'_, 'p> {
    fn carry_out(&mut self, packages: &'p [Unpacked]) -> Result<(), Error> {
        let mut segment = Segment::on(&self.stack);
        // Scriptlets make users, and owners are looked up when a package is laid.
        let mut accounts = Accounts::read(&self.stack)?;
        for action in actions(packages, &self.set.distro.rpm)? {
            match action {
                Action::Script(run) => segment.run(run, &self.stack),
                Action::MakeUsers { package, users } => {
                    let name = packages.get(package).map_or("", |package| package.package.name.as_str());
                    segment.make_users(name, users, &self.stack);
                }
                Action::Lay { package } => {
                    let Some(package) = packages.get(package) else { continue };
                    if segment.runs() && !knows_owners(package, &accounts) {
                        self.run(segment, Cut::Between)?;
                        segment = Segment::on(&self.stack);
                        accounts = Accounts::read(&self.stack)?;
                    }
                    segment.lay(&self.lay(package, &accounts)?);
                    if package.brings_accounts() {
                        accounts = Accounts::read(&self.stack)?;
                    }
                }
            }
        }
        self.run(segment, Cut::End)
    }

    /// Lays a package's files as rpm would; gives what became of the tree.
    fn lay(&mut self, package: &'p Unpacked, accounts: &Accounts) -> Result<Layer, Error> {
        let plan = plan(package, self.stack.tree(), accounts, &self.members)?;
        for (owner, path) in &plan.unknown {
            let name = &package.package.name;
            self.cx.reporter.warn(&format!("{name}: '{owner}' is no user or group of the image, {path} is root's"));
        }
        self.members.enter(package, &plan);
        let layer = match plan.deviates {
            true => settle(self.cx, &package.layer, &plan.meaning, &plan.origins, self.stack.tree())?,
            false => package.layer.clone(),
        };
        self.stack.push_as(layer, &plan.meaning).to("apply a package's layer")?;
        Ok(plan.meaning)
    }

    /// Runs what a segment has to run and takes what it changed into a layer.
    fn run(&mut self, mut segment: Segment, cut: Cut) -> Result<(), Error> {
        if !segment.runs() {
            return Ok(());
        }
        segment.end(&self.stack);
        let below = self.stack.layers().iter().map(|layer| layer.id);
        let recipe = RecipeBuilder::new("install rpm packages", TRANSACTION_VERSION)
            .list("below", below)
            .field("epoch", self.cx.epoch().to_le_bytes())
            .field("deferred", &self.set.distro.initramfs.deferred);
        let recipe = segment.enter(recipe).finish();
        let (cx, distro) = (self.cx, &self.set.distro);
        let volatile: Vec<VolatilePath> = match cut {
            Cut::End => distro.volatile.clone(),
            // Scriptlets of one transaction leave each other notes there.
            Cut::Between => distro.volatile.iter().filter(|entry| !entry.path.covers(NOTES)).cloned().collect(),
        };
        run_step(cx, &volatile, &mut self.stack, &recipe, "run scriptlets", |stack| {
            let hold = cx.work.stage().to("make a work directory")?;
            let deferred = Some(distro.initramfs.deferred.as_str()).filter(|command| !command.is_empty());
            let top = scaffold(hold.path(), deferred, &[], stack.tree())?;
            let mut work = segment.work(stack, &top, cx.epoch())?;
            work.hold.push(hold);
            Ok(work)
        })
    }
}

/// What rpm would do to install these packages into an empty system, in their order.
fn actions(packages: &[Unpacked], facts: &RpmFacts) -> Result<Vec<Action>, Error> {
    let mut read = Vec::with_capacity(packages.len());
    for package in packages {
        read.push(Package::read(&package.header).to(&format!("read the scripts of {}", package.package.name))?);
    }
    let actions = coalesce_ldconfig(order(&[], &read, Rules { users: facts.users }));
    for action in &actions {
        if let Action::Script(run) = action
            && (run.expand || run.query)
            && run.body.as_deref().is_some_and(|body| body.contains(&b'%'))
        {
            return Err(Error::build(format!("failed to read {run}: rpm would expand macros in it as it runs"))
                .hint("such scriptlets (`-e`, `-q`) are not supported yet; leave the package out of the image"));
        }
    }
    Ok(actions)
}
