//! Refusals of what has not the form of its kind.
//!
//! A field of another type, one that the kind does not have, or two items with one key are answered with 500, no reason
//! and a sentence (Kubernetes 1.37, `fieldmanager/structuredmerge.go`), as if the server were broken. The manifest is.

/// How such a sentence begins. What follows is the name and the kind, and after that what is wrong.
const SENTENCES: [&str; 2] = ["failed to create typed patch object (", "failed to convert new object ("];

/// What is said of a field without quoting its value.
const WORDS: [&str; 3] = ["field not declared in schema", "duplicate entries for key", "expected "];

/// Returns each field with what is wrong with it; none where the sentence is about something else. No value is quoted.
pub(super) fn fields(message: &str) -> Option<Vec<(String, String)>> {
    let rest = SENTENCES.iter().find_map(|sentence| message.strip_prefix(sentence))?;
    let wrong = rest.split_once("): ").map_or("", |(_, wrong)| wrong);
    Some(wrong.lines().filter_map(field).collect())
}

fn field(line: &str) -> Option<(String, String)> {
    let (path, said) = line.trim().strip_prefix('.')?.split_once(": ")?;
    let word = WORDS.iter().find(|word| said.starts_with(**word))?;
    // `expected string, got ..`: the type is the server's own word.
    let said = if *word == "expected " { said.split(", got").next()? } else { word };
    Some((path.to_owned(), said.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Option<String> {
        let fields = fields(message)?.into_iter().map(|(field, said)| format!("{field}: {said}"));
        Some(fields.collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn fields_are_named_and_values_are_not() {
        let begin = "failed to create typed patch object (/x; /v1, Kind=ConfigMap): ";
        for (wrong, expected) in [
            (".dota: field not declared in schema", "dota: field not declared in schema"),
            (".data.a: expected string, got &value.valueUnstructured{Value:1}", "data.a: expected string"),
            (".set: duplicate entries for key [=\"a\"]", "set: duplicate entries for key"),
            ("errors:\n  .a: expected map, got &{[1]}\n  .b: something 1", "a: expected map"),
        ] {
            assert_eq!(said(&format!("{begin}{wrong}")).as_deref(), Some(expected));
        }
        let convert =
            "failed to convert new object (/x; /v1, Kind=Secret) to proper version: unable to convert";
        assert_eq!(said(convert).as_deref(), Some(""), "it names no field");
    }

    #[test]
    fn what_is_broken_is_not_malformed() {
        assert_eq!(said("etcdserver: request timed out"), None);
    }
}
