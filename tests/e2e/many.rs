//! A package set of the largest size that is promised.

use std::time::Instant;

use layers::TreePath;

use crate::fidelity::side::Side;
use crate::places::{Kind, Place};
use crate::support::User;
use crate::wrong::archive::archive;
use crate::wrong::case::Case;
use crate::wrong::many::ALL;

/// Packages besides the essential one and the one that needs all of them.
const COUNT: usize = 2000;

/// A package's own file, and what its scripts left, in the image.
fn whole(case: &Case) {
    let side = Side::of_disk(&case.directory.join("output/small.raw"));
    let path = |text: String| TreePath::new(text).unwrap();
    for number in 0..COUNT {
        assert!(side.tree.get(&path(format!("usr/share/many/{number}"))).is_some(), "{number}");
    }
    let text = |name: &str| String::from_utf8(side.texts[&path(name.into())].clone()).unwrap();
    let status = text("var/lib/dpkg/status");
    assert_eq!(status.matches("\nStatus: install ok installed\n").count(), COUNT + 2);
    for (name, count) in [("postinst", COUNT / 50), ("preinst", COUNT / 100)] {
        assert_eq!(text(&format!("var/lib/{name}s")).lines().count(), count, "{name}");
    }
}

#[test]
fn two_thousand_packages_are_composed() {
    let Some(archive) = archive() else { return };
    let begin = Instant::now();
    let root = archive.with_many(COUNT);
    println!("the repository took {:.1?}", begin.elapsed());
    let mut sums = Vec::new();
    // On an overlay, as in a container, the kernel takes no overlay of overlays above it.
    for (user, kind) in [(User::WithRange, None), (User::WithoutRange, Some(Kind::Overlay))] {
        let Some(mut case) = Case::at(user, "many", &format!("file:{}", root.display())) else { return };
        case.spec(&[ALL], "");
        let place = kind.and_then(|kind| Place::mount(kind, user, &case.directory));
        place.iter().for_each(|place| place.take(&mut case));
        case.build(&[]).with(0, &[]);
        case.all_is_there();
        sums.push(case.sums());
        whole(&case);
    }
    assert_eq!(sums[0], sums[1]);
}
