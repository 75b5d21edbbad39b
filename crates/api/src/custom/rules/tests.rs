//! Rules over objects: what holds, what does not, and what each is told.

use serde_json::{Value, json};

use super::*;

fn errors(rule: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Structural::of(&json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "x-kubernetes-validations": [rule],
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
        },
    }}}));
    assert_eq!(
        check(
            schema.field("spec").unwrap(),
            false,
            "spec",
            &mut Vec::new()
        ),
        []
    );
    let rules = Rules::of(&schema);
    let object = |spec: &Value| json!({"spec": spec});
    let errors = rules.validate(&object(new), old.map(object).as_ref());
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_tell_what_upstreams_tell() {
    let (low, high) = (json!({"min": 1, "max": 2}), json!({"min": 3, "max": 2}));
    let rule = json!({"rule": "self.min <= self.max"});
    assert_eq!(errors(&rule, &low, None), [""; 0]);
    assert_eq!(
        errors(&rule, &high, None),
        ["spec: Invalid value: \"object\": failed rule: self.min <= self.max"]
    );
    let rule = json!({"rule": "self.min <= self.max", "message": "min above max",
        "reason": "FieldValueForbidden", "fieldPath": ".min"});
    assert_eq!(
        errors(&rule, &high, None),
        ["spec.min: Forbidden: min above max"]
    );
    let rule = json!({"rule": "self.min <= self.max", "message": "not this",
        "messageExpression": "'min ' + string(self.min) + ' is above'"});
    assert_eq!(
        errors(&rule, &high, None),
        ["spec: Invalid value: \"object\": min 3 is above"]
    );
    let rule = json!({"rule": "self.name.size() > 0"});
    assert_eq!(
        errors(&rule, &low, None),
        [
            "spec: Invalid value: \"object\": no such key: name evaluating rule: self.name.size() > 0"
        ]
    );
}

#[test]
fn transitions_are_asked_where_there_is_an_old_value() {
    let (one, two) = (json!({"min": 1}), json!({"min": 2}));
    let rule = json!({"rule": "self.min == oldSelf.min", "message": "min is immutable"});
    assert_eq!(errors(&rule, &two, None), [""; 0]);
    assert_eq!(errors(&rule, &one, Some(&one)), [""; 0]);
    assert_eq!(
        errors(&rule, &two, Some(&one)),
        ["spec: Invalid value: \"object\": min is immutable"]
    );
    let rule = json!({"rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": true});
    assert_eq!(errors(&rule, &two, None).len(), 1);
    assert_eq!(errors(&rule, &two, Some(&one)), [""; 0]);
}

#[test]
fn what_has_not_changed_is_asked_nothing() {
    let bad = json!({"min": 3, "max": 2});
    let rule = json!({"rule": "self.min <= self.max"});
    assert_eq!(errors(&rule, &bad, Some(&bad)), [""; 0]);
    let other = json!({"min": 3, "max": 1});
    assert_eq!(errors(&rule, &other, Some(&bad)).len(), 1);
}

#[test]
fn authors_read_what_is_wrong_with_a_rule() {
    let schema = |rule: Value| {
        Structural::of(
            &json!({"type": "object", "x-kubernetes-validations": [rule],
            "properties": {"a": {"type": "integer"}}}),
        )
    };
    for (rule, start) in [
        (
            json!({"rule": ""}),
            "s.x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
        (
            json!({"rule": "self.b == 1"}),
            "s.x-kubernetes-validations[0].rule: Invalid value: ",
        ),
        (
            json!({"rule": "self.a"}),
            "s.x-kubernetes-validations[0].rule: Invalid value: ",
        ),
        (
            json!({"rule": "self.a == 1", "optionalOldSelf": true}),
            "s.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set",
        ),
        (
            json!({"rule": "self.a == 1", "reason": "Because"}),
            "s.x-kubernetes-validations[0].reason: Unsupported value: \"Because\"",
        ),
        (
            json!({"rule": "self.a == 1", "messageExpression": "self.a"}),
            "s.x-kubernetes-validations[0].messageExpression: Invalid value: ",
        ),
    ] {
        let errors = check(&schema(rule.clone()), false, "s", &mut Vec::new());
        assert_eq!(errors.len(), 1, "{rule} {errors:?}");
        assert!(errors[0].to_string().starts_with(start), "{}", errors[0]);
    }
}
