//! The command `image-composer`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the program runs itself again as the sandbox's helper, which must be
    // single-threaded and know nothing of the command line.
    sandbox::intercept_with(&[image_composer::lua::BUILTIN, image_composer::sysusers::BUILTIN]);
    image_composer::cli::main()
}
