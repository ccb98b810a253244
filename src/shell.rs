//! A shell inside a tree of the build: after a stage, or at the step that fails on the way there.

use crate::build;
use crate::cli::options::BuildRequest;
use crate::compose::{enter, mounted};
use crate::context::Visit;
use crate::error::Error;
use crate::means;
use crate::spec::choice::Stage;
use crate::stages;

/// Brings the build to the end of a stage and opens a shell in the tree as it is then; gives the
/// shell's exit code.
///
/// # Errors
/// A stage that makes no tree; those of the stages, after a shell at the step that failed.
pub fn run(request: &BuildRequest, visit: &Visit) -> Result<i32, Error> {
    let last = request.options.last_stage.unwrap_or(Stage::Configuration);
    if !matches!(last, Stage::Compose | Stage::Configuration) {
        return Err(Error::usage(format!("the stage '{last}' leaves no tree to open a shell in"))
            .hint("--stage takes compose or configuration here"));
    }
    let mut spec = build::read_spec(request)?;
    request.options.apply(&mut spec, &request.config, &request.current_directory)?;
    let workshop = means::prepare(request, &spec)?;
    let cx = &workshop.context;
    let lock = stages::lock(&spec, build::given_lock(request)?, cx)?;
    let packages = build::stage(cx, Stage::Packages, || stages::fetch(&spec, lock, cx))?;
    let composed = build::stage(cx, Stage::Compose, || stages::compose(&spec, &packages, cx))?;
    let stack = match last {
        Stage::Compose => composed.0,
        _ => build::stage(cx, Stage::Configuration, || stages::configuration(&spec, composed, cx))?.0,
    };
    cx.reporter.info(&format!("in the tree after the stage '{last}'; changes are thrown away"));
    enter(cx, mounted(&stack, Vec::new()), visit)
}
