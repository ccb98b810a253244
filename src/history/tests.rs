//! Builds as the history sees them, one after the other.

use layers::RecipeBuilder;

use super::record::tests::record;
use super::*;
use crate::spec::outline::Outline;
use crate::spec::tests::{minimal, resolved};

/// A step of a build: its stage, its title, the name of what it does, and one input of it.
#[derive(Clone, Copy)]
struct Doing(Stage, &'static str, &'static str, &'static str, Outcome);

const BASE: Doing = Doing(Stage::Compose, "configure base packages", "configure deb packages", "base", Outcome::Reused);
const REST: Doing =
    Doing(Stage::Compose, "configure other packages", "configure deb packages", "rest", Outcome::Reused);
const FIRST: Doing = Doing(Stage::Configuration, "run ./first", "script", "first", Outcome::Reused);
const LAST: Doing = Doing(Stage::Configuration, "run ./last", "script", "last", Outcome::Reused);

impl Doing {
    /// The step with other content, done again.
    fn built(self, content: &'static str) -> Self {
        Self(self.0, self.1, self.2, content, Outcome::Built)
    }

    fn again(self) -> Self {
        Self(self.0, self.1, self.2, self.3, Outcome::Built)
    }
}

struct Told {
    steps: Vec<Option<String>>,
    compose: Ended,
    configuration: Ended,
    record: Record,
}

/// A build of these steps; each lies on the layers of those before it.
fn build(before: Option<&Record>, now: Record, steps: &[Doing]) -> Told {
    let history = History::default();
    history.begin(before.cloned(), now, true);
    let mut below = vec!["nothing".to_owned()];
    let mut told = Vec::new();
    let mut run = |stage: Stage| {
        history.stage_started(stage);
        for Doing(_, title, step, content, outcome) in steps.iter().filter(|step| step.0 == stage) {
            let of = if *step == "script" { "content" } else { "packages" };
            let recipe = RecipeBuilder::new(step, 1).list("below", &below).field(of, content).finish();
            let layer = Blake3::of(content.as_bytes());
            told.push(history.step_ended(&Done { title, recipe: &recipe, outcome: *outcome, layer }));
            below.push(content.to_string());
            if title.starts_with("configure ") {
                history.cut_point(title);
            }
        }
        history.stage_ended()
    };
    let (compose, configuration) = (run(Stage::Compose), run(Stage::Configuration));
    Told { steps: told, compose, configuration, record: history.record().unwrap() }
}

fn said(packages: &[(&str, &str)], spec: &str) -> Record {
    let mut said = record(packages);
    said.outline = Outline::of(&resolved(&minimal(spec)));
    said
}

fn install(names: &str) -> String {
    format!("customizations: {{packages: {{install: [{names}]}}}}\n")
}

const ALL: [Doing; 4] = [BASE, REST, FIRST, LAST];

#[test]
fn a_first_build_has_no_reasons() {
    let all = ALL.map(Doing::again);
    let told = build(None, said(&[("a", "1")], ""), &all);
    assert_eq!(told.steps, vec![None; 4]);
    assert_eq!((told.compose.outcome, told.compose.why), (Outcome::Built, None));
    assert_eq!(told.compose.parts.unwrap().built, 2);
    assert_eq!(told.record.steps.len(), 4);
}

#[test]
fn where_nothing_changed_nothing_is_said() {
    let first = build(None, said(&[("a", "1")], ""), &ALL).record;
    let told = build(Some(&first), said(&[("a", "1")], ""), &ALL);
    assert_eq!(told.steps, vec![None; 4]);
    for ended in [told.compose, told.configuration] {
        assert_eq!((ended.outcome, ended.why), (Outcome::Reused, None));
    }
    assert_eq!(told.record, first);
}

#[test]
fn one_package_more_is_told_by_the_spec() {
    let first = build(None, said(&[("a", "1")], &install("a1")), &ALL).record;
    let now = said(&[("a", "1"), ("nginx", "1")], &install("a1, nginx"));
    let steps = [BASE, REST.built("more"), FIRST.again(), LAST.again()];
    let told = build(Some(&first), now, &steps);
    assert_eq!(told.compose.why.as_deref(), Some("customizations.packages.install gained nginx"));
    let parts = told.compose.parts.unwrap();
    assert_eq!((parts.reused, parts.built, parts.up_to.as_deref()), (1, 1, Some("configure base packages")));
    assert_eq!(told.configuration.why.as_deref(), Some("compose gave another result"));
    assert_eq!(told.steps[2].as_deref(), Some("compose gave another result"));

    // The archive moved on, and nobody asked for it.
    let told = build(Some(&first), said(&[("a", "2")], &install("a1")), &steps);
    assert!(told.compose.why.unwrap().starts_with("configure other packages: "));
}

#[test]
fn a_changed_script_is_told() {
    let first = build(None, said(&[], ""), &ALL).record;
    let told = build(Some(&first), said(&[], ""), &[BASE, REST, FIRST, LAST.built("other")]);
    assert_eq!(told.compose.outcome, Outcome::Reused);
    assert_eq!(told.steps[3].as_deref(), Some("its text changed"));
    assert_eq!(told.configuration.why.as_deref(), Some("run ./last: its text changed"));
    let told = build(Some(&first), said(&[], ""), &[BASE, REST, FIRST.built("other"), LAST.again()]);
    assert_eq!(told.steps[3].as_deref(), Some("'run ./first' before it gave another result"));
    assert_eq!(told.configuration.why.as_deref(), Some("run ./first: its text changed"), "told once");
    // A new one has no reason but the spec's.
    let told =
        build(Some(&build(None, said(&[], ""), &ALL[..3]).record), said(&[], ""), &[BASE, REST, FIRST, LAST.again()]);
    assert_eq!((told.steps[3].as_deref(), told.configuration.why), (None, None));
}

#[test]
fn layers_that_are_gone_are_told() {
    let first = build(None, said(&[], ""), &ALL).record;
    let told = build(Some(&first), said(&[], ""), &ALL.map(Doing::again));
    assert_eq!(told.steps[0].as_deref(), Some("its layer is no longer in the cache"));
    assert_eq!(told.compose.why.as_deref(), Some("2 layers are no longer in the cache"));
    assert_eq!(told.compose.parts.unwrap().up_to, None);
}

#[test]
fn stages_that_did_not_run_keep_their_steps() {
    let first = build(None, said(&[], ""), &ALL).record;
    let history = History::default();
    history.begin(Some(first.clone()), said(&[], ""), true);
    history.stage_started(Stage::Compose);
    history.stage_ended();
    let titles: Vec<String> = history.record().unwrap().steps.into_iter().map(|step| step.title).collect();
    assert_eq!(titles, ["run ./first", "run ./last"]);
}

#[test]
fn a_finished_image_has_its_own_reasons() {
    let key = |text: &str| layers::KeyBuilder::new("image", 1).field("x", text).finish();
    let why = |before: &Record, now: Record, image: &str, uses_images: bool| {
        let history = History::default();
        history.begin(Some(before.clone()), now, true);
        history.stage_started(Stage::Finalize);
        history.finishing(key(image), uses_images);
        history.stage_ended().why
    };
    let mut before = said(&[("a", "1")], "");
    assert_eq!(why(&before, before.clone(), "one", true), None, "none was finished");
    before.image = Some(key("one"));
    assert_eq!(why(&before, before.clone(), "one", true).as_deref(), Some("the image cache has lost it"));
    assert_eq!(why(&before, before.clone(), "one", false).as_deref(), Some("the image cache is off"));
    let other = said(&[("a", "2")], "output: {format: [raw, qcow2]}\n");
    assert_eq!(why(&before, other, "two", true).as_deref(), Some("output.format gained qcow2; a 1 → 2"));
    let mut other = said(&[("a", "1")], "");
    (other.epoch, other.provider) = (2, Blake3::of(b"other"));
    let told = why(&before, other, "two", true);
    assert_eq!(told.as_deref(), Some("the provider's data changed; the image's time changed"));
    // What the spec does not say of the image it starts from, and of whom it trusts.
    before.base = Some(layers::Sha256::of(b"one"));
    before.keyrings = ["a", "b"].map(|name| (name.to_owned(), layers::Sha256::of(b"key"))).into();
    let mut other = before.clone();
    other.base = Some(layers::Sha256::of(b"two"));
    assert_eq!(why(&before, other.clone(), "two", true).as_deref(), Some("the base image is another one"));
    other.base = before.base;
    other.keyrings.insert("b".to_owned(), layers::Sha256::of(b"key and another"));
    assert_eq!(why(&before, other, "two", true).as_deref(), Some("the keys of packages from b changed"));
}
