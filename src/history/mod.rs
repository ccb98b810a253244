//! What a build does over again, and why: each step is compared with that of the last build of the same
//! spec, input by input, as its key has them.

mod cause;
mod changes;
mod record;

use std::sync::{Mutex, MutexGuard, PoisonError};

use layers::{Blake3, Key, Recipe};

use cause::{Cause, Kind, PACKAGES, causes};
use changes::PackageChanges;
pub use record::{Record, Step};

use crate::progress::{Outcome, Parts};
use crate::spec::choice::Stage;
use crate::spec::outline::{Difference, listed};

/// Most reasons that are told of a stage.
const REASONS_MAX: usize = 3;
/// Why all is done again where nothing may be used of earlier builds.
const OFF: &str = "the cache of packages and layers is off";

/// A step that is over.
pub struct Done<'a> {
    /// What people call it.
    pub title: &'a str,
    /// What its result is made of.
    pub recipe: &'a Recipe,
    /// How it came to its result.
    pub outcome: Outcome,
    /// The result.
    pub layer: Blake3,
}

/// How a stage ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How it came to its result.
    pub outcome: Outcome,
    /// Why it was done again.
    pub why: Option<String>,
    /// What its result is made of, where that was counted.
    pub parts: Option<Parts>,
}

/// What was done so far, beside what the last build did.
#[derive(Default)]
pub struct History(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last build, and this one; none where nobody wants to know.
    builds: Option<(Option<Record>, Record)>,
    differences: Vec<Difference>,
    reuses: bool,
    stage: Option<Stage>,
    parts: Parts,
    causes: Vec<(String, Cause)>,
    /// The stages that ran.
    ran: Vec<Stage>,
    uses_images: bool,
}

impl History {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A build begins: `before` is the last one of the same spec; `reuses` says whether layers of earlier
    /// builds may be used.
    pub fn begin(&self, before: Option<Record>, now: Record, reuses: bool) {
        let mut state = self.state();
        state.differences = before.as_ref().map(|before| now.outline.since(&before.outline)).unwrap_or_default();
        state.reuses = reuses;
        state.builds = Some((before, now));
    }

    /// A stage begins.
    pub fn stage_started(&self, stage: Stage) {
        let mut state = self.state();
        state.stage = Some(stage);
        state.parts = Parts::default();
        state.causes.clear();
        state.ran.push(stage);
    }

    /// A step of the running stage is over; gives why it was done again, as a fragment.
    pub fn step_ended(&self, done: &Done<'_>) -> Option<String> {
        let mut state = self.state();
        state.parts.of = "steps";
        match done.outcome {
            Outcome::Reused => state.parts.reused += 1,
            Outcome::Fetched => state.parts.fetched += 1,
            _ => state.parts.built += 1,
        }
        let why = if done.outcome == Outcome::Reused { Vec::new() } else { state.why(done) };
        let stage = state.stage.map_or("", Stage::as_str).to_owned();
        if let Some((_, now)) = &mut state.builds {
            let (title, recipe) = (done.title.to_owned(), done.recipe.clone());
            now.steps.push(Step { stage, title, recipe, layer: done.layer });
        }
        let words: Vec<&str> = why.iter().map(|cause| cause.words.as_str()).filter(|words| !words.is_empty()).collect();
        let told = (!words.is_empty()).then(|| words.join("; "));
        state.causes.extend(why.into_iter().map(|cause| (done.title.to_owned(), cause)));
        told
    }

    /// A point is reached up to which composing is the same for every spec with these packages.
    pub fn cut_point(&self, name: &str) {
        let mut state = self.state();
        if state.parts.built == 0 && state.parts.reused.saturating_add(state.parts.fetched) > 0 {
            state.parts.up_to = Some(name.to_owned());
        }
    }

    /// So many packages were at hand, and so many fetched, of so many bytes.
    pub fn packages(&self, at_hand: u64, fetched: u64, bytes: u64) {
        self.state().parts = Parts { of: "packages", reused: at_hand, fetched, bytes: Some(bytes), ..Parts::default() };
    }

    /// The image with this key will be finished, because the image cache has none or is not used.
    pub fn finishing(&self, key: Key, uses_images: bool) {
        let mut state = self.state();
        state.uses_images = uses_images;
        if let Some((_, now)) = &mut state.builds {
            now.image = Some(key);
        }
    }

    /// The running stage succeeded.
    pub fn stage_ended(&self) -> Ended {
        let mut state = self.state();
        let mut parts = std::mem::take(&mut state.parts);
        let outcome = match (parts.reused, parts.fetched, parts.built) {
            // No packages besides those of the base image.
            (0, 0, 0) if parts.of == "packages" => Outcome::Reused,
            (0, 0, 0) => Outcome::Built,
            (_, 0, 0) => Outcome::Reused,
            (_, _, 0) => Outcome::Fetched,
            _ => Outcome::Built,
        };
        if outcome == Outcome::Reused {
            parts.up_to = None;
        }
        let why = if outcome == Outcome::Reused { Vec::new() } else { state.reasons() };
        let mut told = why.iter().take(REASONS_MAX).cloned().collect::<Vec<_>>().join("; ");
        let others = why.len().saturating_sub(REASONS_MAX);
        if others > 0 {
            told.push_str(&format!("; and {others} more"));
        }
        let why = Some(told).filter(|told| !told.is_empty());
        Ended { outcome, why, parts: (!parts.of.is_empty()).then_some(parts) }
    }

    /// This build for the next one. Of stages that did not run, the steps are those of the last build.
    pub fn record(&self) -> Option<Record> {
        let state = self.state();
        let (before, now) = state.builds.as_ref()?;
        let mut record = now.clone();
        if let Some(before) = before {
            for stage in Stage::ALL.iter().filter(|stage| !state.ran.contains(stage)) {
                record.steps.extend(before.of_stage(*stage).cloned());
            }
            record.image = record.image.or(before.image);
        }
        Some(record)
    }
}

impl State {
    fn why(&self, done: &Done<'_>) -> Vec<Cause> {
        let Some((Some(before), now)) = &self.builds else { return Vec::new() };
        if !self.reuses {
            return vec![Cause { kind: Kind::Gone, words: OFF.to_owned(), places: Vec::new() }];
        }
        let number = now.steps.iter().filter(|step| step.title == done.title).count();
        let same = before.steps.iter().find(|step| step.recipe.key == done.recipe.key);
        let then = same.or_else(|| before.step(done.title, number));
        causes(done.title, done.recipe, then, before, now)
    }

    /// Why the running stage was done again.
    fn reasons(&self) -> Vec<String> {
        let Some((Some(before), now)) = &self.builds else { return Vec::new() };
        match self.stage {
            Some(Stage::Packages) => self.why_packages(before, now),
            Some(Stage::Compose | Stage::Configuration) => self.why_steps(before, now),
            Some(Stage::Finalize) => self.why_image(before, now),
            _ => Vec::new(),
        }
    }

    fn why_packages(&self, before: &Record, now: &Record) -> Vec<String> {
        let packages = PACKAGES.map(str::to_owned);
        let asked: Vec<String> =
            self.differences.iter().filter(|one| one.is_at(&packages)).map(ToString::to_string).collect();
        let changes = PackageChanges::between(&before.packages, &now.packages);
        match (asked.is_empty(), changes.is_empty()) {
            _ if !self.reuses => vec![OFF.to_owned()],
            (_, true) => vec!["packages are no longer in the cache".to_owned()],
            (false, _) => asked.into_iter().chain(changes.of_versions()).collect(),
            (true, _) => vec![changes.to_string()],
        }
    }

    fn why_steps(&self, before: &Record, now: &Record) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        let gone = self.causes.iter().filter(|(_, cause)| cause.kind == Kind::Gone).count();
        for (title, cause) in self.causes.iter().filter(|(_, cause)| matches!(cause.kind, Kind::New | Kind::Input)) {
            told.extend(cause.told(title, &self.differences));
            if cause.places == PACKAGES && told.last() != Some(&cause.words) {
                told.extend(PackageChanges::between(&before.packages, &now.packages).of_versions());
            }
        }
        match gone {
            0 => {}
            _ if !self.reuses => told.push(OFF.to_owned()),
            1 => told.push("a layer is no longer in the cache".to_owned()),
            count => told.push(format!("{count} layers are no longer in the cache")),
        }
        if told.is_empty() && !self.causes.is_empty() {
            told.extend(self.why_below(before, now));
        }
        let mut once: Vec<String> = Vec::new();
        told.into_iter().for_each(|one| {
            if !once.contains(&one) {
                once.push(one)
            }
        });
        once
    }

    /// Why, where no step says it: only what lies below them is another, or the last build had none of them.
    fn why_below(&self, before: &Record, now: &Record) -> Vec<String> {
        let layers = |record: &Record| record.of_stage(Stage::Compose).map(|step| step.layer).collect::<Vec<_>>();
        let changes = PackageChanges::between(&before.packages, &now.packages);
        if self.stage == Some(Stage::Configuration) && (!changes.is_empty() || layers(before) != layers(now)) {
            return vec!["compose gave another result".to_owned()];
        }
        if self.stage == Some(Stage::Compose) && !changes.is_empty() {
            return self.why_packages(before, now);
        }
        let customizations = ["customizations".to_owned()];
        let packages = PACKAGES.map(str::to_owned);
        let differs = |one: &&Difference| one.is_at(&customizations) && !one.is_at(&packages);
        self.differences.iter().filter(differs).map(ToString::to_string).collect()
    }

    /// Why an image is finished that the image cache does not have.
    fn why_image(&self, before: &Record, now: &Record) -> Vec<String> {
        if before.image.is_none() || now.image.is_none() {
            return Vec::new();
        }
        if before.image == now.image {
            let words = if self.uses_images { "the image cache has lost it" } else { "the image cache is off" };
            return vec![words.to_owned()];
        }
        let mut told: Vec<String> = self.differences.iter().map(ToString::to_string).collect();
        let changes = PackageChanges::between(&before.packages, &now.packages);
        let asked = self.differences.iter().any(|one| one.is_at(&["customizations.packages".to_owned()]));
        told.extend(if asked { changes.of_versions() } else { Some(changes.to_string()) });
        told.retain(|words| !words.is_empty());
        let names_base = self.differences.iter().any(|one| one.is_at(&["image.base.from".to_owned()]));
        // Of a repository that is new or gone the spec's differences tell.
        let same = now.keyrings.iter().filter_map(|(name, keys)| Some((name, keys, before.keyrings.get(name)?)));
        let keys: Vec<String> = same.filter(|(_, now, before)| now != before).map(|(name, ..)| name.clone()).collect();
        told.extend((!keys.is_empty()).then(|| format!("the keys of packages from {} changed", listed(&keys))));
        for (is_other, words) in [
            (before.base != now.base && !names_base, "the base image is another one"),
            (before.program != now.program, "the program is another"),
            (before.provider != now.provider, "the provider's data changed"),
            (before.epoch != now.epoch, "the image's time changed"),
        ] {
            told.extend(is_other.then(|| words.to_owned()));
        }
        told
    }
}

#[cfg(test)]
mod tests;
