//! GRUB's own files in the image: its menu, its settings, and the core image for a BIOS, made by the
//! image's own grub-mkimage.

use layers::{Stack, TreePath};
use providers::distro::{Boot, Grub};
use sandbox::Step;

use crate::boot::{Identity, grub, kernels, os_release};
use crate::compose::command;
use crate::draft::Draft;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::PartitionRole;

/// What the core image has in it: enough to find the file system with all other modules.
const MODULES: [&str; 4] = ["biosdisk", "part_gpt", "ext2", "search_fs_uuid"];

/// The file system that GRUB reads, and where /boot lies on it.
pub struct Home {
    /// Its UUID.
    pub file_system: uuid::Uuid,
    /// `/boot`, or nothing where it is mounted there.
    pub prefix: &'static str,
}

impl Home {
    /// Where it is on the disk of a spec.
    pub fn of(spec: &ResolvedSpec, identity: &Identity) -> Self {
        let is_boot = |path: &TreePath| path.as_bytes() == b"boot";
        match spec.partitions().find(|partition| partition.mount.as_ref().is_some_and(is_boot)) {
            Some(own) => Self { file_system: identity.file_system(own), prefix: "" },
            None => Self { file_system: identity.root_file_system(), prefix: "/boot" },
        }
    }

    /// GRUB's directory there.
    pub fn directory(&self) -> String {
        format!("{}/grub", self.prefix)
    }
}

/// Whether a disk has a place for what a BIOS runs.
pub fn has_bios(spec: &ResolvedSpec, facts: &Grub) -> bool {
    facts.bios.is_some() && spec.partitions().any(|partition| partition.role == PartitionRole::Bios)
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
    let home = Home::of(spec, identity);
    let on_boot = |path: &TreePath| format!("{}/{}", home.prefix, String::from_utf8_lossy(path.name()));
    let entries: Vec<grub::Entry> = kernels(stack.tree(), &boot.kernel, &boot.initrd)
        .into_iter()
        .filter_map(|kernel| {
            let initrd = on_boot(kernel.initrd.as_ref()?);
            Some(grub::Entry { kernel: on_boot(&kernel.image), initrd, release: kernel.release })
        })
        .collect();
    if entries.is_empty() {
        return Err(Error::build(format!("failed to find a kernel with its initial ramdisk at {}", boot.kernel))
            .hint("name a kernel package in `kernel.package`, such as linux-image-cloud-amd64"));
    }
    let title = os_release(stack.tree(), stack)?.title;
    let menu = grub::menu(&title, home.file_system, cmdline, &entries);
    draft.file(&format!("{}/grub.cfg", grub::DIRECTORY), menu, plain.clone())?;
    draft.file("etc/default/grub", settings(spec, boot), plain.clone())?;
    if has_bios(spec, facts) {
        let text = grub::find(&home.file_system.to_string(), &home.directory());
        draft.file(&format!("{}/i386-pc/load.cfg", grub::DIRECTORY), text, plain)?;
    }
    Ok(())
}

/// What update-grub(8) makes the next menu of.
fn settings(spec: &ResolvedSpec, boot: &Boot) -> String {
    let words: Vec<&str> =
        boot.cmdline.iter().map(String::as_str).chain(spec.kernel.cmdline.iter().map(AsRef::as_ref)).collect();
    let words = words.join(" ");
    let quoted: String =
        words.chars().flat_map(|c| ['\\'].into_iter().filter(move |_| "\"$`\\".contains(c)).chain([c])).collect();
    let serial = grub::serial_speed(&words).map_or(String::new(), |speed| {
        format!("GRUB_TERMINAL=\"console serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed={speed}\"\n")
    });
    format!(
        "# Read by update-grub(8).\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=3\n\
         GRUB_DISTRIBUTOR=`( . /etc/os-release; echo \"${{NAME:-Linux}}\" )`\n\
         GRUB_CMDLINE_LINUX_DEFAULT=\"\"\nGRUB_CMDLINE_LINUX=\"{quoted}\"\nGRUB_DISABLE_OS_PROBER=true\n{serial}"
    )
}

/// Commands that make the core image for a BIOS, and put its modules beside it as grub-install(8) does.
///
/// # Errors
/// A directory that no tree may hold.
pub fn commands(spec: &ResolvedSpec, facts: &Grub, epoch: i64) -> Result<Vec<Step>, Error> {
    let Some(images) = facts.bios.as_ref().filter(|_| has_bios(spec, facts)) else { return Ok(Vec::new()) };
    let images = TreePath::new(images).to("name the directory of GRUB's images")?;
    let own = format!("/{}/i386-pc", grub::DIRECTORY);
    let run = |argv: &[&str]| {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        Step::Run(command(&argv, epoch))
    };
    let (images, core) = (format!("/{images}"), format!("/{}", grub::CORE_IMAGE));
    let config = format!("{own}/load.cfg");
    let copy = "cp -t \"$2\" \"$1\"/*.mod \"$1\"/*.lst";
    let mut make = vec!["grub-mkimage", "--directory", &images, "--config", &config, "--prefix", "/boot/grub"];
    make.extend(["--format", "i386-pc", "--output", &core]);
    make.extend(MODULES);
    Ok(vec![run(&["sh", "-ec", copy, "sh", &images, &own]), run(&make)])
}
