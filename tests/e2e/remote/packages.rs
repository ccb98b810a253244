//! Layers of packages in a cache: the packages themselves are not needed then.

use super::damaged::there;
use super::*;
use crate::layers::damage::flip;

impl Case {
    /// How many packages are here as files.
    fn packages_here(&self) -> usize {
        let path = self.directory.join("cache/packages/sha256");
        if path.exists() { names(&path).len() } else { 0 }
    }
}

/// Forgets packages and layers.
fn forget_all(case: &Case) {
    forget(case);
    must(Command::new("rm").arg("-rf").arg(case.directory.join("cache/packages")));
}

#[test]
fn a_package_whose_layer_is_there_is_not_fetched() {
    if !have(&["docker-registry"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let url = format!("oci://{}/cache", registry.host());
    let remote = |more: &str| format!("{{url: \"{url}\"{more}}}");
    let Some(one) = machine(User::WithoutRange, "packages-one", &remote(", push: true, packages: true")) else {
        return;
    };
    let Some(two) = machine(User::WithRange, "packages-two", &remote("")) else { return };
    let text = built(&one);
    assert!(text.contains(SAID) && !text.contains("the layer cache"), "{text}");
    let all = one.packages_here();
    assert!(all > 4, "{all}");

    // Who does not ask for them fetches packages, as ever.
    let text = built(&two);
    assert!(!text.contains(SAID), "{text}");
    assert_eq!((two.packages_here(), two.sums()), (all, one.sums()));

    configure(&two, &remote(", packages: true"));
    forget_all(&two);
    let text = built(&two);
    assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
    assert_eq!((two.packages_here(), two.sums()), (0, one.sums()));
    two.run(&["layers", "verify"]).with(0, &["layers are whole"]);

    // One that is damaged there is made of the package, and no other is fetched.
    let key = one.layer_of("tiny-hello 1.0").1.remove(0);
    flip(&there(&registry, &key).contents, 77);
    forget_all(&two);
    let text = built(&two);
    assert_eq!((text.matches("gives nothing").count(), text.contains(SAID)), (1, false), "{text}");
    assert_eq!((two.packages_here(), two.sums()), (1, one.sums()));

    // Layers that are here need neither packages nor a registry; where both are gone, packages come.
    must(Command::new("rm").arg("-rf").arg(two.directory.join("cache/packages")));
    let offline = two.build(&["--force", "--no-image-cache", "--offline"]);
    offline.with(0, &[]);
    assert_eq!((two.packages_here(), two.sums()), (0, one.sums()), "{}", offline.text);
    drop(registry);
    let text = built(&two);
    assert!(!text.contains(SAID) && !text.contains("warning: "), "{text}");
    assert_eq!((two.packages_here(), two.sums()), (0, one.sums()));
    forget_all(&two);
    let text = built(&two);
    assert_eq!(text.matches("it is not asked again").count(), 1, "{text}");
    assert_eq!((two.packages_here(), two.sums()), (all, one.sums()));
}
