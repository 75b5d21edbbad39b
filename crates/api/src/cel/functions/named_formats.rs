//! Kubernetes' library of named formats: `format.dns1123Label().validate('x')`.

use super::{Overload, Scope, global, member, read, unfit};
use crate::cel::eval::Evaluated;
use crate::cel::formats::FORMATS;
use crate::cel::value::Value;

pub(super) fn table() -> Vec<Overload> {
    // A function pointer carries nothing along, hence one entry of this list for each format.
    let runs: [(&'static str, super::Run); 13] = [
        ("format.dns1123Label", |_, _| Ok(Value::Format(&FORMATS[0]))),
        ("format.dns1123Subdomain", |_, _| {
            Ok(Value::Format(&FORMATS[1]))
        }),
        ("format.dns1035Label", |_, _| Ok(Value::Format(&FORMATS[2]))),
        ("format.qualifiedName", |_, _| {
            Ok(Value::Format(&FORMATS[3]))
        }),
        ("format.dns1123LabelPrefix", |_, _| {
            Ok(Value::Format(&FORMATS[4]))
        }),
        ("format.dns1123SubdomainPrefix", |_, _| {
            Ok(Value::Format(&FORMATS[5]))
        }),
        ("format.dns1035LabelPrefix", |_, _| {
            Ok(Value::Format(&FORMATS[6]))
        }),
        ("format.labelValue", |_, _| Ok(Value::Format(&FORMATS[7]))),
        ("format.uri", |_, _| Ok(Value::Format(&FORMATS[8]))),
        ("format.uuid", |_, _| Ok(Value::Format(&FORMATS[9]))),
        ("format.byte", |_, _| Ok(Value::Format(&FORMATS[10]))),
        ("format.date", |_, _| Ok(Value::Format(&FORMATS[11]))),
        ("format.datetime", |_, _| Ok(Value::Format(&FORMATS[12]))),
    ];
    let mut table: Vec<Overload> = runs
        .into_iter()
        .map(|(name, run)| global(name, "", "format", run))
        .collect();
    table.push(global("format.named", "string", "optional(format)", named));
    table.push(member(
        "validate",
        "format, string",
        "optional(list(string))",
        validate,
    ));
    table
}

fn named<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::String(name)] = args else {
        return unfit();
    };
    let found = FORMATS.iter().find(|format| format.name == name.as_str());
    Ok(Value::optional(found.map(Value::Format)))
}

/// None when all is well, else what is wrong.
fn validate<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::Format(format), Value::String(text)] = args else {
        return unfit();
    };
    read(scope, text)?;
    let messages = (format.check)(text);
    if messages.is_empty() {
        return Ok(Value::Optional(None));
    }
    let messages = messages.into_iter().map(Value::text);
    Ok(Value::some(Value::list(messages.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_function() {
        for (format, overload) in FORMATS.iter().zip(table()) {
            assert_eq!(format!("format.{}", format.name), overload.name);
        }
    }
}
