use std::fmt;

use super::{Error, Result};

/// Declares the data types once: Rust name, number in C, size of a value in bytes, TileDB's name.
macro_rules! datatypes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $size:literal, $label:literal;)*) => {
        /// TileDB's data types.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "TileDB's names say it all")]
        pub enum Datatype { $($(#[$doc])* $name = $number,)* }

        impl Datatype {
            /// The type that has this number in C.
            pub(super) fn from_raw(number: u32) -> Result<Self> {
                match number {
                    $($number => Ok(Self::$name),)*
                    _ => Err(Error::Unexpected(format!("TileDB datatype {number} is unknown"))),
                }
            }

            /// The size of one value in bytes.
            pub fn size(self) -> usize {
                match self { $(Self::$name => $size,)* }
            }

            /// TileDB's own name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

datatypes! {
    Int32 = 0, 4, "INT32";
    Int64 = 1, 8, "INT64";
    Float32 = 2, 4, "FLOAT32";
    Float64 = 3, 8, "FLOAT64";
    Char = 4, 1, "CHAR";
    Int8 = 5, 1, "INT8";
    UInt8 = 6, 1, "UINT8";
    Int16 = 7, 2, "INT16";
    UInt16 = 8, 2, "UINT16";
    UInt32 = 9, 4, "UINT32";
    UInt64 = 10, 8, "UINT64";
    StringAscii = 11, 1, "STRING_ASCII";
    StringUtf8 = 12, 1, "STRING_UTF8";
    StringUtf16 = 13, 2, "STRING_UTF16";
    StringUtf32 = 14, 4, "STRING_UTF32";
    StringUcs2 = 15, 2, "STRING_UCS2";
    StringUcs4 = 16, 4, "STRING_UCS4";
    Any = 17, 1, "ANY";
    DatetimeYear = 18, 8, "DATETIME_YEAR";
    DatetimeMonth = 19, 8, "DATETIME_MONTH";
    DatetimeWeek = 20, 8, "DATETIME_WEEK";
    DatetimeDay = 21, 8, "DATETIME_DAY";
    DatetimeHour = 22, 8, "DATETIME_HR";
    DatetimeMinute = 23, 8, "DATETIME_MIN";
    DatetimeSecond = 24, 8, "DATETIME_SEC";
    DatetimeMillisecond = 25, 8, "DATETIME_MS";
    DatetimeMicrosecond = 26, 8, "DATETIME_US";
    DatetimeNanosecond = 27, 8, "DATETIME_NS";
    DatetimePicosecond = 28, 8, "DATETIME_PS";
    DatetimeFemtosecond = 29, 8, "DATETIME_FS";
    DatetimeAttosecond = 30, 8, "DATETIME_AS";
    TimeHour = 31, 8, "TIME_HR";
    TimeMinute = 32, 8, "TIME_MIN";
    TimeSecond = 33, 8, "TIME_SEC";
    TimeMillisecond = 34, 8, "TIME_MS";
    TimeMicrosecond = 35, 8, "TIME_US";
    TimeNanosecond = 36, 8, "TIME_NS";
    TimePicosecond = 37, 8, "TIME_PS";
    TimeFemtosecond = 38, 8, "TIME_FS";
    TimeAttosecond = 39, 8, "TIME_AS";
    Blob = 40, 1, "BLOB";
    Bool = 41, 1, "BOOL";
    GeometryWkb = 42, 1, "GEOM_WKB";
    GeometryWkt = 43, 1, "GEOM_WKT";
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
