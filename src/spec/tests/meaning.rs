//! What specs mean: defaults, forms, digests.

use std::path::Path;

use super::*;

#[test]
fn the_smallest_spec_has_every_default() {
    let spec = resolved(&minimal(""));
    assert_eq!((spec.variant, spec.architecture), (Variant::Minimal, Architecture::Amd64));
    assert_eq!((spec.locale.as_str(), spec.timezone.as_str(), spec.hostname.as_str()), ("C.UTF-8", "UTC", "a"));
    assert_eq!((spec.formats.as_slice(), spec.compression), ([Format::Raw].as_slice(), Compression::None));
    assert_eq!(spec.stages.len(), 5);
    assert_eq!(spec.disk.size, Some(6 << 30));
    let sizes: Vec<String> = spec.partitions().map(|p| format!("{} {}", p.id, p.size)).collect();
    assert_eq!(sizes, ["esp 512MiB", "root rest"]);
    assert_eq!(spec.destination, Path::new("/home/me/output"));
    let interface = &spec.network.interfaces[0];
    assert_eq!((interface.match_name.as_deref(), interface.dhcp), (Some("en*"), Dhcp::Yes));
}

#[test]
fn scalars_are_read_as_written() {
    let spec = resolved("image: {name: a, base: {os: ubuntu, version: 24.10}}\n");
    assert_eq!(spec.os_version.as_str(), "24.10");
    let directory = tempfile::tempdir().unwrap();
    for mode in ["0644", "\"0644\"", "644", "0o644"] {
        let text = minimal(&format!(
            "customizations: {{files: [{{content: x, destination: /etc/x, permissions: {mode}}}]}}\n"
        ));
        let spec = resolved_in(directory.path(), &text).unwrap();
        assert_eq!(spec.files[0].permissions, Some(Mode(0o644)), "{mode}");
    }
}

#[test]
fn yaml_json_and_the_short_form_mean_the_same() {
    let yaml = "image:\n  name: debian-13\n  base:\n    os: debian\n    version: 13\n    architecture: x86_64\n\
                kernel: {cmdline: quiet splash}\ncustomizations:\n  packages:\n    install:\n      - nginx\n\
                output:\n  format: qcow2\n";
    let json = "{\n\t\"image\": {\"name\": \"debian-13\", \"base\": {\"os\": \"debian\", \"version\": \"13\", \
                \"architecture\": \"amd64\"}},\n\t\"kernel\": {\"cmdline\": [\"quiet\", \"splash\"]},\n\
                \t\"customizations\": {\"packages\": {\"install\": [\"nginx\"]}},\n\t\"output\": {\"format\": [\"qcow2\"]}\n}\n";
    let short = "{\"distro\": \"Debian\", \"version\": \"13\", \"arch\": \"x86_64\", \"packages\": [\"nginx\"], \
                 \"immutable\": false, \"output\": \"qcow2\", \"kernel\": {\"cmdline\": \"quiet splash\"}}";
    let expected = resolved(yaml);
    assert_eq!(expected.kernel.cmdline, ["quiet", "splash"]);
    assert_eq!(resolved(json), expected);
    assert_eq!(resolved(short), expected);
    let azure = resolved("{\"distro\": \"AzureLinux\", \"version\": \"3.0\"}");
    assert_eq!((azure.os.as_str(), azure.os_version.as_str()), ("azurelinux", "3.0"));
    let example = include_str!("../../../examples/azurelinux-minimal.json");
    let long = "image: {name: azurelinux-short, base: {os: azurelinux, version: 3.0, architecture: x86_64}}\n\
                kernel: {cmdline: quiet}\ncustomizations: {packages: {install: [sudo, tdnf]}}\n\
                output: {format: [vhd, qcow2]}\n";
    assert_eq!(resolved(example), resolved(long));
}

#[test]
fn anchors_may_be_used() {
    let spec =
        resolved(&minimal("customizations: {packages: {install: &all [nginx, vim]}, services: {enabled: *all}}\n"));
    assert_eq!(spec.services.enabled.len(), 2);
}

#[test]
fn a_partition_for_a_bios_is_there_where_grub_has_a_part_for_it() {
    let roles = |os: &str| {
        let spec = resolved(&format!("image: {{name: a, base: {{os: {os}}}}}\nbootloader: grub\n"));
        spec.partitions().map(|partition| partition.role).collect::<Vec<_>>()
    };
    use crate::spec::resolved::PartitionRole::{Bios, Esp, Root};
    assert_eq!(roles("debian, version: 13"), [Esp, Bios, Root]);
    assert_eq!(roles("azurelinux, version: 3.0"), [Esp, Root]);
}

#[test]
fn stages_must_make_sense() {
    let spec = resolved(&minimal("build: {stages: [validate, packages]}\n"));
    assert_eq!(spec.stages.into_iter().collect::<Vec<_>>(), [Stage::Validate, Stage::Packages]);
    assert!(problems(&minimal("build: {stages: [validate, finalize]}\n"))[0].contains("'packages' is missing"));
    assert!(problems(&minimal("build: {stages: [validat]}\n"))[0].contains("expected a stage"));
}

#[test]
fn digests_tell_what_is_different_and_nothing_else() {
    let base = resolved(&minimal("output: {format: raw, destination: a}\n"));
    let elsewhere =
        resolved(&minimal("build: {cache: {use_image_cache: false}}\noutput: {format: raw, destination: b}\n"));
    assert_eq!(base.digest(), elsewhere.digest());
    let wrapped = resolved(&minimal("output: {format: qcow2, compression: zstd}\n"));
    assert_ne!(base.digest(), wrapped.digest());
    assert_eq!(base.content_digest(), wrapped.content_digest());
    let mut digests: Vec<[u8; 32]> = [
        "",
        "kernel: {cmdline: quiet}",
        "kernel: {version: 6.12}",
        "kernel: {package: '6.12'}",
        "customizations: {packages: {install: [nginx]}}",
        "customizations: {packages: {remove: [nginx]}}",
        "customizations: {packages: {recommends: true}}",
        "customizations: {services: {enabled: [nginx]}}",
        "customizations: {services: {masked: [nginx]}}",
        "customizations: {users: [{name: a}]}",
        "customizations: {users: [{name: a, sudo: true}]}",
        "customizations: {users: [{name: a, groups: [b]}]}",
        "customizations: {files: [{content: a, destination: /b}]}",
        "customizations: {files: [{content: a, destination: /b, permissions: 0600}]}",
        "customizations: {network: {interfaces: []}}",
        "customizations: {hostname: b}",
        "disk: {size: 5GiB}",
        "bootloader: none",
        "build: {network: true}",
    ]
    .iter()
    .map(|rest| resolved(&minimal(rest)).content_digest())
    .collect();
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn architectures_have_each_family_s_spelling() {
    let arm = Architecture::from_text("aarch64").unwrap();
    assert_eq!((arm.deb(), arm.rpm(), arm.uefi()), ("arm64", "aarch64", "AA64"));
}
