//! Images for container engines: the same tree as every other output, in files and at registries.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::engines::{self, assert_same, listing};
use crate::fidelity::odd;
use crate::registry::{Registry, Setup};
use crate::support::{User, have, must};
use crate::wrong::case::{Case, names};

/// What layers have to carry: owners, special modes, devices, links, deletions, names that others use.
const SCRIPT: &str = "#!/bin/sh
set -e
cd /var
mkdir a a/b; echo x > a/file; ln a/file a/other; ln -s file a/link; mknod a/pipe p; mknod a/null c 1 3
chown 5:6 a/file a/b; chown -h 7:8 a/link; chmod 4755 a/other; chmod 2770 a/b
rm /usr/share/tiny-hello/data; rm -r /usr/share/odd; mkdir /usr/share/odd
";

fn spec(case: &Case, packages: &[&str], output: &str, more: &str) {
    let text = format!(
        "image: {{name: small, version: \"1.0\", description: a small one, base: {{os: tiny, version: 1}}}}\n\
         output: {output}\ncustomizations:\n  packages: {{install: [{}]}}\n{more}",
        packages.join(", ")
    );
    case.write("small.yml", &text);
}

/// Unpacks an image of a layout directory.
fn unpack(layout: &Path, name: &str, to: &Path) {
    must(Command::new("umoci").args(["unpack", "--image", &format!("{}:{name}", layout.display())]).arg(to));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const TOOLS: [&str; 3] = ["skopeo", "umoci", "tar"];

#[test]
fn an_oci_image_is_the_tree_of_the_other_formats() {
    if !have(&TOOLS) {
        return;
    }
    let mut sums = Vec::new();
    for user in [User::WithoutRange, User::WithRange] {
        let Some(case) = Case::of(user, "oci") else { return };
        let names = [&["tiny-hello"], &odd::names()[..]].concat();
        spec(&case, &names, "{format: [oci, tar], oci: {layers: 12}}", "  scripts:\n    - path: ./change.sh\n");
        fs::write(case.directory.join("change.sh"), SCRIPT).unwrap();
        let yaml = fs::read_to_string(case.directory.join("small.yml")).unwrap();
        fs::write(case.directory.join("small.yml"), yaml.replace("output:", "bootloader: none\noutput:")).unwrap();
        case.build(&[]).with(0, &[]);
        sums.push(case.sums());
        if user != User::WithoutRange {
            continue;
        }
        let output = case.directory.join("output");
        let archive = format!("oci-archive:{}", output.join("small.oci.tar").display());
        let inspected = json(&must(Command::new("skopeo").args(["inspect", &archive])));
        assert_eq!(inspected["Labels"]["org.opencontainers.image.description"], "a small one");
        assert_eq!((&inspected["Architecture"], &inspected["Os"]), (&"amd64".into(), &"linux".into()));
        let config = json(&must(Command::new("skopeo").args(["inspect", "--config", &archive])));
        let history = config["history"].as_array().unwrap();
        let layers = config["rootfs"]["diff_ids"].as_array().unwrap().len();
        assert!(layers <= 12 && layers > 3 && layers == history.len(), "{layers}");
        assert_eq!(config["config"]["Cmd"], json("[\"/bin/bash\"]"));
        let told: Vec<&str> = history.iter().map(|line| line["created_by"].as_str().unwrap()).collect();
        assert!(told.iter().any(|line| line.contains("tiny-hello")), "{told:?}");
        assert!(told.iter().any(|line| line.contains("change.sh")), "{told:?}");
        // As engines see it, and as tar does.
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let copy = format!("oci:{}:test", at("image").display());
        must(Command::new("skopeo").args(["copy", "--quiet", &archive, &copy]));
        unpack(&at("image"), "test", &at("bundle"));
        engines::unpack_tar(&output.join("small.tar"), &at("tar"));
        let rootfs = at("bundle").join("rootfs");
        assert_same(&at("tar"), &rootfs);
        engines::assert_have(&output.join("small.oci.tar"), &at("tar"));
        // The comparison sees what is different.
        fs::set_permissions(rootfs.join("var/a/other"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(listing(&at("tar")), listing(&rootfs));
    }
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn an_image_goes_to_a_registry_and_back() {
    if !have(&TOOLS) || !have(&["docker-registry"]) {
        return;
    }
    let Some(case) = Case::new("registry") else { return };
    let registry = Registry::start(Setup::default());
    let reference = format!("docker://{}/team/small:1.0", registry.host());
    let rung = case.user.rung();
    // Nothing starts a container image, so that is the default.
    let script = "  scripts:\n    - path: ./change.sh\n";
    spec(&case, &["tiny-hello"], "{format: oci}", script);
    case.write("change.sh", "#!/bin/sh\ncat /usr/bin/bash > /var/filling; echo x >> /var/filling\n");
    let words = ["--progress", "plain", "--rung", rung];
    case.run(&[&["oci", "export", "small.yml", "image"], &words[..]].concat()).with(0, &["wrote", "image (sha256:"]);
    case.run(&[&["oci", "export", "small.yml", "image"], &words[..]].concat())
        .with(1, &["it exists already", "--force"]);
    case.run(&[&["oci", "push", "small.yml", &reference], &words[..]].concat()).with(0, &["pushed"]);
    case.run(&[&["oci", "push", "small.yml", &reference], &words[..]].concat()).with(0, &["sent 0 B of"]);
    // The layout is the same image, to the bit.
    case.run(&["oci", "push", "image", &reference]).with(0, &["sent 0 B of"]);
    let digest = |layout: &str| {
        let index = fs::read_to_string(case.directory.join(layout).join("index.json")).unwrap();
        json(&index)["manifests"][0]["digest"].as_str().unwrap().to_owned()
    };
    let inspect = |more: &[&str]| {
        let words = [&["inspect", "--tls-verify=false"], more, &[reference.as_str()]].concat();
        json(&must(Command::new("skopeo").args(words)))
    };
    assert_eq!(inspect(&[])["Digest"], digest("image").as_str());

    // A changed script is a changed layer.
    case.write("change.sh", "#!/bin/sh\ncat /usr/bin/bash > /var/filling; echo y >> /var/filling\n");
    let blobs = || -> BTreeMap<String, u64> {
        let manifest = inspect(&["--raw"]);
        let all = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
        all.map(|blob| (blob["digest"].as_str().unwrap().to_owned(), blob["size"].as_u64().unwrap())).collect()
    };
    let before = blobs();
    case.run(&[&["oci", "push", "small.yml", &reference], &words[..]].concat()).with(0, &["pushed"]);
    let sent: Vec<u64> = blobs().into_iter().filter(|(blob, _)| !before.contains_key(blob)).map(|(_, s)| s).collect();
    let largest = sent.iter().max().unwrap();
    assert!(sent.iter().sum::<u64>() * 10 <= largest * 11 && *largest > 100_000, "{sent:?}");

    case.run(&["oci", "pull", &reference, "back"]).with(0, &["pulled"]);
    case.run(&["oci", "pull", &reference, "back.tar"]).with(0, &["pulled"]);
    assert_eq!(inspect(&[])["Digest"], digest("back").as_str());
    // Once more in its place, as whoever is in it names it.
    case.run(&["oci", "pull", &reference, "back/.", "--force"]).with(0, &["pulled"]);
    assert_eq!(inspect(&[])["Digest"], digest("back").as_str());
    assert!(!names(&case.directory).iter().any(|name| name.starts_with(".back") || name.starts_with(".oci")));
    case.run(&["oci", "export", "back.tar", "again"]).with(0, &["wrote"]);
    assert_eq!(digest("again"), digest("back"));
    case.run(&[
        "oci",
        "push",
        "back.tar",
        &format!("docker://{}/other/small", registry.host()),
        "--mount-from",
        "team/small",
    ])
    .with(0, &["sent 0 B"]);

    // An SBOM is a referrer.
    case.write("small.spdx.json", "{}\n");
    case.run(&["oci", "push", "back", &reference, "--attach", "small.spdx.json"]).with(0, &["pushed"]);
    let tag = digest("back").replace(':', "-");
    let list = format!("docker://{}/team/small:{tag}", registry.host());
    let referrers = json(&must(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &list])));
    assert_eq!(referrers["manifests"][0]["artifactType"], "application/spdx+json");

    // What is damaged at the registry is never taken.
    let manifest = inspect(&["--raw"]);
    let hex = manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let blob = registry.blob(&hex);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    case.run(&["oci", "pull", &reference, "damaged"]).with(1, &["failed to pull", &hex]);
    assert!(!case.directory.join("damaged").exists());
    case.run(&["oci", "pull", &format!("docker://{}/no/such", registry.host()), "x"])
        .with(1, &["there is no such image"]);
    case.run(&["oci", "push", "back", "localhost/x"]).with(2, &["names no image of a registry"]);
    case.run(&["oci", "push", "change.sh", &reference]).with(1, &["name a spec"]);
    case.nothing_is_left();
}

#[test]
fn images_for_several_platforms_become_one() {
    if !have(&TOOLS) || !have(&["docker-registry"]) {
        return;
    }
    let Some(case) = Case::new("platforms") else { return };
    let registry = Registry::start(Setup::default());
    let reference = format!("docker://{}/team/both:1.0", registry.host());
    let rung = case.user.rung();
    spec(&case, &["tiny-hello"], "{format: oci}", "");
    case.run(&["oci", "export", "small.yml", "x86", "--rung", rung]).with(0, &["wrote"]);
    // Another tool's word for another machine: scripts of that one cannot run here.
    let at = |name: &str| case.directory.join(name);
    must(Command::new("cp").arg("-a").args([at("x86"), at("arm")]));
    let image = format!("{}:small:1.0", at("arm").display());
    must(Command::new("umoci").args(["config", "--architecture", "arm64", "--image", &image, "--tag", "small"]));
    must(Command::new("umoci").args(["rm", "--image", &image]));
    must(Command::new("chmod").arg("-R").arg("a+rX").arg(at("arm")));

    case.run(&["oci", "export", "x86", "arm", "both"]).with(0, &["wrote", "both (sha256:"]);
    case.run(&["oci", "export", "arm", "small.yml", "again.tar", "--rung", rung]).with(0, &["wrote"]);
    case.run(&["oci", "export", "again.tar", "again"]).with(0, &["wrote"]);
    let digest = |layout: &str| {
        let index = fs::read_to_string(at(layout).join("index.json")).unwrap();
        json(&index)["manifests"][0]["digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(digest("again"), digest("both"));
    case.run(&["oci", "push", "both", &reference]).with(0, &["pushed"]);
    let inspect = |more: &[&str]| {
        let words = [&["inspect", "--tls-verify=false"], more, &[reference.as_str()]].concat();
        json(&must(Command::new("skopeo").args(words)))
    };
    let raw = inspect(&["--raw"]);
    assert_eq!(raw["mediaType"], "application/vnd.oci.image.index.v1+json");
    for (number, (architecture, layout)) in [("amd64", "x86"), ("arm64", "arm")].into_iter().enumerate() {
        assert_eq!(raw["manifests"][number]["platform"]["architecture"], architecture);
        assert_eq!(raw["manifests"][number]["digest"], digest(layout).as_str());
        let words = ["--override-arch", architecture, "inspect", "--tls-verify=false", &reference];
        assert_eq!(json(&must(Command::new("skopeo").args(words)))["Architecture"], architecture);
        let platform = format!("linux/{architecture}");
        case.run(&["oci", "pull", &reference, architecture, "--platform", &platform]).with(0, &["pulled"]);
        assert_eq!(digest(architecture), digest(layout));
    }
    case.run(&["oci", "pull", &reference, "all", "--all-platforms"]).with(0, &["pulled"]);
    assert_eq!(digest("all"), digest("both"));
    // What is no set of platforms.
    case.run(&["oci", "export", "x86", "both", "more"]).with(1, &["x86 and both are both for linux/amd64"]);
    case.run(&["oci", "export", "x86", "small.yml", "change", "--rung", rung]).with(1, &["both for linux/amd64"]);
    assert!(!at("more").exists() && !at("change").exists());
    case.nothing_is_left();
}

#[test]
fn credentials_and_authorities_are_the_ecosystems() {
    if !have(&["docker-registry", "htpasswd", "openssl"]) {
        return;
    }
    let Some(mut case) = Case::new("login") else { return };
    let registry = Registry::start(Setup { login: Some(("me", "geheim")), tls: true });
    let reference = format!("docker://{}/x:1", registry.host());
    let authority = registry.authority().display().to_string();
    spec(&case, &[], "{format: oci}", "");
    let rung = case.user.rung();
    case.run(&["oci", "export", "small.yml", "image", "--rung", rung]).with(0, &[]);
    let push = ["oci", "push", "image", &reference];
    case.run(&push).with(1, &["certificate"]);
    let push = [&push[..], &["--ca-file", &authority]].concat();
    case.run(&push).with(1, &["failed to push"]);
    let file = |user: &str, password: &str| {
        format!(
            "{{\"auths\": {{\"{}\": {{\"username\": \"{user}\", \"password\": \"{password}\"}}}}}}",
            registry.host()
        )
    };
    case.write("wrong.json", &file("me", "falsch"));
    case.run(&[&push[..], &["--auth-file", "wrong.json"]].concat()).with(1, &["failed to push"]);
    case.write("docker/config.json", &file("me", "geheim"));
    case.variables = vec![("DOCKER_CONFIG".into(), case.directory.join("docker").display().to_string())];
    case.run(&push).with(0, &["pushed"]);
    // podman's file wins, and a helper is a program of the path.
    case.write("podman.json", &format!("{{\"credHelpers\": {{\"{}\": \"of-the-test\"}}}}", registry.host()));
    let path = case.directory.join("bin").display().to_string();
    case.write(
        "bin/docker-credential-of-the-test",
        "#!/bin/sh\nread server\n[ \"$1\" = get ] && echo \"{\\\"Username\\\": \\\"me\\\", \\\"Secret\\\": \\\"geheim\\\"}\"\n",
    );
    must(Command::new("chmod").arg("755").arg(case.directory.join("bin/docker-credential-of-the-test")));
    case.variables = vec![
        ("REGISTRY_AUTH_FILE".into(), case.directory.join("podman.json").display().to_string()),
        ("PATH".into(), format!("{path}:{}", std::env::var("PATH").unwrap_or_default())),
    ];
    case.run(&push).with(0, &["pushed"]);
    must(Command::new("rm").arg(case.directory.join("bin/docker-credential-of-the-test")));
    let ended = case.run(&push);
    ended.with(1, &["docker-credential-of-the-test"]);
    assert!(!ended.text.contains("geheim"));
}
