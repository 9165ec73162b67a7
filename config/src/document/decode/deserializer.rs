//! One value of the tree, asked for by a type.

use serde::de::{self, Deserializer, Visitor};

use super::Style;
use super::access::{Entries, Items, Variant};
use super::failure::{Context, Failure, Part, Path, address};
use super::special::{NODE, PASSED, STAND_ALONE, TEXT_MAP};
use crate::document::{Key, Node, Value};

pub(super) struct NodeDeserializer<'a> {
    pub(super) node: &'a Node,
    pub(super) context: &'a Context<'a>,
    pub(super) path: &'a Path<'a>,
    /// An entry of a list that was written by index.
    pub(super) indexed: bool,
}

impl<'a> NodeDeserializer<'a> {
    pub(super) fn new(node: &'a Node, context: &'a Context<'a>, path: &'a Path<'a>) -> Self {
        Self { node, context, path, indexed: false }
    }

    fn text(&self, expected: &str) -> Result<&'a str, Failure> {
        match &self.node.value {
            Value::Scalar { .. } if self.indexed => {
                Err(Failure::new("an index on a list of plain values, which Traefik reads as an empty list")
                    .with_hint("write a comma separated list, without an index")
                    .at(self.node, self.path))
            }
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.unexpected(expected)),
        }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Failure {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{}`", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(entries) | Value::Block { entries, .. } => match entries.first() {
                Some((key, _)) => format!("a block with `{}`", shortened(&key.text)),
                None => "an empty block".to_owned(),
            },
        };
        Failure::new(format!("expected {expected}, found {found}")).at(self.node, self.path)
    }

    fn number<T: std::str::FromStr>(&self) -> Result<T, Failure> {
        let expected = "a whole number";
        let text = self.text(expected)?;
        if let Ok(number) = text.parse() {
            return Ok(number);
        }
        let plain = matches!(self.node.value, Value::Scalar { string: false, .. });
        let number = match self.context.style {
            Style::File if plain => file_number(text).and_then(|text| text.parse().ok()),
            Style::File | Style::Text => None,
        };
        number.ok_or_else(|| {
            if text.parse::<i128>().is_ok() {
                Failure::new(format!("`{}` is out of range", shortened(text))).at(self.node, self.path)
            } else {
                self.unexpected(expected)
            }
        })
    }

    fn float(&self) -> Result<f64, Failure> {
        let text = self.text("a number")?;
        text.parse().map_err(|_| self.unexpected("a number"))
    }

    /// The entries of a structure (`fields`) or map.
    pub(super) fn entries(&self, fields: &[&str]) -> Result<&'a [(Key, Node)], Failure> {
        match &self.node.value {
            Value::Map(entries) | Value::Block { entries, .. } => Ok(entries),
            Value::Null => Ok(&[]),
            Value::List(items) if items.is_empty() => Ok(&[]),
            Value::Scalar { .. } if self.context.style == Style::Text => {
                let failure = Failure::new(format!("`{}` cannot be a standalone element", self.path));
                let failure = match fields.first() {
                    Some(field) => {
                        failure.with_hint(format!("set a key of it, such as `{}.{field}`", self.path))
                    }
                    None => failure.with_hint(format!("set a key of it: `{}.name`", self.path)),
                };
                Err(failure.at(self.node, self.path))
            }
            Value::Scalar { .. } | Value::List(_) => Err(self.unexpected("a block of settings")),
        }
    }

    fn map(self, fields: Option<&'static [&'static str]>) -> Result<Entries<'a>, Failure> {
        let entries = self.entries(fields.unwrap_or(&[]))?;
        Ok(Entries { entries: entries.iter(), fields, seen: Vec::new(), value: None, parent: self })
    }
}

/// Numbers as YAML writes them too: `0x1f`, `0o17`, `1_000`, `2.0`.
pub(super) fn file_number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = digits.replace('_', "");
    let radix = |prefix: &str, radix| {
        plain.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    let number = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    match number {
        Some(number) => Some(format!("{sign}{number}")),
        None => {
            let whole = plain
                .split_once('.')
                .filter(|(_, fraction)| fraction.bytes().all(|byte| byte == b'0'))
                .map_or(plain.as_str(), |(whole, _)| whole);
            Some(format!("{sign}{whole}"))
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.$visit(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar { text, string } => {
                if !string && self.context.style == Style::File {
                    match text.as_str() {
                        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
                        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
                        _ => {}
                    }
                    if let Ok(number) = text.parse() {
                        return visitor.visit_i64(number);
                    }
                    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
                    if let (true, Ok(number)) = (numeric, text.parse()) {
                        return visitor.visit_f64(number);
                    }
                }
                visitor.visit_str(text)
            }
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) | Value::Block { .. } => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.text("`true` or `false`")? {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => visitor.visit_bool(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => visitor.visit_bool(false),
            _ => Err(self.unexpected("`true` or `false`")),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_i128 visit_i128 deserialize_u128 visit_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.text("text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_bytes(self.text("text")?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.unexpected("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(self.map(Some(&[]))?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match name {
            STAND_ALONE => match &self.node.value {
                Value::Null => visitor.visit_none(),
                Value::Scalar { text, .. } if stands_alone(text) => visitor.visit_unit(),
                Value::Scalar { .. } => visitor.visit_none(),
                Value::Block { text, .. } if !stands_alone(text) => visitor.visit_none(),
                Value::Block { .. } | Value::Map(_) | Value::List(_) => visitor.visit_newtype_struct(self),
            },
            TEXT_MAP => {
                let mut texts = Vec::new();
                flatten(&self, self.entries(&[])?, "", &mut texts)?;
                visitor.visit_map(de::value::MapDeserializer::new(texts.into_iter()))
            }
            NODE => {
                PASSED.set(Some(self.node.clone()));
                visitor.visit_unit()
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), parent: self }),
            Value::Null => visitor.visit_seq(Items { items: [].iter().enumerate(), parent: self }),
            Value::Map(entries) if entries.is_empty() => {
                visitor.visit_seq(Items { items: [].iter().enumerate(), parent: self })
            }
            Value::Scalar { text, .. } => {
                let items: Vec<Node> = match text.as_str() {
                    "" => Vec::new(),
                    text => text
                        .split(',')
                        .map(|item| Node {
                            value: Value::Scalar { text: item.trim().to_owned(), string: false },
                            origin: self.node.origin.clone(),
                        })
                        .collect(),
                };
                // The items are not part of the tree: what is wrong with one is wrong with the whole value.
                let (node, path) = (self.node, self.path);
                let context = self.context;
                let parent = NodeDeserializer { node, context, path, indexed: false };
                visitor
                    .visit_seq(Items { items: items.iter().enumerate(), parent })
                    .map_err(|failure| Failure { address: Some(address(node)), ..failure })
            }
            Value::Map(_) | Value::Block { .. } => Err(self.unexpected("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(self.map(None)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(self.map(Some(fields))?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(Variant { deserializer: self, variants })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

pub(super) fn stands_alone(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("true")
}

/// Joins what dots in keys took apart.
pub(super) fn flatten(
    deserializer: &NodeDeserializer<'_>,
    entries: &[(Key, Node)],
    prefix: &str,
    texts: &mut Vec<(String, String)>,
) -> Result<(), Failure> {
    for (key, node) in entries {
        if deserializer.context.skips(node) {
            continue;
        }
        let name = format!("{prefix}{}", key.text);
        match &node.value {
            Value::Null => {}
            Value::Scalar { text, .. } => texts.push((name, text.clone())),
            Value::Map(entries) | Value::Block { entries, .. }
                if deserializer.context.style == Style::Text =>
            {
                flatten(deserializer, entries, &format!("{name}."), texts)?;
            }
            Value::Map(_) | Value::Block { .. } | Value::List(_) => {
                let path = Path { parent: Some(deserializer.path), part: Part::Key(&name) };
                let value = NodeDeserializer::new(node, deserializer.context, &path);
                return Err(value.unexpected("text"));
            }
        }
    }
    Ok(())
}
