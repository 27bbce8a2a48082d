//! Text from elsewhere, made safe for a terminal: names, errors and commands may hold anything, escape sequences included.

use std::fmt::Write as _;

/// `text` on one line, with everything that could move the cursor, change its direction or hide as nothing written as an escape.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            // Writing to a string cannot fail.
            write!(safe, "{}", character.escape_default()).expect("a string takes any text");
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls (UAX #9) and zero-width characters.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// An argument vector as one would type it: quoted where a shell would otherwise read it differently.
pub fn command_line<'a>(argv: impl IntoIterator<Item = &'a str>) -> String {
    argv.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        let table = [
            ("plain text, ünï", "plain text, ünï"),
            ("\x1b[31mred", r"\u{1b}[31mred"),
            ("two\r\nlines\t", r"two\r\nlines\t"),
            ("\u{9b}2J\u{7f}\0", r"\u{9b}2J\u{7f}\u{0}"),
            ("\u{202e}gpj.exe", r"\u{202e}gpj.exe"),
        ];
        for (text, expected) in table {
            assert_eq!(safe(text), expected);
        }
    }

    #[test]
    fn a_command_is_shown_so_that_it_could_be_typed() {
        assert_eq!(command_line(["sh", "-c", "echo 'x' | wc", ""]), r"sh -c 'echo '\''x'\'' | wc' ''");
    }
}
