//! What the generator says it writes is what is read: no Python, no second opinion.

mod common;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int8Type, Int16Type, Int64Type};
use common::{CELLS, SEED, census, context};
use workload::census::{Cell, Census, Frame, Population, Shape, URETER_CELLS, Vocabulary};
use workload::soma::{Filter, ReadOptions};

/// The cell in a row of a table with all columns.
fn cell(table: &RecordBatch, row: usize) -> Cell {
    let column = |name: &str| table.column_by_name(name).expect("the column");
    let narrow = |name: &str| column(name).as_dictionary::<Int8Type>().keys().value(row);
    let wide = |name: &str| column(name).as_dictionary::<Int16Type>().keys().value(row);
    let integer = |name| column(name).as_primitive::<Int64Type>().value(row);
    let real = |name| column(name).as_primitive::<Float64Type>().value(row);
    let joinid = column("observation_joinid").as_string::<i64>().value(row);
    for pair in [
        "assay",
        "disease",
        "self_reported_ethnicity",
        "sex",
        "tissue_general",
    ] {
        assert_eq!(
            narrow(pair),
            narrow(&format!("{pair}_ontology_term_id")),
            "{pair}"
        );
    }
    for pair in ["cell_type", "development_stage", "tissue"] {
        assert_eq!(
            wide(pair),
            wide(&format!("{pair}_ontology_term_id")),
            "{pair}"
        );
    }
    Cell {
        dataset_id: wide("dataset_id"),
        assay: narrow("assay"),
        cell_type: wide("cell_type"),
        development_stage: wide("development_stage"),
        disease: narrow("disease"),
        donor_id: wide("donor_id"),
        is_primary_data: column("is_primary_data").as_boolean().value(row),
        observation_joinid: joinid.as_bytes().try_into().expect("ten characters"),
        self_reported_ethnicity: narrow("self_reported_ethnicity"),
        sex: narrow("sex"),
        suspension_type: narrow("suspension_type"),
        tissue: wide("tissue"),
        tissue_type: narrow("tissue_type"),
        tissue_general: narrow("tissue_general"),
        raw_sum: real("raw_sum"),
        nnz: integer("nnz"),
        raw_mean_nnz: real("raw_mean_nnz"),
        raw_variance_nnz: real("raw_variance_nnz"),
        n_measured_vars: integer("n_measured_vars"),
    }
}

fn read_back(shape: Shape, buffer_bytes: usize) {
    let (_directory, path) = census(shape);
    let ctx = context();
    let uri = path.to_str().expect("UTF-8");
    let obs = Census::open(&ctx, uri, "homo_sapiens")
        .and_then(|c| c.frame(Frame::Obs))
        .expect("obs");
    let options = ReadOptions {
        columns: None,
        filter: None,
        buffer_bytes,
        ..ReadOptions::default()
    };
    let table = obs
        .read(&options)
        .and_then(|batches| batches.table())
        .expect("cells");
    let whole = table.materialize().expect("one batch");
    assert_eq!((table.rows(), whole.num_columns()), (CELLS as usize, 28));

    let (population, vocabulary) = (Population::new(CELLS, shape, SEED), Vocabulary::new(SEED));
    let joinids = whole
        .column_by_name("soma_joinid")
        .expect("joinids")
        .as_primitive::<Int64Type>();
    for row in 0..whole.num_rows() {
        assert_eq!(joinids.value(row), row as i64);
        assert_eq!(
            cell(&whole, row),
            population.cell(row as u64, &vocabulary),
            "cell {row}"
        );
    }
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn every_cell_of_a_clustered_census_reads_back() {
    read_back(Shape::Clustered, 1 << 30);
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn every_cell_of_a_scattered_census_reads_back_through_many_small_buffers() {
    read_back(Shape::Scattered, 40_000);
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn incomplete_reads_come_in_batches_with_buffers_of_their_own() {
    let (_directory, path) = census(Shape::Clustered);
    let ctx = context();
    let uri = path.to_str().expect("UTF-8");
    let obs = Census::open(&ctx, uri, "homo_sapiens")
        .and_then(|c| c.frame(Frame::Obs))
        .expect("obs");
    let ureter = Filter::equals(&obs, "tissue_general", "ureter").expect("a filter");
    // A thousand doubles a buffer: three batches for 2,390 cells.
    let options = ReadOptions {
        columns: None,
        filter: Some(&ureter),
        buffer_bytes: 8_000,
        ..ReadOptions::default()
    };
    let batches: Vec<RecordBatch> = obs
        .read(&options)
        .expect("a read")
        .collect::<Result<_, _>>()
        .expect("batches");
    let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows.iter().sum::<usize>() as u64, URETER_CELLS);
    assert!(
        rows.len() >= 3 && rows.iter().all(|rows| *rows <= 1_000),
        "{rows:?}"
    );
    let data = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr() as usize;
    let mut addresses: Vec<_> = batches.iter().map(data).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(
        addresses.len(),
        batches.len(),
        "a batch shares another's buffers"
    );
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn the_summary_tells_the_number_of_cells() {
    let (_directory, path) = census(Shape::Clustered);
    let census = Census::open(&context(), path.to_str().expect("UTF-8"), "mus_musculus");
    let summary = census
        .and_then(|census| census.summary())
        .expect("a summary");
    let of = |key: &str| {
        summary
            .iter()
            .find(|(label, _)| label == key)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(of("number_cells_homo_sapiens"), Some("100000"));
    assert_eq!(of("total_cell_count"), Some("120000"));
    assert_eq!(of("census_build_date"), Some("2024-07-01"));
}
