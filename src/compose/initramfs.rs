//! The initial ramdisk: made by the distribution's own generator, once, as soon as nothing that
//! comes later concerns it.

use layers::{RecipeBuilder, Stack, StoredLayer};
use providers::distro::Distro;
use sandbox::Step;

use super::followed::{Coming, Followed};
use super::scaffold::scaffold;
use super::{Work, command_with, failure, mounted, run_step};
use crate::boot::kernels;
use crate::context::Context;
use crate::error::{Error, ResultExt};

/// Grows whenever the same tree may get another initial ramdisk.
const INITRAMFS_VERSION: u32 = 1;

/// Does work that adds to a stack, and has the ramdisk made. If nothing that is still to come
/// concerns it, it is made of the stack as it is now and meanwhile, so that it is the same whatever
/// else is installed; otherwise afterwards.
///
/// # Errors
/// The work's; as [`make`].
pub fn make_beside(
    cx: &Context,
    distro: &Distro,
    to_come: &[Coming<'_>],
    stack: &mut Stack,
    work: impl FnOnce(&mut Stack) -> Result<(), Error>,
) -> Result<(), Error> {
    let before = stack.clone();
    let followed = Followed::read(&distro.initramfs, &before)?;
    let waits = to_come.iter().filter_map(|package| Some((package.name, followed.concerned_by(package)?)));
    let waits: Vec<(&str, String)> = waits.collect();
    for (name, why) in &waits {
        tracing::debug!("the initial ramdisk waits for {name}: {why}");
    }
    if !waits.is_empty() {
        work(stack)?;
        return make(cx, distro, stack);
    }
    let (worked, made) = match cx.parallel {
        1 => (work(stack), layer(cx, distro, &before)),
        _ => std::thread::scope(|scope| {
            let made = scope.spawn(|| layer(cx, distro, &before));
            (work(stack), made.join().unwrap_or_else(|_| Err(Error::build("failed to make the initial ramdisk"))))
        }),
    };
    worked?;
    let made = made?;
    // What packages ship was known; their scripts may have done anything.
    if let Some(path) = followed.changed_in(stack.tree()) {
        tracing::debug!("the initial ramdisk is made again, because {path} changed");
        return make(cx, distro, stack);
    }
    made.map_or(Ok(()), |layer| stack.push(layer).to("apply a layer"))
}

/// Makes it again when what was done since `composed` concerns it.
///
/// # Errors
/// As [`make`].
pub fn follow(cx: &Context, distro: &Distro, composed: &Stack, stack: &mut Stack) -> Result<(), Error> {
    match Followed::read(&distro.initramfs, composed)?.changed_in(stack.tree()) {
        Some(path) => {
            tracing::debug!("the initial ramdisk is made again, because {path} changed");
            make(cx, distro, stack)
        }
        None => Ok(()),
    }
}

/// Makes the initial ramdisk of every kernel in the tree.
///
/// # Errors
/// The generator fails, with its last lines.
pub fn make(cx: &Context, distro: &Distro, stack: &mut Stack) -> Result<(), Error> {
    layer(cx, distro, stack)?.map_or(Ok(()), |layer| stack.push(layer).to("apply a layer"))
}

/// The layer with the ramdisk of every kernel; none where there is no kernel or no generator.
fn layer(cx: &Context, distro: &Distro, below: &Stack) -> Result<Option<StoredLayer>, Error> {
    let found = kernels(below.tree(), &distro.boot);
    let program = distro.initramfs.command.first().cloned().unwrap_or_default();
    let generator = ["usr/sbin", "usr/bin"].iter().any(|directory| {
        let path = layers::TreePath::new(program.trim_start_matches('/')).ok();
        let named = layers::TreePath::new(format!("{directory}/{program}")).ok();
        [path, named].into_iter().flatten().any(|path| below.tree().get(&path).is_some())
    });
    if found.is_empty() || !generator {
        return Ok(None);
    }
    let recipe = RecipeBuilder::new("initramfs", INITRAMFS_VERSION)
        .list("below", below.layers().iter().map(|layer| layer.id))
        .list("command", &distro.initramfs.command)
        .list("environment", distro.initramfs.environment.iter().flat_map(|(name, value)| [name, value]))
        .field("epoch", cx.epoch().to_le_bytes())
        .finish();
    let epoch = cx.epoch();
    let variables: Vec<(&str, String)> =
        distro.initramfs.environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut stack = below.clone();
    run_step(cx, &distro.volatile, &mut stack, &recipe, "make the initial ramdisk", |stack| {
        let hold = cx.work.stage().to("make a work directory")?;
        let mut steps = mounted(stack, vec![scaffold(hold.path(), None, &[], stack.tree())?]);
        for kernel in &found {
            let initrd = distro.boot.initrd.replace("{release}", &kernel.release);
            let argv: Vec<String> = distro
                .initramfs
                .command
                .iter()
                .map(|word| word.replace("{release}", &kernel.release).replace("{initrd}", &initrd))
                .collect();
            steps.push(Step::Run(command_with(&argv, epoch, &variables)));
        }
        Ok(Work { origin: failure::Origin::Packages, steps, hold: vec![hold], note: None, tentative: false })
    })?;
    Ok(stack.layers().last().cloned())
}
