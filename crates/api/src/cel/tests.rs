//! Tables of expressions with their values, faults and prices.

use serde_json::{Value as Json, json};

use super::*;

fn environment() -> Environment {
    let schema = Type::object(
        "Widget",
        [
            ("name".to_owned(), Type::String),
            ("replicas".to_owned(), Type::Int),
            ("ratio".to_owned(), Type::Double),
            ("namespace".to_owned(), Type::String),
            ("made".to_owned(), Type::Timestamp),
            ("pause".to_owned(), Type::Duration),
            (
                "tags".to_owned(),
                Type::list_of(Type::String, ListSemantics::Set),
            ),
            ("labels".to_owned(), Type::map(Type::String, Type::String)),
        ],
    );
    Environment::new()
        .with("object", Type::Dyn)
        .with("self", schema)
}

fn object() -> Json {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
        "spec": {"replicas": 3, "ratio": 0.5, "ports": [{"port": 80}, {"port": 443}], "none": null},
    })
}

fn widget() -> Json {
    json!({
        "name": "w", "replicas": 3, "ratio": 2, "namespace": "ns", "made": "2026-01-02T03:04:05Z", "pause": "90s",
        "tags": ["a", "b"], "labels": {"x": "1"},
    })
}

fn evaluate(source: &str) -> Result<Json, String> {
    let environment = environment();
    let program = Program::compile(source, &environment).map_err(|why| why.to_string())?;
    let (object, widget) = (object(), widget());
    let variables = Variables::new()
        .with("object", Value::json(&object))
        .with("self", Value::of(&widget, &environment.variables["self"]));
    let value = program.evaluate(&variables, &mut Budget::default());
    let value = value.map_err(|why| why.to_string())?;
    Ok(value.to_json().unwrap_or_else(|| json!(value.type_name())))
}

#[track_caller]
fn all_true(sources: &[&str]) {
    for source in sources {
        assert_eq!(evaluate(source), Ok(json!(true)), "{source}");
    }
}

#[test]
fn the_language_itself() {
    all_true(&[
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && -7 / 2 == -3 && -7 % 3 == -1",
        "-9223372036854775808 < 0 && 0xff == 255 && 3u == 3u && 1.5e3 == 1500.0",
        "1 < 2.5 && 2u < 3 && !(1 > 1.0)",
        "'a' + \"b\" + r'\\n' + '\\x41\\u00e9\\101' == 'ab\\\\nAéA'",
        "'''three\n'lines''' == 'three\\n\\'lines'",
        "b'abc' == bytes('abc') && size(b'\\xff') == 1",
        "[1, 2] + [3] == [1, 2, 3] && 2 in [1, 2] && !('z' in {'a': 1})",
        "{'a': 1, 'b': 2}.b == 2 && {'a': 1}['a'] == 1 && {1: 'x'}[1] == 'x'",
        "true ? true : false",
        "false && (1 / 0 == 1) || true",
        "(1 / 0 == 1) || true",
        "!((1 / 0 == 1) && false)",
        "size('äb') == 2 && 'abc'.size() == 3 && [1].size() == 1",
        "type(1) == int && type('a') == string && type([]) == list && type(type(1)) == type",
        "int('12') == 12 && string(3) == '3' && double('1.5') == 1.5 && uint(3) == 3u && bool('true')",
        "string(1.0) == '1' && string(1e30) == '1e+30' && string(true) == 'true'",
        "dyn(1) == 1 && dyn(1) != 'a'",
        "!!true && --1 == 1",
        "null == null && object.spec.none == null",
    ]);
}

#[test]
fn data_is_read_where_it_lies() {
    all_true(&[
        "object.metadata.name == 'web' && object['metadata']['name'] == 'web'",
        "has(object.spec.replicas) && !has(object.spec.missing)",
        "object.spec.replicas == 3 && object.spec.ratio == 0.5 && object.spec.ports[1].port == 443",
        "object.metadata.labels.all(k, k.startsWith('app') || k == 'tier')",
        "self.ratio == 2.0 && type(self.ratio) == double && self.__namespace__ == 'ns'",
        "self.made.getFullYear() == 2026 && self.made.getHours('+01:00') == 4",
        "self.made.getHours('Europe/Berlin') == 4 && self.pause == duration('1m30s')",
        "self.tags == ['b', 'a'] && self.tags + ['a', 'c'] == ['a', 'b', 'c']",
        "self.labels['x'] == '1' && self.labels.x == '1' && 'x' in self.labels",
        "has(self.name) && self.labels.exists(k, k == 'x')",
    ]);
}

#[test]
fn macros() {
    all_true(&[
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2, 2].exists_one(x, x == 1)",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x != 2) == [1, 3] && {'a': 1}.map(k, k) == ['a']",
        "[0, 2].exists(x, 4 / x == 2)",
        "[[1, 2], [3]].all(l, l.all(x, x < 4))",
        "[10, 20].all(i, v, v == (i + 1) * 10) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[1, 2].transformList(i, v, i + v) == [1, 3]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10) == {'b': 20}",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}",
        "optional.of(2).optMap(x, x * 2).value() == 4 && !optional.none().optMap(x, 1).hasValue()",
    ]);
}

#[test]
fn optionals() {
    all_true(&[
        "object.?spec.?missing.orValue(5) == 5 && object.?spec.?replicas.value() == 3",
        "object.metadata.labels[?'nope'].orValue('x') == 'x' && [1][?3].orValue(7) == 7",
        "object.?missing.deeper.deepest.hasValue() == false",
        "[1, ?optional.none()] == [1] && {?'a': optional.of(1)} == {'a': 1}",
        "optional.of(1) == optional.of(1) && optional.none() != optional.of(1)",
        "optional.ofNonZeroValue('').hasValue() == false && optional.none().or(optional.of(1)).value() == 1",
        "has(object.?spec.replicas)",
    ]);
}

#[test]
fn libraries() {
    all_true(&[
        "[1, 2, 2].isSorted() && ![2, 1].isSorted() && [1, 3].sum() == 4 && [].sum() == 0",
        "[3, 1].min() == 1 && ['a', 'c'].max() == 'c' && [1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2",
        "'abc'.charAt(1) == 'b' && 'abcabc'.indexOf('c', 3) == 5 && 'abcabc'.lastIndexOf('b') == 4",
        "['a', 'b'].join('-') == 'a-b' && 'AbC'.lowerAscii() == 'abc' && 'aB'.upperAscii() == 'AB'",
        "'aaa'.replace('a', 'b', 2) == 'bba' && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && '  x '.trim() == 'x'",
        "'%s has %d of %.2f %x'.format(['a', 3, 1.5, 255]) == 'a has 3 of 1.50 ff' && '%s'.format([[1, 'b']]) == '[1, b]'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc-123'.find('[0-9]+') == '123' && '1a2b'.findAll('[0-9]') == ['1', '2'] && 'ab'.matches('^a') && matches('ab', 'b$')",
        "url('https://u.example:8443/p/a?x=1&x=2').getHost() == 'u.example:8443' && url('/path').getScheme() == '' && !isURL('nonsense')",
        "url('https://e.com/?x=1&x=2').getQuery()['x'] == ['1', '2'] && url('https://e.com:80/').getPort() == '80'",
        "isIP('10.0.0.1') && !isIP('10.0.0.01') && ip('::1').family() == 6 && ip('127.0.0.1').isLoopback()",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && string(ip('1.2.3.4')) == '1.2.3.4'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "!isCIDR('10.0.0.0/33') && cidr('::/64').prefixLength() == 64",
        "quantity('1.5Gi').isGreaterThan(quantity('1Gi')) && quantity('1k').asInteger() == 1000 && !isQuantity('1.5x')",
        "quantity('50k').add(20) == quantity('50020') && quantity('1').sub(quantity('2')).sign() == -1 && quantity('1.5').asApproximateFloat() == 1.5",
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('1000m') == quantity('1')",
        "!format.dns1123Label().validate('ok').hasValue() && format.named('dns1123Label').value().validate('NO').value().size() == 1",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
        "duration('1h').getMinutes() == 60 && timestamp('2026-01-01T00:00:00Z') + duration('1h') == timestamp('2026-01-01T01:00:00Z')",
        "timestamp('2026-01-01T00:00:00Z') - timestamp('2025-12-31T23:00:00Z') == duration('3600s') && string(duration('1.5s')) == '1.5s'",
    ]);
}

#[test]
fn faults_are_told_with_their_place_in_upstreams_words() {
    for (source, expected) in [
        (
            "missing.x == 1",
            "ERROR: <input>:1:1: undeclared reference to 'missing' (in container '')\n | missing.x == 1\n | ^",
        ),
        (
            "self.nme == 'a'",
            "ERROR: <input>:1:5: undefined field 'nme'\n | self.nme == 'a'\n | ....^",
        ),
        (
            "1 + 'a' == 2",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a' == 2\n | ..^",
        ),
        (
            "self.name.foo()",
            "ERROR: <input>:1:14: undeclared reference to 'foo' (in container '')\n | self.name.foo()\n | .............^",
        ),
        (
            "self.replicas.contains('a')",
            "ERROR: <input>:1:23: found no matching overload for 'contains' applied to 'int.(string)'\n | self.replicas.contains('a')\n | ......................^",
        ),
        (
            "1 == ",
            "ERROR: <input>:1:6: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', \
             'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 == \n | .....^",
        ),
        (
            "'a'.matches('[')",
            "ERROR: <input>:1:12: invalid matches argument: error parsing regexp: unclosed character class: `[`\n | \
             'a'.matches('[')\n | ...........^",
        ),
        (
            "has(self)",
            "ERROR: <input>:1:4: invalid argument to has() macro\n | has(self)\n | ...^",
        ),
    ] {
        assert_eq!(evaluate(source), Err(expected.to_owned()), "{source}");
    }
    let error = Program::compile("a ||\n b", &environment()).expect_err("two names");
    let places: Vec<(usize, usize)> = error.faults.iter().map(|f| (f.line, f.column)).collect();
    assert_eq!(places, [(1, 1), (2, 2)]);
    let error = Program::compile_to("1 + 1", &environment(), &[Type::Bool]).expect_err("an int");
    assert_eq!(error.to_string(), "must evaluate to bool");
}

#[test]
fn failures_are_told() {
    for (source, expected) in [
        ("object.spec.nope == 1", "no such key: nope"),
        ("[1][5] == 1", "index out of bounds: 5"),
        ("1 / 0 == 1", "division by zero"),
        ("9223372036854775807 + 1 == 0", "integer overflow"),
        ("object.spec + 1 == 2", "no such overload"),
        ("[].min() == 1", "min called on empty list"),
        (
            "optional.none().value() == 1",
            "optional.none() dereference",
        ),
        ("'abc'.substring(5) == ''", "index out of range: 5"),
        (
            "int('x') == 1",
            "type conversion error from 'string' to 'int': \"x\"",
        ),
    ] {
        assert_eq!(evaluate(source), Err(expected.to_owned()), "{source}");
    }
}

#[test]
fn a_runaway_expression_ends() {
    let list = json!((0..1000).collect::<Vec<i32>>());
    let long = json!("a".repeat(100_000));
    let environment = Environment::new().with("l", Type::Dyn).with("s", Type::Dyn);
    for source in [
        "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))",
        "l.map(a, l.map(b, l.map(c, c)))",
        "l.map(a, s.replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')).size() > 0",
        "l.all(a, s.matches('(a+)+$x?'))",
        "l.all(a, s == s + '')",
        "l.exists(a, '%s'.format([l]) == s)",
        "l.all(a, l == l && l.isSorted())",
        "l.map(a, {'x': l}).all(m, l.map(b, {'x': l}) == l.map(c, {'x': l}))",
    ] {
        let program = Program::compile(source, &environment).expect(source);
        let variables = Variables::new()
            .with("l", Value::json(&list))
            .with("s", Value::json(&long));
        let result = program.evaluate_bool(&variables, &mut Budget::default());
        assert_eq!(result, Err(EvalError::CostExceeded), "{source}");
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let environment = environment();
    let deep = |n: usize| format!("{}1{} == 1", "(".repeat(n), ")".repeat(n));
    assert!(Program::compile(&deep(50), &environment).is_ok());
    for source in [
        deep(100_000 / 2 - 10),
        format!("{}[]{}", "[".repeat(5000), "]".repeat(5000)),
        format!("1{}", " + 1".repeat(5000)),
        format!("object{}", ".a".repeat(5000)),
        "-".repeat(99_999),
        "a".repeat(100_001),
    ] {
        assert!(Program::compile(&source, &environment).is_err());
    }
    let wide = format!("true{}", " && true".repeat(5000));
    assert_eq!(evaluate(&wide), Ok(json!(true)));
}

#[test]
fn a_budget_is_shared_and_parts_are_settled() {
    let environment = Environment::new();
    let program =
        Program::compile("[1, 2, 3].map(x, x + 1) == [2, 3, 4]", &environment).expect("compiles");
    let mut all = Budget::units(1000);
    let mut part = all.part(500);
    assert!(
        program
            .evaluate_bool(&Variables::new(), &mut part)
            .expect("is cheap")
    );
    all.settle(500, &part);
    let spent = 1000 - all.left_units();
    assert!((20..60).contains(&spent), "{spent}");
    let mut none = Budget::units(5);
    let refused = program.evaluate_bool(&Variables::new(), &mut none);
    assert_eq!(refused, Err(EvalError::CostExceeded));
}

#[test]
fn lazy_fields_are_evaluated_once_and_in_order() {
    let mut environment = Environment::new()
        .with("n", Type::Int)
        .with_lazy("variables");
    let mut fields = Vec::new();
    for (name, source) in [("a", "n + 1"), ("b", "variables.a * 2"), ("bad", "n / 0")] {
        let program = Program::compile(source, &environment).expect(source);
        environment.add_lazy(name, program.result().clone());
        fields.push((name.to_owned(), program));
    }
    let n = json!(1);
    let evaluated = |source: &str| {
        let program = Program::compile(source, &environment).map_err(|why| why.to_string())?;
        let variables = Variables::new()
            .with("n", Value::of(&n, &Type::Int))
            .with_lazy("variables", &fields);
        let value = program.evaluate_bool(&variables, &mut Budget::default());
        value.map_err(|why| why.to_string())
    };
    assert_eq!(
        evaluated("variables.b == 4 && variables.b + variables.a == 6"),
        Ok(true)
    );
    assert_eq!(
        evaluated("variables.bad == 1"),
        Err("division by zero".to_owned())
    );
    assert!(evaluated("variables.c == 1").is_err_and(|why| why.contains("undefined field 'c'")));
    assert!(evaluated("variables.b == 'x'").is_err_and(|why| why.contains("(int, string)")));
}

#[derive(Debug)]
struct OnlyAlice;

impl Authorizer for OnlyAlice {
    fn decide(&self, check: &Check) -> Decision {
        let is_allowed =
            check.verb == "get" && check.resource == "pods" && check.namespace == "default";
        let reason = format!("{}/{}", check.group, check.name);
        Decision {
            is_allowed,
            reason,
            error: None,
        }
    }
}

#[test]
fn the_authorizer_is_asked() {
    let environment = Environment::new().with(
        "authorizer",
        Type::Opaque("kubernetes.authorization.Authorizer"),
    );
    let source = "authorizer.group('').resource('pods').namespace('default').check('get').allowed() \
                  && !authorizer.path('/x').check('get').allowed()";
    let program = Program::compile(source, &environment).expect("compiles");
    let variables = Variables::new().with("authorizer", Value::Authz(Authz::new(&OnlyAlice)));
    assert_eq!(
        program.evaluate_bool(&variables, &mut Budget::default()),
        Ok(true)
    );
}

#[test]
fn versions_are_compared() {
    all_true(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "semver('1.2.3').isLessThan(semver('1.10.0'))",
        "semver('1.0.0').isGreaterThan(semver('1.0.0-rc.1'))",
        "semver('1.2.3').compareTo(semver('1.2.3')) == 0",
        "semver('1.2.3') == semver('1.2.3')",
        "isSemver('1.2.3') && !isSemver('v1.2') && isSemver('v1.2', true)",
        "semver('v1.02', true) == semver('1.2.0')",
    ]);
    assert!(evaluate("semver('one')").is_err());
}
