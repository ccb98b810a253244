//! Two machines that share nothing but a registry.

use std::fs;
use std::process::Command;

use crate::registry::{Registry, Setup};
use crate::support::{User, have, must};
use crate::wrong::case::Case;

/// What only a script that runs says.
const SAID: &str = "slow is done";

/// A machine of its own, with what is said of its caches.
fn machine(user: User, name: &str, remote: &str) -> Option<Case> {
    let case = Case::of(user, name)?;
    configure(&case, remote);
    let text = "image: {name: small, base: {os: tiny, version: 1}}\noutput: {format: oci}\ncustomizations:\n  \
                packages: {install: [tiny-hello, tiny-slow, odd-tool, odd-wrap]}\n  scripts:\n    - path: ./change.sh\n";
    case.write("small.yml", text);
    case.write(
        "change.sh",
        "#!/bin/sh\necho changed > /var/changed; mkdir -m 1777 /var/sticky; chown 5:6 /var/changed\n",
    );
    Some(case)
}

fn configure(case: &Case, remote: &str) {
    case.reconfigure();
    let path = case.directory.join("config/image-composer/config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    case.write("config/image-composer/config.yaml", &format!("{text}cache:\n  remote:\n    - {remote}\n"));
}

/// Builds and gives what was said.
fn built(case: &Case) -> String {
    let ended = case.build(&["--force", "--no-image-cache", "--log-level", "debug"]);
    ended.with(0, &[]);
    ended.text
}

/// Forgets everything but the packages.
fn forget(case: &Case) {
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache/store")));
}

#[test]
fn the_second_machine_runs_no_script() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let remote = |more: &str| format!("{{url: \"{url}\"{more}}}");
    let Some(one) = machine(User::WithoutRange, "remote-one", &remote(", push: true")) else { return };
    let Some(two) = machine(User::WithRange, "remote-two", &remote("")) else { return };
    let text = built(&one);
    assert!(text.contains(SAID) && !text.contains("the layer cache"), "{text}");
    let text = built(&two);
    assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
    for step in
        ["configure essential packages", "prepare other packages", "configure other packages", "run ./change.sh"]
    {
        assert!(
            text.contains(&format!("{step}: fetched from {url} in ")) && !text.contains(&format!("{step}: built")),
            "{step}: {text}"
        );
    }
    assert_eq!(one.sums(), two.sums());
    two.run(&["layers", "verify"]).with(0, &["layers are whole"]);
    let report = fs::read_to_string(two.directory.join("output/small.report.json")).unwrap();
    assert!(report.contains("\"fetched\": true"), "{report}");

    // What is damaged there is told of and made here.
    forget(&two);
    let blobs = must(
        Command::new("find")
            .arg(registry.blob("00").parent().unwrap().parent().unwrap().parent().unwrap())
            .args(["-name", "data", "-size", "+200c"]),
    );
    for blob in blobs.lines() {
        let mut bytes = fs::read(blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(blob, bytes).unwrap();
    }
    let text = built(&two);
    assert!(text.contains(SAID) && text.contains("gives nothing"), "{text}");
    assert_eq!(one.sums(), two.sums());

    // With keys configured, what nobody signed is refused; what is signed is used.
    let key = |name: &str| {
        let at = one.directory.join(name);
        must(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&at));
        must(Command::new("chmod").arg("644").arg(&at));
        let public = must(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&at));
        (at.display().to_string(), public.replace('\n', "\\n"))
    };
    let ((private, public), (_, other)) = (key("cache.key"), key("other.key"));
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let remote = |more: &str| format!("{{url: \"{url}\"{more}}}");
    configure(&one, &remote(&format!(", push: true, keys: [\"{public}\"], signing_key: {private}")));
    forget(&one);
    built(&one);
    configure(&two, &remote(&format!(", keys: [\"{other}\"]")));
    forget(&two);
    let text = built(&two);
    assert!(text.contains("is not signed by a key that is trusted") && text.contains(SAID), "{text}");
    configure(&two, &remote(&format!(", keys: [\"{other}\", \"{public}\"]")));
    forget(&two);
    let text = built(&two);
    assert!(!text.contains(SAID) && text.contains("change.sh: fetched"), "{text}");
    assert_eq!(one.sums(), two.sums());

    // A registry that is gone is told of once, and is no failure.
    drop(registry);
    forget(&two);
    let text = built(&two);
    assert_eq!(text.matches("this build goes on without it").count(), 1, "{text}");
    assert_eq!(one.sums(), two.sums());
    configure(&two, "{url: \"https://nowhere\", push: true}");
    two.build(&["--force"]).with(5, &["is no repository of a registry", "oci://HOST/REPOSITORY"]);
    two.nothing_is_left();
}
