//! Strict parsing of untrusted JSON: one object, no duplicate members at any depth, at most 32 levels.
//!
//! Numbers are 64-bit integers or IEEE doubles. A number beyond the range of a double is refused.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is accepted; the outermost object is level 1.
pub const MAX_DEPTH: usize = 32;

/// Parses one JSON object. The error is the requirement that the text does not meet.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "must be valid UTF-8")?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Level(1).deserialize(&mut deserializer).map_err(|error| {
        // The messages of serde_json quote the input, which a response never repeats.
        let message = error.to_string();
        [DUPLICATE_MEMBER, TOO_DEEP].into_iter().find(|ours| message.starts_with(ours)).unwrap_or("must be valid JSON")
    })?;
    deserializer.end().map_err(|_| "must be a single JSON object")?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("must be a JSON object"),
    }
}

const DUPLICATE_MEMBER: &str = "must not contain the same member twice";
const TOO_DEEP: &str = "must not be nested deeper than 32 levels";

/// Parses a value at this level of nesting.
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("numbers must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Level(self.0 + 1))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom(DUPLICATE_MEMBER));
            }
            let value = members.next_value_seed(Level(self.0 + 1))?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

impl Level {
    fn check_depth<E: de::Error>(&self) -> Result<(), E> {
        if self.0 > MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_the_order_of_its_members() {
        let members = object(br#" {"z":1,"a":[null,true,-2,18446744073709551615,0.1,"\u00e9"]} "#).unwrap();
        let written = serde_json::to_string(&members).unwrap();
        assert_eq!(written, r#"{"z":1,"a":[null,true,-2,18446744073709551615,0.1,"é"]}"#);
    }

    #[test]
    fn anything_but_one_strict_object_is_refused() {
        let cases: [&[u8]; 16] = [
            b"",
            b"{",
            b"null",
            b"[]",
            b"\"x\"",
            b"{\"a\":1,}",
            b"{} {}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\0\"}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":1e309}",
            b"{\"a\":NaN}",
            b"{\"a\":1,\"a\":2}",
            br#"{"x":[{"y":{"k":1,"\u006b":2}}]}"#,
            b"{\"a\":'x'}",
        ];
        for case in cases {
            assert!(object(case).is_err(), "{}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn nesting_is_limited_to_32_levels() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(object(nested(32).as_bytes()).is_ok());
        assert_eq!(object(nested(33).as_bytes()), Err(TOO_DEEP));
        let unclosed = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(object(unclosed.as_bytes()), Err(TOO_DEEP));
    }
}
