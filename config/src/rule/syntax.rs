//! The grammar of rules, without the meaning of matchers: text -> [`Expression`] of [`Call`]s.
//!
//! Traefik reads rules with Go's expression parser, so strings, comments and line breaks follow Go: a line break
//! behind a name, a string or `)` ends the rule.

use super::{Expression, ParseRuleError};

/// Longest rule, in bytes. The longest known real one has some hundred hosts and 20 KB.
const MAX_LENGTH: usize = 64 * 1024;

/// Deepest nesting of parentheses. The parser and everything that walks the tree call themselves once a level.
const MAX_DEPTH: usize = 64;

/// `` Name(`argument`, …) `` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// Column of the name, in characters from 1.
    pub(super) column: usize,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) text: String,
    /// Column of the opening quote, in characters from 1.
    pub(super) column: usize,
}

/// Parses the text of a rule. Says nothing about names and arguments of matchers.
pub(super) fn parse(text: &str) -> Result<Expression<Call>, ParseRuleError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseRuleError {
            column: 1,
            message: format!("the rule is {} bytes long", text.len()),
            hint: Some(format!("a rule has at most {MAX_LENGTH} bytes; split it into several routers")),
        });
    }
    let mut parser =
        Parser { text, offset: 0, ends_line: false, token: Token::End, start: 0, depth: 0, column: (0, 1) };
    parser.advance()?;
    if parser.token == Token::End {
        return Err(parser.error(0, "empty rule", "write for example Host(`www.example.com`)"));
    }
    let expression = parser.any()?;
    // The line break that ends the rule is allowed, and only blanks and comments behind it.
    if parser.token == Token::LineBreak {
        let line_break = parser.start;
        parser.advance()?;
        if parser.token != Token::End {
            return Err(parser.error(
                line_break,
                "unexpected line break",
                "a line break ends the rule unless an operator, a comma or `(` stands before it: move the \
                 operator to the end of the line above",
            ));
        }
    }
    match parser.token {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Open,
    Close,
    Comma,
    Not,
    And,
    Or,
    /// A line break where Go ends a statement.
    LineBreak,
    /// Anything else, as written.
    Other(String),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the next token is looked for.
    offset: usize,
    /// A line break at `offset` would end the rule.
    ends_line: bool,
    token: Token,
    /// Where `token` begins.
    start: usize,
    depth: usize,
    /// The last offset whose column was asked for, and that column: columns are counted once, left to right.
    column: (usize, usize),
}

impl Parser<'_> {
    /// `a || b || …`
    fn any(&mut self) -> Result<Expression<Call>, ParseRuleError> {
        let first = self.all()?;
        if self.token != Token::Or {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.token == Token::Or {
            self.advance()?;
            operands.push(self.all()?);
        }
        Ok(Expression::Or(operands))
    }

    /// `a && b && …`
    fn all(&mut self) -> Result<Expression<Call>, ParseRuleError> {
        let first = self.operand()?;
        if self.token != Token::And {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.token == Token::And {
            self.advance()?;
            operands.push(self.operand()?);
        }
        Ok(Expression::And(operands))
    }

    /// `!a`, `(a)` or a call.
    fn operand(&mut self) -> Result<Expression<Call>, ParseRuleError> {
        let mut negated = false;
        while self.token == Token::Not {
            negated = !negated;
            self.advance()?;
        }
        let operand = match &self.token {
            Token::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.error(
                        self.start,
                        "the rule is nested too deeply",
                        &format!("at most {MAX_DEPTH} parentheses may be open at once"),
                    ));
                }
                self.advance()?;
                let inner = self.any()?;
                self.expect_close()?;
                self.depth -= 1;
                inner
            }
            Token::Name(name) => {
                let name = name.clone();
                Expression::Matcher(self.call(name)?)
            }
            Token::Text(_)
            | Token::Close
            | Token::Comma
            | Token::Not
            | Token::And
            | Token::Or
            | Token::LineBreak
            | Token::Other(_)
            | Token::End => return Err(self.unexpected("a matcher")),
        };
        Ok(if negated { Expression::Not(Box::new(operand)) } else { operand })
    }

    fn call(&mut self, name: String) -> Result<Call, ParseRuleError> {
        let column = self.column_of(self.start);
        self.advance()?;
        if self.token != Token::Open {
            return Err(self.unexpected(&format!("`(` behind {name}")));
        }
        self.advance()?;
        let mut arguments = Vec::new();
        while self.token != Token::Close {
            let Token::Text(text) = &self.token else {
                return Err(self.unexpected("a string in back-quotes or `)`"));
            };
            let text = text.clone();
            arguments.push(Argument { text, column: self.column_of(self.start) });
            self.advance()?;
            if self.token != Token::Comma {
                break;
            }
            self.advance()?;
        }
        self.expect_close()?;
        Ok(Call { name, column, arguments })
    }

    fn expect_close(&mut self) -> Result<(), ParseRuleError> {
        if self.token != Token::Close {
            return Err(self.unexpected("`)`"));
        }
        self.advance()
    }

    /// Reads the next token.
    fn advance(&mut self) -> Result<(), ParseRuleError> {
        if let Some(line_break) = self.skip_blanks()? {
            self.start = line_break;
            self.token = Token::LineBreak;
            self.ends_line = false;
            return Ok(());
        }
        self.start = self.offset;
        let rest = &self.text[self.offset..];
        let Some(first) = rest.chars().next() else {
            self.token = Token::End;
            return Ok(());
        };
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '&' if rest.starts_with("&&") => (Token::And, 2),
            '|' if rest.starts_with("||") => (Token::Or, 2),
            '!' if !rest.starts_with("!=") => (Token::Not, 1),
            '`' => self.raw_string(rest)?,
            '"' => self.quoted_string(rest)?,
            '_' => name(rest),
            letter if letter.is_alphabetic() => name(rest),
            _ => (Token::Other(first.to_string()), first.len_utf8()),
        };
        self.offset += length;
        self.ends_line = matches!(token, Token::Name(_) | Token::Text(_) | Token::Close);
        self.token = token;
        Ok(())
    }

    /// Skips blanks and comments. Gives the place of a line break that ends the rule.
    fn skip_blanks(&mut self) -> Result<Option<usize>, ParseRuleError> {
        loop {
            let rest = &self.text[self.offset..];
            let start = self.offset;
            if rest.starts_with('\n') {
                self.offset += 1;
                if self.ends_line {
                    return Ok(Some(start));
                }
            } else if rest.starts_with([' ', '\t', '\r']) {
                self.offset += 1;
            } else if rest.starts_with("//") {
                self.offset += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(length) = rest.get(2..).and_then(|inside| inside.find("*/")) else {
                    return Err(self.error(start, "the comment is not closed", "end it with */"));
                };
                self.offset += length + 4;
                if self.ends_line && rest[..length + 4].contains('\n') {
                    return Ok(Some(start));
                }
            } else {
                return Ok(None);
            }
        }
    }

    /// Everything up to the next back-quote; Go drops carriage returns.
    fn raw_string(&mut self, rest: &str) -> Result<(Token, usize), ParseRuleError> {
        match rest[1..].find('`') {
            Some(length) => Ok((Token::Text(rest[1..=length].replace('\r', "")), length + 2)),
            None => Err(self.error(self.start, "the string is not closed", "end it with a back-quote")),
        }
    }

    fn quoted_string(&mut self, rest: &str) -> Result<(Token, usize), ParseRuleError> {
        let mut bytes = Vec::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    let text = String::from_utf8(bytes).map_err(|_| {
                        self.error(self.start, "the string is not UTF-8", "write the characters themselves")
                    })?;
                    return Ok((Token::Text(text), index + 1));
                }
                '\n' => break,
                '\\' => {
                    let Some(length) = escape(&rest[index + 1..], &mut bytes) else {
                        return Err(self.error(
                            self.start + index,
                            "unknown escape sequence",
                            "in double quotes a backslash is written twice; in back-quotes once",
                        ));
                    };
                    // Escapes are ASCII, so their length in bytes is their length in characters.
                    let _ = characters.nth(length - 1);
                }
                other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err(self.error(self.start, "the string is not closed", "end it with \" on the same line"))
    }

    fn column_of(&mut self, offset: usize) -> usize {
        let (from, column) = if self.column.0 <= offset { self.column } else { (0, 1) };
        self.column = (offset, column + self.text[from..offset].chars().count());
        self.column.1
    }

    fn error(&mut self, offset: usize, what: &str, hint: &str) -> ParseRuleError {
        ParseRuleError {
            column: self.column_of(offset),
            message: format!("parsing rule {}: {what}", abridge(self.text)),
            hint: Some(hint.to_owned()),
        }
    }

    fn unexpected(&mut self, expected: &str) -> ParseRuleError {
        let (found, hint) = match &self.token {
            Token::End => ("the end".to_owned(), "close every parenthesis and finish every operator"),
            Token::LineBreak => (
                "a line break".to_owned(),
                "a line break ends the rule unless an operator, a comma or `(` stands before it: move the \
                 operator to the end of the line above",
            ),
            Token::Name(name) => (
                name.clone(),
                match name.to_ascii_lowercase().as_str() {
                    "and" => "write && instead",
                    "or" => "write || instead",
                    "not" => "write ! instead",
                    _ if expected.starts_with("a string") => "arguments stand in back-quotes: Host(`a.com`)",
                    _ => "join matchers with && or ||",
                },
            ),
            Token::Comma => (",".to_owned(), "a comma does not join matchers: write && instead"),
            Token::Text(text) => {
                (format!("{text:?}"), "a string can only stand inside of a matcher: Host(`a.com`)")
            }
            Token::Other(other) => (
                other.clone(),
                match other.as_str() {
                    "&" => "write && instead",
                    "|" => "write || instead",
                    "'" | "‘" | "’" | "“" | "”" | "´" => {
                        "strings stand in back-quotes: Host(`a.com`)"
                    }
                    ";" => "a rule is one expression: join its parts with && or ||",
                    "{" => "template calls are not part of the rule language",
                    _ if expected.starts_with("a string") => "arguments stand in back-quotes: Host(`a.com`)",
                    _ => "only &&, ||, ! and parentheses join matchers",
                },
            ),
            Token::Open => ("(".to_owned(), "join matchers with && or ||"),
            Token::Close => (")".to_owned(), "an opening parenthesis or a matcher is missing before it"),
            Token::Not => ("!".to_owned(), "join matchers with && or ||"),
            Token::And => ("&&".to_owned(), "a matcher is missing before the operator"),
            Token::Or => ("||".to_owned(), "a matcher is missing before the operator"),
        };
        self.error(self.start, &format!("expected {expected}, found {found}"), hint)
    }
}

fn name(rest: &str) -> (Token, usize) {
    let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
    (Token::Name(rest[..length].to_owned()), length)
}

/// Appends what an escape (the text behind its backslash) stands for. Gives its length, none if Go has no such.
fn escape(rest: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let number = |range: std::ops::Range<usize>, radix: u32| {
        let digits = rest.get(range).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let simple = match rest.chars().next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            bytes.push(u8::try_from(number(1..3, 16)?).ok()?);
            return Some(3);
        }
        '0'..='7' => {
            bytes.push(u8::try_from(number(0..3, 8)?).ok()?);
            return Some(3);
        }
        letter @ ('u' | 'U') => {
            let end = if letter == 'u' { 5 } else { 9 };
            let character = char::from_u32(number(1..end, 16)?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(end);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(1)
}

/// At most 200 characters of a text that goes into a message.
pub(super) fn abridge(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
