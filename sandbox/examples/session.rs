//! Runs one shell script over lower directories: `session RUNG SCRATCH SCRIPT LOWER…`.
//! A workbench for people who work on the sandbox, and its measure of speed.

use sandbox::{Cancel, Command, Event, Limits, Rung, Session, Step, Stream};
use std::path::PathBuf;

/// A bound from the environment.
fn bound(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    sandbox::intercept();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "probe") {
        for check in sandbox::probe() {
            println!("{:14} {:32} {} {} {:?}", check.rung, check.name, check.ok, check.detail, check.hint);
        }
        println!("{:?}", sandbox::choose(None));
        println!("control group: {:?}", sandbox::control_group());
        return;
    }
    let [rung, scratch, script, lowers @ ..] = &args[..] else {
        eprintln!("usage: session RUNG SCRATCH SCRIPT LOWER…");
        return;
    };
    let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("DEBIAN_FRONTEND", "noninteractive"), ("HOME", "/root")];
    let command = Command {
        argv: ["sh", "-ec", script].iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        env: env.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
        ..Command::default()
    };
    let run = if let Some(directory) = lowers.first().filter(|_| script.starts_with("#host")) {
        Step::RunOnHost { command, directory: directory.into() }
    } else {
        Step::Run(command)
    };
    let session = Session {
        rung: Rung::from_name(rung).expect("a rung"),
        scratch: PathBuf::from(scratch),
        steps: vec![Step::Stack { lowers: lowers.iter().map(PathBuf::from).collect(), keep: vec![] }, run],
        limits: Limits { memory: bound("MEMORY", 0), processes: bound("PROCESSES", 4096), ..Limits::default() },
        epoch: 0,
        assemble: false,
    };
    let begin = std::time::Instant::now();
    let mut observer = |event: Event<'_>| match event {
        Event::Line { stream: Stream::Out, text, .. } => println!("{}", String::from_utf8_lossy(text)),
        Event::Line { text, .. } => println!("! {}", String::from_utf8_lossy(text)),
        Event::StepEnded { index, status, seconds } => println!("step {index}: {status}, {seconds:.3} s"),
        Event::StepStarted { .. } => {}
    };
    match sandbox::run(&session, &mut observer, &Cancel::new()) {
        Ok(captured) => {
            println!("{} changes, {:.3} s", captured.changes.len(), begin.elapsed().as_secs_f64());
            if captured.changes.len() < 40 || script.contains("#list") {
                for change in &captured.changes {
                    println!("{} {change:?}", String::from_utf8_lossy(change.path()));
                }
            }
        }
        Err(error) => println!("failed to {error}\nhint: {:?}", error.hint()),
    }
}
