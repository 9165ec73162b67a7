//! YAML. Anchors, aliases and merge keys are resolved here; what they expand to is bounded.

use std::collections::HashMap;
use std::path::Path;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{DEPTH, DOCUMENT_BYTES, Key, Node, Value};
use crate::problem::{Origin, Problem};

/// Values that aliases may add to a document, and their text.
const EXPANDED_NODES: usize = 100_000;
const EXPANDED_BYTES: usize = 8 << 20;

/// Reads a YAML document; anchors and merge keys (`<<`) are resolved. An empty document is [`Value::Null`].
pub fn parse_yaml(text: &str, path: &Path) -> Result<Node, Problem> {
    if text.len() > DOCUMENT_BYTES {
        return Err(Problem::error(Origin::file(path, 0, 0), "", "the file is larger than 16 MiB"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Builder {
        path,
        text,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        expanded_nodes: 0,
        expanded_bytes: 0,
    }
    .build()
}

struct Builder<'a> {
    path: &'a Path,
    text: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    expanded_nodes: usize,
    expanded_bytes: usize,
}

/// A list or map that is not complete yet.
struct Open {
    origin: Origin,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        /// Position of each key in `entries`.
        places: HashMap<String, usize>,
        /// The key whose value comes next.
        key: Option<PendingKey>,
        /// What `<<` names, in order.
        merged: Option<Node>,
    },
}

enum PendingKey {
    Named(Key),
    Merge,
}

impl Builder<'_> {
    fn build(mut self) -> Result<Node, Problem> {
        let mut documents = 0;
        for event in Parser::new_from_str(self.text) {
            let (event, span) =
                event.map_err(|error| self.syntax_problem(*error.marker(), error.info().to_owned()))?;
            let start = span.start;
            match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self
                            .problem(start, "the file holds more than one YAML document")
                            .with_hint("keep one document a file, and remove the `---` between them"));
                    }
                }
                Event::Alias(anchor) => {
                    let Some(node) = self.anchors.get(&anchor) else {
                        return Err(self.problem(start, "an alias stands inside what it refers to"));
                    };
                    let node = node.clone();
                    self.count(&node, start)?;
                    self.add(node, start, true)?;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let value = self.scalar(&text, style, tag.as_deref(), start)?;
                    let node = Node { value, origin: self.origin(start) };
                    self.remember(anchor, &node, start)?;
                    self.add(node, start, style == ScalarStyle::Plain)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.known_tag(tag.as_deref(), start)?;
                    self.open(anchor, start, Content::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.known_tag(tag.as_deref(), start)?;
                    let content =
                        Content::Map { entries: Vec::new(), places: HashMap::new(), key: None, merged: None };
                    self.open(anchor, start, content)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(start)?,
            }
        }
        let path = self.path;
        Ok(self.root.unwrap_or_else(|| Node::null(Origin::file(path, 1, 1))))
    }

    fn origin(&self, marker: Marker) -> Origin {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col() + 1).unwrap_or(u32::MAX);
        Origin::file(self.path, line, column)
    }

    fn problem(&self, marker: Marker, message: impl Into<String>) -> Problem {
        Problem::error(self.origin(marker), "", message)
    }

    fn syntax_problem(&self, marker: Marker, message: String) -> Problem {
        let problem = self.problem(marker, message);
        let line = self.text.lines().nth(marker.line().saturating_sub(1)).unwrap_or("");
        let indent = &line[..line.len() - line.trim_start().len()];
        if indent.contains('\t') {
            problem.with_hint("indent with spaces: YAML takes no tabs there")
        } else {
            problem
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        marker: Marker,
    ) -> Result<Value, Problem> {
        self.known_tag(tag, marker)?;
        let text_tag = tag.is_some_and(|tag| tag.suffix == "str" || tag.suffix.is_empty());
        let string = text_tag || style != ScalarStyle::Plain;
        if !string && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Ok(Value::Null);
        }
        Ok(Value::Scalar { text: text.to_owned(), string })
    }

    fn known_tag(&self, tag: Option<&Tag>, marker: Marker) -> Result<(), Problem> {
        match tag {
            None => Ok(()),
            Some(tag) if tag.is_yaml_core_schema() || (tag.handle == "!" && tag.suffix.is_empty()) => Ok(()),
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(()),
            Some(tag) => Err(self.problem(marker, format!("unknown YAML tag `{tag}`"))),
        }
    }

    fn open(&mut self, anchor: usize, marker: Marker, content: Content) -> Result<(), Problem> {
        if self.open.len() >= DEPTH {
            return Err(self.problem(marker, format!("nested deeper than {DEPTH} levels")));
        }
        let origin = self.origin(marker);
        self.open.push(Open { origin, anchor, content });
        Ok(())
    }

    fn close(&mut self, marker: Marker) -> Result<(), Problem> {
        let Some(Open { origin, anchor, content }) = self.open.pop() else {
            return Ok(());
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, mut places, merged, .. } => {
                if let Some(merged) = merged {
                    merge(merged, &mut entries, &mut places)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node { value, origin };
        self.remember(anchor, &node, marker)?;
        self.add(node, marker, false)
    }

    fn remember(&mut self, anchor: usize, node: &Node, marker: Marker) -> Result<(), Problem> {
        if anchor > 0 {
            self.count(node, marker)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Copies are counted, so that a few lines of aliases cannot fill the memory.
    fn count(&mut self, node: &Node, marker: Marker) -> Result<(), Problem> {
        let (nodes, bytes, depth) = measure(node);
        self.expanded_nodes += nodes;
        self.expanded_bytes += bytes;
        if self.open.len() + depth > DEPTH {
            return Err(self.problem(marker, format!("nested deeper than {DEPTH} levels")));
        }
        if self.expanded_nodes > EXPANDED_NODES || self.expanded_bytes > EXPANDED_BYTES {
            return Err(self.problem(marker, "the aliases of this file expand to too much"));
        }
        Ok(())
    }

    fn add(&mut self, node: Node, marker: Marker, plain: bool) -> Result<(), Problem> {
        let Some(Open { content, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match content {
            Content::List(items) => items.push(node),
            Content::Map { entries, places, key, merged } => match key.take() {
                Some(PendingKey::Named(key)) => entries.push((key, node)),
                Some(PendingKey::Merge) => *merged = Some(node),
                None => {
                    let text = match node.value {
                        Value::Scalar { text, .. } => text,
                        Value::Null => return Err(self.problem(marker, "a key is missing")),
                        Value::List(_) | Value::Map(_) | Value::Block { .. } => {
                            return Err(self.problem(marker, "a key must be text"));
                        }
                    };
                    if plain && text == "<<" {
                        if merged.is_some() {
                            return Err(self
                                .problem(marker, "key `<<` is set twice")
                                .with_hint("merge several maps as `<<: [*a, *b]`"));
                        }
                        *key = Some(PendingKey::Merge);
                    } else {
                        if let Some(first) = places.get(&text) {
                            let first = entries.get(*first).map(|(key, _)| key.origin.clone());
                            let line = match first {
                                Some(Origin::File { line, .. }) => format!(", first in line {line}"),
                                _ => String::new(),
                            };
                            return Err(self.problem(marker, format!("key `{text}` is set twice{line}")));
                        }
                        places.insert(text.clone(), entries.len());
                        *key = Some(PendingKey::Named(Key { text, origin: node.origin }));
                    }
                }
            },
        }
        Ok(())
    }
}

/// Adds what `<<` names: what the map itself holds wins, then the earlier of several.
fn merge(
    merged: Node,
    entries: &mut Vec<(Key, Node)>,
    places: &mut HashMap<String, usize>,
) -> Result<(), Problem> {
    match merged.value {
        Value::Map(more) => {
            for (key, node) in more {
                if !places.contains_key(&key.text) {
                    places.insert(key.text.clone(), entries.len());
                    entries.push((key, node));
                }
            }
            Ok(())
        }
        Value::List(maps) => {
            for map in maps {
                if !matches!(map.value, Value::Map(_)) {
                    return Err(not_mergeable(map.origin));
                }
                merge(map, entries, places)?;
            }
            Ok(())
        }
        Value::Null | Value::Scalar { .. } | Value::Block { .. } => Err(not_mergeable(merged.origin)),
    }
}

fn not_mergeable(origin: Origin) -> Problem {
    Problem::error(origin, "", "`<<` needs a map or a list of maps").with_hint("write `<<: *name`")
}

/// Number of values, bytes of text, depth.
fn measure(node: &Node) -> (usize, usize, usize) {
    let children: &mut dyn Iterator<Item = (usize, &Node)> = match &node.value {
        Value::Null => return (1, 0, 0),
        Value::Scalar { text, .. } => return (1, text.len(), 0),
        Value::List(items) => &mut items.iter().map(|node| (0, node)),
        Value::Map(entries) | Value::Block { entries, .. } => {
            &mut entries.iter().map(|(key, node)| (key.text.len(), node))
        }
    };
    children.fold((1, 0, 1), |(nodes, bytes, depth), (key, child)| {
        let (more_nodes, more_bytes, child_depth) = measure(child);
        (nodes + more_nodes, bytes + key + more_bytes, depth.max(child_depth + 1))
    })
}
