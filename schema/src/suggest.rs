//! What somebody probably meant.

/// Returns the candidate that is nearest to `word`, when one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(folded.chars().count()) + 1) / 3
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns "did you mean `x`? {what}: `a`, `b`"; a long list only when nothing is near.
pub fn choose<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let all = match candidates.len() {
        0 => format!("there are no {what}"),
        _ => format!("{what}: {}", list(&candidates)),
    };
    match nearest(word, candidates.iter().copied()) {
        Some(meant) if candidates.len() > 12 => format!("did you mean `{meant}`?"),
        Some(meant) => format!("did you mean `{meant}`? {all}"),
        None => all,
    }
}

/// Returns the words in backticks, at most forty of them.
pub(crate) fn list(words: &[&str]) -> String {
    let shown: Vec<String> = words.iter().take(40).map(|word| format!("`{word}`")).collect();
    let more = words.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("stroage", ["storage", "data"]), Some("storage"));
        assert_eq!(nearest("Storage", ["storage"]), Some("storage"));
        assert_eq!(nearest("x", ["storage", "data"]), None);
        assert_eq!(
            choose("imge", "fields", ["image", "zone"]),
            "did you mean `image`? fields: `image`, `zone`"
        );
        assert_eq!(choose("x", "zones", []), "there are no zones");
    }
}
