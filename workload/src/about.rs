//! What the Census says about itself, in one line.

use std::fmt;

use workload::census::Census;
use workload::soma;

/// `census_info/summary`, as far as it was readable. A Census without one can be fetched from all
/// the same.
pub(crate) struct About {
    organism: String,
    summary: soma::Result<Vec<(String, String)>>,
}

impl About {
    /// Reads it.
    pub(crate) fn of(census: &Census, organism: &str) -> Self {
        Self {
            organism: organism.to_owned(),
            summary: census.summary(),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = match &self.summary {
            Ok(summary) => summary,
            Err(error) => return write!(f, "summary: none ({error})"),
        };
        let value = |label: &str| {
            let row = summary.iter().find(|(name, _)| name == label);
            row.map_or("unknown", |(_, value)| value)
        };
        write!(
            f,
            "summary: built {}, schema {}; {} cells, {} of them {}",
            value("census_build_date"),
            value("census_schema_version"),
            Grouped(value("total_cell_count")),
            Grouped(value(&format!("number_cells_{}", self.organism))),
            self.organism
        )
    }
}

/// `74322510` as `74,322,510`; what is no number, as it is.
struct Grouped<'a>(&'a str);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_number = self.0.bytes().all(|byte| byte.is_ascii_digit());
        for (at, letter) in self.0.char_indices() {
            if is_number && at > 0 && (self.0.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(summary: soma::Result<Vec<(String, String)>>) -> String {
        let organism = "homo_sapiens".to_owned();
        About { organism, summary }.to_string()
    }

    #[test]
    fn the_line_tells_release_and_cells() {
        let rows = [
            ("census_schema_version", "2.0.1"),
            ("census_build_date", "2024-07-01"),
            ("total_cell_count", "115556140"),
            ("number_cells_homo_sapiens", "74322510"),
        ];
        let rows = rows.map(|(label, value)| (label.to_owned(), value.to_owned()));
        assert_eq!(
            about(Ok(rows.to_vec())),
            "summary: built 2024-07-01, schema 2.0.1; 115,556,140 cells, 74,322,510 of them \
             homo_sapiens"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(
            about(Ok(Vec::new())),
            "summary: built unknown, schema unknown; unknown cells, unknown of them homo_sapiens"
        );
        let error = soma::Error::BuffersTooSmall(7);
        assert!(about(Err(error)).starts_with("summary: none (not one row fits"));
    }

    #[test]
    fn digits_are_grouped_by_threes() {
        for (plain, grouped) in [("", ""), ("1", "1"), ("999", "999"), ("1000", "1,000")] {
            assert_eq!(Grouped(plain).to_string(), grouped);
        }
    }
}
