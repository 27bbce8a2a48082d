use std::fmt;

/// A piece of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open,
    Close,
    Comma,
    Equal,
    NotEqual,
    Not,
    /// Anything else up to the next space or sign: a key, a value, `in` or `notin`.
    Word(&'a str),
    End,
}

/// Reads token by token. A copy looks ahead.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and where it starts, the first character being 1.
    ///
    /// All that was read before is ASCII, as the parser stops at the first word that is not, so bytes are characters.
    pub(super) fn next(&mut self) -> (usize, Token<'a>) {
        let rest = self.text[self.at..].trim_start_matches(' ');
        let start = self.text.len() - rest.len();
        let (token, length) = match rest.as_bytes() {
            [] => (Token::End, 0),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b',', ..] => (Token::Comma, 1),
            [b'=', b'=', ..] => (Token::Equal, 2),
            [b'=', ..] => (Token::Equal, 1),
            [b'!', b'=', ..] => (Token::NotEqual, 2),
            [b'!', ..] => (Token::Not, 1),
            _ => {
                let length = rest.find([' ', '(', ')', ',', '=', '!']).unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
        };
        self.at = start + length;
        (start + 1, token)
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::Comma => f.write_str("`,`"),
            Self::Equal => f.write_str("`=`"),
            Self::NotEqual => f.write_str("`!=`"),
            Self::Not => f.write_str("`!`"),
            Self::Word(word) => write!(f, "{:?}", word.chars().take(40).collect::<String>()),
            Self::End => f.write_str("the end"),
        }
    }
}
