//! A package set of the largest size that is promised.

use std::time::Instant;

use crate::support::User;
use crate::wrong::archive::archive;
use crate::wrong::case::Case;
use crate::wrong::many::ALL;

/// Packages besides the essential one and the one that needs all of them.
const COUNT: usize = 2000;

#[test]
fn two_thousand_packages_are_composed() {
    let Some(archive) = archive() else { return };
    let begin = Instant::now();
    let root = archive.with_many(COUNT);
    println!("the repository took {:.1?}", begin.elapsed());
    let mut digests = Vec::new();
    for user in [User::WithoutRange, User::WithRange] {
        let Some(case) = Case::at(user, "many", &format!("file:{}", root.display())) else { return };
        case.spec(&[ALL], "");
        case.build(&[]).with(0, &[]);
        case.all_is_there();
        case.nothing_is_left();
        digests.push(case.sums());
    }
    assert_eq!(digests[0], digests[1]);
}
