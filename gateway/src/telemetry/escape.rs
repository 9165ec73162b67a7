//! Bytes of strangers, made safe for a log: nothing that a client sends can end a line, close a field, or steer a
//! terminal.

/// What stands for the rest of a value that was cut.
const CUT: &[u8] = b"...";

/// Appends `value` for a JSON string, without its quotes, in at most `limit` bytes. Control characters are
/// escaped, and so are the C1 controls and the two Unicode line ends; bytes outside UTF-8 become `\u00xx`.
pub(super) fn push_json(line: &mut Vec<u8>, value: &[u8], limit: usize) {
    // Almost every value is short and plain.
    if value.len() <= limit && value.iter().all(|byte| is_plain(*byte)) {
        line.extend_from_slice(value);
        return;
    }
    let end = line.len() + limit.saturating_sub(CUT.len());
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            let before = line.len();
            match character {
                '"' => line.extend_from_slice(b"\\\""),
                '\\' => line.extend_from_slice(b"\\\\"),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    push_unicode_escape(line, u32::from(character));
                }
                _ => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            if line.len() > end {
                line.truncate(before);
                line.extend_from_slice(CUT);
                return;
            }
        }
        for byte in chunk.invalid() {
            let before = line.len();
            push_unicode_escape(line, u32::from(*byte));
            if line.len() > end {
                line.truncate(before);
                line.extend_from_slice(CUT);
                return;
            }
        }
    }
}

/// Appends `value` for a field of the common log format in at most `limit` bytes: everything but printable ASCII
/// becomes `\xNN`, as do `"` and `\`, and blanks where `blanks` asks for it. CrowdSec's parser does not take `\"`.
pub(super) fn push_clf(line: &mut Vec<u8>, value: &[u8], limit: usize, blanks: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let start = line.len();
    for byte in value {
        if line.len() - start + 4 + CUT.len() > limit {
            line.extend_from_slice(CUT);
            break;
        }
        if matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'\\') || (*byte == b' ' && !blanks) {
            line.push(*byte);
        } else {
            line.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    // An empty field is written as Traefik writes a missing one.
    if line.len() == start {
        line.push(b'-');
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\')
}

fn push_unicode_escape(line: &mut Vec<u8>, code: u32) {
    line.extend_from_slice(format!("\\u{code:04x}").as_bytes());
}

/// Appends a number in decimal.
pub(super) fn push_number(line: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

/// Appends a number in decimal with zeros in front, `width` digits in all.
pub(super) fn push_padded(line: &mut Vec<u8>, mut value: u32, width: usize) {
    let start = line.len();
    line.resize(start + width, b'0');
    for position in (start..start + width).rev() {
        line[position] = digit(u64::from(value % 10));
        value /= 10;
    }
}

fn digit(value: u64) -> u8 {
    b'0' + u8::try_from(value).expect("a remainder of ten is one digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut line = Vec::new();
        write(&mut line);
        assert_eq!(String::from_utf8(line).expect("a log is valid UTF-8"), expected);
    }

    #[test]
    fn no_byte_ends_a_json_string_or_a_line() {
        for (value, expected) in [
            (&b"plain"[..], "plain"),
            (b"\"", "\\\""),
            (b"\\", "\\\\"),
            (b"a\r\nb", "a\\u000d\\u000ab"),
            (b"\0\x1b[2J\x7f", "\\u0000\\u001b[2J\\u007f"),
            (b"\xff\xfe", "\\u00ff\\u00fe"),
            ("ü\u{85}\u{2028}".as_bytes(), "ü\\u0085\\u2028"),
            (b"", ""),
        ] {
            check(|line| push_json(line, value, 100), expected);
        }
    }

    #[test]
    fn the_common_format_holds_printable_ascii_only() {
        for (value, expected) in [
            (&b"plain text"[..], "plain text"),
            (b"\"", "\\x22"),
            (b"\\", "\\x5c"),
            (b"a\r\nb\0", "a\\x0d\\x0ab\\x00"),
            ("ü".as_bytes(), "\\xc3\\xbc"),
            (b"", "-"),
        ] {
            check(|line| push_clf(line, value, 100, false), expected);
        }
        check(|line| push_clf(line, b"a b", 100, true), "a\\x20b");
    }

    #[test]
    fn a_long_value_is_cut_within_its_limit_and_never_inside_an_escape() {
        check(|line| push_json(line, &[b'a'; 20], 10), "aaaaaaa...");
        check(|line| push_json(line, &[1; 20], 16), "\\u0001\\u0001...");
        check(|line| push_json(line, "üüüüüüüü".as_bytes(), 10), "üüü...");
        check(|line| push_clf(line, &[1; 20], 16, false), "\\x01\\x01\\x01...");
        check(|line| push_json(line, &[b'a'; 10], 10), "aaaaaaaaaa");
    }

    #[test]
    fn numbers_are_decimal() {
        check(|line| push_number(line, 0), "0");
        check(|line| push_number(line, u64::MAX), "18446744073709551615");
        check(|line| push_padded(line, 7, 9), "000000007");
    }
}
