//! One transaction after the other on one system: what rpm would do, carried out over layers.

use layers::{Layer, RecipeBuilder, Sha256, Stack};
use providers::distro::{RpmFacts, VolatilePath};
use providers::rpm::transaction::{Action, Package, Rules, coalesce_ldconfig, order};

use super::place::{Members, Plan, knows_owners, plan};
use super::present::Member;
use super::segment::Segment;
use super::unpack::Unpacked;
use crate::compose::scaffold::scaffold;
use crate::compose::settled::settle;
use crate::compose::step::run_step;
use crate::configure::Accounts;
use crate::context::Context;
use crate::draft::lay;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

/// Grows whenever the same packages may be installed in another way: by the Lua and the users that our
/// own program makes, too.
const TRANSACTION_VERSION: u32 = 1;

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

/// A system that packages are installed into.
pub struct System<'a, 'p> {
    set: &'a PackageSet,
    cx: &'a Context,
    /// What is installed, in order.
    installed: Vec<Package>,
    members: Members<'p>,
    /// What the steps of the transaction are called.
    title: String,
}

impl<'a, 'p> System<'a, 'p> {
    /// One that has these packages; none at first, or those of the image that it starts from.
    pub fn on(set: &'a PackageSet, cx: &'a Context, there: &'p [Member]) -> Self {
        let installed = there.iter().map(|member| member.package.clone()).collect();
        Self { set, cx, installed, members: Members::of(there), title: String::new() }
    }

    /// Installs packages in one transaction, in their order, as rpm would beside what is installed;
    /// `which` says for people which ones they are.
    ///
    /// # Errors
    /// Colliding packages; a scriptlet that fails and must not.
    pub fn install(&mut self, which: &str, packages: &'p [Unpacked], stack: &mut Stack) -> Result<(), Error> {
        self.title = format!("run scriptlets of {which} packages");
        self.members.begin(stack.tree());
        let new = read(packages)?;
        let actions = actions(&self.installed, &new, &self.set.distro.rpm)?;
        let mut segment = Segment::on(stack);
        // Scriptlets make users, and owners are looked up when a package is laid.
        let mut accounts = Accounts::read(stack)?;
        // What the key names for people.
        let mut laid = Vec::new();
        for action in actions {
            match action {
                Action::Script(run) => segment.run(run, stack),
                Action::MakeUsers { package, users } => {
                    let name = packages.get(package).map_or("", |package| package.package.name.as_str());
                    segment.make_users(name, users, stack);
                }
                Action::Lay { package } => {
                    let Some(package) = packages.get(package) else { continue };
                    if segment.runs() && !knows_owners(package, &accounts) {
                        self.run(segment, &laid, Cut::Between, stack)?;
                        segment = Segment::on(stack);
                        accounts = Accounts::read(stack)?;
                    }
                    for meaning in self.lay(package, &accounts, stack)? {
                        segment.lay(&meaning);
                    }
                    laid.push(package.package.sha256);
                    if package.brings_accounts() {
                        accounts = Accounts::read(stack)?;
                    }
                }
            }
        }
        self.run(segment, &laid, Cut::End, stack)?;
        self.installed.extend(new);
        Ok(())
    }

    /// Lays a package's files as rpm would; gives what became of the tree, layer by layer.
    fn lay(&mut self, package: &'p Unpacked, accounts: &Accounts, stack: &mut Stack) -> Result<Vec<Layer>, Error> {
        let plan = plan(package, stack.tree(), accounts, &self.members)?;
        let name = &package.package.name;
        for (owner, path) in &plan.unknown {
            self.cx.reporter.warn(&format!("{name}: '{owner}' is no user or group of the image, {path} is root's"));
        }
        for (path, beside) in &plan.beside {
            self.cx.reporter.warn(&format!("{name}: {path} is there already, the package's is {beside}"));
        }
        self.members.enter(package, &plan);
        let mut laid = Vec::from_iter(self.save(package, &plan, stack)?);
        let layer = match plan.deviates {
            true => settle(self.cx, &package.layer, &plan.meaning, &plan.origins, stack.tree())?,
            false => package.layer.clone(),
        };
        stack.push_as(layer, &plan.meaning).to("apply a package's layer")?;
        laid.push(plan.meaning);
        Ok(laid)
    }

    /// Keeps configuration that makes way for a package's, under other names.
    fn save(&self, package: &Unpacked, plan: &Plan, stack: &mut Stack) -> Result<Option<Layer>, Error> {
        if plan.saved.is_empty() {
            return Ok(None);
        }
        let name = &package.package.name;
        for (path, saved) in &plan.saved {
            self.cx.reporter.warn(&format!("{name}: {path} is there already, it is kept as {saved}"));
        }
        lay(self.cx, stack, "keep configuration that packages replace", |stack, draft| {
            plan.saved.iter().try_for_each(|(path, saved)| draft.copy(path, saved, stack))
        })?;
        Ok(stack.layers().last().map(|layer| (*layer.layer).clone()))
    }

    /// Runs what a segment has to run and takes what it changed into a layer; `laid` are the packages that this
    /// transaction has laid so far.
    fn run(&self, mut segment: Segment, laid: &[Sha256], cut: Cut, stack: &mut Stack) -> Result<(), Error> {
        if !segment.runs() {
            return Ok(());
        }
        segment.end(stack);
        let below = stack.layers().iter().map(|layer| layer.id);
        let recipe = RecipeBuilder::new("install rpm packages", TRANSACTION_VERSION)
            .list("below", below)
            .members("packages", laid)
            .field("epoch", self.cx.epoch().to_le_bytes())
            .field("deferred", &self.set.distro.initramfs.deferred);
        let recipe = segment.enter(recipe).finish();
        let (cx, distro) = (self.cx, &self.set.distro);
        let volatile: Vec<VolatilePath> = match cut {
            Cut::End => distro.volatile.clone(),
            // Scriptlets of one transaction leave each other notes there.
            Cut::Between => distro.volatile.iter().filter(|entry| !entry.path.covers(NOTES)).cloned().collect(),
        };
        run_step(cx, &volatile, stack, &recipe, &self.title, |stack| {
            let hold = cx.work.stage().to("make a work directory")?;
            let deferred = Some(distro.initramfs.deferred.as_str()).filter(|command| !command.is_empty());
            let top = scaffold(hold.path(), deferred, &[], stack.tree())?;
            let mut work = segment.work(stack, &top, cx.epoch())?;
            work.hold.push(hold);
            Ok(work)
        })
    }
}

fn read(packages: &[Unpacked]) -> Result<Vec<Package>, Error> {
    let read = |package: &Unpacked| {
        Package::read(&package.header).to(&format!("read the scripts of {}", package.package.name))
    };
    packages.iter().map(read).collect()
}

/// What rpm would do to install new packages, in their order, beside those that are installed.
fn actions(installed: &[Package], new: &[Package], facts: &RpmFacts) -> Result<Vec<Action>, Error> {
    let actions = coalesce_ldconfig(order(installed, new, Rules { users: facts.users }));
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
