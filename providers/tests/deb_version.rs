//! The order of versions against dpkg itself.

mod deb_support;

use std::cmp::Ordering;
use std::process::Command;

use deb_support::tool;
use proptest::prelude::*;
use providers::deb::version::compare;

fn dpkg_says(a: &str, relation: &str, b: &str) -> bool {
    Command::new("dpkg").args(["--compare-versions", a, relation, b]).output().unwrap().status.success()
}

fn dpkg(a: &str, b: &str) -> Ordering {
    if dpkg_says(a, "lt", b) {
        Ordering::Less
    } else if dpkg_says(a, "eq", b) {
        Ordering::Equal
    } else {
        Ordering::Greater
    }
}

/// Versions that are near each other: the interesting cases are in the tails.
fn version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-9]{1,2}[0-9.+~a-b^]{0,4}(-[0-9a.+~]{1,3})?"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_dpkgs(a in version(), b in version()) {
        if !tool("dpkg") {
            return Ok(());
        }
        prop_assert_eq!(compare(&a, &b), dpkg(&a, &b), "{} against {}", a, b);
    }

    #[test]
    fn the_order_is_one(a in "\\PC{0,12}", b in "\\PC{0,12}", c in version()) {
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
            prop_assert!(compare(&a, &c).is_le());
        }
    }
}

#[test]
fn the_referee_objects_to_another_order() {
    if tool("dpkg") {
        assert_eq!(dpkg("1.0~rc1", "1.0"), Ordering::Less);
        assert_ne!(dpkg("1.0~rc1", "1.0"), "1.0~rc1".cmp("1.0"));
    }
}
