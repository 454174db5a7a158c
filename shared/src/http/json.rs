//! JSON from strangers, read strictly: one object, no member twice at any depth, at most 32 levels.
//!
//! Numbers are 64-bit integers or IEEE doubles, as JavaScript's are; one beyond a double's range is refused.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read; the outermost object is level 1.
pub const MAX_DEPTH: usize = 32;

/// Reads one JSON object; the error says why it is none.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "must be UTF-8")?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Level(1).deserialize(&mut deserializer).map_err(|error| {
        // serde_json's own texts quote what was sent, which an answer never repeats.
        let said = error.to_string();
        [TWICE, TOO_DEEP].into_iter().find(|known| said.starts_with(known)).unwrap_or("must be JSON")
    })?;
    deserializer.end().map_err(|_| "must be one JSON object and nothing after it")?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err("must be a JSON object"),
    }
}

const TWICE: &str = "must not hold a member twice";
const TOO_DEEP: &str = "must not nest deeper than 32 levels";

/// Reads a value that stands on this level.
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
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Level(self.0 + 1))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(de::Error::custom(TWICE));
            }
            let value = members.next_value_seed(Level(self.0 + 1))?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

impl Level {
    fn enter<E: de::Error>(&self) -> Result<(), E> {
        if self.0 > MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_with_its_members_in_order() {
        let members = object(br#" {"z":1,"a":[null,true,-2,18446744073709551615,0.1,"\u00e9"]} "#).unwrap();
        let written = serde_json::to_string(&members).unwrap();
        assert_eq!(written, r#"{"z":1,"a":[null,true,-2,18446744073709551615,0.1,"é"]}"#);
    }

    #[test]
    fn what_is_no_strict_object_is_refused() {
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
    fn nesting_ends_at_32_levels() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(object(nested(32).as_bytes()).is_ok());
        assert_eq!(object(nested(33).as_bytes()), Err(TOO_DEEP));
        let endless = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(object(endless.as_bytes()), Err(TOO_DEEP));
    }
}
