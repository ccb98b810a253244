//! Bases at a registry: a tag is locked to what it means, and what was fetched once is here.

use std::fs;
use std::process::Command;

use super::{json, make_base, spec};
use crate::registry::{Registry, Setup};
use crate::support::{have, must};
use crate::wrong::case::Case;

#[test]
fn a_base_at_a_registry_is_locked_and_kept() {
    if !have(&["docker-registry", "umoci", "skopeo"]) {
        return;
    }
    let Some(case) = Case::new("base-registry") else { return };
    let registry = Registry::start(Setup::default());
    let reference = format!("docker://{}/team/base:1.0", registry.host());
    make_base(&case, &["tiny-hello"]);
    case.run(&["oci", "push", "base", &reference]).with(0, &["pushed"]);
    spec(&case, "small.yml", &format!(", from: \"{reference}\""), &["tiny-hallo"], "");
    let words = ["--skip-stage", "configuration"];
    let build = |more: &[&str]| case.build(&[&words[..], more, &["--no-image-cache", "--force"]].concat());
    let manifest = || {
        let lock = json(&fs::read_to_string(case.directory.join("output/small.lock")).unwrap());
        lock["base"]["manifest"].as_str().unwrap().to_owned()
    };
    case.run(&["lock", "small.yml"]).with(0, &[]);
    build(&["--locked"]).with(0, &[]);
    let (first, digest) = (case.sums(), manifest());
    build(&[]).with(0, &[]);
    assert_eq!(case.sums(), first);

    // What is pushed has the base's layers, which the registry has already.
    let web = format!("docker://{}/team/web:1.0", registry.host());
    let rung = case.user.rung();
    case.run(&["oci", "push", "small.yml", &web, "--rung", rung, "--mount-from", "team/base"]).with(0, &["pushed"]);
    let layers = |image: &str| -> Vec<String> {
        let raw = json(&must(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", image])));
        let layers = raw["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (lowest, whole) = (layers(&reference), layers(&web));
    assert!(whole.len() > lowest.len() && whole.starts_with(&lowest), "{lowest:?} {whole:?}");

    // Somebody gives the tag to another image. The lock stays with its own.
    spec(&case, "base.yml", "", &["tiny-hello", "tiny-big"], "  scripts:\n    - path: ./base.sh\n");
    case.run(&["oci", "push", "base.yml", &reference, "--rung", case.user.rung()]).with(0, &["pushed"]);
    build(&["--locked"]).with(0, &[]);
    assert_eq!((case.sums(), manifest()), (first.clone(), digest.clone()));
    let moved = ["because its manifest is another one", "finalize: rebuilt, because the base image is another one"];
    build(&[]).with(0, &moved);
    assert_ne!(case.sums(), first);
    let second = manifest();
    assert_ne!(second, digest);
    // Without the network a name is what it was last.
    build(&["--offline"]).with(0, &[]);
    assert_eq!(manifest(), second);

    // By its digest nobody is asked, not even where the layers are no longer in the store.
    let by_digest = format!("docker://{}/team/base@sha256:{digest}", registry.host());
    spec(&case, "small.yml", &format!(", from: \"{by_digest}\""), &["tiny-hallo"], "");
    build(&[]).with(0, &[]);
    drop(registry);
    build(&[]).with(0, &[]);
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache/store")));
    build(&[]).with(0, &[]);
    assert_eq!(manifest(), digest);

    // What is damaged here is fetched again, or missed.
    let kept = case.directory.join("cache/bases/sha256").join(&digest);
    fs::write(&kept, "{}").unwrap();
    build(&["--offline"]).with(4, &["not in the cache, and --offline forbids", "oci pull"]);
    // And where it never was.
    spec(&case, "small.yml", ", from: \"docker://localhost:1/x\"", &["tiny-hallo"], "");
    build(&["--offline"]).with(4, &["not in the cache, and --offline forbids"]);
    case.nothing_is_left();
}

#[test]
fn a_base_that_a_registry_does_not_have_is_an_error() {
    if !have(&["docker-registry", "umoci"]) {
        return;
    }
    let Some(case) = Case::new("base-missing") else { return };
    let registry = Registry::start(Setup::default());
    let build = |from: &str| {
        spec(&case, "small.yml", &format!(", from: \"docker://{}/{from}\"", registry.host()), &["tiny-hallo"], "");
        case.build(&[])
    };
    build("no/such:1").with(4, &["the registry has no 1", "check the name and the tag"]);
    let nobody = "0".repeat(64);
    build(&format!("no/such@sha256:{nobody}")).with(4, &["the registry has no sha256:0", "image-composer lock"]);
    make_base(&case, &["tiny-hello"]);
    case.run(&["oci", "push", "base", &format!("docker://{}/base", registry.host())]).with(0, &["pushed"]);
    // A layer that is another one at the registry is never used.
    let index = json(&fs::read_to_string(case.directory.join("base/index.json")).unwrap());
    let hex = |value: &serde_json::Value| value["digest"].as_str().unwrap().replace("sha256:", "");
    let manifest = hex(&index["manifests"][0]);
    let text = fs::read_to_string(case.directory.join("base/blobs/sha256").join(manifest)).unwrap();
    let layer = hex(&json(&text)["layers"][0]);
    let blob = registry.blob(&layer);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache")));
    build("base").with(4, &["failed to use the base image", &layer]);
    case.nothing_is_there();
}

/// A registry with a certificate of its own authority, as the configuration says, for whoever speaks to it.
#[test]
fn the_configuration_says_how_a_registry_is_reached() {
    if !have(&["docker-registry", "openssl", "htpasswd", "umoci"]) {
        return;
    }
    let Some(mut case) = Case::new("base-tls") else { return };
    let registry = Registry::start(Setup { login: Some(("me", "geheim")), tls: true });
    case.write("auth.json", &format!("{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6Z2VoZWlt\"}}}}}}", registry.host()));
    let auth = case.directory.join("auth.json").display().to_string();
    case.variables.push(("REGISTRY_AUTH_FILE".into(), auth));
    case.write("ca.pem", &fs::read_to_string(registry.authority()).unwrap());
    make_base(&case, &["tiny-hello"]);
    let reference = format!("docker://{}/team/base:1.0", registry.host());
    spec(&case, "small.yml", &format!(", from: \"{reference}\""), &["tiny-hallo"], "");
    let configure = |text: &str| {
        case.reconfigure();
        let path = case.directory.join("config/image-composer/config.yaml");
        let before = fs::read_to_string(&path).unwrap();
        case.write("config/image-composer/config.yaml", &format!("{before}registries:\n  - {text}\n"));
    };
    // Nobody vouches for it; then somebody for another one; then its own authority.
    case.build(&[]).with(4, &["failed to use the base image", "certificate"]);
    configure("{host: registry.example, ca_file: ../../ca.pem}");
    case.build(&[]).with(4, &["failed to use the base image", "certificate"]);
    case.run(&["oci", "push", "base", &reference]).with(1, &["certificate"]);
    configure(&format!("{{host: \"{}\", ca_file: ../../ca.pem}}", registry.host()));
    case.run(&["oci", "push", "base", &reference]).with(0, &["pushed"]);
    case.build(&["--skip-stage", "configuration"]).with(0, &["take the base image"]);
    case.run(&["oci", "pull", &reference, "pulled"]).with(0, &["pulled"]);
    // Files that are not there, and hosts that are none.
    configure(&format!("{{host: \"{}\", ca_file: nowhere.pem}}", registry.host()));
    case.build(&["--no-image-cache", "--force"]).with(4, &["nowhere.pem"]);
    configure("{host: \"https://registry.example\"}");
    case.build(&[]).with(5, &["is no registry", "registry.example:5000"]);
    configure("{host: registry.example, insecur: true}");
    case.build(&[]).with(5, &["did you mean 'insecure'?"]);
}
