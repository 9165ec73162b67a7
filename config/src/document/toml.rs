//! TOML documents as a tree of values, each with its line and column.

use std::path::Path;

use ::toml::de::{DeTable, DeValue};

use super::{DEPTH, DOCUMENT_BYTES, Key, Node, Value};
use crate::problem::{Origin, Problem};

/// Reads a TOML document. An empty document is an empty map.
pub fn parse_toml(text: &str, path: &Path) -> Result<Node, Problem> {
    if text.len() > DOCUMENT_BYTES {
        return Err(Problem::error(Origin::file(path, 0, 0), "", "the file is larger than 16 MiB"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut places = Places { path, text, offset: 0, line: 1, column: 1 };
    let table = DeTable::parse(text).map_err(|error| {
        let origin = error.span().map_or_else(|| Origin::file(path, 0, 0), |span| places.origin(span.start));
        Problem::error(origin, "", lower_first(error.message()))
    })?;
    let origin = Origin::file(path, 1, 1);
    Ok(Node { value: map(table.into_inner(), &mut places, 0)?, origin })
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Line and column of offsets. They come mostly in order, so that counting goes on from the last one: a long
/// line is walked once.
struct Places<'a> {
    path: &'a Path,
    text: &'a str,
    offset: usize,
    line: u32,
    column: u32,
}

impl Places<'_> {
    fn origin(&mut self, offset: usize) -> Origin {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        if offset < self.offset {
            // Back to the start of the line that holds the offset.
            let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
            let newlines = self.text[start..self.offset].matches('\n').count();
            self.line -= u32::try_from(newlines).unwrap_or(0).min(self.line - 1);
            self.column = 1;
            self.offset = start;
        }
        for c in self.text[self.offset..offset].chars() {
            if c == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.offset = offset;
        Origin::file(self.path, self.line, self.column)
    }
}

fn map(table: DeTable<'_>, places: &mut Places<'_>, depth: usize) -> Result<Value, Problem> {
    // Tables are kept by name: put them back in the order of the document.
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
        .into_iter()
        .map(|(key, value)| {
            let origin = places.origin(key.span().start);
            let span = value.span();
            let value = value.into_inner();
            // A table has its place in a header that may open several at once: its own key is the better place.
            let own = match &value {
                DeValue::Table(_) => origin.clone(),
                _ => places.origin(span.start),
            };
            let node = node(value, own, places, depth + 1)?;
            Ok((Key { text: key.into_inner().into_owned(), origin }, node))
        })
        .collect::<Result<_, _>>()
        .map(Value::Map)
}

fn node(value: DeValue<'_>, origin: Origin, places: &mut Places<'_>, depth: usize) -> Result<Node, Problem> {
    if depth > DEPTH {
        return Err(Problem::error(origin, "", format!("nested deeper than {DEPTH} levels")));
    }
    let plain = |text: String| Value::Scalar { text, string: false };
    let value = match value {
        DeValue::String(text) => Value::Scalar { text: text.into_owned(), string: true },
        DeValue::Integer(number) => plain(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Float(number) => plain(number.as_str().to_owned()),
        DeValue::Boolean(value) => plain(value.to_string()),
        DeValue::Datetime(time) => plain(time.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| {
                    let origin = places.origin(item.span().start);
                    node(item.into_inner(), origin, places, depth + 1)
                })
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => map(table, places, depth)?,
    };
    Ok(Node { value, origin })
}
