//! The order of versions against rpm's own answers, kept in a table.

use std::cmp::Ordering;

use proptest::prelude::*;
use providers::rpm::Evr;

/// Pairs of versions with rpm 4.18's answer: `a`, `b`, and -1, 0 or 1.
const TABLE: &str = include_str!("rpm_support/version-order.tsv");

fn evr(text: &str) -> Evr {
    Evr::parse(text).unwrap()
}

fn disagreements(compare: impl Fn(&str, &str) -> Ordering) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in TABLE.lines().skip(1) {
        let [a, b, order] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let order = order.parse::<i32>().unwrap().cmp(&0);
        if compare(a, b) != order || compare(b, a) != order.reverse() {
            wrong.push(line.to_owned());
        }
    }
    wrong
}

#[test]
fn the_order_is_rpms() {
    assert!(TABLE.lines().count() > 270);
    assert_eq!(disagreements(|a, b| evr(a).compare(&evr(b))), Vec::<String>::new());
}

#[test]
fn the_table_objects_to_another_order() {
    assert!(!disagreements(str::cmp).is_empty());
    // A comparison that stops at the shorter of two versions takes these for equal.
    assert!(!disagreements(|a, b| a[..a.len().min(b.len())].cmp(&b[..a.len().min(b.len())])).is_empty());
}

/// Versions that are near each other: the interesting cases are in the tails.
fn version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-9]{1,2}[0-9.+~ab^_]{0,5}(-[0-9a.+~^]{1,3})?"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_one(a in version(), b in version(), c in version()) {
        let (a, b, c) = (evr(&a), evr(&b), evr(&c));
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        prop_assert_eq!(a.compare(&a), Ordering::Equal);
        if a.compare(&b).is_le() && b.compare(&c).is_le() {
            prop_assert!(a.compare(&c).is_le(), "{} {} {}", a, b, c);
        }
        if a.compare(&b).is_eq() {
            prop_assert_eq!(a.compare(&c), b.compare(&c));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
        if let Ok(evr) = Evr::parse(&text) {
            let again = Evr::parse(&evr.to_string()).unwrap();
            prop_assert!(evr.compare(&again).is_eq());
        }
        let _ = providers::rpm::Relation::parse(&text);
        let _ = providers::rpm::Rich::parse(&format!("({text})"));
    }
}
