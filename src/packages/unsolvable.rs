//! Why there is no such set of packages, for people.

use providers::deb::solve::{Problem, Unsolvable};

use crate::error::Error;

/// Why there is no such set of packages, one reason a line, in the words of the user's documents.
pub fn unsolvable(error: &Unsolvable) -> Error {
    explained(error, "change customizations.packages, or add a repository that has what is missing")
}

/// As [`unsolvable`], beside the packages of an image.
pub fn unsolvable_on_base(error: &Unsolvable) -> Error {
    explained(
        error,
        "packages of the base image stay as they are: upgrades and removals of them are not planned; start from a \
         newer image, or change customizations.packages",
    )
}

fn explained(error: &Unsolvable, otherwise: &str) -> Error {
    let told = |problem: &Problem| match problem {
        Problem::NotFound { name, near } if near.is_empty() => format!("Package not found: '{name}'"),
        Problem::NotFound { name, near } => {
            format!("Package not found: '{name}'; did you mean '{}'?", near.join("', '"))
        }
        other => other.to_string(),
    };
    let reasons: Vec<String> = error.problems.iter().map(told).collect();
    let only_names = error.problems.iter().all(|problem| matches!(problem, Problem::NotFound { .. }));
    let sentence = match reasons.as_slice() {
        [only] if only_names => only.clone(),
        [only] => format!("Failed to resolve dependencies: {only}"),
        several => format!("Failed to resolve dependencies:\n    {}", several.join("\n    ")),
    };
    let hint = match only_names {
        true => "names are those of the spec's customizations.packages and of the provider's defaults",
        false => otherwise,
    };
    Error::build(sentence).hint(hint)
}
