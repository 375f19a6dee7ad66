//! Buffers of a message, in the order in which the format has them.
//!
//! Source: "Arrow Columnar Format", sections "Physical Memory Layout" and
//! "RecordBatch message".

use arrow::datatypes::{DataType, Fields};

/// Bytes of an element of a buffer of bits, or of text.
const BYTE: u64 = 1;

/// Bytes of an offset into text, or into the values of a list.
const OFFSET: u64 = 4;

/// Bytes of an element of each buffer of a batch with these columns.
pub(super) fn of_batch(fields: &Fields) -> Vec<u64> {
    let mut sizes = Vec::new();
    for field in fields {
        add(field.data_type(), &mut sizes);
    }
    sizes
}

/// The same of the values of a dictionary; all of ours are of text.
pub(super) fn of_dictionary() -> Vec<u64> {
    let mut sizes = Vec::new();
    add(&DataType::Utf8, &mut sizes);
    sizes
}

/// Each column begins with the bits that tell its nulls.
fn add(data_type: &DataType, sizes: &mut Vec<u64>) {
    sizes.push(BYTE);
    match data_type {
        DataType::Utf8 => sizes.extend([OFFSET, BYTE]),
        DataType::List(item) => {
            sizes.push(OFFSET);
            add(item.data_type(), sizes);
        }
        DataType::Struct(members) => sizes.extend(of_batch(members)),
        DataType::Dictionary(key, _) => sizes.push(width(key)),
        flat => sizes.push(width(flat)),
    }
}

fn width(flat: &DataType) -> u64 {
    // Of what is not primitive, our columns have truth values only, which are bits.
    flat.primitive_width().map_or(BYTE, |bytes| bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::super::schema::Stream;
    use super::*;

    #[test]
    fn each_stream_has_the_buffers_that_the_format_says() {
        let of = |stream: Stream| of_batch(&stream.fields());
        assert_eq!(of(Stream::Losses), [1, 4, 1, 1, 4, 1, 1, 8]);
        assert_eq!(of(Stream::Stacks), [1, 8, 1, 4, 1, 8, 1, 1, 1, 4, 1, 8]);
        let symbols = [
            [1, 4, 1].as_slice(),                           // path
            &[1, 4, 1],                                     // build_id
            &[1, 4],                                        // pid
            &[1, 8],                                        // address
            &[1, 4, 1],                                     // frames, each of them:
            &[1, 4, 1, 1, 4, 1, 1, 4, 1, 4, 1, 1, 8, 1, 1], // function to inlined
        ];
        assert_eq!(of(Stream::Symbols), symbols.concat());
        assert_eq!(of(Stream::Commands), [1, 4, 1, 8, 1, 4, 1, 4, 1]);
        assert_eq!(of(Stream::Marks), [1, 8, 1, 4, 1, 4, 1, 4, 1]);
        assert_eq!(of_dictionary(), [1, 4, 1]);
    }
}
