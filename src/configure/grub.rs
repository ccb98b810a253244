//! GRUB's own files in the image: its menu, its settings, and the core image for a BIOS, made by the
//! image's own grub-mkimage.

use layers::{Stack, TreePath};
use providers::distro::{Boot, Grub};
use sandbox::Step;

use crate::boot::grub::Home;
use crate::boot::{Identity, grub, kernel_places, kernels, os_release};
use crate::compose::command;
use crate::draft::Draft;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Format, PartitionRole};

/// What the core image has in it: enough to find the file system with all other modules.
const MODULES: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "search_fs_uuid"];

/// What that for a disc has in it, besides what is loaded from the disc.
const DISC_MODULES: [&str; 4] = ["biosdisk", "iso9660", "part_gpt", "search_fs_file"];

/// Where GRUB and kernels are on the disk of a spec.
pub fn home(spec: &ResolvedSpec, identity: &Identity) -> Home {
    let is_boot = |path: &TreePath| path.as_bytes() == b"boot";
    match spec.partitions().find(|partition| partition.mount.as_ref().is_some_and(is_boot)) {
        Some(own) => Home::FileSystem(identity.file_system(own), ""),
        None => Home::FileSystem(identity.root_file_system(), "/boot"),
    }
}

/// Where they are on live media: where this file is, which no other medium has.
pub fn medium(identity: &Identity) -> Home {
    Home::Medium(format!("/.disk/{}", identity.uuid("medium")))
}

/// Whether a disk has a place for what a BIOS runs.
pub fn has_bios(spec: &ResolvedSpec, facts: &Grub) -> bool {
    facts.bios.is_some() && spec.partitions().any(|partition| partition.role == PartitionRole::Bios)
}

/// Whether there is a disc that a BIOS is to start from.
pub fn has_disc(spec: &ResolvedSpec, facts: &Grub) -> bool {
    facts.bios.is_some() && spec.formats.contains(&Format::Iso)
}

/// Writes the menu and the settings.
///
/// # Errors
/// The image has no kernel; paths blocked by something else.
pub fn write(
    spec: &ResolvedSpec,
    (boot, facts): (&Boot, &Grub),
    identity: &Identity,
    cmdline: &str,
    stack: &Stack,
    draft: &mut Draft<'_>,
) -> Result<(), Error> {
    let plain = draft.root_owned(0o644);
    let home = home(spec, identity);
    let mut entries = Vec::new();
    for kernel in kernels(stack.tree(), boot) {
        let Some(initrd) = &kernel.initrd else { continue };
        let (image, initrd) = (seen(&kernel.image, &home)?, seen(initrd, &home)?);
        entries.push(grub::Entry { kernel: image, initrd, release: kernel.release });
    }
    if entries.is_empty() {
        let places = kernel_places(boot);
        return Err(Error::build(format!("failed to find a kernel with its initial ramdisk at {places}"))
            .hint("name a kernel package in `kernel.package`, such as linux-image-cloud-amd64"));
    }
    let title = os_release(stack.tree(), stack)?.title;
    let menu = grub::menu(&title, facts, &home, cmdline, &entries);
    draft.file(&format!("{}/grub.cfg", facts.home()), menu, plain.clone())?;
    draft.file("etc/default/grub", settings(spec, boot, facts), plain.clone())?;
    if has_bios(spec, facts) {
        draft.file(&format!("{}/load.cfg", grub::modules(facts)), home.find(facts), plain.clone())?;
    }
    if has_disc(spec, facts) {
        draft.file(&format!("{}/disc.cfg", grub::modules(facts)), medium(identity).find(facts), plain)?;
    }
    Ok(())
}

/// A file's path on the file system that GRUB reads.
fn seen(path: &TreePath, home: &Home) -> Result<String, Error> {
    let text = String::from_utf8_lossy(path.as_bytes());
    match (text.strip_prefix("boot/"), home.prefix()) {
        (Some(below), prefix) => Ok(format!("{prefix}/{below}")),
        // /boot is a directory of the file system that has everything else too.
        (None, "/boot") => Ok(format!("/{text}")),
        (None, _) => Err(Error::build(format!("failed to find {path} below /boot, which is a partition of its own"))
            .hint("leave out the partition for /boot: GRUB reads kernels from one file system")),
    }
}

/// What update-grub(8) makes the next menu of.
fn settings(spec: &ResolvedSpec, boot: &Boot, facts: &Grub) -> String {
    let words: Vec<&str> =
        boot.cmdline.iter().map(String::as_str).chain(spec.kernel.cmdline.iter().map(AsRef::as_ref)).collect();
    let words = words.join(" ");
    // Once for the shell that reads this, once for GRUB, which reads what update-grub(8) makes of it.
    let quoted: String = grub::escaped(&words)
        .chars()
        .flat_map(|c| ['\\'].into_iter().filter(move |_| "\"$`\\".contains(c)).chain([c]))
        .collect();
    let writer = grub::menu_writer(facts);
    let serial = grub::serial_speed(&words).map_or(String::new(), |speed| {
        format!("GRUB_TERMINAL=\"console serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed={speed}\"\n")
    });
    format!(
        "# Read by {writer}.\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=3\n\
         GRUB_DISTRIBUTOR=`( . /etc/os-release; echo \"${{NAME:-Linux}}\" )`\n\
         GRUB_CMDLINE_LINUX_DEFAULT=\"\"\nGRUB_CMDLINE_LINUX=\"{quoted}\"\nGRUB_DISABLE_OS_PROBER=true\n{serial}"
    )
}

/// Commands that make the core images for a BIOS, and put its modules beside them as grub-install(8) does.
///
/// # Errors
/// A directory that no tree may hold.
pub fn commands(spec: &ResolvedSpec, facts: &Grub, epoch: i64) -> Result<Vec<Step>, Error> {
    let Some(images) = &facts.bios else { return Ok(Vec::new()) };
    let images = TreePath::new(images).to("name the directory of GRUB's images")?.to_string();
    let own = format!("/{}", grub::modules(facts));
    let (program, prefix) = (format!("{}-mkimage", facts.programs), format!("/{}", facts.home()));
    let run = |argv: &[&str]| {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        Step::Run(command(&argv, epoch))
    };
    let make = |format: &str, config: &str, modules: &[&str], image: &str| {
        let (config, image) = (format!("{own}/{config}"), format!("/{image}"));
        let words = [&program, "--directory", &images, "--config", &config, "--prefix", &prefix];
        run(&[&words, ["--format", format, "--output", &image].as_slice(), modules].concat())
    };
    let mut steps = Vec::new();
    if has_bios(spec, facts) {
        steps.push(make("i386-pc", "load.cfg", &MODULES, &grub::core_image(facts)));
    }
    if has_disc(spec, facts) {
        steps.push(make("i386-pc-eltorito", "disc.cfg", &DISC_MODULES, &grub::disc_image(facts)));
    }
    if !steps.is_empty() {
        let copy = "cp -t \"$2\" \"$1\"/*.mod \"$1\"/*.lst";
        steps.insert(0, run(&["sh", "-ec", copy, "sh", &images, &own]));
    }
    Ok(steps)
}
