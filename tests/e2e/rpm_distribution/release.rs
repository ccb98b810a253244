//! The packages that make a distribution of the others: its name and settings, the initial RAM
//! disk, what has only dependencies, the files of the boot loader, and names that are asked for.

use std::path::Path;

use super::debian::Deb;
use super::spec::Spec;

/// The version of the distribution.
const VERSION: &str = "3.0";

/// What the metapackage of every image asks for.
const CORE: &str = "azurelinux-release azurelinux-repos-shared bash bzip2 ca-certificates coreutils cpio dbus \
    e2fsprogs file filesystem findutils glibc grep gzip iproute iputils kmod less pam procps-ng rpm sed shadow-utils \
    sudo systemd systemd-udev tar tzdata util-linux xz-utils zlib";

/// Packages with names of Azure Linux's that are only asked for: what they ask for themselves.
const STAND_INS: &[(&str, &str)] = &[
    ("cloud-init", ""),
    ("cronie-anacron", "cronie"),
    ("gnupg2", "gnupg"),
    ("hyperv-daemons", ""),
    ("systemd-ukify", ""),
];

/// The settings of dracut in packages of their own.
const DRACUT: &[(&str, &str)] = &[
    ("hostonly", "hostonly=\"yes\"\n"),
    ("hyperv", "add_drivers+=\" hv_utils hv_vmbus hv_storvsc hv_netvsc \"\n"),
    ("virtio", "add_drivers+=\" virtio_blk virtio_scsi virtio_net virtio_pci virtio_rng virtio \"\n"),
];

/// Units that are started; everything else that the distribution does not name is not.
const STARTED: &str = "cron.service dbus.socket dbus-broker.service getty@.service logrotate.timer remote-fs.target \
    rsyslog.service sshd.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service";

pub fn make(work: &Path, debs: &[Deb], key: &str) -> Vec<Spec> {
    let mut specs = vec![release(work), repositories(work, key), initramfs(work), core(work)];
    specs.extend(DRACUT.iter().map(|(name, text)| {
        Spec::new(work, &format!("dracut-{name}"), "102", "9").for_all_machines().tagged("Requires: dracut").file_of(
            &format!("/etc/dracut.conf.d/20-{name}.conf"),
            "%config(noreplace) %attr(0644, root, root)",
            text,
        )
    }));
    specs.extend(STAND_INS.iter().map(|(name, requires)| {
        let spec = Spec::new(work, name, "1.0", "1").for_all_machines();
        if requires.is_empty() { spec } else { spec.tagged(&format!("Requires: {requires}")) }
    }));
    specs.extend(loaders(work, debs));
    specs
}

fn release(work: &Path) -> Spec {
    let os_release = format!(
        "NAME=\"Microsoft Azure Linux\"\nVERSION=\"{VERSION}\"\nID=azurelinux\nVERSION_ID=\"{VERSION}\"\n\
         PRETTY_NAME=\"Microsoft Azure Linux {VERSION}\"\nANSI_COLOR=\"1;34\"\n"
    );
    let presets: String = STARTED.split_whitespace().map(|unit| format!("enable {unit}\n")).collect();
    Spec::new(work, "azurelinux-release", VERSION, "20")
        .for_all_machines()
        .tagged(&format!(
            "Provides: system-release = {VERSION}\nProvides: system-release(releasever) = {VERSION}\n\
             Provides: azurelinux-release-variant = {VERSION}\nRequires: filesystem"
        ))
        .file("/usr/lib/os-release", 0o644, os_release)
        .link("/etc/os-release", "../usr/lib/os-release")
        .file_of(
            "/etc/issue",
            "%config(noreplace) %attr(0644, root, root)",
            format!("Azure Linux {VERSION}, as a test has it\n\\n \\l\n"),
        )
        .file("/usr/lib/systemd/system-preset/80-distribution.preset", 0o644, presets)
        .file("/usr/lib/systemd/system-preset/99-default-disable.preset", 0o644, "disable *\n")
        // Debian's rpm would have its database in a home directory.
        .file("/usr/lib/rpm/macros.d/macros.distribution", 0o644, "%_dbpath /var/lib/rpm\n%dist .azl3\n")
}

fn repositories(work: &Path, key: &str) -> Spec {
    Spec::new(work, "azurelinux-repos-shared", VERSION, "4")
        .for_all_machines()
        .tagged("Requires: azurelinux-release\nRequires(post): gpg coreutils")
        .file("/etc/pki/rpm-gpg/RPM-GPG-KEY-distribution", 0o644, key)
        .script("%post\ngpg --batch --quiet --no-autostart --import /etc/pki/rpm-gpg/RPM-GPG-KEY-distribution > /dev/null 2>&1 || :")
}

/// Makes the initial RAM disk once, when everything is in place, and again for a kernel that comes
/// alone.
fn initramfs(work: &Path) -> Spec {
    Spec::new(work, "initramfs", VERSION, "5")
        .for_all_machines()
        .tagged("Requires: dracut\nRequires(posttrans): dracut coreutils\nProvides: initramfs-generator")
        .directory("/var/lib/initramfs", 0o755, "root", "root")
        .script("%posttrans\ndracut --force --regenerate-all --no-hostonly")
        .script(
            "%transfiletriggerin -- /lib/modules\n\
             for directory in /lib/modules/*; do\n\
             \u{20} [ -e \"/boot/initramfs-${directory##*/}.img\" ] ||\n\
             \u{20}   dracut --force --no-hostonly \"/boot/initramfs-${directory##*/}.img\" \"${directory##*/}\"\n\
             done",
        )
}

fn core(work: &Path) -> Spec {
    let requires: String = CORE.split_whitespace().map(|name| format!("Requires: {name}\n")).collect();
    Spec::new(work, "core-packages-base-image", VERSION, "8").for_all_machines().tagged(&requires)
}

/// shim and GRUB, right where the firmware looks.
fn loaders(work: &Path, debs: &[Deb]) -> Vec<Spec> {
    let content = |deb: &str, path: &str| debs.iter().find(|one| one.name() == deb).unwrap().content(path);
    let version = |deb: &str| {
        let deb = debs.iter().find(|one| one.name() == deb).unwrap();
        super::relations::evr(deb.field("Version")).1.replace('+', "_")
    };
    let efi = "/boot/efi/EFI";
    vec![
        Spec::new(work, "shim", &version("shim-signed"), "1")
            .tagged("Requires: filesystem")
            .directory(efi, 0o700, "root", "root")
            .directory(&format!("{efi}/BOOT"), 0o700, "root", "root")
            .file(
                &format!("{efi}/BOOT/bootx64.efi"),
                0o700,
                content("shim-signed", "/usr/lib/shim/shimx64.efi.signed"),
            ),
        Spec::new(work, "grub2-efi-binary", &version("grub-efi-amd64-signed"), "1")
            .tagged("Requires: filesystem")
            .directory(efi, 0o700, "root", "root")
            .directory(&format!("{efi}/BOOT"), 0o700, "root", "root")
            .file(
                &format!("{efi}/BOOT/grubx64.efi"),
                0o700,
                content("grub-efi-amd64-signed", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
            ),
    ]
}
