//! The few template calls that people use in routing files and `defaultRule`, out of Go's `text/template` with
//! sprig. Anything else is an error that names the call, so that nothing is routed by a text that was only half
//! expanded.

use crate::name::normalize;

/// Largest text that comes out, and largest value on the way.
const OUTPUT_BYTES: usize = 16 << 20;

/// Parentheses within each other.
const DEPTH: usize = 32;

/// The calls that are known, for error texts.
const CALLS: &[&str] = &[
    "coalesce",
    "default",
    "env",
    "index",
    "lower",
    "normalize",
    "print",
    "printf",
    "quote",
    "replace",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "upper",
];

/// What a template may ask for.
#[derive(Clone, Copy)]
pub struct TemplateContext<'a> {
    /// A variable of the environment, for `env`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The container, for `.Name` and its like; none in files.
    pub container: Option<ContainerData<'a>>,
}

/// What a template may ask of a container.
#[derive(Clone, Copy)]
pub struct ContainerData<'a> {
    /// `.Name`: the base name, as Traefik makes it.
    pub name: &'a str,
    /// `.ContainerName`: without the leading slash.
    pub container_name: &'a str,
    /// `.Labels.x` and `index .Labels "x"`.
    pub labels: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for TemplateContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateContext").field("container", &self.container).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ContainerData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerData").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a template cannot be expanded. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Line of the call.
    pub line: u32,
    /// Column of the call, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Expands a template. A text without `{{` comes back as it is.
pub fn render(text: &str, context: &TemplateContext<'_>) -> Result<String, TemplateError> {
    expand(text, context).map_err(|fault| {
        let before = text.get(..fault.offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        TemplateError {
            line: count(before.matches('\n').count()),
            column: count(before[start..].chars().count()),
            message: fault.message,
            hint: fault.hint,
        }
    })
}

/// What is wrong, at a byte of the whole text.
#[derive(Debug)]
struct Fault {
    offset: usize,
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), hint: None }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

fn expand(text: &str, context: &TemplateContext<'_>) -> Result<String, Fault> {
    let mut output = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let open = at + found;
        let mut inside = open + 2;
        let mut before = &text[at..open];
        if text[inside..].starts_with('-') && text[inside + 1..].starts_with(is_space) {
            before = before.trim_end_matches(is_space);
            inside += 1;
        }
        append(&mut output, before, open)?;
        let close = if is_comment(&text[inside..]) {
            comment_end(text, inside).ok_or_else(|| Fault::new(open, "unclosed comment"))?
        } else {
            let tokens = tokens(text, inside, open)?;
            let (value, end) = Parser { tokens: &tokens, at: 0, context, depth: 0 }.action(open)?;
            append(&mut output, &value, open)?;
            end
        };
        at = close.end;
        if close.trims {
            at += text[at..].len() - text[at..].trim_start_matches(is_space).len();
        }
    }
    append(&mut output, &text[at..], text.len())?;
    Ok(output)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn append(output: &mut String, text: &str, offset: usize) -> Result<(), Fault> {
    if output.len() + text.len() > OUTPUT_BYTES {
        return Err(Fault::new(offset, "the template expands to more than 16 MiB"));
    }
    output.push_str(text);
    Ok(())
}

/// Where text goes on after an action.
#[derive(Debug, Clone, Copy)]
struct Close {
    end: usize,
    trims: bool,
}

/// A comment takes the whole action: `{{/* … */}}`, `{{- /* … */ -}}`.
fn is_comment(inside: &str) -> bool {
    inside.trim_start_matches(is_space).starts_with("/*")
}

fn comment_end(text: &str, inside: usize) -> Option<Close> {
    let start = inside + text[inside..].find("/*")? + 2;
    let rest = start + text[start..].find("*/")? + 2;
    close_at(text, rest)
}

/// The end of an action, if it stands here: `}}`, or ` -}}`, which trims the space behind it.
fn close_at(text: &str, at: usize) -> Option<Close> {
    let rest = &text[at..];
    if rest.starts_with("}}") {
        return Some(Close { end: at + 2, trims: false });
    }
    let trimmed = rest.trim_start_matches(is_space);
    let space = rest.len() - trimmed.len();
    (space > 0 && trimmed.starts_with("-}}")).then_some(Close { end: at + space + 3, trims: true })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    /// A number, `true`, `false`, `nil`: as text.
    Constant(String),
    /// `env`.
    Name(String),
    /// `.Name`, `.Labels.x`: without the first dot; empty for `.`.
    Field(String),
    Pipe,
    Open,
    Close,
    End(usize, bool),
}

/// The tokens of one action, the last of which is its end.
fn tokens(text: &str, mut at: usize, open: usize) -> Result<Vec<(usize, Token)>, Fault> {
    let mut tokens = Vec::new();
    loop {
        if let Some(close) = close_at(text, at) {
            tokens.push((at, Token::End(close.end, close.trims)));
            return Ok(tokens);
        }
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Err(Fault::new(open, "unclosed action").with_hint("close it with `}}`"));
        };
        let word = |from: usize| {
            let rest = &text[from..];
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            &rest[..length]
        };
        let token = match first {
            c if is_space(c) => {
                at += 1;
                continue;
            }
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '`' => match rest[1..].find('`') {
                Some(length) => (Token::Text(rest[1..=length].to_owned()), length + 2),
                None => return Err(Fault::new(at, "unterminated raw quoted string")),
            },
            '"' => quoted(rest, at)?,
            '.' => {
                let mut length = 1;
                let mut path = word(at + 1).to_owned();
                length += path.len();
                while !path.is_empty() && text[at + length..].starts_with('.') {
                    let next = word(at + length + 1);
                    length += 1 + next.len();
                    path.push('.');
                    path.push_str(next);
                }
                (Token::Field(path), length)
            }
            c if c.is_ascii_digit() || (c == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) => {
                let length = rest[1..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
                    .map_or(rest.len(), |length| length + 1);
                (Token::Constant(rest[..length].to_owned()), length)
            }
            c if c.is_alphabetic() || c == '_' => {
                let name = word(at);
                let token = match name {
                    "true" | "false" | "nil" => Token::Constant(name.to_owned()),
                    _ => Token::Name(name.to_owned()),
                };
                (token, name.len())
            }
            '$' => return Err(unknown(at, &format!("${}", word(at + 1)))),
            c => return Err(Fault::new(at, format!("unexpected {c:?} in a template call"))),
        };
        tokens.push((at, token.0));
        at += token.1;
    }
}

/// A string in double quotes, with Go's escapes; the token and its length.
fn quoted(rest: &str, at: usize) -> Result<(Token, usize), Fault> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), offset + 1)),
            '\n' => break,
            '\\' => {
                let bad = || Fault::new(at + offset, "unknown escape in a string");
                let (_, escape) = chars.next().ok_or_else(bad)?;
                let mut code = |digits: usize| {
                    (0..digits)
                        .try_fold(0, |code, _| Some(code * 16 + chars.next()?.1.to_digit(16)?))
                        .and_then(char::from_u32)
                };
                text.push(match escape {
                    '\\' | '"' | '\'' => escape,
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'x' => code(2).filter(char::is_ascii).ok_or_else(bad)?,
                    'u' => code(4).ok_or_else(bad)?,
                    'U' => code(8).ok_or_else(bad)?,
                    _ => return Err(bad()),
                });
            }
            c => text.push(c),
        }
    }
    Err(Fault::new(at, "unterminated quoted string"))
}

fn unknown(offset: usize, call: &str) -> Fault {
    Fault::new(offset, format!("template call `{call}` is not known"))
        .with_hint(format!("these are: {}", CALLS.join(", ")))
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    context: &'a TemplateContext<'a>,
    depth: usize,
}

/// A value, or the map of labels, which only `index` takes.
#[derive(Debug, Clone, PartialEq)]
enum Argument {
    Text(String),
    Labels,
}

impl Parser<'_> {
    /// One action, to its end.
    fn action(mut self, open: usize) -> Result<(String, Close), Fault> {
        if let Some((_, Token::End(..))) = self.tokens.first() {
            return Err(Fault::new(open, "missing value for command"));
        }
        let value = self.pipeline()?;
        match self.tokens.get(self.at) {
            Some((_, Token::End(end, trims))) => {
                let close = Close { end: *end, trims: *trims };
                Ok((text_of(value, open)?, close))
            }
            Some((offset, _)) => Err(Fault::new(*offset, "unexpected `)`")),
            None => Err(Fault::new(open, "unclosed action")),
        }
    }

    fn pipeline(&mut self) -> Result<Argument, Fault> {
        let mut value = self.command(None)?;
        while let Some((_, Token::Pipe)) = self.tokens.get(self.at) {
            self.at += 1;
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    fn command(&mut self, piped: Option<Argument>) -> Result<Argument, Fault> {
        let Some((offset, token)) = self.tokens.get(self.at) else {
            return Err(Fault::new(0, "unclosed action"));
        };
        let offset = *offset;
        if let Token::Name(name) = token {
            // A call that is not known is named before its arguments are looked at.
            if !CALLS.contains(&name.as_str()) {
                return Err(unknown(offset, name));
            }
            self.at += 1;
            let mut arguments = Vec::new();
            while let Some(argument) = self.operand()? {
                arguments.push(argument);
            }
            arguments.extend(piped);
            return self.call(name, arguments, offset);
        }
        let Some(value) = self.operand()? else {
            return Err(Fault::new(offset, "missing value for command"));
        };
        if piped.is_some()
            || !matches!(self.tokens.get(self.at), Some((_, Token::Pipe | Token::Close | Token::End(..))))
        {
            return Err(Fault::new(offset, "can't give argument to non-function"));
        }
        Ok(value)
    }

    /// The next argument; none at the end of the command.
    fn operand(&mut self) -> Result<Option<Argument>, Fault> {
        let Some((offset, token)) = self.tokens.get(self.at) else { return Ok(None) };
        let value = match token {
            Token::Pipe | Token::Close | Token::End(..) => return Ok(None),
            Token::Text(text) | Token::Constant(text) => Argument::Text(text.clone()),
            Token::Field(path) => self.field(path, *offset)?,
            Token::Name(name) => self.call(name, Vec::new(), *offset)?,
            Token::Open => {
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err(Fault::new(*offset, "parentheses are nested too deep"));
                }
                self.at += 1;
                let value = self.pipeline()?;
                if !matches!(self.tokens.get(self.at), Some((_, Token::Close))) {
                    return Err(Fault::new(*offset, "unclosed left paren"));
                }
                self.depth -= 1;
                value
            }
        };
        self.at += 1;
        Ok(Some(value))
    }

    fn field(&self, path: &str, offset: usize) -> Result<Argument, Fault> {
        let Some(container) = &self.context.container else {
            return Err(Fault::new(offset, format!("there is no `.{path}` in a file"))
                .with_hint("in files `env` reads a variable; `.Name` is for `defaultRule`"));
        };
        match path.split_once('.').map_or((path, None), |(field, below)| (field, Some(below))) {
            ("Name", None) => Ok(Argument::Text(container.name.to_owned())),
            ("ContainerName", None) => Ok(Argument::Text(container.container_name.to_owned())),
            ("Labels", None) => Ok(Argument::Labels),
            ("Labels", Some(name)) if !name.contains('.') => {
                Ok(Argument::Text((container.labels)(name).unwrap_or_default()))
            }
            ("Labels", Some(name)) => {
                Err(Fault::new(offset, format!("`.Labels.{name}` is a label of a label"))
                    .with_hint(format!("write `index .Labels \"{name}\"`")))
            }
            _ => Err(Fault::new(offset, format!("there is no `.{path}`"))
                .with_hint("there are `.Name`, `.ContainerName` and `.Labels`")),
        }
    }

    fn call(&self, name: &str, arguments: Vec<Argument>, offset: usize) -> Result<Argument, Fault> {
        if !CALLS.contains(&name) {
            return Err(unknown(offset, name));
        }
        if name == "index" {
            return match &arguments[..] {
                [Argument::Labels, Argument::Text(label)] => {
                    let labels = self.context.container.as_ref().map(|container| container.labels);
                    let label = labels.and_then(|labels| labels(label));
                    Ok(Argument::Text(label.unwrap_or_default()))
                }
                _ => Err(Fault::new(offset, "`index` is known for labels alone")
                    .with_hint("write `index .Labels \"name\"`")),
            };
        }
        let texts: Vec<String> =
            arguments.into_iter().map(|argument| text_of(argument, offset)).collect::<Result<_, _>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let value = match (name, &texts[..]) {
            ("env", [variable]) => (self.context.env)(variable).unwrap_or_default(),
            ("normalize", [text]) => normalize(text),
            ("default", [default]) => (*default).to_owned(),
            ("default", [default, value]) => (*if value.is_empty() { default } else { value }).to_owned(),
            ("coalesce", values) => {
                (*values.iter().find(|value| !value.is_empty()).unwrap_or(&"")).to_owned()
            }
            ("lower", [text]) => text.to_lowercase(),
            ("upper", [text]) => text.to_uppercase(),
            ("trim", [text]) => text.trim().to_owned(),
            ("trimPrefix", [prefix, text]) => text.strip_prefix(prefix).unwrap_or(text).to_owned(),
            ("trimSuffix", [suffix, text]) => text.strip_suffix(suffix).unwrap_or(text).to_owned(),
            ("replace", [old, new, text]) => {
                let grown = text.matches(old).count().saturating_mul(new.len());
                if grown.saturating_add(text.len()) > OUTPUT_BYTES {
                    return Err(Fault::new(offset, "`replace` makes more than 16 MiB"));
                }
                text.replace(old, new)
            }
            ("quote", [text]) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            ("print", texts) => texts.concat(),
            ("printf", [format, values @ ..]) => {
                printf(format, values).map_err(|message| Fault::new(offset, message))?
            }
            _ => {
                let message = format!("`{name}` does not take {} values", texts.len());
                return Err(Fault::new(offset, message));
            }
        };
        if value.len() > OUTPUT_BYTES {
            return Err(Fault::new(offset, format!("`{name}` makes more than 16 MiB")));
        }
        Ok(Argument::Text(value))
    }
}

fn text_of(argument: Argument, offset: usize) -> Result<String, Fault> {
    match argument {
        Argument::Text(text) => Ok(text),
        Argument::Labels => {
            Err(Fault::new(offset, "`.Labels` is no text").with_hint("write `index .Labels \"name\"`"))
        }
    }
}

/// `printf` with `%s`, `%v` and `%%`.
fn printf(format: &str, values: &[&str]) -> Result<String, String> {
    let mut values = values.iter();
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('%')) => text.push('%'),
            ('%', Some('s' | 'v')) => match values.next() {
                Some(value) => text.push_str(value),
                None => return Err("`printf` has more places than values".to_owned()),
            },
            ('%', other) => {
                let verb = other.map_or_else(String::new, String::from);
                return Err(format!("`%{verb}` of `printf` is not known; `%s` and `%v` are"));
            }
            (c, _) => text.push(c),
        }
        if text.len() > OUTPUT_BYTES {
            return Err("`printf` makes more than 16 MiB".to_owned());
        }
    }
    match values.next() {
        Some(_) => Err("`printf` has more values than places".to_owned()),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expanded(text: &str, container: bool) -> Result<String, String> {
        let env = |name: &str| (name == "DOMAIN").then(|| "example.com".to_owned());
        let labels = |name: &str| match name {
            "app" => Some("Blog".to_owned()),
            "com.docker.compose.service" => Some("web".to_owned()),
            _ => None,
        };
        let container = container.then_some(ContainerData {
            name: "my_app",
            container_name: "project-my_app-1",
            labels: &labels,
        });
        render(text, &TemplateContext { env: &env, container }).map_err(|error| {
            let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}:{}: {}{hint}", error.line, error.column, error.message)
        })
    }

    #[test]
    fn known_calls_are_expanded() {
        for (text, expected) in [
            ("no template { } }}", "no template { } }}"),
            ("Host(`{{ env \"DOMAIN\" }}`)", "Host(`example.com`)"),
            ("{{env `DOMAIN`}}", "example.com"),
            ("{{ env \"NONE\" }}", ""),
            ("{{ env \"NONE\" | default \"x.test\" }}", "x.test"),
            ("{{ default \"y\" (env \"DOMAIN\") }}", "example.com"),
            ("{{ default (env \"DOMAIN\") (env \"NONE\" | lower) | upper }}", "EXAMPLE.COM"),
            ("Host(`{{ normalize .Name }}`)", "Host(`my-app`)"),
            ("{{ .Name | normalize }}.{{ .ContainerName }}", "my-app.project-my_app-1"),
            ("{{ .Labels.app | lower }}", "blog"),
            ("{{ .Labels.none }}", ""),
            ("{{ index .Labels \"com.docker.compose.service\" }}", "web"),
            ("{{ printf \"%s.%s\" .Name (env \"DOMAIN\") }}", "my_app.example.com"),
            ("{{ trimSuffix \".com\" (env \"DOMAIN\") }}", "example"),
            ("{{ \"  a b \" | trim | replace \" \" \"-\" }}", "a-b"),
            ("a {{- /* gone */ -}} b", "ab"),
            ("a {{/* gone }} */}} b", "a  b"),
            ("a \n {{- \"x\" -}} \n b", "axb"),
            ("{{\"{{\"}}", "{{"),
            ("{{ \"a\\t\\\"b\\u00e4\" }}", "a\t\"bä"),
            ("{{ (\"x\") }}", "x"),
            ("{{ \"}}\" }}", "}}"),
            ("{{ 80 }}", "80"),
        ] {
            assert_eq!(expanded(text, true).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error_that_names_it() {
        let known = CALLS.join(", ");
        for (text, expected) in [
            ("a:\n  b: {{ range .X }}", format!("2:9: template call `range` is not known; these are: {known}")),
            ("{{ if true }}", format!("1:4: template call `if` is not known; these are: {known}")),
            ("{{ $x := 1 }}", format!("1:4: template call `$x` is not known; these are: {known}")),
            ("{{ b64enc \"x\" }}", format!("1:4: template call `b64enc` is not known; these are: {known}")),
            ("{{ .Name }}", "1:4: there is no `.Name` in a file; in files `env` reads a variable; `.Name` is for `defaultRule`".to_owned()),
            ("ä {{ env", "1:3: unclosed action; close it with `}}`".to_owned()),
            ("{{ env \"x", "1:8: unterminated quoted string".to_owned()),
            ("{{ }}", "1:1: missing value for command".to_owned()),
            ("{{ env }}", "1:4: `env` does not take 0 values".to_owned()),
            ("{{ (env \"x\" }}", "1:4: unclosed left paren".to_owned()),
            ("{{ env \"x\") }}", "1:11: unexpected `)`".to_owned()),
            ("{{ \"a\" \"b\" }}", "1:4: can't give argument to non-function".to_owned()),
            ("{{ \"a\" | \"b\" }}", "1:10: can't give argument to non-function".to_owned()),
            ("{{/* x }}", "1:1: unclosed comment".to_owned()),
            ("{{ printf \"%d\" 3 }}", "1:4: `%d` of `printf` is not known; `%s` and `%v` are".to_owned()),
            ("{{ a = b }}", "1:6: unexpected '=' in a template call".to_owned()),
        ] {
            assert_eq!(expanded(text, false), Err(expected), "{text}");
        }
        assert!(expanded(&format!("{{{{ {} }}}}", "(".repeat(1000)), true).is_err());
        let grows =
            format!("{{{{ \"{}\" | replace \"a\" \"{}\" }}}}", "a".repeat(1 << 13), "b".repeat(1 << 13));
        assert!(expanded(&grows, true).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_templates_panic(text in "\\PC*|[{}(\\|)\"`\\\\.\\-/* a-eä$0-9\n]{0,60}|\\{\\{[(\\|)\"`\\\\.\\-/* a-eä$0-9\n]{0,30}\\}\\}") {
            let _ = expanded(&text, true);
        }
    }
}
