//! One step in the sandbox: its key is looked up, or it runs and its changes become a layer.

use std::time::Instant;

use layers::{Recipe, RecipeBuilder, Stack, Staging};
use providers::distro::VolatilePath;
use sandbox::{Event, Session, Status, Step};

use super::capture::capture;
use super::failure;
use super::visit::enter;
use crate::context::{Context, Made};
use crate::error::{Error, ResultExt};
use crate::explain::chain;
use crate::progress::Outcome;
use crate::remote::{Holding, Offer};

/// What a step is, apart from its key.
pub struct Work {
    /// Whose command fails, should one fail.
    pub origin: failure::Origin,
    /// What runs. Begins by mounting the stack.
    pub steps: Vec<Step>,
    /// Directories that must stay until it has run.
    pub hold: Vec<Staging>,
    /// The step whose output is kept beside the layer.
    pub note: Option<usize>,
    /// Whether it is done in another way should it fail, so that nobody needs to look.
    pub tentative: bool,
}

/// Runs a step on a stack, or takes its layer from the store, and puts the layer on top.
///
/// # Errors
/// What failed inside, with the command and its last lines; errors of the store.
pub fn run_step(
    cx: &Context,
    volatile: &[VolatilePath],
    stack: &mut Stack,
    recipe: &Recipe,
    title: &str,
    work: impl FnOnce(&Stack) -> Result<Work, Error>,
) -> Result<(), Error> {
    run_noted_step(cx, volatile, stack, recipe, title, work).map(drop)
}

/// As [`run_step`], and gives what the noted step printed, each line ended.
///
/// # Errors
/// As [`run_step`].
pub fn run_noted_step(
    cx: &Context,
    volatile: &[VolatilePath],
    stack: &mut Stack,
    recipe: &Recipe,
    title: &str,
    work: impl FnOnce(&Stack) -> Result<Work, Error>,
) -> Result<Vec<u8>, Error> {
    let recipe = &RecipeBuilder::new("sandboxed", 1)
        .wrap("step", recipe)
        .list("volatile", volatile.iter().map(|entry| format!("{:?} {}", entry.rule, entry.path.as_str())))
        .finish();
    let key = &recipe.key;
    if let Some((layer, note)) = cx.recall(key, &[Made::step(title)])? {
        cx.step(title, recipe, &layer, Outcome::Reused, 0.0);
        cx.send(Offer { key, holding: Holding::Step, layer: &layer, note: &note, is_new: false });
        stack.push(layer).to("apply a layer")?;
        return Ok(note);
    }
    if let Some((layer, note)) = cx.fetch(recipe, title) {
        stack.push(layer).to("apply a layer")?;
        return Ok(note);
    }
    let started = Instant::now();
    let damage = cx.store.damage().to("see whether damage was found")?;
    let work = work(stack)?;
    let staging = cx.work.stage().to("make a work directory")?;
    let session = Session {
        rung: cx.rung()?,
        scratch: staging.path().join("session"),
        steps: work.steps,
        limits: cx.limits(),
        epoch: cx.epoch(),
        assemble: cx.assemble,
    };
    std::fs::create_dir(&session.scratch)
        .map_err(|source| Error::io(crate::error::Kind::Build, "create directory", &session.scratch, source))?;
    let mut tail = failure::Tail::default();
    let mut note = Vec::new();
    let outcome = sandbox::run(
        &session,
        &mut |event| {
            if let Event::Line { index, text, .. } = &event {
                if work.note == Some(*index) {
                    note.extend_from_slice(text);
                    note.push(b'\n');
                    return;
                }
                cx.reporter.line(title, &String::from_utf8_lossy(text));
            }
            if let Event::StepEnded { index, status, .. } = &event
                && *status != Status::Exited(0)
                && let failure::Origin::Scriptlets(names) = &work.origin
                && let Some(name) = names.get(index)
            {
                // Those whose failure ends the installation are told of by the error.
                cx.reporter.warn(&format!("{name} failed: it ended with {status}"));
            }
            tail.note(&event);
        },
        &cx.cancel,
    );
    let captured = match outcome {
        Ok(captured) => captured,
        Err(error) => {
            let kept = cx.keep_temp.then(|| staging.keep());
            let failed = matches!(error, sandbox::Error::Command { .. }) && !work.tentative;
            let told = failure::explain(&work.origin, &session, error, &tail, kept, &cx.shell_command);
            if let Some(visit) = cx.visit.as_ref().filter(|_| failed) {
                let hint = told.hint_text().unwrap_or_default();
                cx.reporter.warn(&format!("{title}: {}\n      {hint}", chain(&told)));
                let before = session.steps.get(..tail.step()).unwrap_or_default().to_vec();
                if let Err(error) = enter(cx, before, visit) {
                    cx.reporter.warn(&chain(&error));
                }
            }
            return Err(told);
        }
    };
    let target = cx.store.stage().to("make a work directory")?;
    let layer = capture(captured, stack.tree(), volatile, &target, cx.epoch())?;
    let made = [Made::step(title)];
    // Damage that was found while it ran it may have read: then this build goes on with it, and no other.
    let is_clean = cx.store.damage().to("see whether damage was found")? == damage;
    let stored = match is_clean {
        true => cx.keep(&stack.ids(), target, layer, key, &note, &made)?,
        false => {
            let stored = cx.store.put_down(target, layer).to("keep a layer")?;
            cx.tell_made(&stored, &made);
            stored
        }
    };
    cx.step(title, recipe, &stored, Outcome::Built, started.elapsed().as_secs_f64());
    if is_clean {
        cx.send(Offer { key, holding: Holding::Step, layer: &stored, note: &note, is_new: true });
    }
    stack.push(stored).to("apply a layer")?;
    Ok(note)
}
