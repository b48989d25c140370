//! From the reader's events to nodes, within the limits.

use std::{collections::BTreeMap, sync::Arc};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, Layout, Mark, Node, Source, Text, Value, scalar, syntax};
use crate::{Limits, Problem, RepoPath};

/// How many bytes a key may have: it is part of the path of everything below it.
const LONGEST_KEY: usize = 1024;

/// Reads every document of a file. What was read before a mistake is returned too.
pub(crate) fn read(path: &RepoPath, bytes: &[u8], limits: &Limits) -> (Vec<Node>, Vec<Problem>) {
    match text_of(path, bytes, limits) {
        Ok(source) => {
            let mut builder = Builder::new(&source, limits);
            if let Err(problem) = builder.run() {
                builder.problems.push(*problem);
            }
            (builder.documents, builder.problems)
        }
        Err(problem) => (Vec::new(), vec![*problem]),
    }
}

/// A problem on the heap: it is large, and most results hold none.
type Fallible<T> = Result<T, Box<Problem>>;

/// Checks what every text has to be: within its limit, UTF-8, without control characters.
fn text_of(path: &RepoPath, bytes: &[u8], limits: &Limits) -> Fallible<Arc<Source>> {
    let source = |text: &str| Arc::new(Source { path: path.clone(), text: text.into() });
    if bytes.len() as u64 > limits.manifest_bytes {
        let message = format!("the file has {} bytes, {} are allowed", bytes.len(), limits.manifest_bytes);
        let help = "split it into several files".to_owned();
        return Err(Box::new(Mark::start(&source("")).error(message, help)));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let byte = bytes[error.valid_up_to()];
            let mark = Mark::at(&source(&good), good.len(), 1);
            let message = format!("the byte 0x{byte:02x} is no UTF-8");
            return Err(Box::new(mark.error(message, "save the file as UTF-8".to_owned())));
        }
    };
    let source = source(text.strip_prefix('\u{feff}').unwrap_or(text));
    let forbidden = |c: char| (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || c == '\u{feff}';
    if let Some((at, c)) = source.text.char_indices().find(|(_, c)| forbidden(*c)) {
        let message = format!("the character U+{:04X} is not allowed", u32::from(c));
        let help = "remove it, or write it as an escape in a double-quoted string".to_owned();
        return Err(Box::new(Mark::at(&source, at, 1).error(message, help)));
    }
    Ok(source)
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

struct Builder<'a> {
    source: Arc<Source>,
    limits: &'a Limits,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    aliases: usize,
    documents: Vec<Node>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Arc<Source>, limits: &'a Limits) -> Self {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_comments: false,
            flow_nesting_limit: limits.depth + 2,
            block_nesting_limit: limits.depth + 2,
        };
        Self {
            source: Arc::clone(source),
            limits,
            events: Parser::new_from_str_with_options(&source.text, options),
            anchors: BTreeMap::new(),
            nodes: 0,
            aliases: 0,
            documents: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn run(&mut self) -> Fallible<()> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                event => {
                    let node = self.node(event, span, 0)?;
                    self.documents.push(node);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Fallible<Option<(Event<'a>, Span)>> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let (message, help) = syntax::explain(&error);
                let marker = error.marker();
                let tab = syntax::is_tab(&error).then(|| self.tab(marker.line())).flatten();
                let (line, column) = tab.unwrap_or((marker.line(), marker.col()));
                let mark = self.mark(line, column, 1);
                Err(Box::new(mark.error(message, help)))
            }
        }
    }

    /// Returns the first tab that indents, from a line on: the reader points at what stands before it.
    fn tab(&self, line: usize) -> Option<(usize, usize)> {
        let lines = self.source.text.lines().enumerate().skip(line.saturating_sub(1));
        let indentation = |text: &str| text.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t');
        lines.take(3).find_map(|(number, text)| indentation(text).map(|column| (number + 1, column)))
    }

    fn mark(&self, line: usize, column: usize, width: usize) -> Mark {
        // The reader may point behind the last line, which has no text to show.
        let lines = self.source.text.lines().count().max(1);
        let (line, column) = if line > lines {
            let last = self.source.text.lines().last().unwrap_or_default();
            (lines, last.chars().count())
        } else {
            (line.max(1), column)
        };
        Mark {
            source: Arc::clone(&self.source),
            line: narrow(line),
            column: narrow(column + 1),
            width: narrow(width.max(1)),
        }
    }

    fn mark_of(&self, span: Span) -> Mark {
        let (start, end) = (span.start, span.end);
        let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Mark {
            source: Arc::clone(&self.source),
            line: narrow(start.line().max(1)),
            column: narrow(start.col() + 1),
            width: narrow(width.max(1)),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Fallible<Node> {
        let mark = self.mark_of(span);
        self.spend(1, &mark)?;
        if depth > self.limits.depth {
            let message = format!("maps and lists lie more than {} deep in each other", self.limits.depth);
            return Err(Box::new(mark.error(message, "flatten the document".to_owned())));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), (&mark, span))?;
                (Node { value, mark }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", &mark)?;
                let items = self.items(depth)?;
                (Node { value: Value::List(items), mark }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", &mark)?;
                let entries = self.entries(depth)?;
                (Node { value: Value::Map(entries), mark }, anchor)
            }
            Event::Alias(id) => return self.alias(id, mark),
            _ => return Err(Box::new(mark.error("a value is missing here", None))),
        };
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, mark: &Mark) -> Fallible<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        let message = format!("the file holds more than {} keys and values", self.limits.nodes);
        let help = "split it into several files; aliases count with what they repeat".to_owned();
        Err(Box::new(mark.error(message, help)))
    }

    /// An alias has the place where it is written, so that an error is shown where it is used.
    fn alias(&mut self, id: usize, mark: Mark) -> Fallible<Node> {
        self.aliases += 1;
        if self.aliases > self.limits.aliases {
            let message = format!("the file uses more than {} aliases", self.limits.aliases);
            return Err(Box::new(mark.error(message, "write the values out".to_owned())));
        }
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            let help = "an alias cannot stand inside of what it repeats".to_owned();
            return Err(Box::new(mark.error("this alias repeats itself", help)));
        };
        self.spend(size, &mark)?;
        let scalar = !matches!(node.value, Value::List(_) | Value::Map(_));
        let value = match node.value {
            Value::Text(text) => Value::Text(Text { plain: Layout::Scattered, ..text }),
            value => value,
        };
        let mark = if scalar { mark } else { node.mark };
        Ok(Node { value, mark })
    }

    fn items(&mut self, depth: usize) -> Fallible<Vec<Node>> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        items.shrink_to_fit();
        Ok(items)
    }

    fn entries(&mut self, depth: usize) -> Fallible<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: BTreeMap<Arc<str>, Mark> = BTreeMap::new();
        let mut merged = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_mark = self.mark_of(span);
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = self.key(event, span)?;
            let Some((event, span)) = self.next()? else { break };
            let node = self.node(event, span, depth + 1)?;
            if plain && &*key == "<<" {
                merged.extend(merge_sources(node, &key_mark)?);
                continue;
            }
            if let Some(first) = seen.get(&key) {
                let message = format!("`{key}` is written twice");
                let help = format!("remove one; the first is in line {}", first.line);
                self.problems.push(key_mark.error(message, help));
                continue;
            }
            seen.insert(Arc::clone(&key), key_mark.clone());
            entries.push(Entry { key, key_mark, node });
        }
        // What a map says itself wins over what it merges; of several sources the first wins.
        for entry in merged {
            if !seen.contains_key(&entry.key) {
                seen.insert(Arc::clone(&entry.key), entry.key_mark.clone());
                entries.push(entry);
            }
        }
        entries.shrink_to_fit();
        Ok(entries)
    }

    fn key(&mut self, event: Event<'a>, span: Span) -> Fallible<Arc<str>> {
        let mark = self.mark_of(span);
        self.spend(1, &mark)?;
        match event {
            Event::Scalar(text, style, _, tag) => {
                check_tag(tag.as_deref(), "str", &mark)?;
                if style == ScalarStyle::Plain && matches!(&*text, "" | "~") {
                    return Err(Box::new(
                        mark.error("the key is empty", "write a key before `:`".to_owned()),
                    ));
                }
                if text.len() > LONGEST_KEY {
                    let message = format!("the key is longer than {LONGEST_KEY} bytes");
                    return Err(Box::new(mark.error(message, "write a shorter one".to_owned())));
                }
                Ok(text.into())
            }
            Event::Alias(_) => {
                Err(Box::new(mark.error("a key cannot be an alias", "write it out".to_owned())))
            }
            _ => {
                let help = "quote it; a text that starts with `{` or `[` needs quotes".to_owned();
                Err(Box::new(mark.error("a key has to be a string", help)))
            }
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        (mark, span): (&Mark, Span),
    ) -> Fallible<Value> {
        let string = check_tag(tag, "str", mark)?;
        if style == ScalarStyle::Plain
            && !string
            && let Some(value) = scalar::resolve(text)
        {
            return Ok(value);
        }
        Ok(Value::Text(Text { text: text.into(), plain: self.layout(text, style, span) }))
    }

    fn layout(&self, text: &str, style: ScalarStyle, span: Span) -> Layout {
        let raw = span.slice(&self.source.text).unwrap_or_default();
        match style {
            ScalarStyle::Plain if raw == text => Layout::Line { skip: 0 },
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
                if raw.get(1..raw.len().saturating_sub(1)) == Some(text) =>
            {
                Layout::Line { skip: 1 }
            }
            ScalarStyle::Literal => self.block(text, span),
            _ => Layout::Scattered,
        }
    }

    /// Finds the first line of a literal block, in the line of its span or the next, and its column.
    fn block(&self, text: &str, span: Span) -> Layout {
        let first = text.lines().next().unwrap_or_default();
        let lines = self.source.text.lines().enumerate().skip(span.start.line().saturating_sub(1)).take(2);
        let indented = |line: &str| {
            let indent = line.strip_suffix(first)?;
            indent.chars().all(|c| c == ' ').then_some(indent.len())
        };
        let mut found = lines.filter_map(|(number, line)| Some((number, indented(line)?)));
        match found.next() {
            Some((number, indent)) if !first.is_empty() => {
                Layout::Block { line: narrow(number + 1), column: narrow(indent + 1) }
            }
            _ => Layout::Scattered,
        }
    }
}

/// Returns whether a tag says that the scalar is a string; refuses tags that mean something else.
fn check_tag(tag: Option<&Tag>, expected: &str, mark: &Mark) -> Fallible<bool> {
    let Some(tag) = tag else { return Ok(false) };
    if tag.core_suffix() == Some(expected) || tag.original() == "!" {
        return Ok(true);
    }
    let message = format!("the tag `{}` is not supported", tag.original());
    Err(Box::new(mark.error(message, "remove it; quote a text that starts with `!`".to_owned())))
}

/// Returns what `<<` adds: the entries of a map, or of each map of a list.
fn merge_sources(node: Node, key_mark: &Mark) -> Fallible<Vec<Entry>> {
    let maps = match node.value {
        Value::Map(entries) => return Ok(entries),
        Value::List(items) => items,
        _ => Vec::new(),
    };
    let wrong = || {
        let help = "write `<<: *name` of a map, or `<<: [*one, *two]`".to_owned();
        Box::new(key_mark.error("`<<` merges maps only", help))
    };
    if maps.is_empty() {
        return Err(wrong());
    }
    let mut entries = Vec::new();
    for map in maps {
        match map.value {
            Value::Map(more) => entries.extend(more),
            _ => return Err(wrong()),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> (Vec<Node>, Vec<Problem>) {
        read(&"a.yaml".parse().unwrap(), text.as_bytes(), &Limits::default())
    }

    fn one(text: &str) -> Node {
        let (mut documents, problems) = parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        documents.remove(0)
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            read(&"a.yaml".parse().unwrap(), &bytes, &Limits::default());
        }

        #[test]
        fn reading_what_looks_like_yaml_never_panics(text in "([a-c]|[-:?,{}&*!|>#%@`'\"<\\[\\] \t\n]|\\$\\{){0,200}") {
            let (documents, problems) = parse(&text);
            for problem in problems {
                prop_assert!(problem.place.line >= 1 && problem.place.column >= 1);
                let lines = text.lines().count().max(1);
                prop_assert!(problem.place.line as usize <= lines, "line {} of {lines}", problem.place.line);
            }
            drop(documents);
        }
    }

    #[test]
    fn places_count_characters_from_one() {
        let root = one("ä: ü\nöl: [a, \"b\"]\n");
        let first = &root.entries()[0];
        assert_eq!((first.key_mark.line, first.key_mark.column, first.key_mark.width), (1, 1, 1));
        assert_eq!((first.node.mark.line, first.node.mark.column), (1, 4));
        let item = &root.get("öl").unwrap().items()[1];
        assert_eq!((item.mark.line, item.mark.column, item.mark.width), (2, 9, 3));
    }

    #[test]
    fn a_mark_inside_of_a_text_is_exact_where_the_text_stands_as_it_reads() {
        let at = |text: &str, offset| {
            let root = one(text);
            let mark = root.get("a").unwrap().mark_within(offset, 2);
            (mark.line, mark.column)
        };
        assert_eq!(at("a: xyz\n", 1), (1, 5));
        assert_eq!(at("a: 'xyz'\n", 1), (1, 6));
        assert_eq!(at("a: |\n  one\n  two\n", 5), (3, 4));
        let folded = "a: >-\n  one\n  two\n";
        assert_eq!(at(folded, 5), at(folded, 0), "a folded text has only one place");
    }

    #[test]
    fn merge_keys_fill_in_what_a_map_does_not_say() {
        let root = one("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {\"<<\": 4}\n");
        assert_eq!(root.to_json()["y"], serde_json::json!({"b": 3, "a": 1}));
        assert_eq!(root.to_json()["z"], serde_json::json!({"<<": 4}));
    }

    #[test]
    fn several_documents_are_read_and_anchors_end_with_theirs() {
        let (documents, problems) = parse("a: &a 1\n---\nb: 2\n");
        assert_eq!((documents.len(), problems.len()), (2, 0));
        assert_eq!(parse("a: &a 1\n---\nb: *a\n").1.len(), 1);
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_skipped() {
        assert_eq!(one("\u{feff}a: 1\n").entries()[0].key_mark.column, 1);
    }

    #[test]
    fn tags_of_strings_make_strings() {
        assert_eq!(one("a: !!str 1\nb: ! 2\n").to_json(), serde_json::json!({"a": "1", "b": "2"}));
        assert_eq!(parse("a: !!int 1\n").1.len(), 1);
    }
}
