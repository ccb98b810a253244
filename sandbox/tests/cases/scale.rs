//! As many layers as the largest package set has, where a kernel's overlay takes 500.

use super::Case;
use crate::support::{Bench, layer, paths, shell, stack};
use sandbox::{Change, Step};
use std::path::PathBuf;

pub const CASES: &[Case] = &[("two_thousand_layers", two_thousand)];

/// Layers that are there from the beginning.
pub const COUNT: usize = 2000;

/// Small layers, each with a file of its own and one that all of them ship. Of those files forty lie in a
/// directory: the kernel asks every layer of a directory for every name in it, so that with all of them in one
/// directory `ls` alone takes up to eight seconds.
pub fn layers(bench: &Bench) -> Vec<PathBuf> {
    let one = |number: usize| {
        let own = format!("usr/share/many/{}/{number}", number / 40);
        let text = format!("{number}\n");
        layer(bench, &format!("l{number}"), &[(own.as_str(), text.as_str()), ("etc/shared", text.as_str())])
    };
    (0..COUNT).map(one).collect()
}

/// Looks at all of it, deletes, and gets one layer more, which ships again what was deleted.
pub fn steps(mut lowers: Vec<PathBuf>, more: PathBuf) -> Vec<Step> {
    let first = stack(&lowers);
    lowers.push(more);
    vec![
        first,
        Step::Run(shell(
            "cd /usr/share/many; ls -d */* | wc -l; cat /etc/shared; cat */* | sort -n | md5sum
             rm 0/0 17/700 49/1999; echo mine > 0/1; test ! -e 17/700",
        )),
        stack(&lowers),
        Step::Run(shell("cd /usr/share/many; ls -d */* | wc -l; cat /etc/shared 0/0 0/1; test ! -e 49/1999")),
    ]
}

/// What those steps print, and what is captured then.
pub fn judge(output: &str, changes: &[String]) {
    let sum = "947d0c736c7b8174e585ab10ef2556c9  -\n";
    assert_eq!(output, format!("2000\n1999\n{sum}1998\nmore\nagain\nmine\n"));
    let below = ["", "/0", "/0/1", "/17", "/17/700", "/49", "/49/1999"].map(|name| format!("usr/share/many{name}"));
    assert_eq!(changes, [vec!["usr".to_owned(), "usr/share".to_owned()], below.to_vec()].concat());
}

fn two_thousand(bench: &Bench) {
    let mut lowers = vec![bench.busybox()];
    lowers.extend(layers(bench));
    let more = layer(bench, "more", &[("usr/share/many/0/0", "again\n"), ("etc/shared", "more\n")]);
    let outcome = bench.run(steps(lowers, more));
    let output = outcome.output.clone();
    let captured = outcome.captured();
    judge(&output, &paths(&captured));
    let removed = captured.changes.iter().filter(|change| matches!(change, Change::Removed { .. })).count();
    assert_eq!(removed, 2);
}
