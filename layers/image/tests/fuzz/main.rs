//! Fuzzing of every reader and every writer, with the stable toolchain.
//!
//! A target reads bytes in every way that the program does. Its seeds are what our writers make, and the
//! files in `corpus/TARGET/`: images of other tools, and inputs that once went wrong. They are changed
//! by rules that depend on a number alone, so a run can be repeated; inputs with an outcome that was not
//! seen before are changed further.
//!
//! In the suite each target runs a few thousand times. To look for longer:
//!
//! ```text
//! FUZZ_SECONDS=600 FUZZ_SEED=2 cargo test --release -p image --test fuzz squashfs -- --nocapture
//! ```
//!
//! An input that panics is told with its path. One that ends the process, or never ends, is left in
//! `fuzz-TARGET` among the build's temporary files when the same run is repeated with `FUZZ_KEEP=1`. Put it
//! into `corpus/TARGET/` with the mend.

mod change;
#[path = "../referee/mod.rs"]
mod referee;
mod seeds;
mod targets;
mod writers;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use change::Random;

/// Runs of each target in the suite: a few seconds.
const RUNS: u64 = 2_000;
/// Address space of all targets together, in bytes: a reader that believes a length dies of it.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Inputs that are changed further.
const POOL_MAX: usize = 200;

/// What a reader makes of bytes, in words: an error, or how much there was.
type Read = fn(&[u8]) -> String;

/// Outcomes are alike that differ in numbers alone.
fn kind_of(outcome: &str) -> String {
    outcome.chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let Ok(found) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn fuzz(target: &str, seeds: Vec<Vec<u8>>, read: Read) {
    fuzz_mended(target, seeds, |_| (), read);
}

/// As [`fuzz`], with sums made right after every other change, so that what they guard is read too.
fn fuzz_mended(target: &str, seeds: Vec<Vec<u8>>, mend: fn(&mut [u8]), read: Read) {
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::As,
        rustix::process::Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: None },
    );
    let current = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    let mut seen = BTreeSet::new();
    // Written each time only where somebody looks for what ends the process: it is the same run again.
    let keep = std::env::var_os("FUZZ_KEEP").is_some();
    let mut run = |input: &[u8]| {
        if keep {
            std::fs::write(&current, input).unwrap();
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| read(input)));
        let Ok(outcome) = outcome else {
            let bad = current.with_extension("panic");
            std::fs::write(&bad, input).unwrap();
            panic!("{target} panics on {}", bad.display());
        };
        let kind = kind_of(&outcome);
        seen.insert(kind.clone()).then_some(kind)
    };
    let mut pool: Vec<Vec<u8>> = seeds.into_iter().chain(kept(target)).collect();
    assert!(!pool.is_empty());
    for seed in &pool {
        println!("{target}: a seed of {} bytes: {:?}", seed.len(), run(seed));
    }
    let (seeds, started) = (pool.len(), Instant::now());
    let limit = number("FUZZ_SECONDS").map(Duration::from_secs);
    let mut random = Random::new(number("FUZZ_SEED").unwrap_or(1));
    let mut runs = 0;
    while limit.map_or(runs < RUNS, |limit| started.elapsed() < limit) {
        let mut input = pool[random.below(pool.len())].clone();
        change::change(&mut input, &pool, &mut random);
        if random.below(2) == 0 {
            mend(&mut input);
        }
        if run(&input).is_some() && pool.len() < POOL_MAX {
            pool.push(input);
        }
        runs += 1;
    }
    let _ = std::fs::remove_file(&current);
    println!("{target}: {runs} runs from {seeds} seeds, {} outcomes", seen.len());
    // A target that only ever says one thing does not look into its input.
    assert!(seen.len() > 3, "{seen:?}");
}

#[test]
fn containers() {
    fuzz("containers", seeds::containers(), targets::container);
}

#[test]
fn tables() {
    fuzz_mended("tables", seeds::tables(), targets::right_sums, targets::table);
}

#[test]
fn ext4() {
    fuzz("ext4", seeds::ext4(), targets::volume);
}

#[test]
fn fat() {
    fuzz("fat", seeds::fat(), targets::volume);
}

#[test]
fn iso() {
    fuzz("iso", seeds::iso(), targets::volume);
}

#[test]
fn squashfs() {
    fuzz("squashfs", seeds::squashfs(), targets::volume);
}

#[test]
fn compressed() {
    fuzz("compressed", seeds::compressed(), targets::compressed);
}

/// Containers and compressors, which know of no trees, have property tests of any pieces and sizes of writes.
#[test]
fn trees() {
    fuzz("trees", writers::seeds(), writers::written);
}

/// The negative control: an input that panics is found and told.
#[test]
#[should_panic(expected = "control panics on")]
fn what_panics_is_found() {
    fuzz("control", vec![b"all is well".to_vec()], |bytes| {
        assert!(bytes.first() != Some(&0xff), "this is what is looked for");
        format!("{:?}", bytes.first())
    });
}
