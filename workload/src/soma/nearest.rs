/// The (at most three) entries of `vocabulary` most like `word`, the likest first; none that
/// shares too little with it.
///
/// ```
/// let tissues = ["lung", "ureter", "uterus"].map(String::from);
/// assert_eq!(workload::soma::nearest("uretre", &tissues), ["ureter"]);
/// assert!(workload::soma::nearest("xyzzy", &tissues).is_empty());
/// ```
pub fn nearest(word: &str, vocabulary: &[String]) -> Vec<String> {
    let word = word.to_lowercase();
    let mut scored: Vec<_> = vocabulary
        .iter()
        .filter_map(|entry| likeness(&word, &entry.to_lowercase()).map(|score| (score, entry)))
        .collect();
    scored.sort();
    scored
        .into_iter()
        .take(3)
        .map(|(_, entry)| entry.clone())
        .collect()
}

/// The distance, smaller for more alike; none for what nobody could have meant.
fn likeness(word: &str, entry: &str) -> Option<usize> {
    if !word.is_empty() && (entry.contains(word) || word.contains(entry)) {
        return Some(1);
    }
    let distance = edits(word, entry);
    (distance <= word.chars().count().div_ceil(2).min(4)).then_some(distance)
}

/// Levenshtein's distance: insertions, deletions and replacements of characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_the_least_changes() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("ureter", "uretre", 2),
            ("a", "a", 0),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
            assert_eq!(edits(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn case_and_parts_of_names_are_found() {
        let tissues = ["lung", "skin of body", "small intestine"].map(String::from);
        assert_eq!(nearest("LUNG", &tissues), ["lung"]);
        assert_eq!(nearest("skin", &tissues), ["skin of body"]);
        assert!(nearest("", &tissues).is_empty());
    }
}
