//! The order of installation against rpm's own.

mod rpm_support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use providers::lock::Group;
use providers::rpm::order::{Item, order};
use providers::rpm::{Comparison, Dependency, Package, Relation};
use rpm_support::{package, packages};

fn ours(packages: &[Package]) -> Vec<String> {
    let items = packages.iter().map(|package| Item { package, group: Group::Rest, is_asked: false });
    order(&items.collect::<Vec<_>>(), true).iter().map(|place| packages[place.item].name.to_string()).collect()
}

fn entry(dependency: &Dependency, before: bool) -> serde_json::Value {
    // rpmds.h: LESS 2, GREATER 4, EQUAL 8, SCRIPT_PRE 1 << 9.
    let (flags, version) = match &dependency.versions {
        None => (0, String::new()),
        Some((comparison, evr)) => {
            let flags = match comparison {
                Comparison::Less => 2,
                Comparison::LessOrEqual => 10,
                Comparison::Equal => 8,
                Comparison::GreaterOrEqual => 12,
                Comparison::Greater => 4,
            };
            (flags, evr.to_string())
        }
    };
    serde_json::json!([dependency.name, flags | if before { 1 << 9 } else { 0 }, version])
}

fn rpms(sets: &[Vec<Package>]) -> Option<Vec<Vec<String>>> {
    let python = "/usr/bin/python3";
    let probe = Command::new(python).args(["-c", "import rpm"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3-rpm is needed for this test");
        println!("skipped: python3-rpm is not installed");
        return None;
    }
    let shown = sets.iter().map(|packages| {
        let mut packages: Vec<&Package> = packages.iter().collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let shown = packages.into_iter().map(|package| {
            let requires = package.requires.iter().map(|requirement| match &requirement.relation {
                Relation::Simple(dependency) => entry(dependency, requirement.before),
                Relation::Rich(text) => {
                    serde_json::json!([text, if requirement.before { 1 << 9 } else { 0 }, ""])
                }
            });
            let weak = |relations: &[Relation]| -> Vec<serde_json::Value> {
                let shown = relations.iter().map(|relation| match relation {
                    Relation::Simple(dependency) => entry(dependency, false),
                    Relation::Rich(text) => serde_json::json!([text, 0, ""]),
                });
                shown.collect()
            };
            let provides = package.provides.iter().map(|provide| entry(provide, false));
            let files = package.files.iter().map(|path| serde_json::json!([path, 0, ""]));
            serde_json::json!({
                "name": package.name,
                "version": package.evr.version,
                "release": package.evr.release,
                // A header with files needs much more than their names; capabilities do as well.
                "provide": provides.chain(files).collect::<Vec<_>>(),
                "require": requires.collect::<Vec<_>>(),
                "recommend": weak(&package.recommends),
                "suggest": weak(&package.suggests),
                "supplement": weak(&package.supplements),
                "enhance": weak(&package.enhances),
            })
        });
        shown.collect::<Vec<_>>()
    });
    let input = serde_json::json!(shown.collect::<Vec<_>>()).to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rpm_support/order.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers = String::from_utf8(output.stdout).unwrap();
    Some(answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Small sets for the corners.
fn corners() -> Vec<Vec<Package>> {
    let texts = [
        "a 1\n b 1\n c 1",
        "a 1; Requires: b\n b 1; Requires: c\n c 1",
        "a 1; Requires: c\n b 1; Requires: c\n c 1\n d 1; Requires: b",
        "a 1; Requires: /bin/sh\n sh 1; Files: /bin/sh\n other 1",
        "a 1; Requires: cap >= 2\n b 1; Provides: cap = 1\n c 1; Provides: cap = 2\n d 1; Provides: cap = 3",
        "a 1; Requires: b\n b 1; Requires: a",
        "a 1; Requires(pre): b\n b 1; Requires: a",
        "a 1; Requires: b\n b 1; Requires(pre): a",
        "a 1; Requires(pre): b\n b 1; Requires(pre): a",
        "a 1; Requires: b\n b 1; Requires: c\n c 1; Requires: a\n d 1; Requires: a\n e 1",
        "a 1; Requires: b\n b 1; Requires(pre): c\n c 1; Requires: a\n d 1; Requires: a, e\n e 1",
        "bash 1; Requires: libc; Provides: /bin/sh\n libc 1; Requires: libc-common, basic\n \
         libc-common 1; Requires: libc, tz\n basic 1; Requires: fs\n fs 1; Requires(pre): /bin/sh\n tz 1",
        "a 1; Requires: a\n b 1; Requires(pre): b, a",
        "a 1; Requires: (b or z)\n b 1\n c 1",
        "a 1; Requires: (b and c)\n b 1; Requires: d\n c 1\n d 1\n e 1",
        "a 1; Requires: (b if c)\n b 1\n c 1\n d 1; Requires: (z if c else a)",
        "a 1; Requires: (z if y else d)\n b 1\n c 1\n d 1",
        "a 1; Requires: (b without c)\n b 1\n c 1",
        "a 1; Requires: (cap with b)\n b 1; Provides: cap\n c 1; Provides: cap",
        "a 1; Requires: ((x or b) and (c if y))\n b 1\n c 1\n y 1",
        "a 1; Recommends: c\n b 1; Suggests: d\n c 1\n d 1",
        "a 1; Requires: c; Recommends: c\n b 1; Recommends: c, c\n c 1\n d 1; Requires: a",
        "a 1\n b 1; Supplements: a\n c 1; Enhances: a\n d 1; Requires: c",
        "a 1\n b 1; Supplements: (a and c), a\n c 1; Requires: b; Supplements: b",
        "a 1; Requires(pre): b\n b 1; Recommends: a\n c 1; Requires: b; Enhances: b, b",
    ];
    texts.iter().map(|text| packages(text)).collect()
}

fn random(seed: u64) -> Vec<Package> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // xorshift64* (Vigna 2016), as for the choice.
    let mut roll = move |sides: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
    };
    let count = 4 + roll(40);
    let mut list = Vec::new();
    for at in 0..count {
        let mut line = format!("p{at:02} 1; Provides: cap{}", roll(8));
        for _ in 0..roll(4) {
            let field = match roll(12) {
                0..3 => "Requires(pre)",
                3 => "Recommends",
                4 => "Supplements",
                5 => "Enhances",
                _ => "Requires",
            };
            let target = match roll(6) {
                0 => format!("cap{}", roll(8)),
                // Mostly downwards, so that not everything is one circle.
                1 => format!("p{:02}", roll(count)),
                _ => format!("p{:02}", roll(at + 1)),
            };
            line.push_str(&format!("; {field}: {target}"));
        }
        list.push(package(&line));
    }
    list
}

#[test]
fn the_order_is_rpms() {
    let mut sets = corners();
    sets.extend((1..=200).map(random));
    let Some(theirs) = rpms(&sets) else { return };
    let mut wrong = Vec::new();
    for (at, (set, theirs)) in sets.iter().zip(&theirs).enumerate() {
        let ours = ours(set);
        if ours != *theirs {
            wrong.push(format!("{at}:\n  ours {}\n  rpm's {}", ours.join(" "), theirs.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), sets.len(), wrong.join("\n"));
}

#[test]
fn the_referee_objects_to_another_order() {
    let set = packages("a 1; Requires: b\n b 1");
    let Some(theirs) = rpms(std::slice::from_ref(&set)) else { return };
    assert_eq!(theirs, [["b", "a"]]);
    assert_ne!(theirs[0], set.iter().map(|package| package.name.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_order_given_makes_no_difference() {
    for seed in 1..50 {
        let set = random(seed);
        let mut turned = set.clone();
        turned.reverse();
        assert_eq!(ours(&set), ours(&turned));
        let mut sorted = ours(&set);
        sorted.sort();
        assert_eq!(sorted, set.iter().map(|package| package.name.to_string()).collect::<Vec<_>>());
    }
}

/// Each package's name and group, in order; the spec names those with an `x` before their names.
fn grouped<'s>(set: &'s [Package], group: impl Fn(&str) -> Group, recommended: bool) -> Vec<(&'s str, Group)> {
    let item =
        |package: &'s Package| Item { package, group: group(&package.name), is_asked: package.name.starts_with('x') };
    let places = order(&set.iter().map(item).collect::<Vec<_>>(), recommended);
    places.iter().map(|place| (&*set[place.item].name, place.group)).collect()
}

#[test]
fn an_earlier_group_takes_what_it_needs() {
    let set = packages("a 1\n lib 1\n base 1; Requires: lib\n kernel 1; Requires: a-tool\n a-tool 1");
    let group = |name: &str| match name {
        "base" => Group::Base,
        "kernel" => Group::Kernel,
        _ => Group::Rest,
    };
    assert_eq!(
        grouped(&set, group, true),
        [
            ("lib", Group::Base),
            ("base", Group::Base),
            ("a-tool", Group::Kernel),
            ("kernel", Group::Kernel),
            ("a", Group::Rest)
        ]
    );
}

#[test]
fn what_is_asked_for_besides_changes_no_earlier_group() {
    let group = |name: &str| if ["base", "shell"].contains(&name) { Group::Base } else { Group::Rest };
    let base = "base 1; Requires: awk, sh; Recommends: fine; Suggests: xodd\n shell 1; Provides: sh\n \
                zawk 1; Provides: awk\n fine 1";
    let alone = packages(base);
    // What provides the same, what is suggested, what joins in.
    let more = packages(&format!(
        "{base}\n xbusybox 1; Provides: awk, sh; Requires: plain\n plain 1\n xodd 1\n late 1; Supplements: base\n \
         asked 1; Provides: sh"
    ));
    let of_base = |set: &[Package], recommended: bool| -> Vec<String> {
        let grouped = grouped(set, group, recommended);
        grouped.iter().filter(|(_, group)| *group == Group::Base).map(|(name, _)| (*name).to_owned()).collect()
    };
    for (recommended, mut names) in
        [(true, vec!["base", "fine", "shell", "zawk"]), (false, vec!["base", "shell", "zawk"])]
    {
        let mut found = of_base(&alone, recommended);
        assert_eq!(of_base(&more, recommended), found);
        found.sort();
        names.sort();
        assert_eq!(found, names);
    }
}

#[test]
fn a_requirement_counts_where_a_wish_was_noted_before() {
    let set = packages("alpha 1; Supplements: beta\n beta 1; Requires: alpha");
    let group = |name: &str| if name == "beta" { Group::Base } else { Group::Rest };
    assert_eq!(grouped(&set, group, false), [("alpha", Group::Base), ("beta", Group::Base)]);
}

#[test]
fn long_chains_and_large_circles_end() {
    let mut text = String::new();
    for at in 0..20_000 {
        text.push_str(&format!("p{at} 1; Requires: p{}\n", (at + 1) % 20_000));
    }
    assert_eq!(ours(&packages(&text)).len(), 20_000);
}
