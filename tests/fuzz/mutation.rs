//! Random changes of inputs.

use serde_json::Value;

use crate::random::Random;

/// Values that programs treat in a special way.
const WORDS: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-1",
    "1e309",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0.1",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "\n",
    "\r\n",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "e\u{301}",
    "🔔",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    " ",
    ".",
    "/",
    "\\",
    "%",
    "%00",
    "%2F",
    "..",
    "//",
    "=",
    "&",
    "__proto__",
    "$1",
    "';--",
];

/// An input that is changed in one to eight places. JSON is mostly changed so that it stays JSON.
pub(crate) fn mutated(inputs: &[Vec<u8>], words: &[&str], random: &Random) -> Vec<u8> {
    let input = &inputs[random.below(inputs.len())];
    if random.chance(0.6)
        && let Ok(mut value) = serde_json::from_slice::<Value>(input)
        && (value.is_object() || value.is_array())
    {
        for _ in 0..=random.below(3) {
            change_value(&mut value, words, random);
        }
        return value.to_string().into_bytes();
    }
    changed(input, inputs, words, random)
}

/// Changes one value somewhere inside.
fn change_value(value: &mut Value, words: &[&str], random: &Random) {
    let is_inside = random.chance(0.9);
    match value {
        Value::Object(members) if is_inside && !members.is_empty() => {
            let chosen = random.below(members.len());
            let name = members.keys().nth(chosen).cloned().unwrap_or_default();
            match random.below(20) {
                0 => drop(members.shift_remove(&name)),
                1 => {
                    let other = members[&name].clone();
                    members.insert(word(words, random).to_owned(), other);
                }
                _ => change_value(&mut members[&name], words, random),
            }
        }
        Value::Array(items) if is_inside && !items.is_empty() => {
            let chosen = random.below(items.len());
            match random.below(10) {
                0 => drop(items.remove(chosen)),
                1 => {
                    let times = if random.chance(0.1) { 1 + random.below(1_200) } else { 1 };
                    let item = items[chosen].clone();
                    items.extend(std::iter::repeat_n(item, times));
                }
                _ => change_value(&mut items[chosen], words, random),
            }
        }
        Value::String(text) if is_inside => {
            let texts = [text.clone().into_bytes()];
            let changed = match random.below(3) {
                // Often one change is enough, and more would only spoil it.
                0 => {
                    let mut longer = texts[0].clone();
                    let place = random.below(longer.len() + 1);
                    insert(&mut longer, place, word(words, random).as_bytes());
                    longer
                }
                // It may hold JSON itself, as the bodies of events do.
                1 => mutated(&texts, words, random),
                _ => changed(&texts[0], &texts, words, random),
            };
            *text = String::from_utf8_lossy(&changed).into_owned();
        }
        _ => {
            let word = word(words, random);
            *value = serde_json::from_str(word).unwrap_or_else(|_| word.into());
        }
    }
}

fn word<'a>(words: &[&'a str], random: &Random) -> &'a str {
    let chosen = random.below(WORDS.len() + words.len());
    WORDS.get(chosen).or_else(|| words.get(chosen - WORDS.len())).copied().unwrap_or_default()
}

/// Changes bytes, in one to eight places.
fn changed(input: &[u8], inputs: &[Vec<u8>], words: &[&str], random: &Random) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..=random.below(1 << random.below(4)) {
        let start = random.below(input.len() + 1);
        // Mostly short parts.
        let length = random.below(1 + random.below(1 + (input.len() - start).min(1 << random.below(12))));
        let part = start..start + length;
        match random.below(9) {
            0 => drop(input.drain(part)),
            1 => {
                let copy = input[part].to_vec();
                let times = if random.chance(0.05) { 1 + random.below(500) } else { 1 };
                insert(&mut input, start, &copy.repeat(times));
            }
            2 if !input.is_empty() => {
                let place = random.below(input.len());
                input[place] ^= 1 << random.below(8);
            }
            3 if !input.is_empty() => {
                let place = random.below(input.len());
                input[place] = u8::try_from(random.below(256)).unwrap_or_default();
            }
            4 | 5 => {
                let word = WORDS[random.below(WORDS.len())];
                input.splice(part, word.bytes());
            }
            6 if !words.is_empty() => {
                let word = words[random.below(words.len())];
                input.splice(part, word.bytes());
            }
            7 => replace_value(&mut input, words, random),
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                input.splice(part, other[from..to].iter().copied());
            }
        }
    }
    input
}

fn insert(input: &mut Vec<u8>, place: usize, what: &[u8]) {
    input.splice(place..place, what.iter().copied());
}

/// Replaces what stands between two separators, which is often one value or one name.
fn replace_value(input: &mut Vec<u8>, words: &[&str], random: &Random) {
    let is_separator = |byte: &u8| b"\"{}[],: .\n\r".contains(byte);
    let place = random.below(input.len() + 1);
    let start = input[..place].iter().rposition(is_separator).map_or(0, |before| before + 1);
    let end = input[place..].iter().position(is_separator).map_or(input.len(), |after| place + after);
    let word = word(words, random);
    input.splice(start..end.max(start), word.bytes());
}
