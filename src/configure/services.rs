//! Units switched on and off, by the image's own systemctl, and the locale made by locale-gen.

use layers::{Stack, TreePath};
use sandbox::Step;

use crate::compose::command;
use crate::spec::ResolvedSpec;

/// Units that an image with the package has on unless the spec switches them off: without them
/// the network settings above would do nothing.
const NETWORK_UNITS: [&str; 2] = ["systemd-networkd.service", "systemd-resolved.service"];

/// Commands that switch the units of a spec, and make its locale.
pub fn commands(spec: &ResolvedSpec, stack: &Stack, epoch: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut run = |argv: Vec<String>| steps.push(Step::Run(command(&argv, epoch)));
    let locale = spec.locale.to_string();
    // C and POSIX are in the C library; others are made from locales' sources.
    let built_in = ["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&locale.as_str());
    if !built_in && has(stack, "usr/bin/localedef") {
        let (name, charset) = locale.split_once('.').unwrap_or((&locale, "UTF-8"));
        run(["localedef", "-i", name, "-f", charset, &locale].map(String::from).to_vec());
    }
    if !spec.network.interfaces.is_empty() {
        let wanted: Vec<String> = NETWORK_UNITS
            .iter()
            .filter(|unit| has(stack, &format!("usr/lib/systemd/system/{unit}")))
            .filter(|unit| {
                let off = spec.services.disabled.iter().chain(&spec.services.masked);
                !off.map(|name| full_name(name.as_str())).any(|name| name == **unit)
            })
            .map(|unit| (*unit).to_owned())
            .collect();
        if !wanted.is_empty() {
            run(systemctl("enable", wanted));
        }
    }
    for (verb, units) in
        [("enable", &spec.services.enabled), ("disable", &spec.services.disabled), ("mask", &spec.services.masked)]
    {
        if !units.is_empty() {
            run(systemctl(verb, units.iter().map(ToString::to_string).collect()));
        }
    }
    steps
}

fn systemctl(verb: &str, units: Vec<String>) -> Vec<String> {
    let mut argv = vec!["systemctl".to_owned(), verb.to_owned()];
    argv.extend(units);
    argv
}

fn full_name(unit: &str) -> String {
    if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") }
}

fn has(stack: &Stack, path: &str) -> bool {
    TreePath::new(path).is_ok_and(|path| stack.tree().get(&path).is_some())
}
