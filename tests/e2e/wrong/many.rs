//! A repository with far more packages than a small image has.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rayon::prelude::*;

use super::archive::Archive;
use crate::support::must;

/// The package that needs all the others.
pub const ALL: &str = "tiny-all";

impl Archive {
    /// Another repository, with the same keys and the same essential package: this many packages, and one that
    /// needs them all. Every tenth needs the one before it, every twentieth has a conffile, every fiftieth a
    /// postinst, every hundredth a preinst too.
    pub fn with_many(&self, count: usize) -> PathBuf {
        let many = self.beside("many");
        let system = "tiny-system.deb";
        fs::hard_link(self.root.join("pool").join(system), many.root.join("pool").join(system)).unwrap();
        (0..count).into_par_iter().for_each(|number| many.one_of_many(number));
        let names: Vec<String> = (0..count).map(name).collect();
        many.package(ALL, &format!("Depends: {}\n", names.join(", ")), &[], b"");
        many.index();
        many.root
    }

    fn one_of_many(&self, number: usize) {
        let every = |step: usize| number.is_multiple_of(step);
        let name = name(number);
        let fields = match number.checked_sub(1).filter(|_| every(10)) {
            Some(before) => format!("Depends: {}\n", self::name(before)),
            None => String::new(),
        };
        let tree = self.stage(&name, &fields);
        let file = |path: String, text: String| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file(format!("usr/share/many/{number}"), format!("{number}\n"));
        file(format!("usr/share/doc/{name}/copyright"), format!("{number}\n"));
        if every(20) {
            file(format!("etc/many/{number}.conf"), format!("{number}\n"));
            file("DEBIAN/conffiles".into(), format!("/etc/many/{number}.conf\n"));
        }
        for (script, step) in [("postinst", 50), ("preinst", 100)] {
            if every(step) {
                let line = format!("echo {number} >> /var/lib/{script}s");
                file(format!("DEBIAN/{script}"), format!("#!/bin/sh\nset -e\n{line}\n"));
                must(Command::new("chmod").arg("755").arg(tree.join("DEBIAN").join(script)));
            }
        }
        self.pack(&name);
    }
}

fn name(number: usize) -> String {
    format!("tiny-many-{number}")
}
