//! Random and damaged bytes against both decoders, for a few seconds.
//!
//! Nothing may panic, and what comes out may not be larger than what went in. The seed is printed;
//! `TFPLUGIN_FUZZ_SEED` repeats a run.

use std::time::{Duration, Instant};

use super::{json, msgpack};
use crate::value::{Type, Value, conform};

/// xorshift64*: small, fast, repeatable.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let given = std::env::var("TFPLUGIN_FUZZ_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32) | 1
        });
        println!("TFPLUGIN_FUZZ_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn ty(&mut self, depth: usize) -> Type {
        match self.below(if depth == 0 { 4 } else { 9 }) {
            0 => Type::Bool,
            1 => Type::Number,
            2 => Type::String,
            3 => Type::Dynamic,
            4 => Type::list(self.ty(depth - 1)),
            5 => Type::set(self.ty(depth - 1)),
            6 => Type::map(self.ty(depth - 1)),
            7 => Type::Tuple((0..self.below(4)).map(|_| self.ty(depth - 1)).collect()),
            _ => Type::object((0..self.below(4)).map(|i| (format!("a{i}"), self.ty(depth - 1)))),
        }
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        if self.below(10) == 0 {
            return if self.below(2) == 0 {
                Value::Null
            } else {
                Value::Unknown
            };
        }
        match ty {
            Type::Bool => Value::Bool(self.below(2) == 0),
            Type::Number => match self.below(3) {
                0 => Value::from(i64::from_be_bytes(self.next().to_be_bytes())),
                1 => Value::from(i64::from(self.byte())),
                _ => Value::Number(format!("{}.{}", self.next(), self.next()).parse().unwrap()),
            },
            Type::String => Value::from("é".repeat(self.below(40))),
            Type::Dynamic if depth == 0 => Value::Null,
            Type::Dynamic => match self.ty(depth - 1) {
                Type::Dynamic => Value::Null,
                ty => {
                    let value = self.value(&ty, depth - 1);
                    Value::Dynamic(Box::new(ty), Box::new(value))
                }
            },
            Type::List(element) | Type::Set(element) => (0..self.below(5))
                .map(|_| self.value(element, depth))
                .collect::<Vec<_>>()
                .into(),
            Type::Map(element) => {
                Value::object((0..self.below(5)).map(|i| (i.to_string(), self.value(element, depth))))
            }
            Type::Tuple(types) => types
                .iter()
                .map(|ty| self.value(ty, depth))
                .collect::<Vec<_>>()
                .into(),
            Type::Object(types) => {
                Value::object(types.iter().map(|(name, ty)| (name, self.value(ty, depth))))
            }
        }
    }

    /// Changes, removes, repeats or inserts a few bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.insert(at, self.byte()),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 if at < bytes.len() => bytes[at] = self.byte(),
                _ => {
                    let tail = bytes[at..].to_vec();
                    bytes.extend(tail.iter().take(200));
                }
            }
        }
    }
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Sequence(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Keyed(entries) => 1 + entries.values().map(nodes).sum::<usize>(),
        Value::Dynamic(ty, inner) => type_nodes(ty) + nodes(inner),
        Value::String(text) => 1 + text.len(),
        _ => 1,
    }
}

fn type_nodes(ty: &Type) -> usize {
    match ty {
        Type::List(element) | Type::Set(element) | Type::Map(element) => 1 + type_nodes(element),
        Type::Tuple(types) => 1 + types.iter().map(type_nodes).sum::<usize>(),
        Type::Object(types) => 1 + types.values().map(type_nodes).sum::<usize>(),
        _ => 1,
    }
}

fn run(seconds: u64, mut round: impl FnMut(&mut Random) -> bool) {
    let mut random = Random::seeded();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut accepted) = (0_u64, 0_u64);
    while Instant::now() < end {
        for _ in 0..100 {
            rounds += 1;
            accepted += u64::from(round(&mut random));
        }
    }
    println!("{rounds} inputs, {accepted} of them valid");
    assert!(
        accepted > 0,
        "damage so heavy that nothing is ever accepted tests nothing"
    );
    assert!(accepted < rounds, "nothing was ever refused");
}

#[test]
fn no_bytes_make_the_messagepack_decoder_panic_or_swell() {
    run(4, |random| {
        let ty = random.ty(3);
        let mut bytes = if random.below(4) == 0 {
            (0..random.below(200)).map(|_| random.byte()).collect()
        } else {
            let value = random.value(&ty, 3);
            msgpack::encode(&value, &ty).unwrap()
        };
        random.damage(&mut bytes);
        let Ok(value) = msgpack::decode(&bytes, &ty) else {
            return false;
        };
        assert!(
            nodes(&value) <= bytes.len(),
            "{} bytes became {} nodes",
            bytes.len(),
            nodes(&value)
        );
        conform(&value, &ty).unwrap();
        let again = msgpack::encode(&value, &ty).unwrap();
        assert_eq!(msgpack::decode(&again, &ty), Ok(value));
        true
    });
}

#[test]
fn no_text_makes_the_json_decoder_panic_or_swell() {
    run(3, |random| {
        let ty = random.ty(3);
        let value = random.value(&ty, 3);
        let mut text = json::encode(&value, &ty);
        random.damage(&mut text);
        let Ok(value) = json::decode(&text, &ty) else {
            return false;
        };
        let filled = type_nodes(&ty) * (text.len() + 1);
        assert!(nodes(&value) <= text.len() + filled);
        conform(&value, &ty).unwrap();
        let again = json::encode(&value, &ty);
        assert_eq!(json::decode(&again, &ty), Ok(value));
        true
    });
}
