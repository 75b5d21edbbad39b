//! The grammar: words to a tree, by precedence, with a bound on the depth.

use std::sync::Arc;

use super::ast::{
    Call, Element, Entry, Expr, Index, Literal, Loop, MAX_DEPTH, Macro, Node, Select,
};
use super::lexer::{LiteralWord, Token, Word, is_reserved, words};

/// Nested parentheses, calls, lists and conditions: each takes several frames of the stack.
const MAX_NESTING: u16 = 100;

type Fault = (u32, String);
type Parsed = Result<Node, Fault>;

/// Binary operators, the weakest first; `&&` and `||` are chains.
const BINARY: &[&[(&str, &str)]] = &[
    &[
        ("==", "_==_"),
        ("!=", "_!=_"),
        ("<=", "_<=_"),
        (">=", "_>=_"),
        ("<", "_<_"),
        (">", "_>_"),
        ("in", "@in"),
    ],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];

/// Parses a whole source.
pub(super) fn parse(source: &str) -> Parsed {
    let mut parser = Parser {
        tokens: words(source)?,
        next: 0,
        nesting: 0,
    };
    let node = parser.expression()?;
    match &parser.peek().what {
        Word::End => Ok(node),
        _ => parser.unexpected("<EOF>"),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    nesting: u16,
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last one is the end, which is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is_next(&self, sign: &str) -> bool {
        matches!(&self.peek().what, Word::Sign(found) if *found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.is_next(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.takes(sign) {
            return Ok(());
        }
        self.unexpected(&format!("'{sign}'")).map(|_| ())
    }

    fn unexpected(&self, expected: &str) -> Parsed {
        let token = self.peek();
        let found: &str = match &token.what {
            Word::Sign(sign) => sign,
            Word::Name(name) | Word::Quoted(name) => name,
            Word::Literal(_) => "literal",
            Word::End => "<EOF>",
        };
        Err((
            token.at,
            format!("Syntax error: mismatched input '{found}' expecting {expected}"),
        ))
    }

    /// A node, if it is not too deep.
    fn node(at: u32, below: u16, expr: Expr) -> Parsed {
        if below >= MAX_DEPTH {
            return Err((at, format!("max recursion depth exceeded: {MAX_DEPTH}")));
        }
        Ok(Node::new(at, below, expr))
    }

    fn expression(&mut self) -> Parsed {
        if self.nesting >= MAX_NESTING {
            let message = format!("max recursion depth exceeded: {MAX_NESTING}");
            return Err((self.peek().at, message));
        }
        self.nesting += 1;
        let parsed = self.conditional();
        self.nesting -= 1;
        parsed
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.chain("||")?;
        let at = self.peek().at;
        if !self.takes("?") {
            return Ok(condition);
        }
        let then = self.chain("||")?;
        self.expect(":")?;
        let otherwise = self.expression()?;
        let below = condition.depth.max(then.depth).max(otherwise.depth);
        let parts = Box::new([condition, then, otherwise]);
        Self::node(at, below, Expr::If(parts))
    }

    fn chain(&mut self, sign: &'static str) -> Parsed {
        let is_or = sign == "||";
        let first = self.term(is_or)?;
        let at = self.peek().at;
        if !self.is_next(sign) {
            return Ok(first);
        }
        let mut terms = vec![first];
        while self.takes(sign) {
            terms.push(self.term(is_or)?);
        }
        let below = deepest(&terms);
        let expr = if is_or {
            Expr::Or(terms)
        } else {
            Expr::And(terms)
        };
        Self::node(at, below, expr)
    }

    fn term(&mut self, of_or: bool) -> Parsed {
        if of_or {
            self.chain("&&")
        } else {
            self.binary(0)
        }
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = BINARY.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            let found = operators.iter().find(|(sign, _)| self.is_next(sign));
            let Some((_, function)) = found else {
                return Ok(left);
            };
            let at = self.advance().at;
            let right = self.binary(level + 1)?;
            left = Self::call(at, function, None, vec![left, right])?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let mut signs: Vec<(u32, &'static str)> = Vec::new();
        while let Word::Sign(sign @ ("!" | "-")) = self.peek().what {
            let at = self.advance().at;
            // A sign twice is none.
            match signs.last() {
                Some((_, last)) if *last == sign => {
                    signs.pop();
                }
                _ => signs.push((at, sign)),
            }
        }
        let mut node = self.member(&mut signs)?;
        for (at, sign) in signs.into_iter().rev() {
            let function = if sign == "!" { "!_" } else { "-_" };
            node = Self::call(at, function, None, vec![node])?;
        }
        Ok(node)
    }

    fn member(&mut self, signs: &mut Vec<(u32, &'static str)>) -> Parsed {
        let mut node = self.primary(signs)?;
        loop {
            let at = self.peek().at;
            if self.takes(".") {
                node = self.selected(at, node)?;
            } else if self.takes("[") {
                let is_optional = self.takes("?");
                let key = self.expression()?;
                self.expect("]")?;
                let below = node.depth.max(key.depth);
                let index = Index {
                    of: node,
                    key,
                    is_optional,
                };
                node = Self::node(at, below, Expr::Index(Box::new(index)))?;
            } else if self.is_next("{") && Select::qualified(&node).is_some() {
                let name = Select::qualified(&node).unwrap_or_default();
                return Err((
                    at,
                    format!("undeclared reference to '{name}' (in container '')"),
                ));
            } else {
                return Ok(node);
            }
        }
    }

    fn selected(&mut self, at: u32, of: Node) -> Parsed {
        let is_optional = self.takes("?");
        let (field, is_quoted): (Arc<str>, bool) = match &self.peek().what {
            Word::Name(name) => (name.clone(), false),
            Word::Quoted(name) => (name.clone(), true),
            _ => return self.unexpected("IDENTIFIER"),
        };
        self.next += 1;
        let open = self.peek().at;
        if !is_quoted && !is_optional && self.takes("(") {
            let arguments = self.arguments()?;
            return Self::member_call(open, field, of, arguments);
        }
        let below = of.depth;
        let select = Select {
            of,
            field,
            is_optional,
            is_test: false,
        };
        Self::node(at, below, Expr::Select(Box::new(select)))
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        let mut arguments = Vec::new();
        while !self.takes(")") {
            arguments.push(self.expression()?);
            if !self.is_next(")") {
                self.expect(",")?;
            }
        }
        Ok(arguments)
    }

    fn primary(&mut self, signs: &mut Vec<(u32, &'static str)>) -> Parsed {
        let token = self.peek().clone();
        match token.what {
            Word::Literal(LiteralWord(literal)) => {
                self.next += 1;
                Self::node(token.at, 0, Expr::Literal(signed(literal, signs)))
            }
            Word::Name(name) => {
                self.next += 1;
                self.named(token.at, name)
            }
            Word::Sign(".") => {
                self.next += 1;
                let Word::Name(name) = self.peek().what.clone() else {
                    return self.unexpected("IDENTIFIER");
                };
                self.next += 1;
                self.named(token.at, name)
            }
            Word::Sign("(") => {
                self.next += 1;
                let node = self.expression()?;
                self.expect(")")?;
                Ok(node)
            }
            Word::Sign("[") => {
                self.next += 1;
                self.list(token.at)
            }
            Word::Sign("{") => {
                self.next += 1;
                self.map(token.at)
            }
            _ => self.unexpected("{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"),
        }
    }

    fn named(&mut self, at: u32, name: Arc<str>) -> Parsed {
        if is_reserved(&name) {
            return Err((at, format!("reserved identifier: {name}")));
        }
        let open = self.peek().at;
        if !self.takes("(") {
            return Self::node(at, 0, Expr::Name(name));
        }
        let mut arguments = self.arguments()?;
        if &*name != "has" || arguments.len() != 1 {
            return Self::call(open, &name, None, arguments);
        }
        match arguments.pop() {
            Some(Node {
                expr: Expr::Select(mut select),
                depth,
                ..
            }) => {
                select.is_test = true;
                Self::node(open, depth - 1, Expr::Select(select))
            }
            _ => Err((open, "invalid argument to has() macro".to_owned())),
        }
    }

    fn list(&mut self, at: u32) -> Parsed {
        let (mut elements, mut below) = (Vec::new(), 0);
        while !self.takes("]") {
            let is_optional = self.takes("?");
            let value = self.expression()?;
            below = value.depth.max(below);
            elements.push(Element { value, is_optional });
            if !self.is_next("]") {
                self.expect(",")?;
            }
        }
        Self::node(at, below, Expr::List(elements))
    }

    fn map(&mut self, at: u32) -> Parsed {
        let (mut entries, mut below) = (Vec::new(), 0);
        while !self.takes("}") {
            let is_optional = self.takes("?");
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            below = key.depth.max(value.depth).max(below);
            entries.push(Entry {
                key,
                value,
                is_optional,
            });
            if !self.is_next("}") {
                self.expect(",")?;
            }
        }
        Self::node(at, below, Expr::Map(entries))
    }

    fn call(at: u32, function: &str, target: Option<Node>, arguments: Vec<Node>) -> Parsed {
        let below = deepest(&arguments).max(target.as_ref().map_or(0, |target| target.depth));
        let call = Call {
            function: function.into(),
            target: target.map(Box::new),
            arguments,
            pattern: None,
        };
        Self::node(at, below, Expr::Call(call))
    }

    fn member_call(at: u32, name: Arc<str>, target: Node, mut arguments: Vec<Node>) -> Parsed {
        let Some((what, has_two)) = Macro::of(&name, arguments.len()) else {
            return Self::call(at, &name, Some(target), arguments);
        };
        let below = deepest(&arguments).max(target.depth);
        let n_names = if has_two { 2 } else { 1 };
        let rest = arguments.split_off(n_names);
        let mut names = Vec::new();
        for argument in arguments {
            match argument.expr {
                Expr::Name(name) => names.push(name),
                _ => return Err((argument.at, "argument must be a simple name".to_owned())),
            }
        }
        let mut rest = rest.into_iter().rev();
        let (Some(body), filter) = (rest.next(), rest.next()) else {
            return Err((at, "macro without a body".to_owned()));
        };
        let mut names = names.into_iter();
        let found = Loop {
            what,
            range: target,
            name: names.next().unwrap_or_else(|| "".into()),
            second: names.next(),
            filter,
            body,
        };
        Self::node(at, below, Expr::Loop(Box::new(found)))
    }
}

/// A minus before a number belongs to the number.
fn signed(literal: Literal, signs: &mut Vec<(u32, &'static str)>) -> Literal {
    if !matches!(signs.last(), Some((_, "-"))) {
        return literal;
    }
    match literal {
        Literal::Int(i64::MIN) => {
            signs.pop();
            Literal::Int(i64::MIN)
        }
        Literal::Int(value) => {
            signs.pop();
            Literal::Int(-value)
        }
        Literal::Double(value) => {
            signs.pop();
            Literal::Double(-value)
        }
        other => other,
    }
}

fn deepest(nodes: &[Node]) -> u16 {
    nodes.iter().map(|node| node.depth).max().unwrap_or(0)
}
