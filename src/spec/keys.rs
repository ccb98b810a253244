//! The nearest of the known names, for whoever mistyped one.

/// Two names are near when this share of the longer one is the same (strsim's normalised
/// Damerau-Levenshtein); found by trying: `instal`, `custmizations` and `qcow` are near, `foo` is
/// near nothing.
const NEAR: f64 = 0.6;

/// The known name nearest to what was written, if any is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&written, name), name))
        .filter(|(nearness, _)| *nearness >= NEAR)
        // The first of equals, so that the answer does not depend on anything but the order.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_have_a_nearest_name() {
        let known = ["install", "remove", "recommends"];
        assert_eq!(nearest("instal", known), Some("install"));
        assert_eq!(nearest("Remove", known), Some("remove"));
        assert_eq!(nearest("xyz", known), None);
    }
}
