//! Parsers of short texts, and what must hold between a text and its value.

use std::collections::BTreeMap;

use kontiki::join::Token;
use kontiki_api::cel::{Environment, Program, Type};
use kontiki_api::cron::Schedule;
use kontiki_api::quantity::Quantity;
use kontiki_api::selector::{FieldSelector, LabelSelector};
use kontiki_api::{protobuf, time};
use kontiki_apiserver::Body;
use serde_json::Value;

use crate::driver::{Verdict, fuzz};

const ROUNDS: u64 = 30_000;
/// Longest text of a quantity: sign, 28 digits, suffix.
const QUANTITY_BYTES: usize = 40;
/// Moments at which schedules are asked; the last is in the year 9999.
const MOMENTS_MS: [u64; 3] = [0, 1_767_225_600_000, 253_402_300_799_000];

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

#[test]
fn quantities_read_back_as_they_are_written() {
    fuzz("quantity", ROUNDS, |input| {
        let Ok(quantity) = text(input).parse::<Quantity>() else {
            return Ok(());
        };
        let written = quantity.to_string();
        let again: Quantity = written
            .parse()
            .map_err(|error| format!("{written}: {error}"))?;
        ensure(again == quantity && again.to_string() == written, || {
            format!("{written} reads as {again}")
        })?;
        ensure(written.len() <= QUANTITY_BYTES, || {
            format!("long: {written}")
        })?;
        let doubled = quantity.plus(quantity).minus(quantity);
        ensure(doubled.sign() * quantity.sign() >= 0, || {
            format!("{quantity} changes its sign")
        })
    });
}

#[test]
fn schedules_go_forward() {
    fuzz("schedule", ROUNDS / 3, |input| {
        let text = text(input);
        let (schedule, tz) = text.split_once('|').unwrap_or((&text, "UTC"));
        let Ok(schedule) = Schedule::parse(schedule, Some(tz)) else {
            return Ok(());
        };
        for moment in MOMENTS_MS {
            if let Some(next) = schedule.next_after(moment) {
                ensure(next > moment, || format!("{next} comes not after {moment}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn times_read_back_as_they_are_written() {
    fuzz("time", ROUNDS, |input| {
        let Some(moment) = time::parse(&text(input)) else {
            return Ok(());
        };
        let seconds = moment / 1000 * 1000;
        let written = time::rfc3339(moment);
        ensure(time::parse(&written) == Some(seconds), || {
            format!("{moment} is {written}")
        })?;
        let micro = time::rfc3339_micro(moment);
        ensure(time::parse(&micro) == Some(moment), || {
            format!("{moment} is {micro}")
        })
    });
}

#[test]
fn selectors_select_or_are_refused() {
    let labels: BTreeMap<String, String> =
        [("a", "b"), ("app.kubernetes.io/name", "x"), ("n", "5")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    fuzz("label-selector", ROUNDS, |input| {
        let Ok(selector) = LabelSelector::parse(&text(input)) else {
            return Ok(());
        };
        let matched = selector.matches(&labels);
        ensure(!selector.is_everything() || matched, || {
            "everything is not all".to_owned()
        })
    });
    fuzz("field-selector", ROUNDS, |input| {
        let text = text(input);
        let Ok(selector) = FieldSelector::parse(&text) else {
            return Ok(());
        };
        let fits = selector.terms.iter().all(|term| {
            let required = selector.requires(&term.field);
            required.is_none_or(|value| text.len() >= value.len())
        });
        ensure(fits, || "a term is longer than its selector".to_owned())
    });
}

#[test]
fn expressions_compile_or_say_why_and_end() {
    let environment = Environment::new()
        .with("object", Type::Dyn)
        .with("self", Type::Dyn);
    fuzz("expression", ROUNDS / 6, |input| {
        let source = text(input);
        match Program::compile(&source, &environment) {
            Err(error) => ensure(
                error.to_string().len() <= 64 * 1024 + 4 * source.len(),
                || "the complaint is out of proportion".to_owned(),
            ),
            Ok(program) => {
                let object =
                    serde_json::json!({"a": [1, 2, {"b": "c"}], "s": "text", "n": -1, "d": 1.5});
                evaluate(&program, &object);
                Ok(())
            }
        }
    });
}

/// Evaluates for what it does, not for what comes out.
fn evaluate(program: &Program, object: &Value) {
    use kontiki_api::cel::{Budget, Value as Cel, Variables};
    let variables = Variables::new()
        .with("object", Cel::json(object))
        .with("self", Cel::json(object));
    let mut budget = Budget::default();
    let _ = program.evaluate(&variables, &mut budget);
}

#[test]
fn join_tokens_read_back_as_they_are_written() {
    fuzz("join-token", ROUNDS, |input| {
        let text = text(input);
        let Ok(token) = Token::parse(&text) else {
            return Ok(());
        };
        ensure(token.to_string() == text.trim(), || format!("{token}"))
    });
}

#[test]
fn json_bodies_are_what_a_plain_reader_reads() {
    fuzz("json", ROUNDS, |input| {
        let plain: Result<Value, _> = serde_json::from_slice(input);
        match (Body::from_json(input), plain) {
            (Ok(body), Ok(plain)) => {
                ensure(body.value == plain, || {
                    format!("{} and {plain}", body.value)
                })?;
                let again = Body::from_json(body.value.to_string().as_bytes());
                let again = again.map_err(|status| status.message)?;
                ensure(again.value == body.value, || {
                    format!("{} and {}", again.value, body.value)
                })?;
                ensure(again.duplicates.is_empty(), || {
                    format!("{:?}", again.duplicates)
                })
            }
            (Ok(body), Err(why)) => Err(format!("{} is read, although {why}", body.value)),
            // Deeper than we go, and a plain reader goes.
            (Err(_), _) => Ok(()),
        }
    });
}

#[test]
fn protobuf_bodies_keep_what_they_say() {
    fuzz("protobuf", ROUNDS / 2, |input| {
        let bytes = unhex(input);
        let Ok(tree) = protobuf::decode(&bytes, ("v1", "Pod")) else {
            return Ok(());
        };
        let Ok(encoded) = protobuf::encode(&tree) else {
            return Ok(());
        };
        let again = protobuf::decode(&encoded, ("v1", "Pod")).map_err(|error| error.to_string())?;
        let twice = protobuf::encode(&again).map_err(|error| error.to_string())?;
        ensure(twice == encoded, || format!("{tree} becomes {again}"))
    });
}

/// The corpus is text: bytes that are no hex digits stand for themselves.
fn unhex(input: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(input.len() / 2);
    let mut rest = input;
    while let [first, others @ ..] = rest {
        match (digit(*first), others) {
            (Some(high), [second, others @ ..]) if digit(*second).is_some() => {
                bytes.push((high << 4 | digit(*second).unwrap_or_default()) as u8);
                rest = others;
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    bytes
}
