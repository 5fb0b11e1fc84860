//! The nearest right spelling of a wrong one.

/// The candidate with the fewest typing errors, if they are few for the length of `part`, which is
/// the part of the text that says the most.
pub(super) fn nearest(
    text: &str,
    part: &str,
    candidates: impl Iterator<Item = String>,
) -> Option<String> {
    let limit = (part.chars().count() / 3).clamp(1, 4);
    let text = text.to_ascii_lowercase();
    let errors = |word: &str| strsim::damerau_levenshtein(&text, &word.to_ascii_lowercase());
    candidates
        .map(|word| (errors(&word), word))
        .filter(|(errors, _)| *errors <= limit)
        .min_by_key(|(errors, _)| *errors)
        .map(|(_, word)| word)
}
