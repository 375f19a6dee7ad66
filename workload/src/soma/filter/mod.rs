//! Value filters: which rows of a dataframe are read.

mod condition;
mod lexer;
mod parser;

use std::fmt;

use super::{DataFrame, Error, Result};
use crate::tiledb::{Combine, Compare, Condition};

/// Which rows are read, and the columns that this is decided by. As TileDB-SOMA does it, a read
/// of named columns returns the filter's columns as well.
pub struct Filter {
    pub(super) condition: Condition,
    pub(super) columns: Vec<String>,
}

/// A filter that doesn't parse, or doesn't fit the dataframe.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFilter {
    /// The filter.
    pub text: String,
    /// The byte where it goes wrong.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.text[..self.at].chars().count();
        writeln!(f, "value filter, character {}: {}", column + 1, self.reason)?;
        writeln!(f, "  {}", self.text)?;
        write!(f, "  {:column$}^", "")
    }
}

impl std::error::Error for BadFilter {}

/// A part of a filter, and the byte of the text where it begins.
#[derive(Debug, Clone, PartialEq)]
struct At<T> {
    at: usize,
    value: T,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Text(String),
    Integer(i128),
    Real(f64),
    Bool(bool),
    Null,
}

/// A filter, parsed.
#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Compare(At<String>, Compare, At<Literal>),
    Member {
        column: At<String>,
        values: Vec<At<Literal>>,
        negated: bool,
    },
    Both(Combine, Box<Expression>, Box<Expression>),
}

impl Filter {
    /// Parses TileDB-SOMA's filter syntax against the columns of a dataframe: `==`, `!=`, `<`,
    /// `<=`, `>`, `>=` (chained, too: `1 < nnz <= 5`), `in [...]`, `not in [...]`, `and`, `or`,
    /// `&`, `|` and parentheses; `attr("name")` for names that aren't identifiers, `val(1)`,
    /// strings in either quote, numbers, `True`, `False`, `None`.
    pub fn parse(frame: &DataFrame, text: &str) -> Result<Self> {
        let bad = |(at, reason)| {
            Error::Filter(BadFilter {
                text: text.to_owned(),
                at,
                reason,
            })
        };
        let expression = parser::parse(text).map_err(bad)?;
        let mut columns = Vec::new();
        expression.collect_columns(&mut columns);
        let condition = condition::build(frame, text, &expression)?;
        Ok(Self { condition, columns })
    }

    /// `column == text`, of a column of strings.
    pub fn equals(frame: &DataFrame, column: &str, text: &str) -> Result<Self> {
        let condition = Condition::compare(
            frame.context(),
            column,
            Compare::Equal,
            Some(text.as_bytes()),
        )?;
        Ok(Self {
            condition,
            columns: vec![column.to_owned()],
        })
    }

    /// Rows that meet both.
    pub fn and(self, other: Self) -> Result<Self> {
        let condition = self.condition.combine(Combine::And, &other.condition)?;
        let mut columns = self.columns;
        columns.extend(
            other
                .columns
                .into_iter()
                .filter(|name| !columns.contains(name))
                .collect::<Vec<_>>(),
        );
        Ok(Self { condition, columns })
    }
}

impl Expression {
    /// The columns in the order in which they first appear.
    fn collect_columns(&self, columns: &mut Vec<String>) {
        match self {
            Self::Compare(column, ..) | Self::Member { column, .. } => {
                if !columns.contains(&column.value) {
                    columns.push(column.value.clone());
                }
            }
            Self::Both(_, left, right) => {
                left.collect_columns(columns);
                right.collect_columns(columns);
            }
        }
    }
}
