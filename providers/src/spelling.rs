//! Names that were probably meant.

/// Most names that are offered for one that does not exist.
const NEAR_MAX: usize = 3;

/// Names spelled nearly as one that does not exist: the nearest ones, sorted.
pub(crate) fn near<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> Vec<String> {
    let allowed = (name.len() / 4).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = known
        .filter(|known| known.len().abs_diff(name.len()) <= allowed)
        .filter_map(|known| distance(name, known, allowed).map(|distance| (distance, known)))
        .collect();
    found.sort();
    let Some(&(best, _)) = found.first() else { return Vec::new() };
    found
        .into_iter()
        .filter(|(distance, _)| *distance == best)
        .map(|(_, name)| name.to_owned())
        .take(NEAR_MAX)
        .collect()
}

/// How many letters must be changed, added, dropped or swapped with their neighbour (restricted
/// Damerau-Levenshtein distance); `None` above a limit.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row.iter().all(|&distance| distance > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&distance| distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn swapped_letters_are_one_step() {
        assert_eq!(distance("ngnix", "nginx", 3), Some(1));
        assert_eq!(distance("nginx", "nginx", 3), Some(0));
        assert_eq!(distance("abc", "", 2), None);
        assert_eq!(distance("vim", "vi", 1), Some(1));
    }
}
