//! Which keys a `serde` type has: what variables need, whose names do not tell a key from the next.
//!
//! The type is asked by decoding it from a source that answers every question with something small and notes
//! what was asked.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// What a type can be written as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Shape {
    /// Text, a number, a boolean.
    #[default]
    Value,
    /// Anything: it is decoded later.
    Any,
    /// A list of such.
    List(Box<Self>),
    /// Such by name.
    Map(Box<Self>),
    /// Keys and what they hold.
    Block(Vec<(&'static str, Self)>),
}

impl Shape {
    /// The shape of a type. The type must decode from empty text and zero.
    pub fn of<T: DeserializeOwned>() -> Self {
        let shape = RefCell::default();
        let traced = T::deserialize(Tracer { shape: &shape });
        debug_assert!(traced.is_ok(), "a type that does not decode from nothing: {:?}", traced.err());
        shape.take()
    }

    /// What is below a key, compared without case; any key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Block(keys) => {
                keys.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, shape)| shape)
            }
            Self::Map(shape) => Some(shape),
            Self::Any => Some(self),
            Self::Value | Self::List(_) => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Tracer<'a> {
    shape: &'a RefCell<Shape>,
}

#[derive(Debug)]
struct TraceError(String);

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TraceError {}

impl de::Error for TraceError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! zeros {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
            visitor.$visit(0)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = TraceError;

    zeros! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.shape.replace(Shape::Any);
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_bool(false)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_f64(0.0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_f64(0.0)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_str("0")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_str("0")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        if name == super::decode::TEXT_MAP {
            return self.deserialize_map(visitor);
        }
        if name == super::decode::NODE {
            self.shape.replace(Shape::Any);
            super::decode::pass_nothing();
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let inner = RefCell::default();
        let value = visitor.visit_seq(One { shape: Some(&inner) })?;
        self.shape.replace(Shape::List(Box::new(inner.take())));
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let inner = RefCell::default();
        let value = visitor.visit_map(One { shape: Some(&inner) })?;
        self.shape.replace(Shape::Map(Box::new(inner.take())));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let keys = RefCell::default();
        let value = visitor.visit_map(Keys { fields: fields.iter(), field: "", keys: &keys })?;
        self.shape.replace(Shape::Block(keys.take()));
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        visitor.visit_enum(variants.first().copied().unwrap_or("").into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any i128 u128
    }
}

/// A list or map of one.
struct One<'a> {
    shape: Option<&'a RefCell<Shape>>,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = TraceError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TraceError> {
        self.shape.take().map(|shape| seed.deserialize(Tracer { shape })).transpose()
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TraceError> {
        self.shape.map(|_| seed.deserialize("*".into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        match self.shape.take() {
            Some(shape) => seed.deserialize(Tracer { shape }),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

struct Keys<'a> {
    fields: std::slice::Iter<'static, &'static str>,
    field: &'static str,
    keys: &'a RefCell<Vec<(&'static str, Shape)>>,
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TraceError> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        self.field = field;
        seed.deserialize(self.field.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        let shape = RefCell::default();
        let value = seed.deserialize(Tracer { shape: &shape })?;
        self.keys.borrow_mut().push((self.field, shape.take()));
        Ok(value)
    }
}
