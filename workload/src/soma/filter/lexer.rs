use super::{At, Literal};

/// Where, and what is wrong.
pub(super) type Wrong = (usize, String);

/// A word of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Name(String),
    /// A constant.
    Literal(Literal),
    /// An operator or a bracket.
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: [&str; 14] = [
    "==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "&", "|", "-",
];

/// Splits a filter into its words, each with the byte where it begins.
pub(super) fn tokens(text: &str) -> Result<Vec<At<Token>>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (value, len) = match next {
            '\'' | '"' => string(rest, next).map_err(|(offset, reason)| (at + offset, reason))?,
            '0'..='9' | '.' => number(rest).map_err(|reason| (at, reason))?,
            c if c.is_alphabetic() || c == '_' => name(rest),
            _ => symbol(rest).ok_or_else(|| (at, format!("{next:?} has no meaning here")))?,
        };
        found.push(At { at, value });
        at += len;
    }
    Ok(found)
}

fn symbol(rest: &str) -> Option<(Token, usize)> {
    let found = SYMBOLS
        .into_iter()
        .find(|symbol| rest.starts_with(symbol))?;
    Some((Token::Symbol(found), found.len()))
}

fn name(rest: &str) -> (Token, usize) {
    let len = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let token = match &rest[..len] {
        "True" => Token::Literal(Literal::Bool(true)),
        "False" => Token::Literal(Literal::Bool(false)),
        "None" => Token::Literal(Literal::Null),
        name => Token::Name(name.to_owned()),
    };
    (token, len)
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let mut before = ' ';
    let len = rest
        .find(|c: char| {
            let exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
            before = c;
            !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || exponent_sign)
        })
        .unwrap_or(rest.len());
    let digits = rest[..len].replace('_', "");
    let literal = match digits.parse() {
        Ok(integer) => Literal::Integer(integer),
        Err(_) => Literal::Real(
            digits
                .parse()
                .map_err(|_| format!("{} is no number", &rest[..len]))?,
        ),
    };
    Ok((Token::Literal(literal), len))
}

fn string(rest: &str, quote: char) -> Result<(Token, usize), Wrong> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, c @ ('\\' | '\'' | '"'))) => text.push(c),
                _ => return Err((at, "only \\\\, \\', \\\", \\n and \\t are escapes".into())),
            },
            c if c == quote => return Ok((Token::Literal(Literal::Text(text)), at + 1)),
            c => text.push(c),
        }
    }
    Err((0, "this string has no end".into()))
}
