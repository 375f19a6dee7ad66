use super::{At, BadFilter, Expression, Literal};
use crate::soma::{DataFrame, Error, Result};
use crate::tiledb::{Column, Condition, Datatype};

/// Turns a parsed filter into TileDB's condition, each value in the bytes of its column's type.
pub(super) fn build(frame: &DataFrame, text: &str, expression: &Expression) -> Result<Condition> {
    let builder = Builder { frame, text };
    builder.build(expression)
}

struct Builder<'a> {
    frame: &'a DataFrame,
    text: &'a str,
}

impl Builder<'_> {
    fn build(&self, expression: &Expression) -> Result<Condition> {
        let ctx = self.frame.context();
        match expression {
            Expression::Compare(name, operator, value) => {
                let (column, datatype) = self.column(name)?;
                let value = match value.value {
                    Literal::Null if column.is_nullable => None,
                    _ => Some(self.bytes(column, datatype, value)?),
                };
                Ok(Condition::compare(
                    ctx,
                    &column.name,
                    *operator,
                    value.as_deref(),
                )?)
            }
            Expression::Member {
                column,
                values,
                negated,
            } => {
                let (column, datatype) = self.column(column)?;
                let values = values
                    .iter()
                    .map(|value| self.bytes(column, datatype, value))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Condition::member(ctx, &column.name, &values, *negated)?)
            }
            Expression::Both(operator, left, right) => {
                Ok(self.build(left)?.combine(*operator, &self.build(right)?)?)
            }
        }
    }

    /// The column, and the type that its values have for people.
    fn column(&self, name: &At<String>) -> Result<(&Column, Datatype)> {
        let column = self
            .frame
            .column(&name.value)
            .map_err(|error| self.bad(name.at, error.to_string()))?;
        if column.is_dimension && column.is_variable {
            return Err(self.bad(
                name.at,
                format!("{} is a dimension of strings", column.name),
            ));
        }
        Ok((column, self.frame.value_type(column)?))
    }

    fn bytes(&self, column: &Column, datatype: Datatype, value: &At<Literal>) -> Result<Vec<u8>> {
        encode(datatype, &value.value).ok_or_else(|| {
            let Column { name, .. } = column;
            self.bad(
                value.at,
                format!("column {name} holds {datatype}, and this value doesn't fit"),
            )
        })
    }

    fn bad(&self, at: usize, reason: String) -> Error {
        Error::Filter(BadFilter {
            text: self.text.to_owned(),
            at,
            reason,
        })
    }
}

/// The value in the type's bytes; none if it doesn't fit exactly.
fn encode(datatype: Datatype, literal: &Literal) -> Option<Vec<u8>> {
    match literal {
        Literal::Text(text) => is_text(datatype).then(|| text.clone().into_bytes()),
        Literal::Bool(flag) => {
            (datatype == Datatype::Bool).then(|| u8::from(*flag).to_ne_bytes().to_vec())
        }
        Literal::Integer(integer) => integer_bytes(datatype, *integer),
        Literal::Real(real) => real_bytes(datatype, *real),
        Literal::Null => None,
    }
}

fn is_text(datatype: Datatype) -> bool {
    use Datatype::{Blob, Char, StringAscii, StringUtf8};
    matches!(datatype, StringUtf8 | StringAscii | Char | Blob)
}

fn integer_bytes(datatype: Datatype, value: i128) -> Option<Vec<u8>> {
    macro_rules! bytes {
        ($type:ty) => {
            <$type>::try_from(value)
                .ok()
                .map(|value| value.to_ne_bytes().to_vec())
        };
    }
    match datatype {
        Datatype::Int8 => bytes!(i8),
        Datatype::Int16 => bytes!(i16),
        Datatype::Int32 => bytes!(i32),
        Datatype::Int64
        | Datatype::DatetimeSecond
        | Datatype::DatetimeMillisecond
        | Datatype::DatetimeMicrosecond
        | Datatype::DatetimeNanosecond => bytes!(i64),
        Datatype::UInt8 => bytes!(u8),
        Datatype::UInt16 => bytes!(u16),
        Datatype::UInt32 => bytes!(u32),
        Datatype::UInt64 => bytes!(u64),
        Datatype::Bool if value == 0 || value == 1 => bytes!(u8),
        Datatype::Float32 | Datatype::Float64 => real_bytes(datatype, value as f64),
        _ => None,
    }
}

fn real_bytes(datatype: Datatype, value: f64) -> Option<Vec<u8>> {
    match datatype {
        Datatype::Float32 => Some((value as f32).to_ne_bytes().to_vec()),
        Datatype::Float64 => Some(value.to_ne_bytes().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_fit_their_column() {
        let fits = |datatype, literal| encode(datatype, &literal).is_some();
        assert!(fits(Datatype::Int8, Literal::Integer(-128)));
        assert!(!fits(Datatype::Int8, Literal::Integer(128)));
        assert!(!fits(Datatype::UInt64, Literal::Integer(-1)));
        assert!(fits(Datatype::UInt64, Literal::Integer(u64::MAX.into())));
        assert!(!fits(Datatype::Int64, Literal::Real(1.0)));
        assert!(fits(Datatype::Float64, Literal::Integer(1)));
        assert!(!fits(Datatype::Int64, Literal::Text("1".into())));
        assert!(!fits(Datatype::StringUtf8, Literal::Integer(1)));
        assert!(fits(Datatype::Bool, Literal::Bool(true)));
        assert_eq!(
            encode(Datatype::Int16, &Literal::Integer(258)),
            Some(258i16.to_ne_bytes().to_vec())
        );
    }
}
