//! What a build does over again, and whether it says why.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::rpm;
use crate::support::{User, must};
use crate::wrong::case::Case;

/// A place whose distribution has a base set and kernels.
fn place(user: User, name: &str) -> Option<Case> {
    let case = Case::of(user, name)?;
    provide(&case, |text| text);
    Some(case)
}

/// The distribution's facts, changed.
fn provide(case: &Case, change: impl Fn(String) -> String) {
    let path = case.directory.join("config/image-composer/providers/tiny.yaml");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| match line.trim_start() {
        known if known.starts_with("base_set:") => "base_set: [tiny-hello]",
        known if known.starts_with("packages: [\"linux-image-*\"]") => "  packages: [tiny-hallo]",
        _ => line,
    });
    let text = lines.map(|line| format!("{line}\n")).collect();
    case.write("config/image-composer/providers/tiny.yaml", &change(text));
}

fn spec(case: &Case, name: &str, packages: &[&str], more: &str) {
    let text = format!(
        "image: {{name: {name}, base: {{os: tiny, version: 1}}}}\noutput: {{format: oci}}\ncustomizations:\n  \
         packages: {{install: [{}]}}\n{more}",
        packages.join(", ")
    );
    case.write("small.yml", &text);
}

#[test]
fn one_package_more_starts_at_the_nearest_cut_point() {
    let Some(case) = place(User::WithoutRange, "why-more") else { return };
    let packages = ["tiny-hello", "tiny-hallo", "tiny-slow"];
    spec(&case, "one", &packages, "");
    case.build(&[]).with(0, &["compose: built (8 steps, "]);
    // Another spec with one more: what is new is configured, on top of what was composed before.
    let more = [&packages[..], &["tiny-big"]].concat();
    spec(&case, "two", &more, "");
    let ended = case.build(&["--log-level", "debug"]);
    ended.with(0, &["reused up to the kernel packages, ", "  configure other packages: built in "]);
    for group in ["essential", "base", "kernel"] {
        assert!(ended.text.contains(&format!("configure {group} packages: reused")), "{}", ended.text);
    }
    // From nothing it is the same, on another rung too.
    for user in [User::WithoutRange, User::WithRange] {
        let Some(other) = place(user, "why-nothing") else { return };
        spec(&other, "two", &more, "");
        let text = other.build(&["--log-level", "debug"]).with(0, &["configure base packages: built"]).text.clone();
        assert!(!text.contains(": reused"), "{text}");
        let sums = |case: &Case| fs::read_to_string(case.directory.join("output/two.SHA256SUMS")).unwrap();
        assert_eq!(sums(&case), sums(&other));
    }
    // The first one again has its layers, and with one more and one less it has a reason.
    spec(&case, "one", &packages, "");
    case.build(&["--force", "--no-image-cache"])
        .with(0, &["packages: reused (", "compose: reused (", "finalize: rebuilt, because the image cache is off ("]);
    spec(&case, "one", &["tiny-hello", "tiny-hallo", "odd-tool"], "");
    let ended = case.build(&["--force"]);
    let changed = "because customizations.packages.install gained odd-tool and lost tiny-slow (";
    ended.with(
        0,
        &[
            &format!("packages: fetched, {changed}"),
            &format!("compose: rebuilt, {changed}"),
            "reused up to the kernel packages, ",
            "  configure other packages: rebuilt, because odd-tool came in, tiny-slow went (",
            &format!("finalize: rebuilt, {}", changed.trim_end_matches(" (")),
        ],
    );
    assert!(!ended.text.contains("configure base packages"), "what is reused is only counted: {}", ended.text);
    case.build(&[]).with(0, &["finalize: reused, because nothing has changed"]);
    let report = fs::read_to_string(case.directory.join("output/one.report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let of = |list: &str, key: &str, name: &str| {
        report[list].as_array().unwrap().iter().find(|one| one[key] == name).unwrap().clone()
    };
    let compose = of("stages", "stage", "compose");
    assert_eq!(compose["outcome"], "built");
    assert_eq!(compose["why"], "customizations.packages.install gained odd-tool and lost tiny-slow");
    assert_eq!(compose["parts"]["up_to"], "the kernel packages");
    assert_eq!(of("steps", "step", "configure other packages")["why"], "odd-tool came in, tiny-slow went");
    assert_eq!(of("steps", "step", "configure base packages")["outcome"], "reused");
    case.nothing_is_left();
}

/// Builds as far as the configuration; gives what was told.
#[track_caller]
fn told(case: &Case, words: &[&str]) -> String {
    let ended = case.build(&[&["--stage", "configuration"], words].concat());
    ended.with(0, &[]);
    ended.text
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

const MORE: &str = "  files:\n    - {source: ./motd, destination: /etc/motd}\n  scripts:\n    - path: ./first.sh\n    \
                    - path: ./last.sh\n      args: [one]\n";

#[test]
fn every_change_is_told() {
    let Some(mut case) = place(User::WithRange, "why-each") else { return };
    case.write("motd", "hello\n");
    case.write("first.sh", "#!/bin/sh\necho first > /var/first\n");
    case.write("last.sh", "#!/bin/sh\necho $1 > /var/last\n");
    let packages = ["tiny-hello", "tiny-hallo"];
    spec(&case, "small", &packages, MORE);
    let text = told(&case, &[]);
    says(&text, &["compose: built (", "  run ./last.sh: built in ", "configuration: built ("]);
    assert!(!text.contains("because"), "{text}");
    // Nothing changed: nothing is said of any step.
    let text = told(&case, &[]);
    says(&text, &["packages: reused (3 packages, ", "compose: reused (", "configuration: reused ("]);
    assert!(!text.contains("because") && !text.contains("\n  "), "{text}");

    case.write("last.sh", "#!/bin/sh\necho other $1 > /var/last\n");
    let text = told(&case, &[]);
    says(
        &text,
        &[
            "compose: reused (",
            "  run ./last.sh: rebuilt, because its text changed (",
            "configuration: rebuilt, because the text of customizations.scripts[./last.sh] changed (3 steps reused, 1 built, ",
        ],
    );
    spec(&case, "small", &packages, &MORE.replace("[one]", "[two]"));
    says(
        &told(&case, &[]),
        &["because its arguments changed", "because customizations.scripts[./last.sh].args changed"],
    );
    spec(&case, "small", &packages, MORE);
    let text = told(&case, &[]);
    says(&text, &["configuration: reused ("]);
    case.write("motd", "goodbye\n");
    says(
        &told(&case, &[]),
        &[
            "  copy ./motd: rebuilt, because its files changed (",
            "  run ./first.sh: rebuilt, because 'copy ./motd' before it gave another result (",
            "configuration: rebuilt, because customizations.files[/etc/motd] changed (",
        ],
    );
    let named = format!("  hostname: other\n{MORE}");
    spec(&case, "small", &packages, &named);
    says(
        &told(&case, &[]),
        &["write settings: rebuilt, because its files changed", "because customizations.hostname changed ("],
    );
    let less = named.replace("    - path: ./first.sh\n", "");
    spec(&case, "small", &packages, &less);
    says(&told(&case, &[]), &["configuration: rebuilt, because customizations.scripts lost ./first.sh ("]);

    // One package more, with the events as machines read them.
    spec(&case, "small", &["tiny-hello", "tiny-hallo", "odd-tool"], &less);
    let words = ["build", "small.yml", "--progress", "json", "--rung", case.user.rung(), "--stage", "configuration"];
    let ended = case.run(&words);
    ended.with(0, &[]);
    let events: Vec<Value> = ended.text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |event: &str, key: &str, name: &str| {
        let is_it = |one: &&Value| one["event"] == event && one[key] == name;
        events.iter().find(is_it).unwrap_or_else(|| panic!("no {event} of {name}: {events:#?}")).clone()
    };
    let compose = of("stage-ended", "stage", "compose");
    assert_eq!(compose["outcome"], "built");
    assert_eq!(compose["why"], "customizations.packages.install gained odd-tool");
    assert_eq!((&compose["parts"]["of"], &compose["parts"]["up_to"]), (&"steps".into(), &"the kernel packages".into()));
    assert_eq!(of("stage-ended", "stage", "packages")["parts"]["fetched"], 1);
    assert_eq!(of("step-ended", "step", "configure other packages")["outcome"], "built");
    assert_eq!(of("step-ended", "step", "configure base packages")["outcome"], "reused");
    assert_eq!(of("stage-ended", "stage", "configuration")["why"], "compose gave another result");

    // Another time, and the provider's own data.
    case.variables.push(("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned()));
    says(&told(&case, &[]), &["compose: rebuilt, because the image's time changed (8 steps, "]);
    case.variables.clear();
    says(&told(&case, &[]), &["compose: reused ("]);
    provide(&case, |text| {
        text.replacen("volatile:\n", "volatile:\n  - { path: /var/none, rule: delete, why: a test }\n", 1)
    });
    says(&told(&case, &[]), &["compose: rebuilt, because the provider's data changed ("]);
    // Layers that are gone, or must not be used.
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache/store")));
    says(&told(&case, &[]), &["because its layer is no longer in the cache", " layers are no longer in the cache ("]);
    says(
        &told(&case, &["--no-package-cache"]),
        &["compose: rebuilt, because the cache of packages and layers is off ("],
    );
    // A record that nobody can read is no reason to fail.
    let record = case.directory.join("cache/builds/small.json");
    let kept = fs::read_to_string(&record).unwrap();
    assert!(kept.contains("odd-tool") && !kept.contains("goodbye"), "{kept}");
    fs::write(&record, "{").unwrap();
    case.write("last.sh", "#!/bin/sh\necho last\n");
    let text = told(&case, &[]);
    assert!(text.contains("  run ./last.sh: built in ") && !text.contains("because"), "{text}");
    case.nothing_is_left();
}

/// What became of the step with this title: the last one, should there be several.
#[track_caller]
fn step<'t>(text: &'t str, title: &str) -> &'t str {
    let found = text.lines().filter_map(|line| line.trim_start().strip_prefix(title)?.strip_prefix(": ")).last();
    found.unwrap_or_else(|| panic!("no {title:?} in:\n{text}"))
}

#[test]
fn what_changed_of_rpm_packages_is_told_of_the_step_that_it_concerns() {
    let Some(distribution) = rpm::ready() else { return };
    let (user, key) = (User::WithoutRange, rpm::key_of(distribution));
    let home = rpm::site(user, "why-rpm", "azurelinux", distribution.repository(), &key, "");
    let build = |install: &str, removed: &str, words: &[&str]| {
        let spec = format!(
            "image: {{name: why-rpm, base: {{os: azurelinux, version: \"3.0\", type: minimal}}}}\nbootloader: none\n\
             customizations: {{packages: {{install: [{install}], remove: [{}{removed}]}}}}\noutput: {{format: tar}}\n",
            rpm::REMOVED
        );
        fs::write(home.join("spec.yml"), spec).unwrap();
        let (code, text) = rpm::run(user, &home, &[&["build", "spec.yml"], words].concat());
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let compose = ["--stage", "compose", "--log-level", "debug"];
    let [base, kernel, default, other] =
        ["base", "kernel", "default", "other"].map(|group| format!("run scriptlets of {group} packages"));
    build("kernel, sudo", "", &compose);
    let text = build("kernel, sudo", "", &compose);
    says(&text, &["compose: reused ("]);
    assert!(!text.contains("because"), "{text}");

    // One more of the last group: no other knows of it.
    let text = build("kernel, sudo, vim-minimal", "", &compose);
    says(&text, &["compose: rebuilt, because customizations.packages.install gained vim-minimal ("]);
    assert_eq!((step(&text, &base), step(&text, &kernel)), ("reused", "reused"));
    let why = step(&text, &other);
    assert!(why.starts_with("rebuilt, because ") && why.contains("vim-minimal came in ("), "{why}");

    // One less of a group, and one more of the next: each step names its own.
    let text = build("kernel, sudo, vim-minimal, corner-scripts", ", efibootmgr", &compose);
    assert_eq!((step(&text, &base), step(&text, &kernel)), ("reused", "reused"));
    let why = step(&text, &default);
    assert!(why.starts_with("rebuilt, because ") && why.contains("efibootmgr") && why.contains(" went ("), "{why}");
    assert!(!why.contains("corner-scripts"), "{why}");
    let why = step(&text, &other);
    println!("{why}");
    assert!(why.contains("corner-scripts came in (") && !why.contains("efibootmgr"), "{why}");

    // Another key is believed, and no package is another.
    let finish = ["--skip-stage", "configuration", "--force"];
    build("sudo", "", &finish);
    build("sudo", "", &finish);
    let gnupg = home.join("gnupg");
    let gpg = |words: &[&str]| {
        let mut command = Command::new("gpg");
        must(command.args(["--batch", "--homedir"]).arg(&gnupg).args(words))
    };
    must(Command::new("install").args(["-d", "-m", "700"]).arg(&gnupg));
    gpg(&["--passphrase", "", "--quick-generate-key", "somebody", "ed25519", "sign", "never"]);
    let other = gpg(&["--armor", "--export"]);
    fs::write(home.join("key.asc"), format!("{key}\n{other}")).unwrap();
    let text = build("sudo", "", &finish);
    says(&text, &["compose: reused (", "finalize: rebuilt, because the keys of packages from "]);
    let _ = Command::new("gpgconf").arg("--homedir").arg(&gnupg).args(["--kill", "all"]).status();
}
