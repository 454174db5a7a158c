//! Random changes of inputs.

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

/// An input that is changed in one to eight places.
pub(crate) fn mutated(inputs: &[Vec<u8>], words: &[&str], random: &Random) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
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
    let all = WORDS.len() + words.len();
    let chosen = random.below(all);
    let word = WORDS.get(chosen).or_else(|| words.get(chosen - WORDS.len())).copied().unwrap_or_default();
    input.splice(start..end.max(start), word.bytes());
}
