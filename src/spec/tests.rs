//! Specs as people write them, and what they get when they err.

mod files;
mod meaning;
mod messages;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use super::names::FromText;
use super::resolved::*;
use super::*;

/// An ed25519 key of nobody.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f nobody";

fn providers() -> KnownProviders {
    let release = |version: &str, recommends: bool, network_match: &str| Release {
        version: version.to_owned(),
        recommends,
        // The rpm distributions' GRUB is for UEFI.
        grub_for_bios: !recommends,
        network_match: network_match.to_owned(),
    };
    let versions = |list: &[&str]| list.iter().map(|v| release(v, false, "en*")).collect::<Vec<_>>();
    KnownProviders(BTreeMap::from([
        ("azurelinux".to_owned(), vec![release("3.0", true, "e*")]),
        ("debian".to_owned(), versions(&["12", "13", "trixie"])),
        ("ubuntu".to_owned(), versions(&["22.04", "24.10"])),
    ]))
}

fn resolved_in(directory: &Path, text: &str) -> Result<ResolvedSpec, Vec<Problem>> {
    let providers = providers();
    let around =
        Surroundings { spec_directory: directory, current_directory: Path::new("/home/me"), providers: &providers };
    resolve_text(Path::new("spec.yml"), text.as_bytes(), &around).map(|(spec, _)| spec)
}

pub(crate) fn resolved(text: &str) -> ResolvedSpec {
    resolved_in(Path::new("/nowhere"), text).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The problems of a text, each as "line:column message".
fn problems(text: &str) -> Vec<String> {
    let found = resolved_in(Path::new("/nowhere"), text).expect_err("the spec is accepted");
    let place = |problem: &Problem| problem.span.as_ref().map_or((0, 0), |span| span.line_and_column());
    found
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{}:{} {}", place(problem).0, place(problem).1, problem.message))
        .collect()
}

pub(crate) fn minimal(rest: &str) -> String {
    format!("image: {{name: a, base: {{os: debian, version: 13}}}}\n{rest}")
}
