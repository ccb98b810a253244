//! Builds with a layer cache that are ended at any moment.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::misbehaving::Server;
use crate::wrong::ends::{Random, signal};

/// How often a build is killed.
const ROUNDS: u32 = 3;

#[test]
fn kill_9_while_layers_come_and_go_loses_nothing() {
    if !have(&["docker-registry"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let remote = |name: &str, more: &str| format!("{{url: \"oci://{}/{name}\"{more}}}", registry.host());
    let Some(one) = machine(User::WithoutRange, "remote-ends-one", &remote("cache", ", push: true")) else { return };
    let Some(two) = machine(User::WithRange, "remote-ends-two", &remote("cache", "")) else { return };
    one.compose();
    // Everything is at hand once; the second machine fetches from then on.
    let whole = two.compose();
    assert!(!whole.text.contains(SAID), "{}", whole.text);
    let mut random = Random::new();
    // Layers come to the second machine; layers go from the first, which has them all.
    for round in 0..ROUNDS {
        for case in [&two, &one] {
            if case.directory == two.directory {
                forget(case);
            } else {
                configure(case, &remote(&format!("round{round}"), ", push: true"));
            }
            let mut child = case.start(&["--stage", "configuration"]);
            let wait = random.part_of(whole.took);
            std::thread::sleep(wait);
            signal(&child, Signal::KILL);
            let status = child.wait().unwrap();
            println!("round {round}: killed after {wait:?}: {status}");
            case.nobody_is_alive();
            let text = case.compose().text;
            assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
            assert_eq!(case.lineage(), one.lineage());
            case.run(&["layers", "verify"]).with(0, &["layers are whole"]);
            case.nothing_is_left();
        }
        // What the first machine sent in two goes is all that the second one needs.
        configure(&two, &remote(&format!("round{round}"), ""));
        forget(&two);
        let text = two.compose().text;
        assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
        configure(&two, &remote("cache", ""));
    }
}

#[test]
fn ctrl_c_does_not_wait_for_a_registry() {
    let silent = Server::start(|_, _| {
        std::thread::sleep(Duration::from_secs(60));
        crate::misbehaving::Answer::new(404)
    });
    let url = format!("{{url: \"oci://{}/cache\", insecure: true}}", silent.host());
    let Some(case) = machine(User::WithoutRange, "remote-silent", &url) else { return };
    let mut child = case.start(&["--stage", "configuration"]);
    let end = Instant::now() + Duration::from_secs(30);
    while silent.log().is_empty() {
        assert!(Instant::now() < end, "nobody asks the registry");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, Signal::INT);
    let asked = Instant::now();
    let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{text}");
    assert!(asked.elapsed() < Duration::from_secs(5) && !text.contains("the layer cache"), "{text}");
    case.nobody_is_alive();
}
