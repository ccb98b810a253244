//! The initial ramdisk: made once, by the distribution's own generator, when everything else is
//! configured.

use layers::{Entry, KeyBuilder, Stack, Tree, TreePath};
use providers::distro::Distro;
use sandbox::Step;

use super::scaffold::scaffold;
use super::{Work, command, failure, materialise, run_step};
use crate::boot::kernels;
use crate::context::Context;
use crate::error::{Error, ResultExt};

/// Grows whenever the same tree may get another initial ramdisk.
const INITRAMFS_VERSION: u32 = 1;

/// Makes it again when the spec's own files or scripts have changed what it follows. Compose made
/// it before them, so that a changed script costs no ramdisk.
///
/// # Errors
/// As [`make`].
pub fn follow(cx: &Context, distro: &Distro, composed: &Tree, stack: &mut Stack) -> Result<(), Error> {
    for input in &distro.initramfs.inputs {
        let input = TreePath::new(input.trim_start_matches('/')).to("read the provider's facts")?;
        let at = |tree: &Tree| -> Vec<(TreePath, Entry)> {
            let below = tree.iter().filter(|(path, _)| **path == input || path.is_below(&input));
            below.map(|(path, entry)| (path.clone(), entry.clone())).collect()
        };
        if at(composed) != at(stack.tree()) {
            return make(cx, distro, stack);
        }
    }
    Ok(())
}

/// Makes the initial ramdisk of every kernel in the tree.
///
/// # Errors
/// The generator fails, with its last lines.
pub fn make(cx: &Context, distro: &Distro, stack: &mut Stack) -> Result<(), Error> {
    let found = kernels(stack.tree(), &distro.boot.kernel, &distro.boot.initrd);
    let program = distro.initramfs.command.first().cloned().unwrap_or_default();
    let generator = ["usr/sbin", "usr/bin"].iter().any(|directory| {
        let path = layers::TreePath::new(program.trim_start_matches('/')).ok();
        let named = layers::TreePath::new(format!("{directory}/{program}")).ok();
        [path, named].into_iter().flatten().any(|path| stack.tree().get(&path).is_some())
    });
    if found.is_empty() || !generator {
        return Ok(());
    }
    let key = KeyBuilder::new("initramfs", INITRAMFS_VERSION)
        .list("below", stack.layers().iter().map(|layer| layer.id))
        .list("command", &distro.initramfs.command)
        .field("epoch", cx.epoch().to_le_bytes())
        .finish();
    let epoch = cx.epoch();
    run_step(cx, &distro.volatile, stack, &key, "make the initial ramdisk", |stack| {
        let hold = cx.work.stage().to("make a work directory")?;
        let mut lowers = stack.lower_directories();
        lowers.push(scaffold(hold.path(), None)?);
        let mut steps = vec![Step::Stack { lowers, keep: Vec::new() }];
        steps.extend(materialise(stack));
        for kernel in &found {
            let initrd = distro.boot.initrd.replace("{release}", &kernel.release);
            let argv: Vec<String> = distro
                .initramfs
                .command
                .iter()
                .map(|word| word.replace("{release}", &kernel.release).replace("{initrd}", &initrd))
                .collect();
            steps.push(Step::Run(command(&argv, epoch)));
        }
        Ok(Work { origin: failure::Origin::Packages, steps, hold: vec![hold], note: None })
    })
}
