//! What `serde` has no word for: blocks that stand alone, text by dotted names, parts that are decoded later.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::document::Node;
use crate::problem::Origin;

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
pub(in crate::document) const STAND_ALONE: &str = "$stand_alone";
pub(in crate::document) const TEXT_MAP: &str = "$text_map";
pub(in crate::document) const NODE: &str = "$node";

thread_local! {
    /// Carries a node across `serde`'s interface, which has no room for it. Set right before the visitor that
    /// takes it is called.
    pub(super) static PASSED: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// For types that are only asked for their shape.
pub(in crate::document) fn pass_nothing() {
    PASSED.set(Some(Node::null(Origin::Gateway)));
}
