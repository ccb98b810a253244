//! Configuration: what the spec says of the system, one layer per step, in this order: users,
//! settings, files, services, scripts.
//!
//! Scripts come last, so that a changed line in the last script runs that script and nothing else.

mod accounts;
mod files;
mod first_boot;
pub mod grub;
mod mounts;
mod network;
mod scripts;
mod services;
mod settings;
mod trace;
mod users;

pub use accounts::{Accounts, read_bytes, read_text};

use layers::{Recipe, RecipeBuilder, Stack};
use providers::distro::{Boot, Grub, VolatilePath};
use sandbox::Step;

use crate::boot::Identity;
use crate::compose::{Work, failure, mounted, run_step};
use crate::context::Context;
use crate::draft::lay;
use crate::error::Error;
use crate::spec::ResolvedSpec;

/// Grows whenever the same spec may be configured in another way.
const CONFIGURATION_VERSION: u32 = 1;

/// What configuration needs besides the spec.
pub struct Surroundings<'a> {
    /// Identifiers of the disk.
    pub identity: &'a Identity,
    /// The kernel's whole command line.
    pub cmdline: &'a str,
    /// What must not enter a layer.
    pub volatile: &'a [VolatilePath],
    /// The name under which kernel-install files kernels.
    pub token: &'a str,
    /// Where kernels lie in the image.
    pub boot: &'a Boot,
    /// GRUB, where it is the boot loader.
    pub grub: Option<&'a Grub>,
}

/// Applies everything that the spec says of the system to a composed stack.
///
/// # Errors
/// A failing command or script; a source that changed; owners that do not exist.
pub fn configure(
    spec: &ResolvedSpec,
    surroundings: &Surroundings<'_>,
    cx: &Context,
    stack: &mut Stack,
) -> Result<(), Error> {
    make_users(spec, surroundings, cx, stack)?;
    write_settings(spec, surroundings, cx, stack)?;
    for file in &spec.files {
        cx.check()?;
        lay(cx, stack, &format!("copy {}", file.source), |stack, draft| {
            files::copy(file, &Accounts::read(stack)?, draft)
        })?;
    }
    switch_services(spec, surroundings, cx, stack)?;
    make_core_image(spec, surroundings, cx, stack)?;
    if spec.scripts.is_empty() {
        return Ok(());
    }
    let host = match spec.scripts.iter().all(|script| script.run_in_chroot) {
        true => scripts::HostDigest::default(),
        false => scripts::HostDigest::of_machine()?,
    };
    for (position, script) in spec.scripts.iter().enumerate() {
        cx.check()?;
        scripts::run(cx, script, position, surroundings.volatile, &spec.spec_directory, &host, stack)?;
    }
    Ok(())
}

fn recipe(step: &str, below: &Stack) -> RecipeBuilder {
    RecipeBuilder::new(step, CONFIGURATION_VERSION).list("below", below.layers().iter().map(|layer| layer.id))
}

fn in_image(
    cx: &Context,
    volatile: &[VolatilePath],
    stack: &mut Stack,
    recipe: &Recipe,
    title: &str,
    commands: Vec<Step>,
) -> Result<(), Error> {
    run_step(cx, volatile, stack, recipe, title, |stack| {
        let mut steps = mounted(stack, Vec::new());
        steps.extend(commands);
        Ok(Work { origin: failure::Origin::Configuration, steps, hold: Vec::new(), note: None, tentative: false })
    })
}

fn make_users(
    spec: &ResolvedSpec,
    surroundings: &Surroundings<'_>,
    cx: &Context,
    stack: &mut Stack,
) -> Result<(), Error> {
    if spec.users.is_empty() {
        return Ok(());
    }
    let commands = users::commands(spec, &Accounts::read(stack)?, cx.epoch());
    let made_of =
        recipe("users", stack).list("commands", words(&commands)).field("epoch", cx.epoch().to_le_bytes()).finish();
    in_image(cx, surroundings.volatile, stack, &made_of, "make users", commands)
}

/// Every word of every command, with the number of words before each command.
fn words(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for step in steps {
        if let Step::Run(command) = step {
            words.push(command.argv.len().to_le_bytes().to_vec());
            words.extend(command.argv.iter().cloned());
        }
    }
    words
}

fn write_settings(
    spec: &ResolvedSpec,
    surroundings: &Surroundings<'_>,
    cx: &Context,
    stack: &mut Stack,
) -> Result<(), Error> {
    lay(cx, stack, "write settings", |stack, draft| {
        settings::write(spec, draft, stack.tree())?;
        match surroundings.grub {
            Some(facts) => {
                let Surroundings { identity, cmdline, boot, .. } = surroundings;
                grub::write(spec, (boot, facts), identity, cmdline, stack, draft)?;
            }
            None => settings::write_boot(spec, surroundings.cmdline, surroundings.token, draft)?,
        }
        mounts::write(spec, surroundings.identity, draft)?;
        first_boot::write(draft, stack.tree())?;
        users::files(spec, &Accounts::read(stack)?, draft)
    })
}

fn make_core_image(
    spec: &ResolvedSpec,
    surroundings: &Surroundings<'_>,
    cx: &Context,
    stack: &mut Stack,
) -> Result<(), Error> {
    let Some(facts) = surroundings.grub else { return Ok(()) };
    let commands = grub::commands(spec, facts, cx.epoch())?;
    if commands.is_empty() {
        return Ok(());
    }
    let made_of = recipe("core image", stack)
        .list("commands", words(&commands))
        .field("epoch", cx.epoch().to_le_bytes())
        .finish();
    in_image(cx, surroundings.volatile, stack, &made_of, "make GRUB's core image", commands)
}

fn switch_services(
    spec: &ResolvedSpec,
    surroundings: &Surroundings<'_>,
    cx: &Context,
    stack: &mut Stack,
) -> Result<(), Error> {
    let commands = services::commands(spec, stack, cx.epoch());
    if commands.is_empty() {
        return Ok(());
    }
    let made_of =
        recipe("services", stack).list("commands", words(&commands)).field("epoch", cx.epoch().to_le_bytes()).finish();
    in_image(cx, surroundings.volatile, stack, &made_of, "switch services", commands)
}
