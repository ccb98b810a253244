//! What is sent while a build goes on.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::*;
use crate::misbehaving::{Answer, Request, Server};
use crate::wrong::ends::signal;

/// How long uploads are held back at most, should nobody let them go.
const PATIENCE: Duration = Duration::from_secs(25);

fn is_upload(request: &Request) -> bool {
    ["POST", "PUT", "PATCH"].contains(&request.method.as_str())
}

/// Keys that were answered for others so far.
fn answered(server: &Server) -> usize {
    let is_answer = |request: &&Request| request.method == "PUT" && request.path.contains("/manifests/k-");
    server.log().iter().filter(is_answer).count()
}

/// A build up to the line that says that its last step is over, while uploads go nowhere.
fn until_the_last_step(case: &Case) -> (std::process::Child, BufReader<std::process::ChildStderr>, String) {
    let mut child = case.start(&["--stage", "configuration", "--log-level", "debug"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !["built", "rebuilt"].iter().any(|word| seen.contains(&format!("{LAST}: {word}"))) {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    (child, lines, seen)
}

#[test]
fn a_slow_registry_delays_no_step_and_what_is_reused_is_sent_once() {
    if !have(&["docker-registry"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let (port, held, broken) =
        (registry.port(), Arc::new(Mutex::new(Instant::now())), Arc::new(AtomicBool::new(false)));
    let (until, is_broken) = (held.clone(), broken.clone());
    let hold = |time| *held.lock().unwrap() = Instant::now() + time;
    let proxy = Server::start(move |request, _| {
        while is_upload(request) && Instant::now() < *until.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(10));
        }
        match is_upload(request) && is_broken.load(Ordering::Relaxed) {
            true => Answer::error(500, "UNKNOWN"),
            false => request.pass_on(port),
        }
    });
    let remote = |name: &str| format!("{{url: \"oci://{}/{name}\", insecure: true, push: true}}", proxy.host());
    let Some(case) = machine(User::WithoutRange, "remote-outbox", &remote("one")) else { return };

    // All steps are over before the first byte is taken; the build waits for the rest.
    hold(PATIENCE);
    let (mut child, mut lines, seen) = until_the_last_step(&case);
    assert!(Instant::now() < *held.lock().unwrap() && answered(&proxy) == 0, "{seen}");
    hold(Duration::ZERO);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && !rest.contains("warning: "), "{rest}");
    let sent = answered(&proxy);
    assert!(sent >= 4, "{sent}: {seen}");

    // Nobody is kept waiting who wants to go.
    hold(PATIENCE);
    forget(&case);
    configure(&case, &remote("two"));
    let (mut child, mut lines, _) = until_the_last_step(&case);
    signal(&child, Signal::INT);
    let asked = Instant::now();
    lines.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // All that was to be built was built.
    assert!([Some(0), Some(130)].contains(&status.code()), "{status}");
    hold(Duration::ZERO);

    // What is reused is sent where it is missing, and only there.
    let before = answered(&proxy);
    let text = case.compose().text;
    assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
    assert_eq!(answered(&proxy) - before, sent, "{text}");
    let (uploads, all) = (proxy.log().iter().filter(|request| is_upload(request)).count(), proxy.log().len());
    case.compose();
    let log = proxy.log();
    assert_eq!(log.iter().filter(|request| is_upload(request)).count(), uploads);
    assert!(log[all..].iter().all(|request| request.method == "HEAD"), "{:#?}", &log[all..]);
    assert_eq!(log.len() - all, sent);
    let Some(other) = machine(User::WithRange, "remote-outbox", &remote("two")) else { return };
    let text = other.compose().text;
    assert!(!text.contains(SAID) && text.contains(&format!("{LAST}: fetched")), "{text}");
    assert_eq!(other.lineage(), case.lineage());

    // One that takes nothing is told of once, and is no failure.
    broken.store(true, Ordering::Relaxed);
    configure(&case, &remote("three"));
    let text = case.compose().text;
    assert_eq!(text.matches("warning: ").count(), 1, "{text}");
    assert!(text.contains(&format!("/three did not take {sent} of {sent} layers: ")), "{text}");
    assert!(text.contains("answered 500"), "{text}");
    case.nothing_is_left();
}
