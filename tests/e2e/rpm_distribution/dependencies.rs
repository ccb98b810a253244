//! Corner packages whose dependencies are what is rare in them.

use std::path::Path;

use super::corners::small;
use super::spec::Spec;

/// Packages that are found by names, versions and conditions.
pub fn make(work: &Path) -> Vec<Spec> {
    let tagged = |name: &str, tags: &str| small(work, name, "1.0", "1").tagged(tags);
    let mut specs = vec![
        // Versions: the tilde is older than nothing, the caret newer.
        small(work, "corner-tilde", "2.0~rc1", "1"),
        small(work, "corner-tilde", "2.0", "1"),
        small(work, "corner-caret", "1.0", "1"),
        small(work, "corner-caret", "1.0^20240101.gitabc", "1"),
        small(work, "corner-old-and-new", "1.9", "1"),
        small(work, "corner-old-and-new", "1.10", "1"),
        epoch(small(work, "corner-epoch", "2.0", "1"), None),
        epoch(small(work, "corner-epoch", "0.5", "1"), Some(1)),
        tagged(
            "corner-versions",
            "Requires: corner-tilde > 2.0~rc1\nRequires: corner-caret > 1.0\nRequires: corner-caret < 1.0.1\n\
             Requires: corner-epoch >= 1:0\nRequires: corner-old-and-new >= 1.10",
        ),
        // Names that others have, with versions.
        tagged("corner-provider-low", "Provides: virtual(corner) = 2.0"),
        tagged("corner-provider-high", "Provides: virtual(corner) = 3.1\nProvides: virtual(corner-plain)"),
        tagged(
            "corner-needs",
            "Requires: virtual(corner) >= 3.0\nRequires: virtual(corner) < 4\nRequires: virtual(corner-plain)",
        ),
        tagged("corner-file-needs", "Requires: /usr/share/corner/corner-literal\nRequires: /bin/corner-literal"),
        // One takes another's place.
        small(work, "corner-replaced", "1.0", "1"),
        small(work, "corner-replaces", "2.0", "1")
            .tagged("Obsoletes: corner-replaced < 2\nProvides: corner-replaced = 2.0-1"),
        small(work, "corner-self", "2.0", "1").tagged("Obsoletes: corner-self < 2\nConflicts: corner-self < 1"),
        // Not both.
        tagged("corner-either", "Provides: corner-choice\nConflicts: corner-or"),
        tagged("corner-or", "Provides: corner-choice\nConflicts: corner-either"),
        // Weak ones.
        tagged("corner-weak", "Recommends: corner-recommended\nRecommends: corner-nowhere\nSuggests: corner-suggested"),
        small(work, "corner-recommended", "1.0", "1"),
        small(work, "corner-suggested", "1.0", "1"),
        tagged("corner-supplements", "Supplements: corner-weak"),
        tagged("corner-supplements-both", "Supplements: (corner-weak and bash)"),
        tagged("corner-supplements-not", "Supplements: (corner-weak and corner-nowhere)"),
        tagged("corner-enhances", "Enhances: corner-weak"),
    ];
    for name in ["and", "else", "first", "if", "never", "second", "unless", "with", "without"] {
        specs.push(small(work, &format!("corner-rich-{name}"), "1.0", "1"));
    }
    specs.push(tagged("corner-rich-with-both", "Provides: corner-x = 2\nProvides: corner-y = 2"));
    specs.push(tagged(
        "corner-rich",
        "Requires: (corner-rich-first or corner-rich-never)\n\
         Requires: (corner-rich-and and corner-rich-second)\n\
         Requires: (corner-rich-if if bash)\n\
         Requires: (corner-rich-never if corner-nowhere else corner-rich-else)\n\
         Requires: (corner-x >= 1 with corner-y < 3)\n\
         Requires: (bash without corner-nowhere)\n\
         Recommends: (corner-rich-with if systemd)\n\
         Recommends: (corner-rich-never and corner-nowhere)\n\
         Conflicts: (corner-rich-never unless bash)\n\
         Conflicts: (corner-rich-without and corner-nowhere)",
    ));
    specs
}

fn epoch(mut spec: Spec, epoch: Option<u32>) -> Spec {
    spec.epoch = epoch;
    spec
}
