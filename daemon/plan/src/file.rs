//! The difference of a delivered file's text.
//!
//! Only texts that anybody may see have one: a digest that starts with `keyed:` stands for a secret and is
//! never looked up.

use similar::{Algorithm, TextDiff};
use trueup_schema::{Place, Places};

use crate::{Texts, diff::Difference};

/// The longest text that is compared, in bytes: the size of a file is the author's choice.
const LONGEST_TEXT: usize = 512 * 1024;

/// How many unchanged lines stand around a changed one.
const CONTEXT: usize = 3;

/// What changed inside of a file.
pub(crate) struct TextChange {
    /// The unified diff, without its header.
    pub(crate) diff: String,
    /// The first line of the new text that changed, from 1.
    pub(crate) line: u32,
}

/// Returns what changed inside of the file, where `difference` is one of its digest and both texts are known.
pub(crate) fn text_change(difference: &Difference, texts: &dyn Texts) -> Option<TextChange> {
    let [files, _, digest] = difference.keys.as_slice() else { return None };
    if files != "files" || digest != "digest" {
        return None;
    }
    let text = |value: &Option<serde_json::Value>| {
        let digest = value.as_ref()?.as_str()?;
        if digest.starts_with("keyed:") {
            return None;
        }
        texts.text(digest).filter(|text| text.len() <= LONGEST_TEXT && !text.contains('\0'))
    };
    let (before, after) = (text(&difference.before)?, text(&difference.after)?);
    let changes = TextDiff::configure().algorithm(Algorithm::Histogram).diff_lines(before, after);
    let first = changes.ops().iter().find(|op| !matches!(op, similar::DiffOp::Equal { .. }))?;
    let line = u32::try_from(first.new_range().start + 1).unwrap_or(u32::MAX);
    Some(TextChange { diff: changes.unified_diff().context_radius(CONTEXT).to_string(), line })
}

/// Returns where the changed line of a file was written, if `path` has a place of its own: the start of a
/// file in the repository, which is moved to that line.
pub(crate) fn changed_line(places: &Places, path: &str, line: u32) -> Option<Place> {
    let place = places.0.get(path)?;
    Some(if (place.line, place.column) == (1, 1) { Place { line, ..place.clone() } } else { place.clone() })
}
