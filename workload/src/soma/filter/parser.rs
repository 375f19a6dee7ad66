use super::lexer::{Token, Wrong, tokens};
use super::{At, Expression, Literal};
use crate::tiledb::{Combine, Compare};

/// How deep parentheses may nest: the parser, like TileDB's own, works on its call stack.
const DEPTH: usize = 64;

/// Parses a whole filter.
pub(super) fn parse(text: &str) -> Result<Expression, Wrong> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        end: text.len(),
        depth: 0,
    };
    let expression = parser.any_of()?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.wrong("expected `and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<At<Token>>,
    next: usize,
    end: usize,
    depth: usize,
}

/// One side of a comparison.
enum Operand {
    Column(At<String>),
    Value(At<Literal>),
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|token| &token.value)
    }

    /// The byte of the next word, or of the end.
    fn at(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.end, |token| token.at)
    }

    fn wrong(&self, reason: &str) -> Wrong {
        (self.at(), reason.to_owned())
    }

    /// Takes the next word if it is one of these names or symbols.
    fn take(&mut self, words: &[&str]) -> bool {
        let found = match self.peek() {
            Some(Token::Name(name)) => words.contains(&name.as_str()),
            Some(Token::Symbol(symbol)) => words.contains(symbol),
            _ => false,
        };
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Wrong> {
        match self.take(&[symbol]) {
            true => Ok(()),
            false => Err(self.wrong(&format!("expected `{symbol}`"))),
        }
    }

    fn any_of(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.all_of()?;
        while self.take(&["or", "|"]) {
            left = Expression::Both(Combine::Or, left.into(), self.all_of()?.into());
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Expression, Wrong> {
        let mut left = self.term()?;
        while self.take(&["and", "&"]) {
            left = Expression::Both(Combine::And, left.into(), self.term()?.into());
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Expression, Wrong> {
        if !self.take(&["("]) {
            return self.comparison();
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("parentheses are nested too deep"));
        }
        let inner = self.any_of()?;
        self.depth -= 1;
        self.expect(")")?;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Expression, Wrong> {
        let left = self.operand()?;
        let negated = self.take(&["not"]);
        if self.take(&["in"]) {
            return self.membership(left, negated);
        }
        if negated {
            return Err(self.wrong("expected `in` after `not`"));
        }
        let Some(operator) = self.operator() else {
            return Err(self.wrong("expected `==`, `!=`, `<`, `<=`, `>`, `>=` or `in`"));
        };
        let mut middle = self.operand()?;
        let mut whole = compare(left, operator, &middle)?;
        // `1 < nnz < 5` is `1 < nnz and nnz < 5`.
        while let Some(operator) = self.operator() {
            let right = self.operand()?;
            let next = compare(middle, operator, &right)?;
            whole = Expression::Both(Combine::And, whole.into(), next.into());
            middle = right;
        }
        Ok(whole)
    }

    fn operator(&mut self) -> Option<Compare> {
        let Some(Token::Symbol(symbol)) = self.peek() else {
            return None;
        };
        let operator = match *symbol {
            "==" => Compare::Equal,
            "!=" => Compare::NotEqual,
            "<" => Compare::Less,
            "<=" => Compare::LessOrEqual,
            ">" => Compare::Greater,
            ">=" => Compare::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(operator)
    }

    fn membership(&mut self, left: Operand, negated: bool) -> Result<Expression, Wrong> {
        let column = match left {
            Operand::Column(column) => column,
            Operand::Value(value) => {
                return Err((value.at, "expected a column before `in`".into()));
            }
        };
        self.expect("[")?;
        let mut values = Vec::new();
        while !self.take(&["]"]) {
            if !values.is_empty() {
                self.expect(",")?;
                if self.take(&["]"]) {
                    break;
                }
            }
            match self.operand()? {
                Operand::Value(value) => values.push(value),
                Operand::Column(column) => return Err((column.at, quote_it(&column.value))),
            }
        }
        match values.is_empty() {
            true => Err((
                column.at,
                "at least one value must stand in the brackets".into(),
            )),
            false => Ok(Expression::Member {
                column,
                values,
                negated,
            }),
        }
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let at = self.at();
        if self.take(&["attr"]) {
            return match self.argument()? {
                Literal::Text(value) => Ok(Operand::Column(At { at, value })),
                _ => Err((at, "attr() takes a column's name in quotes".into())),
            };
        }
        if self.take(&["val"]) {
            return Ok(Operand::Value(At {
                at,
                value: self.argument()?,
            }));
        }
        if self.take(&["-"]) {
            let value = match self.literal()? {
                Literal::Integer(integer) => Literal::Integer(-integer),
                Literal::Real(real) => Literal::Real(-real),
                _ => return Err((at, "only a number can be negative".into())),
            };
            return Ok(Operand::Value(At { at, value }));
        }
        match self.peek() {
            Some(Token::Name(name)) => {
                let value = name.clone();
                self.next += 1;
                Ok(Operand::Column(At { at, value }))
            }
            _ => Ok(Operand::Value(At {
                at,
                value: self.literal()?,
            })),
        }
    }

    fn argument(&mut self) -> Result<Literal, Wrong> {
        self.expect("(")?;
        let value = self.literal()?;
        self.expect(")")?;
        Ok(value)
    }

    fn literal(&mut self) -> Result<Literal, Wrong> {
        let Some(Token::Literal(literal)) = self.peek() else {
            return Err(self.wrong("expected a column or a value"));
        };
        let literal = literal.clone();
        self.next += 1;
        Ok(literal)
    }
}

/// A comparison of a column and a value, whichever comes first.
fn compare(left: Operand, operator: Compare, right: &Operand) -> Result<Expression, Wrong> {
    match (left, right) {
        (Operand::Column(column), Operand::Value(value)) => {
            Ok(Expression::Compare(column, operator, value.clone()))
        }
        (Operand::Value(value), Operand::Column(column)) => Ok(Expression::Compare(
            column.clone(),
            operator.mirrored(),
            value,
        )),
        (Operand::Column(_), Operand::Column(column)) => Err((column.at, quote_it(&column.value))),
        (Operand::Value(value), Operand::Value(_)) => {
            Err((value.at, "a comparison needs a column".into()))
        }
    }
}

fn quote_it(name: &str) -> String {
    format!("a value must stand here, not a column; if {name} is a string, put it in quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(at: usize, name: &str) -> At<String> {
        At {
            at,
            value: name.into(),
        }
    }

    fn text(at: usize, value: &str) -> At<Literal> {
        At {
            at,
            value: Literal::Text(value.into()),
        }
    }

    fn integer(at: usize, value: i128) -> At<Literal> {
        At {
            at,
            value: Literal::Integer(value),
        }
    }

    fn both(operator: Combine, left: Expression, right: Expression) -> Expression {
        Expression::Both(operator, left.into(), right.into())
    }

    #[test]
    fn comparisons_put_the_column_first() {
        let equal = Expression::Compare(column(0, "sex"), Compare::Equal, text(7, "male"));
        assert_eq!(parse("sex == 'male'"), Ok(equal));
        let less = Expression::Compare(column(4, "nnz"), Compare::Greater, integer(0, 5));
        assert_eq!(parse("5 < nnz"), Ok(less));
        let quoted = Expression::Compare(column(0, "a b"), Compare::NotEqual, integer(15, -3));
        assert_eq!(parse("attr('a b') != -3"), Ok(quoted));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let is =
            |at, name| Expression::Compare(column(at, name), Compare::Equal, integer(at + 5, 1));
        let tight = both(Combine::And, is(10, "b"), is(21, "c"));
        assert_eq!(
            parse("a == 1 or b == 1 and c == 1"),
            Ok(both(Combine::Or, is(0, "a"), tight))
        );
        let grouped = both(Combine::Or, is(1, "a"), is(11, "b"));
        let whole = both(Combine::And, grouped, is(23, "c"));
        assert_eq!(parse("(a == 1 or b == 1) and c == 1"), Ok(whole));
    }

    #[test]
    fn chains_are_conjunctions() {
        let expected = both(
            Combine::And,
            Expression::Compare(column(4, "nnz"), Compare::Greater, integer(0, 1)),
            Expression::Compare(column(4, "nnz"), Compare::LessOrEqual, integer(11, 5)),
        );
        assert_eq!(parse("1 < nnz <= 5"), Ok(expected));
    }

    #[test]
    fn lists_are_memberships() {
        let expected = |negated| Expression::Member {
            column: column(0, "t"),
            values: vec![
                text(if negated { 10 } else { 6 }, "a"),
                text(if negated { 15 } else { 11 }, "b"),
            ],
            negated,
        };
        assert_eq!(parse("t in ['a', \"b\"]"), Ok(expected(false)));
        assert_eq!(parse("t not in ['a', 'b',]"), Ok(expected(true)));
    }

    #[test]
    fn errors_point_at_the_byte() {
        for (filter, at) in [
            ("", 0),
            ("nnz", 3),
            ("nnz ==", 6),
            ("nnz = 5", 4),
            ("nnz == 5 5", 9),
            ("nnz == five", 7),
            ("1 == 2", 0),
            ("t in []", 0),
            ("t in 'a'", 5),
            ("t not 'a'", 6),
            ("t == 'a", 5),
            ("(t == 'a'", 9),
            ("t == 'a\\q'", 7),
            ("t == 1.2.3", 5),
            ("attr(5) == 1", 0),
            ("ä == 1 $", 8),
        ] {
            assert_eq!(parse(filter).map_err(|(at, _)| at), Err(at), "{filter}");
        }
        let deep = format!("{}a == 1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(parse(&deep).is_err());
    }
}
