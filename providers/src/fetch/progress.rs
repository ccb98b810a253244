//! What a fetch tells about itself while it runs.

/// Told of each file. Called from several threads at once; must return quickly.
pub trait Progress: Send + Sync {
    /// A file begins; `size` in bytes, when known.
    fn started(&self, what: &str, size: Option<u64>);
    /// This many more bytes of it have arrived (also from a partial file of an earlier run).
    fn advanced(&self, what: &str, bytes: u64);
    /// What had arrived is of no use; it begins again at zero.
    fn restarted(&self, what: &str);
    /// A mirror failed, and it or another will be asked.
    fn retried(&self, what: &str, url: &str, reason: &str);
    /// It is there and verified; `from` is the URL without credentials, or none for a cache hit.
    fn finished(&self, what: &str, from: Option<&str>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &str, _: u64) {}
    fn restarted(&self, _: &str) {}
    fn retried(&self, _: &str, _: &str, _: &str) {}
    fn finished(&self, _: &str, _: Option<&str>) {}
}
