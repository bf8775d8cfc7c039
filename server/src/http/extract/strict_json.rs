//! JSON that two readers cannot read differently.
//!
//! In: the bytes of a body. Out: its one value, to be made into a type. Invariants: an object has each key once; a type that is an object is made
//! of an object, never of a list of its values in the order of their declaration, which `serde` takes as well; depth is bounded by the parser.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Number};

/// A value of JSON as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum StrictJson {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<StrictJson>),
    /// In the order of the text; no key stands twice.
    Object(Vec<(String, StrictJson)>),
}

impl StrictJson {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Number(_) => Unexpected::Other("number"),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        }
    }

    fn object<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self::Object(entries) = self else {
            return Err(Error::invalid_type(self.unexpected(), &"an object"));
        };
        let mut entries = MapDeserializer::new(entries.into_iter());
        let value = visitor.visit_map(&mut entries)?;
        entries.end()?;
        Ok(value)
    }
}

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsSent)
    }
}

struct AsSent;

impl<'de> Visitor<'de> for AsSent {
    type Value = StrictJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<StrictJson, E> {
        Ok(StrictJson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<StrictJson, E> {
        Ok(StrictJson::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<StrictJson, E> {
        Ok(StrictJson::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<StrictJson, E> {
        Ok(StrictJson::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<StrictJson, E> {
        Number::from_f64(value)
            .map(StrictJson::Number)
            .ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<StrictJson, E> {
        Ok(StrictJson::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<StrictJson, E> {
        Ok(StrictJson::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StrictJson, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(StrictJson::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<StrictJson, A::Error> {
        let mut object = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("a key stands twice"));
            }
            let value = entries.next_value()?;
            object.push((key, value));
        }
        Ok(StrictJson::Object(object))
    }
}

impl IntoDeserializer<'_, Error> for StrictJson {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for StrictJson {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => number.deserialize_any(visitor),
            Self::Text(text) => visitor.visit_string(text),
            Self::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Self::Object(_) => self.object(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.object(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.object(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Object(entries) if entries.len() == 1 => visitor.visit_enum(
                MapAccessDeserializer::new(MapDeserializer::new(entries.into_iter())),
            ),
            other => Err(Error::invalid_type(other.unexpected(), &"one of the words")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        One,
        Of(u8),
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Inner {
        number: i64,
        words: Vec<Word>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        text: Option<String>,
        inner: Option<Inner>,
        map: BTreeMap<String, Option<Inner>>,
        pair: Option<(f64, bool)>,
    }

    fn read(json: &str) -> Result<Outer, String> {
        let value: StrictJson = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Outer::deserialize(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_meant_is_read() {
        let inner = |number| {
            Some(Inner {
                number,
                words: vec![Word::One, Word::Of(7)],
            })
        };
        assert_eq!(
            read(
                r#"{"map":{"a":null,"b":{"words":["one",{"of":7}],"number":-3}},"inner":{"number":9,"words":["one",{"of":7}]},"pair":[1.5,true]}"#
            ),
            Ok(Outer {
                text: None,
                inner: inner(9),
                map: BTreeMap::from([("a".into(), None), ("b".into(), inner(-3))]),
                pair: Some((1.5, true))
            })
        );
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for (json, word) in [
            ("[null,null,{},null]", "expected an object"),
            (r#"{"map":[]}"#, "expected an object"),
            (r#"{"map":{},"inner":[1,[]]}"#, "expected an object"),
            (r#"{"map":{"a":[1,[]]}}"#, "expected an object"),
            (r#"{"map":{},"map":{}}"#, "twice"),
            (r#"{"map":{"a":null,"a":null}}"#, "twice"),
            (
                r#"{"map":{},"inner":{"number":1,"number":1,"words":[]}}"#,
                "twice",
            ),
            (r#"{"map":{},"other":1}"#, "unknown field"),
            (
                r#"{"map":{},"inner":{"number":1,"words":["two"]}}"#,
                "unknown variant",
            ),
            (
                r#"{"map":{},"inner":{"number":1,"words":[[]]}}"#,
                "one of the words",
            ),
            (r#"{"map":{},"pair":[1,true,2]}"#, "length"),
            (
                r#"{"map":{},"inner":{"number":1.5,"words":[]}}"#,
                "invalid type",
            ),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(word), "{json}: {error}");
            assert!(!error.contains("struct"), "{json}: {error}");
        }
    }
}
