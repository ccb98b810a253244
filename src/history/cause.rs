//! Why a step was done again: which inputs of its key are others than the last time, and where in the spec
//! such inputs come from.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Blake3, Key, Recipe};

use super::changes::PackageChanges;
use super::record::{Package, Record, Step};
use crate::spec::outline::Difference;

/// Where a spec says which packages are in an image.
pub const PACKAGES: [&str; 6] = [
    "customizations.packages",
    "customizations.repositories",
    "image.base",
    "kernel.package",
    "kernel.version",
    "bootloader",
];
/// Where a spec says what is written as settings: also what identifiers are derived from.
const SETTINGS: [&str; 9] = [
    "customizations.hostname",
    "customizations.locale",
    "customizations.timezone",
    "customizations.users",
    "customizations.network",
    "kernel.cmdline",
    "bootloader",
    "disk",
    "image",
];
/// The time that everything made has is another.
const TIME: &str = "the image's time changed";
/// What a key calls the layers that lie below a step.
const BELOW: [&str; 2] = ["below", "before"];

/// What the key of a step that configures deb packages calls that which follows from the packages.
const OF_PACKAGES: [&str; 7] =
    ["group", "packages", "first preinst has run", "ending", "prints rules", "preinst", "configured"];

/// The step that runs scriptlets of rpm packages.
const RPM: &str = "install rpm packages";

/// One reason for which a step was done again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// What kind it is.
    pub kind: Kind,
    /// As a fragment that stands after "because"; empty: there is nothing to say of the step itself.
    pub words: String,
    /// The places in a spec that such an input comes from.
    pub places: Vec<String>,
}

/// A kind of reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The last build had no such step.
    New,
    /// The same was done before, and what it gave is gone.
    Gone,
    /// An input is another.
    Input,
    /// What lies below is another, and nothing else.
    Below,
}

impl Cause {
    fn new(kind: Kind, words: impl Into<String>, places: &[&str]) -> Self {
        Self { kind, words: words.into(), places: places.iter().map(|place| (*place).to_owned()).collect() }
    }

    /// How the spec says it, where its places differ; else in its own words, with the step's title.
    pub fn told(&self, title: &str, differences: &[Difference]) -> Vec<String> {
        let told: Vec<String> =
            differences.iter().filter(|one| one.is_at(&self.places)).map(ToString::to_string).collect();
        match (told.is_empty(), self.words.strip_prefix("its ")) {
            (false, _) => told,
            (true, Some(_)) => vec![format!("{title}: {}", self.words)],
            (true, None) => Some(self.words.clone()).filter(|words| !words.is_empty()).into_iter().collect(),
        }
    }
}

/// Why a step was done that the last build did otherwise, or not at all: its key says so.
pub fn causes(title: &str, recipe: &Recipe, then: Option<&Step>, before: &Record, now: &Record) -> Vec<Cause> {
    let Some(then) = then.filter(|then| then.recipe.step == recipe.step) else {
        let labels: BTreeSet<&str> = recipe.inputs.iter().map(|input| input.label.as_str()).collect();
        let elements = labels.into_iter().flat_map(|label| places(title, &recipe.step, label));
        // The list tells of a new element.
        let places = elements.map(|place| place.split('[').next().unwrap_or_default().to_owned()).collect();
        return vec![Cause { kind: Kind::New, words: String::new(), places }];
    };
    if then.recipe.key == recipe.key {
        return vec![Cause::new(Kind::Gone, "its layer is no longer in the cache", &[])];
    }
    let mut changed = changed(&then.recipe, recipe);
    // What runs depends on the packages that are installed already, too. Where those that are installed now are the
    // same, it is others because of these.
    let is_below = BELOW.iter().any(|label| changed.contains(label));
    if recipe.step == RPM && is_below && !changed.contains("packages") {
        changed.remove("parts");
    }
    let inputs: Vec<&str> = changed.into_iter().filter(|label| !BELOW.contains(label)).collect();
    if inputs.is_empty() {
        return vec![Cause::new(Kind::Below, below(&then.stage, before, now), &[])];
    }
    let mut causes: Vec<Cause> = Vec::new();
    for label in inputs {
        let words = words(title, label, &then.recipe, recipe, before, now);
        let cause = Cause { kind: Kind::Input, words, places: places(title, &recipe.step, label) };
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

/// The labels of the inputs that differ.
fn changed<'a>(then: &'a Recipe, now: &'a Recipe) -> BTreeSet<&'a str> {
    let by_label = |recipe: &'a Recipe| {
        let mut all: BTreeMap<&str, Vec<Key>> = BTreeMap::new();
        for input in &recipe.inputs {
            all.entry(&input.label).or_default().push(input.digest);
        }
        all
    };
    let (then, now) = (by_label(then), by_label(now));
    then.keys().chain(now.keys()).filter(|label| then.get(*label) != now.get(*label)).copied().collect()
}

/// The places in a spec that an input comes from.
fn places(title: &str, step: &str, label: &str) -> Vec<String> {
    let places: &[&str] = match (step, label) {
        (_, "architecture") => &["image.base.architecture"],
        ("base image", _) => &["image.base.from"],
        ("configure deb packages", "preseeds") => &["customizations.debconf"],
        ("configure deb packages", label) if OF_PACKAGES.contains(&label) => &PACKAGES,
        (RPM, "packages" | "parts") => &PACKAGES,
        ("users", "commands") => &["customizations.users"],
        ("services", "commands") => &["customizations.services"],
        ("core image", "commands") => &["bootloader", "disk", "kernel.cmdline"],
        ("script", "content" | "arguments" | "environment" | "in the image") => {
            let path = title.strip_prefix("run ").unwrap_or(title);
            return vec![format!("customizations.scripts[{path}]")];
        }
        ("plain files", "layer") if title.starts_with("copy ") => &["customizations.files"],
        ("plain files", "layer") if title == "write settings" => &SETTINGS,
        ("plain files", "layer") => &PACKAGES,
        _ => &[],
    };
    places.iter().map(|place| (*place).to_owned()).collect()
}

/// What became of an input, as a fragment.
fn words(title: &str, label: &str, was: &Recipe, is: &Recipe, before: &Record, now: &Record) -> String {
    let step = is.step.as_str();
    match (step, label) {
        (_, "version") => "the program does it in another way".into(),
        (_, "epoch") => TIME.into(),
        (_, "volatile" | "scaffold" | "deferred") | ("initramfs", "command" | "environment") => {
            "the provider's data changed".into()
        }
        (_, "preseeds") => "the answers for debconf changed".into(),
        ("configure deb packages", label) if OF_PACKAGES.contains(&label) => {
            let changes = PackageChanges::between(named(was, before), named(is, now));
            match changes.is_empty() {
                true => "its packages are others, or in another order".into(),
                false => changes.to_string(),
            }
        }
        (RPM, "packages" | "parts") => {
            let changes = PackageChanges::between(named(was, before), named(is, now));
            match changes.is_empty() {
                // A scriptlet that runs before the first package lies there is of one that comes later.
                true => packages(before, now, "its scriptlets are others"),
                false => changes.to_string(),
            }
        }
        ("base image", _) => "its manifest is another one".into(),
        ("script", "content") => "its text changed".into(),
        ("script", "in the image") => "where it runs changed".into(),
        ("script", "host") => "the packages of this machine changed".into(),
        // What is written has the image's time, and the key has what is written.
        ("plain files", "layer") => {
            let otherwise = if before.epoch == now.epoch { "its files changed" } else { TIME };
            let is_of_spec = title.starts_with("copy ") || title == "write settings";
            if is_of_spec { otherwise.into() } else { packages(before, now, otherwise) }
        }
        (_, label) => format!("its {label} changed"),
    }
}

/// The packages that a key names.
fn named<'a>(recipe: &Recipe, record: &'a Record) -> Vec<&'a Package> {
    let members: BTreeSet<&Blake3> = recipe.inputs.iter().flat_map(|input| &input.members).collect();
    record.packages.iter().filter(|package| members.contains(&Blake3::of(package.sha256.as_ref()))).collect()
}

/// What became of all packages; other words where nothing did.
fn packages(before: &Record, now: &Record, otherwise: &str) -> String {
    let changes = PackageChanges::between(&before.packages, &now.packages);
    if changes.is_empty() { otherwise.to_owned() } else { changes.to_string() }
}

/// What of that which lies below is another: an earlier stage, the first step of the same one that gave another
/// layer than the last time, or the packages.
fn below(stage: &str, before: &Record, now: &Record) -> String {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for step in &now.steps {
        let number = seen.entry(&step.title).or_default();
        let then = before.step(&step.title, *number);
        *number += 1;
        if then.is_some_and(|then| then.layer == step.layer) {
            continue;
        }
        return match step.stage == stage {
            true => format!("'{}' before it gave another result", step.title),
            false => format!("{} gave another result", step.stage),
        };
    }
    packages(before, now, "what lies below it changed")
}

#[cfg(test)]
mod tests {
    use layers::RecipeBuilder;

    use super::super::record::tests::record;
    use super::*;
    use crate::spec::outline::Change;

    fn step(title: &str, recipe: &Recipe) -> Step {
        Step { stage: "configuration".into(), title: title.into(), recipe: recipe.clone(), layer: Blake3(recipe.key.0) }
    }

    fn script(below: &str, content: &str, epoch: &str) -> Recipe {
        let inner = RecipeBuilder::new("script", 2).list("below", [below]).field("content", content).finish();
        RecipeBuilder::new("sandboxed", 1).wrap("step", &inner).field("epoch", epoch).finish()
    }

    fn words(title: &str, then: &Recipe, now: &Recipe) -> Vec<String> {
        let (then, nothing) = (step(title, then), record(&[]));
        causes(title, now, Some(&then), &nothing, &nothing).into_iter().map(|cause| cause.words).collect()
    }

    #[test]
    fn the_key_says_what_changed() {
        let first = script("a", "b", "c");
        assert_eq!(words("run ./x", &first, &first), ["its layer is no longer in the cache"]);
        assert_eq!(words("run ./x", &first, &script("a", "B", "c")), ["its text changed"]);
        assert_eq!(words("run ./x", &first, &script("A", "B", "c")), ["its text changed"]);
        assert_eq!(words("run ./x", &first, &script("A", "b", "c")), ["what lies below it changed"]);
        assert_eq!(words("run ./x", &first, &script("a", "B", "C")).len(), 2);
        let other = RecipeBuilder::new("other", 1).finish();
        assert_eq!(words("run ./x", &first, &other), [""], "a step of another kind is a new one");
        let host = RecipeBuilder::new("sandboxed", 1).wrap("step", &first).field("host", "d").finish();
        assert!(words("run ./x", &first, &host).contains(&"the packages of this machine changed".to_owned()));
    }

    #[test]
    fn packages_are_named_by_the_key() {
        let (then, now) =
            (record(&[("a", "1"), ("b", "1"), ("x", "1")]), record(&[("b", "2"), ("c", "1"), ("x", "2")]));
        let recipe = |packages: &[Package]| {
            // The last one is of another group.
            let digests: Vec<_> = packages.iter().take(2).map(|package| package.sha256).collect();
            RecipeBuilder::new("configure deb packages", 3).members("packages", &digests).finish()
        };
        let earlier = step("configure other packages", &recipe(&then.packages));
        let found = causes("configure other packages", &recipe(&now.packages), Some(&earlier), &then, &now);
        assert_eq!(found.iter().map(|cause| cause.words.as_str()).collect::<Vec<_>>(), ["c came in, a went, b 1 → 2"]);
        assert!(found[0].places.contains(&"customizations.packages".to_owned()));
    }

    #[test]
    fn an_rpm_step_names_its_own_packages() {
        let (then, now) = (record(&[("a", "1"), ("b", "1")]), record(&[("a", "2"), ("b", "2")]));
        let only_a = record(&[("a", "2"), ("b", "1")]);
        // The first package is of the group before.
        let recipe = |below: &str, packages: &[Package], parts: &str| {
            let digests: Vec<_> = packages.iter().skip(1).map(|package| package.sha256).collect();
            let recipe = RecipeBuilder::new(RPM, 2).list("below", [below]).members("packages", &digests);
            recipe.list("before", [below]).list("parts", [parts]).finish()
        };
        let earlier = step("run scriptlets", &recipe("x", &then.packages, "one"));
        let told = |recipe: &Recipe, now: &Record| {
            let causes = causes("run scriptlets", recipe, Some(&earlier), &then, now);
            causes.into_iter().map(|cause| (cause.kind, cause.words)).collect::<Vec<_>>()
        };
        let own = (Kind::Input, "b 1 → 2".to_owned());
        assert_eq!(told(&recipe("x", &now.packages, "two"), &now), std::slice::from_ref(&own));
        assert_eq!(told(&recipe("y", &now.packages, "one"), &now), [own]);
        // A trigger of the group before runs for this one's files.
        let found = told(&recipe("y", &then.packages, "two"), &only_a);
        assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Below]);
        assert_eq!(told(&recipe("x", &then.packages, "two"), &only_a), [(Kind::Input, "a 1 → 2".to_owned())]);
    }

    #[test]
    fn what_lies_below_is_named() {
        let (mut then, mut now) = (record(&[("a", "1")]), record(&[("a", "1")]));
        then.steps = vec![step("write settings", &script("", "", "")), step("run ./first", &script("", "1", ""))];
        now.steps = then.steps.clone();
        let stage = "configuration";
        assert_eq!(below(stage, &then, &now), "what lies below it changed");
        now.steps[1].layer = Blake3::of(b"other");
        assert_eq!(below(stage, &then, &now), "'run ./first' before it gave another result");
        now.steps[0] = Step { stage: "compose".into(), layer: Blake3::of(b"other"), ..now.steps[0].clone() };
        assert_eq!(below(stage, &then, &now), "compose gave another result");
        let (then, now) = (record(&[("a", "1")]), record(&[("a", "2")]));
        assert_eq!(below(stage, &then, &now), "a 1 → 2");
    }

    #[test]
    fn the_spec_is_named_where_it_says_so() {
        let text = Difference { path: "customizations.scripts[./x].text".into(), change: Change::Other };
        let cause = Cause {
            kind: Kind::Input,
            words: "its text changed".into(),
            places: places("run ./x", "script", "content"),
        };
        assert_eq!(
            cause.told("run ./x", std::slice::from_ref(&text)),
            ["the text of customizations.scripts[./x] changed"]
        );
        assert_eq!(cause.told("run ./x", &[]), ["run ./x: its text changed"]);
        let other = Cause { places: places("run ./y", "script", "content"), ..cause };
        assert_eq!(other.told("run ./y", &[text]), ["run ./y: its text changed"]);
    }
}
