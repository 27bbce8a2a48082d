use std::collections::BTreeSet;

use super::token::{Token, Tokens};
use super::{Requirement, Selector, SelectorError, Test};
use crate::label::{self, HANDLER_KEY, NAME_KEY};
use crate::name::Name;

pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut tokens = Tokens::new(text);
    let mut selector = Selector::default();
    if Tokens::new(text).next().1 == Token::End {
        return Ok(selector);
    }
    for _ in 0..=Selector::MAX_REQUIREMENTS {
        selector.requirements.insert(requirement(&mut tokens)?);
        match tokens.next() {
            (_, Token::End) => return Ok(selector),
            (_, Token::Comma) => {}
            found => return unexpected(found, "`,` or the end"),
        }
    }
    Err(SelectorError::TooManyRequirements)
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, SelectorError> {
    let mut ahead = *tokens;
    if ahead.next().1 == Token::Not {
        *tokens = ahead;
        return Ok(Requirement { key: key(tokens)?, test: Test::Missing });
    }
    let key = key(tokens)?;
    let mut ahead = *tokens;
    let operator = ahead.next();
    if matches!(operator.1, Token::Comma | Token::End) {
        return Ok(Requirement { key, test: Test::Exists });
    }
    *tokens = ahead;
    let test = match operator.1 {
        Token::Equal => Test::In([value(tokens, &key)?].into()),
        Token::NotEqual => Test::NotIn([value(tokens, &key)?].into()),
        Token::Word("in") => Test::In(values(tokens, &key)?),
        Token::Word("notin") => Test::NotIn(values(tokens, &key)?),
        _ => return unexpected(operator, "`,`, `=`, `==`, `!=`, `in`, `notin` or the end"),
    };
    Ok(Requirement { key, test })
}

fn key(tokens: &mut Tokens<'_>) -> Result<String, SelectorError> {
    match tokens.next() {
        (position, Token::Word(word)) => match label::check_key(word) {
            Ok(()) => Ok(word.to_owned()),
            Err(problem) => Err(SelectorError::Label { position, problem }),
        },
        found => unexpected(found, "a label's key"),
    }
}

fn values(tokens: &mut Tokens<'_>, key: &str) -> Result<BTreeSet<String>, SelectorError> {
    match tokens.next() {
        (_, Token::Open) => {}
        found => return unexpected(found, "`(` and a list of values"),
    }
    let mut values = BTreeSet::new();
    for _ in 0..Selector::MAX_VALUES {
        values.insert(value(tokens, key)?);
        match tokens.next() {
            (_, Token::Close) => return Ok(values),
            (_, Token::Comma) => {}
            found => return unexpected(found, "`,` or `)`"),
        }
    }
    Err(SelectorError::TooManyValues { key: key.to_owned() })
}

fn value(tokens: &mut Tokens<'_>, key: &str) -> Result<String, SelectorError> {
    match tokens.next() {
        (position, Token::Word(word)) if key == NAME_KEY || key == HANDLER_KEY => {
            let name = if key == NAME_KEY { Name::parse_worker(word) } else { Name::parse(word) };
            name.map(|name| name.to_string()).map_err(|problem| SelectorError::Name { position, problem })
        }
        (position, Token::Word(word)) => match label::check_value(key, word) {
            Ok(()) => Ok(word.to_owned()),
            Err(problem) => Err(SelectorError::Label { position, problem }),
        },
        found => unexpected(found, "a value"),
    }
}

fn unexpected<T>((position, found): (usize, Token<'_>), expected: &'static str) -> Result<T, SelectorError> {
    Err(SelectorError::Syntax { position, found: found.to_string(), expected })
}
