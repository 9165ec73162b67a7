//! Go's regular expressions (RE2) in the words of the `regex` crate.
//!
//! Both engines are linear and know the same operators; they differ in what stands for itself. RE2 takes `{` that
//! begins no repetition and `[` inside of a class literally, knows `\Q…\E`, and its `\d \w \s \b` are ASCII.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// Most memory of one compiled expression.
const MAX_COMPILED: usize = 1024 * 1024;

/// A regular expression as Go understands it. Cheap to clone.
#[derive(Clone)]
pub struct Pattern {
    written: Arc<str>,
    regex: Regex,
}

impl Pattern {
    /// Whether some part of the text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.written)
    }
}

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompileRegexError {
    pub(super) message: String,
    pub(super) hint: String,
}

pub(super) fn compile(pattern: &str) -> Result<Pattern, CompileRegexError> {
    let translated = translate(pattern)?;
    let hint = "the syntax is that of RE2, as in Go";
    match RegexBuilder::new(&translated).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build() {
        Ok(regex) => Ok(Pattern { written: Arc::from(pattern), regex }),
        Err(regex::Error::CompiledTooBig(_)) => Err(unsupported(
            "the compiled expression is larger than 1 MiB",
            "repeat less: nested counts such as (a{100}){100} multiply",
        )),
        Err(error) => {
            // The last line of the engine's drawing says what is wrong; the ones before show the translated text.
            let text = error.to_string();
            let reason = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
            Err(unsupported(reason.unwrap_or("not a regular expression"), hint))
        }
    }
}

fn unsupported(message: &str, hint: &str) -> CompileRegexError {
    CompileRegexError { message: message.to_owned(), hint: hint.to_owned() }
}

fn translate(pattern: &str) -> Result<String, CompileRegexError> {
    let mut output = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\\' => escape(rest, &mut output, Place::Outside)?,
            '[' => class(rest, &mut output)?,
            '{' => match repetition(rest) {
                Some(length) => {
                    output.push_str(&rest[..length]);
                    length
                }
                None => {
                    output.push_str("\\{");
                    1
                }
            },
            '(' if rest.starts_with("(?") => {
                check_group(rest)?;
                output.push_str("(?");
                2
            }
            other => {
                output.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(output)
}

/// `(?P<name>`, `(?<name>` and flags are Go's; all else behind `(?` is not.
fn check_group(rest: &str) -> Result<(), CompileRegexError> {
    let inside = &rest[2..];
    if ["=", "!", "<=", "<!"].iter().any(|look| inside.starts_with(look)) {
        return Err(unsupported(
            "invalid or unsupported Perl syntax: look-around",
            "RE2 has no look-around: say it with a second matcher, such as && !PathRegexp(`…`)",
        ));
    }
    if inside.starts_with("P<") || inside.starts_with('<') {
        return Ok(());
    }
    let flags = inside.find([':', ')']).map(|end| &inside[..end]);
    if flags.is_some_and(|flags| flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-'))) {
        return Ok(());
    }
    Err(unsupported("invalid or unsupported Perl syntax", "RE2 knows the flags i, m, s and U: (?i)"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Class,
}

/// Translates the escape at the start of `rest` and gives its length.
fn escape(rest: &str, output: &mut String, place: Place) -> Result<usize, CompileRegexError> {
    let Some(escaped) = rest[1..].chars().next() else {
        return Err(unsupported("trailing backslash at end of expression", "write \\\\ for a backslash"));
    };
    match escaped {
        // Classes of their own even within a class, so that a `-` behind one begins no range.
        'd' => output.push_str("[0-9]"),
        'w' => output.push_str("[0-9A-Za-z_]"),
        's' => output.push_str(r"[\t\n\f\r ]"),
        'D' => output.push_str("[^0-9]"),
        'W' => output.push_str("[^0-9A-Za-z_]"),
        'S' => output.push_str(r"[^\t\n\f\r ]"),
        'b' if place == Place::Outside => output.push_str(r"(?-u:\b)"),
        // Here the engine's Unicode meaning stays: the ASCII one could split a character, which it refuses.
        'B' if place == Place::Outside => output.push_str(r"\B"),
        'Q' => {
            let quoted = &rest[2..];
            let (quoted, length) = match quoted.find("\\E") {
                Some(end) => (&quoted[..end], end + 4),
                None => (quoted, quoted.len() + 2),
            };
            output.push_str(&regex::escape(quoted));
            return Ok(length);
        }
        'p' | 'P' | 'x' => {
            let body = &rest[2..];
            let length = if body.starts_with('{') {
                body.find('}').map_or(body.len(), |end| end + 1)
            } else {
                let wanted = if escaped == 'x' { 2 } else { 1 };
                body.char_indices().nth(wanted).map_or(body.len(), |(end, _)| end)
            };
            output.push_str(&rest[..2 + length]);
            return Ok(2 + length);
        }
        '0'..='7' if escaped == '0' || rest[2..].starts_with(|c: char| c.is_digit(8)) => {
            let digits = rest[1..].bytes().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
            let value = u32::from_str_radix(&rest[1..=digits], 8).unwrap_or(0);
            output.push_str(&format!("\\x{{{value:X}}}"));
            return Ok(1 + digits);
        }
        '1'..='9' => {
            return Err(unsupported(
                "invalid escape sequence: back-reference",
                "RE2 has no back-references: write the alternatives out",
            ));
        }
        'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' | 'z' => {
            output.push('\\');
            output.push(escaped);
        }
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => {
            // Outside of ASCII letters and digits an escaped character stands for itself.
            output.push_str(&format!("\\x{{{:X}}}", u32::from(other)));
        }
        other => {
            return Err(unsupported(
                &format!("invalid escape sequence: `\\{other}`"),
                "the syntax is that of RE2, as in Go",
            ));
        }
    }
    Ok(1 + escaped.len_utf8())
}

/// Translates the class at the start of `rest` and gives its length.
fn class(rest: &str, output: &mut String) -> Result<usize, CompileRegexError> {
    let mut index = 1;
    output.push('[');
    if rest[index..].starts_with('^') {
        output.push('^');
        index += 1;
    }
    let first = index;
    // The character before was a `-` that may begin a range; the engine reads another one as an operator.
    let mut after_dash = false;
    while let Some(character) = rest[index..].chars().next() {
        match character {
            ']' if index != first => {
                output.push(']');
                return Ok(index + 1);
            }
            '[' if rest[index..].starts_with("[:") => match rest[index..].find(":]") {
                Some(end) => {
                    output.push_str(&rest[index..index + end + 2]);
                    index += end + 2;
                    after_dash = false;
                    continue;
                }
                None => output.push_str("\\["),
            },
            '\\' => {
                index += escape(&rest[index..], output, Place::Class)?;
                after_dash = false;
                continue;
            }
            '-' if index == first || after_dash => output.push_str("\\-"),
            '-' => {
                output.push('-');
                after_dash = true;
                index += 1;
                continue;
            }
            ']' | '[' | '&' | '~' => {
                output.push('\\');
                output.push(character);
            }
            other => output.push(other),
        }
        after_dash = false;
        index += character.len_utf8();
    }
    Err(unsupported("missing closing ]", "write \\[ for a bracket"))
}

/// Length of a repetition `{n}`, `{n,}` or `{n,m}` at the start of `rest`.
fn repetition(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let inside = &rest[1..end];
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {}", error.message));
        assert_eq!(regex.is_match(text), expected, "{pattern} in {text:?}, as {}", regex.regex);
    }

    #[test]
    fn what_re2_takes_literally_is_literal() {
        check(r"^/{id:[0-9]+}$", "/{id:7}", true);
        check(r"^/{id:[0-9]+}$", "/42", false);
        check(r"^a{,2}$", "a{,2}", true);
        check(r"^a{2, 3}$", "a{2, 3}", true);
        check(r"^a{2,3}$", "aaa", true);
        check(r"^a{$", "a{", true);
        check(r"^[a[b]+$", "a[b", true);
        check(r"^[a&&b]+$", "a&b", true);
        check(r"^[]a]+$", "]a", true);
        check(r"^[--a]$", "A", true);
        check(r"^[+--]$", ",", true);
        check(r"^[\--a]$", "A", true);
        check(r"^[---]$", "-", true);
        check(r"^[a~~]$", "~", true);
        check(r"^\<\_\/\ \-$", "<_/ -", true);
    }

    #[test]
    fn re2_only_syntax_is_translated() {
        check(r"^\Qa.b{\E$", "a.b{", true);
        check(r"^\Qa.b", "axb", false);
        check(r"^\101$", "A", true);
        check(r"^[\101]$", "A", true);
        check(r"^\d$", "٣", false);
        check(r"^\D$", "٣", true);
        check(r"^[^\w]$", "é", true);
        check(r"^[\W]$", "é", true);
        check(r"^[\w-.]+$", "a-.", true);
        check(r"a\b", "aé", true);
        check(r"^[[:alpha:]]+$", "ab", true);
        check(r"^\x41\x{42}\pL$", "ABé", true);
        check(r"(?P<name>a)(?<other>b)(?i:C)", "abc", true);
    }

    #[test]
    fn what_re2_lacks_is_refused_with_a_reason() {
        for (pattern, message) in [
            ("(?=a)", "invalid or unsupported Perl syntax: look-around"),
            ("(?<!a)b", "invalid or unsupported Perl syntax: look-around"),
            (r"(a)\1", "invalid escape sequence: back-reference"),
            ("(?x) a", "invalid or unsupported Perl syntax"),
            (r"\y", r"invalid escape sequence: `\y`"),
            ("[a", "missing closing ]"),
            ("a\\", "trailing backslash at end of expression"),
            ("((a{100}){100}){100}", "the compiled expression is larger than 1 MiB"),
        ] {
            assert_eq!(
                compile(pattern).map_err(|error| error.message).err().as_deref(),
                Some(message),
                "{pattern}"
            );
        }
        assert!(compile("(a").is_err());
    }
}
