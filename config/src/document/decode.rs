//! Decoding a tree into `serde` types with Traefik's rules.
//!
//! `serde` stops at the first error. Here every unknown key is noted and passed over, and a value of a wrong
//! type is noted and the tree decoded again without it, so that the user sees all that is wrong at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::{Key, Node, Value};
use crate::problem::{Origin, did_you_mean};

/// Wrong values that are looked for before giving up; unknown keys are not counted.
const WRONG_VALUES: usize = 20;

/// Unknown keys that are reported of one tree.
const UNKNOWN_KEYS: usize = 100;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// YAML and TOML: typed scalars, lists as lists.
    File,
    /// Labels, flags and variables: all values are text, `a, b` is a list, blocks may stand alone.
    Text,
}

/// Why a tree could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Where.
    pub origin: Origin,
    /// Path within the decoded tree: `tls.domains[0].main`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A decoded value, or everything that is wrong with it.
pub type Decoded<T> = Result<T, Vec<DecodeError>>;

/// Decodes a tree. All unknown keys and wrong values are reported, not the first one alone.
///
/// Structures are matched without regard to case, maps keep their keys. An empty value is a setting that was
/// not made. Do not use `#[serde(flatten)]` or `#[serde(untagged)]` with it: `serde` then keeps the values for
/// itself, and places and the rules for keys are lost.
pub fn decode<T: DeserializeOwned>(node: &Node, style: Style) -> Decoded<T> {
    let mut wrong = Vec::new();
    let mut skipped = HashSet::new();
    loop {
        let context = Context { style, skipped: &skipped, unknown: RefCell::default() };
        let path = Path { parent: None, part: Part::Root };
        let result = T::deserialize(NodeDeserializer::new(node, &context, &path));
        let unknown = context.unknown.take();
        match result {
            Ok(value) if wrong.is_empty() && unknown.is_empty() => return Ok(value),
            Ok(_) => wrong.extend(unknown),
            Err(failure) => {
                let failure = failure.at(node, &path);
                let again = failure.address.is_some_and(|address| skipped.insert(address));
                wrong.push(failure.into_error(node));
                if again && wrong.len() < WRONG_VALUES {
                    continue;
                }
                wrong.extend(unknown);
            }
        }
        wrong.sort_by(|a, b| (&a.origin, &a.path).cmp(&(&b.origin, &b.path)));
        wrong.dedup();
        return Err(wrong);
    }
}

/// For `#[serde(default, deserialize_with = "stand_alone")]`: a block that may stand alone (`tls=true`, `tls=` or
/// `[..tls]` with nothing in it). Any other value switches the whole block off, whatever is below it.
pub fn stand_alone<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    struct Block<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Block<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a block of settings, or `true`")
        }

        fn visit_none<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(Some(T::default()))
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
            T::deserialize(deserializer).map(Some)
        }
    }
    deserializer.deserialize_newtype_struct(STAND_ALONE, Block(PhantomData))
}

/// A map of text to text whose keys may contain dots (header names). Of two keys in a label of which one
/// continues the other (`x-b` and `x-b.c`) the longer one stays, as in Traefik.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct TextMap(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = TextMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and their text")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<TextMap, D::Error> {
                BTreeMap::deserialize(deserializer).map(TextMap)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextMap, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some((name, text)) = map.next_entry()? {
                    texts.insert(name, text);
                }
                Ok(TextMap(texts))
            }
        }
        deserializer.deserialize_newtype_struct(TEXT_MAP, Texts)
    }
}

/// A part of the tree that is decoded later, or by rules of its own.
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Part;
        impl Visitor<'_> for Part {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                PASSED.take().ok_or_else(|| E::custom("a part of a document is decoded from documents only"))
            }
        }
        deserializer.deserialize_newtype_struct(NODE, Part)
    }
}

// Names under which the types above ask the decoder for what `serde` has no word for.
const STAND_ALONE: &str = "$stand_alone";
pub(super) const TEXT_MAP: &str = "$text_map";
pub(super) const NODE: &str = "$node";

thread_local! {
    /// Carries a node across `serde`'s interface, which has no room for it. Set right before the visitor that
    /// takes it is called.
    static PASSED: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// For types that are only asked for their shape.
pub(super) fn pass_nothing() {
    PASSED.set(Some(Node::null(Origin::Gateway)));
}

struct Context<'a> {
    style: Style,
    /// Addresses of nodes with a wrong value, which are passed over.
    skipped: &'a HashSet<usize>,
    unknown: RefCell<Vec<DecodeError>>,
}

impl Context<'_> {
    fn skips(&self, node: &Node) -> bool {
        !self.skipped.is_empty() && self.skipped.contains(&address(node))
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Where in the tree, for messages: put together only when there is one.
struct Path<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

enum Part<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if matches!(self.part, Part::Key(_)) && parent.parent.is_some() {
                f.write_str(".")?;
            }
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Key(key) => f.write_str(key),
            Part::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// What went wrong and, once it passed the nearest node, where.
#[derive(Debug)]
struct Failure {
    message: String,
    hint: Option<String>,
    origin: Option<Origin>,
    path: String,
    address: Option<usize>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, origin: None, path: String::new(), address: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place, unless a nearer one is known.
    fn at(mut self, node: &Node, path: &Path<'_>) -> Self {
        if self.origin.is_none() {
            self.origin = Some(node.origin.clone());
            self.path = path.to_string();
            self.address = Some(address(node));
        }
        self
    }

    fn into_error(self, root: &Node) -> DecodeError {
        let origin = self.origin.unwrap_or_else(|| root.origin.clone());
        DecodeError { origin, path: self.path, message: self.message, hint: self.hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }
}

struct NodeDeserializer<'a> {
    node: &'a Node,
    context: &'a Context<'a>,
    path: &'a Path<'a>,
    /// An entry of a list that was written by index.
    indexed: bool,
}

impl<'a> NodeDeserializer<'a> {
    fn new(node: &'a Node, context: &'a Context<'a>, path: &'a Path<'a>) -> Self {
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

    fn unexpected(&self, expected: &str) -> Failure {
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
    fn entries(&self, fields: &[&str]) -> Result<&'a [(Key, Node)], Failure> {
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
fn file_number(text: &str) -> Option<String> {
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

fn shortened(text: &str) -> String {
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

fn stands_alone(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("true")
}

/// Joins what dots in keys took apart.
fn flatten(
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

/// The entries of a structure or map.
struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    /// The keys that a structure has; none: a map.
    fields: Option<&'static [&'static str]>,
    seen: Vec<&'static str>,
    value: Option<&'a (Key, Node)>,
    parent: NodeDeserializer<'a>,
}

impl Entries<'_> {
    fn note(&self, key: &Key, message: String, hint: Option<String>) {
        let mut unknown = self.parent.context.unknown.borrow_mut();
        if unknown.len() < UNKNOWN_KEYS {
            let path = Path { parent: Some(self.parent.path), part: Part::Key(&key.text) }.to_string();
            unknown.push(DecodeError { origin: key.origin.clone(), path, message, hint });
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        loop {
            let Some(entry) = self.entries.next() else {
                return Ok(None);
            };
            let (key, node) = entry;
            let Some(fields) = self.fields else {
                if self.parent.context.skips(node) {
                    continue;
                }
                self.value = Some(entry);
                return seed.deserialize(key.text.as_str().into_deserializer()).map(Some);
            };
            let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key.text)) else {
                let hint = did_you_mean(&key.text, fields.iter().copied())
                    .map(|field| format!("did you mean `{field}`?"));
                self.note(key, format!("unknown key `{}`", shortened(&key.text)), hint);
                continue;
            };
            if self.seen.contains(field) {
                self.note(key, format!("`{field}` is set twice, in different spelling"), None);
                continue;
            }
            self.seen.push(field);
            // An empty value is a setting that was not made.
            if node.value == Value::Null || self.parent.context.skips(node) {
                continue;
            }
            self.value = Some(entry);
            return seed.deserialize((*field).into_deserializer()).map(Some);
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((key, node)) = self.value.take() else {
            return Err(Failure::new("a value was asked for before its key"));
        };
        let name = if self.fields.is_some() { self.seen.last().copied() } else { None };
        let path = Path { parent: Some(self.parent.path), part: Part::Key(name.unwrap_or(&key.text)) };
        let deserializer = NodeDeserializer::new(node, self.parent.context, &path);
        seed.deserialize(deserializer).map_err(|failure| failure.at(node, &path))
    }
}

/// Entries of a list.
struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    parent: NodeDeserializer<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        for (index, node) in self.items.by_ref() {
            let context = self.parent.context;
            if context.skips(node) {
                continue;
            }
            let path = Path { parent: Some(self.parent.path), part: Part::Index(index) };
            let mut deserializer = NodeDeserializer::new(node, context, &path);
            deserializer.indexed =
                context.style == Style::Text && matches!(self.parent.node.value, Value::List(_));
            return seed.deserialize(deserializer).map(Some).map_err(|failure| failure.at(node, &path));
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A word out of a list of words, or a block with one of several keys.
struct Variant<'a> {
    deserializer: NodeDeserializer<'a>,
    variants: &'static [&'static str],
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Failure;
    type Variant = VariantValue<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, VariantValue<'a>), Failure> {
        let Self { deserializer, variants } = self;
        let (word, value) = match &deserializer.node.value {
            Value::Map(entries) if entries.len() == 1 => (entries[0].0.text.as_str(), Some(&entries[0])),
            Value::Scalar { text, .. } => (text.as_str(), None),
            _ => return Err(deserializer.unexpected(&one_of(variants))),
        };
        let known = variants.iter().find(|variant| match value {
            Some(_) => variant.eq_ignore_ascii_case(word),
            None => **variant == word,
        });
        let Some(known) = known else {
            let failure = deserializer.unexpected(&one_of(variants));
            return Err(match did_you_mean(word, variants.iter().copied()) {
                Some(near) => failure.with_hint(format!("did you mean `{near}`?")),
                None => failure,
            });
        };
        let variant = seed.deserialize((*known).into_deserializer())?;
        Ok((variant, VariantValue { deserializer, value }))
    }
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

struct VariantValue<'a> {
    deserializer: NodeDeserializer<'a>,
    value: Option<&'a (Key, Node)>,
}

impl<'de> VariantAccess<'de> for VariantValue<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(self.deserializer.unexpected("a word")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let Some((key, node)) = self.value else {
            return Err(self.deserializer.unexpected("a block of settings"));
        };
        let path = Path { parent: Some(self.deserializer.path), part: Part::Key(&key.text) };
        seed.deserialize(NodeDeserializer::new(node, self.deserializer.context, &path))
            .map_err(|failure| failure.at(node, &path))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Failure> {
        Err(self.deserializer.unexpected("a word or a block of settings"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let Some((key, node)) = self.value else {
            return Err(self.deserializer.unexpected("a block of settings"));
        };
        let path = Path { parent: Some(self.deserializer.path), part: Part::Key(&key.text) };
        NodeDeserializer::new(node, self.deserializer.context, &path)
            .deserialize_struct("", fields, visitor)
            .map_err(|failure| failure.at(node, &path))
    }
}
