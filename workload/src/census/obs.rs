//! The `obs` dataframe: its 28 columns in the Census's order, and how cells fill them.

use arrow::datatypes::ToByteSlice;

use super::{Cell, Population, Vocabulary};
use crate::soma::JOINID;
use crate::tiledb::{AttributeSpec, Datatype, DimensionSpec, Filter, Input};

/// Cells in a tile of the Census.
pub(super) const CAPACITY: u64 = 65_536;
/// Filters of the offsets of variable-length columns, and of the dimension.
pub(super) const OFFSETS: &[Filter] = &[Filter::DoubleDelta, Filter::Zstd(19)];
/// Filters of numbers.
pub(super) const NUMBERS: &[Filter] = &[Filter::ByteShuffle, Filter::Zstd(9)];
/// Filters of all other columns. The Census itself has level 19 for `is_primary_data` and
/// `observation_joinid`; here that took half of the time to write, and saved no room. Whoever reads
/// is none the wiser: a frame of Zstandard is decoded the same whatever level wrote it.
const OTHERS: &[Filter] = &[Filter::Zstd(9)];

/// The dimension of every dataframe of the Census.
pub(super) const DIMENSION: DimensionSpec<'static> = DimensionSpec {
    name: JOINID,
    domain: [0, (1 << 31) - 2],
    extent: 2_048,
    filters: OFFSETS,
};

/// Where a column's values come from.
type Values<'a> = Option<&'a [String]>;

/// The columns behind `soma_joinid`, in the schema's order.
pub(super) fn attributes(v: &Vocabulary) -> Vec<AttributeSpec<'_>> {
    fn spec<'a>(
        name: &'a str,
        datatype: Datatype,
        values: Values<'a>,
        filters: &'a [Filter],
    ) -> AttributeSpec<'a> {
        let is_variable = datatype == Datatype::StringUtf8;
        AttributeSpec {
            name,
            datatype,
            is_variable,
            values,
            filters,
        }
    }
    let narrow = |name, values| spec(name, Datatype::Int8, Some(values), OTHERS);
    let wide = |name, values| spec(name, Datatype::Int16, Some(values), OTHERS);
    let number = |name, datatype| spec(name, datatype, None, NUMBERS);
    vec![
        wide("dataset_id", &v.datasets),
        narrow("assay", &v.assay.labels),
        narrow("assay_ontology_term_id", &v.assay.ids),
        wide("cell_type", &v.cell_type.labels),
        wide("cell_type_ontology_term_id", &v.cell_type.ids),
        wide("development_stage", &v.development_stage.labels),
        wide(
            "development_stage_ontology_term_id",
            &v.development_stage.ids,
        ),
        narrow("disease", &v.disease.labels),
        narrow("disease_ontology_term_id", &v.disease.ids),
        wide("donor_id", &v.donors),
        spec("is_primary_data", Datatype::Bool, None, OTHERS),
        spec("observation_joinid", Datatype::StringUtf8, None, OTHERS),
        narrow("self_reported_ethnicity", &v.ethnicity.labels),
        narrow("self_reported_ethnicity_ontology_term_id", &v.ethnicity.ids),
        narrow("sex", &v.sex.labels),
        narrow("sex_ontology_term_id", &v.sex.ids),
        narrow("suspension_type", &v.suspensions),
        wide("tissue", &v.tissue.labels),
        wide("tissue_ontology_term_id", &v.tissue.ids),
        narrow("tissue_type", &v.tissue_types),
        narrow("tissue_general", &v.tissue_general.labels),
        narrow("tissue_general_ontology_term_id", &v.tissue_general.ids),
        number("raw_sum", Datatype::Float64),
        number("nnz", Datatype::Int64),
        number("raw_mean_nnz", Datatype::Float64),
        number("raw_variance_nnz", Datatype::Float64),
        number("n_measured_vars", Datatype::Int64),
    ]
}

/// Declares the columns of a chunk, one vector each.
macro_rules! chunk {
    ($($column:ident: $type:ty,)*) => {
        /// Some consecutive cells, column by column. Parallel columns (label and ontology term)
        /// have the same codes, and share a vector.
        #[derive(Default)]
        pub(super) struct Chunk {
            soma_joinid: Vec<i64>,
            observation_joinid: Vec<u8>,
            offsets: Vec<u64>,
            is_primary_data: Vec<u8>,
            $($column: Vec<$type>,)*
        }

        impl Chunk {
            fn push_values(&mut self, cell: &Cell) {
                $(self.$column.push(cell.$column);)*
            }

            fn clear(&mut self) {
                self.soma_joinid.clear();
                self.observation_joinid.clear();
                self.offsets.clear();
                self.is_primary_data.clear();
                $(self.$column.clear();)*
            }
        }
    };
}

chunk! {
    dataset_id: i16,
    assay: i8,
    cell_type: i16,
    development_stage: i16,
    disease: i8,
    donor_id: i16,
    self_reported_ethnicity: i8,
    sex: i8,
    suspension_type: i8,
    tissue: i16,
    tissue_type: i8,
    tissue_general: i8,
    raw_sum: f64,
    nnz: i64,
    raw_mean_nnz: f64,
    raw_variance_nnz: f64,
    n_measured_vars: i64,
}

impl Chunk {
    /// Replaces the contents by these cells.
    pub(super) fn fill(
        &mut self,
        population: &Population,
        vocabulary: &Vocabulary,
        cells: std::ops::Range<u64>,
    ) {
        self.clear();
        for joinid in cells {
            let cell = population.cell(joinid, vocabulary);
            self.soma_joinid.push(joinid as i64);
            self.offsets.push(self.observation_joinid.len() as u64);
            self.observation_joinid.extend(cell.observation_joinid);
            self.is_primary_data.push(cell.is_primary_data.into());
            self.push_values(&cell);
        }
    }

    /// The number of cells.
    pub(super) fn len(&self) -> usize {
        self.soma_joinid.len()
    }

    /// The columns for a write: the dimension, then as [`attributes`].
    pub(super) fn inputs(&self) -> Vec<Input<'_>> {
        fn plain<T: ToByteSlice>(values: &[T]) -> Input<'_>
        where
            [T]: ToByteSlice,
        {
            Input {
                data: values.to_byte_slice(),
                offsets: None,
            }
        }
        let twice = |input| [input, input];
        let mut inputs = vec![plain(&self.soma_joinid), plain(&self.dataset_id)];
        inputs.extend(twice(plain(&self.assay)));
        inputs.extend(twice(plain(&self.cell_type)));
        inputs.extend(twice(plain(&self.development_stage)));
        inputs.extend(twice(plain(&self.disease)));
        inputs.push(plain(&self.donor_id));
        inputs.push(Input {
            data: &self.is_primary_data,
            offsets: None,
        });
        inputs.push(Input {
            data: &self.observation_joinid,
            offsets: Some(&self.offsets),
        });
        inputs.extend(twice(plain(&self.self_reported_ethnicity)));
        inputs.extend(twice(plain(&self.sex)));
        inputs.push(plain(&self.suspension_type));
        inputs.extend(twice(plain(&self.tissue)));
        inputs.push(plain(&self.tissue_type));
        inputs.extend(twice(plain(&self.tissue_general)));
        inputs.extend([
            plain(&self.raw_sum),
            plain(&self.nnz),
            plain(&self.raw_mean_nnz),
        ]);
        inputs.extend([plain(&self.raw_variance_nnz), plain(&self.n_measured_vars)]);
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_census_ones_in_its_order() {
        let vocabulary = Vocabulary::new(1);
        let names: Vec<_> = attributes(&vocabulary)
            .iter()
            .map(|spec| spec.name)
            .collect();
        assert_eq!(
            names.join(","),
            "dataset_id,assay,assay_ontology_term_id,cell_type,cell_type_ontology_term_id,\
             development_stage,development_stage_ontology_term_id,disease,\
             disease_ontology_term_id,donor_id,is_primary_data,observation_joinid,\
             self_reported_ethnicity,self_reported_ethnicity_ontology_term_id,sex,\
             sex_ontology_term_id,suspension_type,tissue,tissue_ontology_term_id,tissue_type,\
             tissue_general,tissue_general_ontology_term_id,raw_sum,nnz,raw_mean_nnz,\
             raw_variance_nnz,n_measured_vars"
        );
        assert_eq!(names.len(), 27);
    }
}
