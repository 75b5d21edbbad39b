//! Words of an expression: numbers, strings with their escapes, names, signs.

use std::sync::Arc;

use super::ast::Literal;

/// One word and where it starts.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) at: u32,
    pub(super) what: Word,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Literal(LiteralWord),
    Name(Arc<str>),
    /// A name in backquotes, which only selects a field.
    Quoted(Arc<str>),
    /// Punctuation and operators, `in` among them.
    Sign(&'static str),
    End,
}

/// A literal; a wrapper only for its comparison, which nobody but `Word` needs.
#[derive(Debug, Clone)]
pub(super) struct LiteralWord(pub(super) Literal);

impl PartialEq for LiteralWord {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "[", "]", "{", "}", "(", ")", ".", ",", "-", "+", "*", "/",
    "%", "?", ":", "!", "<", ">",
];

/// Words that are no names.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

type Fault = (u32, String);

/// All words of a source, the end among them.
pub(super) fn words(source: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.at as u32;
        let what = lexer.word()?;
        let is_end = what == Word::End;
        tokens.push(Token { at, what });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn fault<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Fault> {
        Err((at as u32, message.into()))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len()
                - rest
                    .trim_start_matches([' ', '\t', '\r', '\n', '\x0c'])
                    .len();
            self.at += blank;
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn word(&mut self) -> Result<Word, Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Word::End);
        };
        let second = rest[first.len_utf8()..].chars().next();
        if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if let Some(prefix) = string_prefix(rest) {
            return self.string(prefix);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(self.name());
        }
        if first == '`' {
            return self.quoted();
        }
        match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Word::Sign(sign))
            }
            None => self.fault(
                self.at,
                format!("Syntax error: token recognition error at: '{first}'"),
            ),
        }
    }

    fn name(&mut self) -> Word {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        let word = match name {
            "true" => Word::Literal(LiteralWord(Literal::Bool(true))),
            "false" => Word::Literal(LiteralWord(Literal::Bool(false))),
            "null" => Word::Literal(LiteralWord(Literal::Null)),
            "in" => Word::Sign("in"),
            name => Word::Name(name.into()),
        };
        self.at += end;
        word
    }

    fn quoted(&mut self) -> Result<Word, Fault> {
        let rest = &self.rest()[1..];
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
        match rest.find('`') {
            Some(end) if end > 0 && rest[..end].chars().all(allowed) => {
                let word = Word::Quoted(rest[..end].into());
                self.at += end + 2;
                Ok(word)
            }
            _ => self.fault(self.at, "Syntax error: token recognition error at: '`'"),
        }
    }

    fn number(&mut self) -> Result<Word, Fault> {
        let (start, rest) = (self.at, self.rest());
        let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        let (literal, length) = match hex {
            Some(digits) => {
                let end = end_of(digits, |c| c.is_ascii_hexdigit());
                let value = u64::from_str_radix(&digits[..end], 16).ok();
                self.integer(value, &digits[end..], end + 2)
            }
            None => self.decimal(rest),
        };
        self.at += length;
        match literal {
            Some(literal) => Ok(Word::Literal(LiteralWord(literal))),
            None => {
                let text = &self.source[start..self.at];
                self.fault(start, format!("invalid int literal '{text}'"))
            }
        }
    }

    fn decimal(&self, rest: &str) -> (Option<Literal>, usize) {
        let whole = end_of(rest, |c| c.is_ascii_digit());
        let mut end = whole;
        if let Some(fraction) = rest[end..].strip_prefix('.') {
            let digits = end_of(fraction, |c| c.is_ascii_digit());
            if digits > 0 {
                end += 1 + digits;
            }
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let digits = end_of(&exponent[sign..], |c| c.is_ascii_digit());
            if digits > 0 {
                end += 1 + sign + digits;
            }
        }
        if end == whole {
            return self.integer(rest[..end].parse().ok(), &rest[end..], end);
        }
        (rest[..end].parse().ok().map(Literal::Double), end)
    }

    /// Kept unsigned until the parser has seen the sign: -9223372036854775808 is an int.
    fn integer(&self, value: Option<u64>, after: &str, end: usize) -> (Option<Literal>, usize) {
        if after.starts_with(['u', 'U']) {
            return (value.map(Literal::Uint), end + 1);
        }
        let is_negated = self.source[..self.at].ends_with('-');
        let value = value.and_then(|value| match i64::try_from(value) {
            Ok(value) => Some(value),
            Err(_) if is_negated && value == 1 << 63 => Some(i64::MIN),
            Err(_) => None,
        });
        (value.map(Literal::Int), end)
    }

    fn string(&mut self, prefix: Prefix) -> Result<Word, Fault> {
        let start = self.at;
        let body = self.at + prefix.length + prefix.quote.len();
        let (mut at, mut text) = (body, Vec::new());
        loop {
            let rest = &self.source[at..];
            if rest.starts_with(prefix.quote) {
                self.at = at + prefix.quote.len();
                return self.finished(start, &prefix, text);
            }
            let Some(c) = rest.chars().next() else {
                return self.fault(start, "Syntax error: unterminated string");
            };
            if matches!(c, '\n' | '\r') && prefix.quote.len() == 1 {
                return self.fault(start, "Syntax error: unterminated string");
            }
            at += c.len_utf8();
            if c == '\\' && !prefix.is_raw {
                let escaped = escape(&self.source[at..], prefix.is_bytes, &mut text);
                let Some(length) = escaped else {
                    return self.fault(start, "Syntax error: invalid escape sequence");
                };
                at += length;
            } else {
                let mut buffer = [0; 4];
                text.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }

    fn finished(&self, start: usize, prefix: &Prefix, text: Vec<u8>) -> Result<Word, Fault> {
        let literal = if prefix.is_bytes {
            Literal::Bytes(text.into())
        } else {
            match String::from_utf8(text) {
                Ok(text) => Literal::String(text.into()),
                Err(_) => return self.fault(start, "Syntax error: invalid unicode code point"),
            }
        };
        Ok(Word::Literal(LiteralWord(literal)))
    }
}

fn end_of(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

struct Prefix {
    length: usize,
    quote: &'static str,
    is_raw: bool,
    is_bytes: bool,
}

/// How a string begins, if one begins here.
fn string_prefix(rest: &str) -> Option<Prefix> {
    let length = end_of(rest, |c| "rRbB".contains(c));
    let (letters, body) = rest.split_at(length.min(2));
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| body.starts_with(quote))?;
    let letters = letters.to_ascii_lowercase();
    if matches!(letters.as_str(), "rr" | "bb") {
        return None;
    }
    Some(Prefix {
        length: letters.len(),
        quote,
        is_raw: letters.contains('r'),
        is_bytes: letters.contains('b'),
    })
}

/// Appends what an escape stands for; answers how long it is after the backslash.
fn escape(rest: &str, is_bytes: bool, text: &mut Vec<u8>) -> Option<usize> {
    let c = rest.chars().next()?;
    let simple = match c {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '?' | '"' | '\'' | '`' => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        text.push(byte);
        return Some(1);
    }
    let (radix, from, n_digits) = match c {
        'x' | 'X' => (16, 1, 2),
        'u' if !is_bytes => (16, 1, 4),
        'U' if !is_bytes => (16, 1, 8),
        '0'..='3' => (8, 0, 3),
        _ => return None,
    };
    let digits = rest.get(from..from + n_digits)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    if is_bytes {
        text.push(u8::try_from(value).ok()?);
    } else {
        let mut buffer = [0; 4];
        let c = char::from_u32(value)?;
        text.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
    Some(from + n_digits)
}
