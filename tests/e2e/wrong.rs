//! What a user gets when things are wrong: the exit code, the words, nothing half-written under a
//! final name, nobody left behind, and a next run that succeeds. On a small signed repository that
//! the suite makes, so that each case takes seconds.

pub mod archive;
pub mod case;
pub mod ends;
mod look;
pub mod many;
mod no_rung;
mod packages;
mod scripts;
pub mod server;
mod space;

use std::path::Path;

use case::Case;

#[test]
fn a_wrong_command_line_is_usage() {
    let Some(case) = Case::new("usage") else { return };
    case.run(&["build", "--stage", "nothing", "small.yml"]).with(2, &["nothing"]);
    case.run(&["build"]).with(2, &["SPEC"]);
    case.build(&["--skip-stage", "packages"]).with(2, &["the stage 'packages' cannot be skipped"]);
    case.build(&["--stage", "validate"]).with(0, &[]);
}

#[test]
fn every_problem_of_a_spec_is_told_at_once_with_its_place() {
    let Some(case) = Case::new("spec") else { return };
    case.write(
        "small.yml",
        "image:\n  name: small\n  base: {os: tiny, version: 1}\nbootlaoder: none\ndisk: {size: much}\n\
         customizations:\n  hostname: \"not a name\"\n  files:\n    \
         - {source: ./files/sshd_config, destination: /etc/ssh/sshd_config}\n",
    );
    case.build(&[]).with(
        3,
        &["Validation error: ", "small.yml:4:1", "did you mean 'bootloader'?", "small.yml:5:14", "small.yml:7:13"],
    );
    case.nothing_is_there();
    case.write("small.yml", "image: {name: small\n");
    case.build(&[]).with(3, &["Validation error", "small.yml:"]);
    case.spec(&[], "");
    case.build(&["--stage", "validate"]).with(0, &[]);
}

#[test]
fn what_a_spec_names_and_is_not_there_is_told() {
    let Some(case) = Case::new("names") else { return };
    case.run(&["build", "nowhere.yml"]).with(3, &["nowhere.yml"]);
    case.spec(&[], "  files:\n    - {source: ./files/sshd_config, destination: /etc/ssh/sshd_config}\n");
    case.build(&[])
        .with(3, &["Missing required file './files/sshd_config' referenced in build spec", "small.yml:10:16"]);
    case.write("small.yml", "image: {name: small, base: {os: ubuntoo, version: 24.04}}\n");
    case.build(&[]).with(3, &["Provider 'ubuntoo' is not configured in the global configuration", "small.yml:1:"]);
    case.nothing_is_there();
    case.spec(&[], "  files:\n    - {source: ./key.asc, destination: /etc/key.asc}\n");
    case.build(&["--stage", "validate"]).with(0, &[]);
}

#[test]
fn what_the_distribution_cannot_do_is_told_before_a_build() {
    let Some(case) = Case::new("facts") else { return };
    let base = "image: {name: small, base: {os: ubuntu, version: 24.04}}\n";
    for (more, told) in [
        ("", None),
        ("output: {format: iso}\n", Some(["the format 'iso' is not supported yet on Ubuntu 24.04", "raw or qcow2"])),
        ("bootloader: grub\n", Some(["'grub' is not supported yet on Ubuntu 24.04", "use systemd-boot"])),
        ("build: {network: true}\n", Some(["build.network is not supported yet", "customizations.files"])),
    ] {
        case.write("small.yml", &format!("{base}{more}"));
        let code = if told.is_some() { 3 } else { 0 };
        case.run(&["validate", "small.yml"]).with(code, told.as_ref().map_or(&[], |told| told));
    }
}

#[test]
fn a_wrong_configuration_has_its_own_exit_code() {
    let Some(case) = Case::new("configuration") else { return };
    case.run(&["build", "small.yml", "--config", "nowhere.yaml"]).with(5, &["nowhere.yaml"]);
    case.write(
        "config/image-composer/config.yaml",
        "core: {cache_dri: /x}\nstorage: {image_cache: {max_count: many}}\n",
    );
    case.build(&[]).with(5, &["Configuration error: 2 problems", "config.yaml:1:8", "did you mean 'cache_dir'?"]);
    case.write("config/image-composer/config.yaml", "core: {cache_dir: /proc/nowhere}\n");
    case.build(&[]).with(5, &["/proc/nowhere", "--cache-dir"]);
    case.reconfigure();
    case.nothing_is_there();
    case.fetch().with(0, &[]);
}

#[test]
fn an_empty_password_never_reaches_an_image() {
    let Some(case) = Case::new("password") else { return };
    case.write(
        "small.yml",
        "image: {name: small, base: {os: tiny, version: 1}}\ncustomizations:\n  users:\n    \
         - {name: ann, password_hash: \"\"}\n",
    );
    case.build(&[]).with(3, &["small.yml:4:"]);
    case.write("shadow", "root:*:20000:0:99999:7:::\nann::20000:0:99999:7:::\n");
    case.spec(&[], "  files:\n    - {source: ./shadow, destination: /etc/shadow, permissions: \"0640\"}\n");
    case.build(&[]).with(4, &["an empty password opens ann", "customizations.users"]);
    case.nothing_is_there();
    case.write("shadow", "root:*:20000:0:99999:7:::\nann:!:20000:0:99999:7:::\n");
    case.build(&[]).with(0, &[]);
    case.all_is_there();
}

#[test]
fn outputs_are_never_overwritten_unasked() {
    let Some(case) = Case::new("existing") else { return };
    case.write("output/small.raw", "somebody's own");
    case.write("output/other", "also");
    crate::support::must(std::process::Command::new("chown").arg(case.user.name()).arg(case.directory.join("output")));
    case.build(&[]).with(4, &["small.raw: it exists already", "--force"]);
    let own = case.directory.join("output/small.raw");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "somebody's own");
    assert_eq!(case.output(), ["other", "small.raw"]);
    case.build(&["--force"]).with(0, &[]);
    std::fs::remove_file(case.directory.join("output/other")).unwrap();
    case.all_is_there();
    // The same again is at once what is there already; another spec is refused, and stays apart.
    case.build(&[]).with(0, &["nothing has changed"]);
    case.spec(&["tiny-hello"], "");
    case.build(&[]).with(4, &["it exists already"]);
    case.all_is_there();
    case.build(&["-o", "elsewhere"]).with(0, &[]);
    assert_eq!(case::names(Path::new(&case.directory.join("elsewhere"))).len(), 6);
}

#[test]
fn an_output_directory_that_cannot_be_written_is_told_at_once() {
    let Some(case) = Case::new("read-only") else { return };
    let place = case.directory.join("output");
    std::fs::create_dir(&place).unwrap();
    let ended = case.build(&[]);
    ended.with(4, &["Permission denied", "--output-dir"]);
    assert!(!ended.text.contains("configure"), "told only after the work:\n{}", ended.text);
    case.nothing_is_there();
    case.build(&["-o", "mine"]).with(0, &[]);
}
