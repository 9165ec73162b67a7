//! The entries of blocks and lists, and words out of a list of words.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::deserializer::{NodeDeserializer, shortened};
use super::failure::{Failure, Part, Path};
use super::{DecodeError, Style, UNKNOWN_KEYS};
use crate::document::{Key, Node, Value};
use crate::problem::did_you_mean;

/// The entries of a structure or map.
pub(super) struct Entries<'a> {
    pub(super) entries: std::slice::Iter<'a, (Key, Node)>,
    /// The keys that a structure has; none: a map.
    pub(super) fields: Option<&'static [&'static str]>,
    pub(super) seen: Vec<&'static str>,
    pub(super) value: Option<&'a (Key, Node)>,
    pub(super) parent: NodeDeserializer<'a>,
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
pub(super) struct Items<'a> {
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    pub(super) parent: NodeDeserializer<'a>,
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
pub(super) struct Variant<'a> {
    pub(super) deserializer: NodeDeserializer<'a>,
    pub(super) variants: &'static [&'static str],
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

pub(super) fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

pub(super) struct VariantValue<'a> {
    pub(super) deserializer: NodeDeserializer<'a>,
    pub(super) value: Option<&'a (Key, Node)>,
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
