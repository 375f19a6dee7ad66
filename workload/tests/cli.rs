//! The command as its users meet it: output, files, errors and exit codes.

mod common;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::FileReader;
use common::{census, fetched, workload};
use workload::census::Shape;

const COLUMNS: &str = "soma_joinid,dataset_id,assay,assay_ontology_term_id,cell_type,\
    cell_type_ontology_term_id,development_stage,development_stage_ontology_term_id,disease,\
    disease_ontology_term_id,donor_id,is_primary_data,observation_joinid,self_reported_ethnicity,\
    self_reported_ethnicity_ontology_term_id,sex,sex_ontology_term_id,suspension_type,tissue,\
    tissue_ontology_term_id,tissue_type,tissue_general,tissue_general_ontology_term_id,raw_sum,nnz,\
    raw_mean_nnz,raw_variance_nnz,n_measured_vars";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn the_output_is_that_of_the_original_report() {
    let (_directory, uri) = census(Shape::Clustered);
    let output = fetched(["--uri", text(&uri), "-t", "ureter", "-b", "2G"]);
    let lines: Vec<_> = output.lines().collect();
    let [first, open, summary, query, obs, df, shape] = lines[..] else {
        panic!("{output}")
    };
    assert_eq!(first, format!("census: {} (named by --uri)", uri.display()));
    assert_eq!(
        summary,
        "summary: built 2024-07-01, schema 2.0.1; 120,000 cells, 100,000 of them homo_sapiens"
    );
    for (line, step) in [
        (open, "open"),
        (query, "query"),
        (obs, "obs"),
        (df, "obs-df"),
    ] {
        let seconds = line
            .strip_prefix(&format!("{step} took "))
            .and_then(|s| s.strip_suffix('s'));
        assert!(seconds.is_some_and(|s| s.parse::<f64>().is_ok()), "{line}");
    }
    assert_eq!(shape, format!("obs (2390, 28): {COLUMNS}"));
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn files_hold_the_table_and_its_joinids() {
    let (directory, uri) = census(Shape::Scattered);
    let out = directory.path().join("new/out");
    fetched([
        "--uri",
        text(&uri),
        "-t",
        "ureter",
        "-o",
        text(&out),
        "-c",
        "nnz,soma_joinid",
    ]);
    let read = |name: &str| {
        let reader = FileReader::try_new(File::open(out.join(name)).expect("a file"), None);
        let batches: Result<Vec<_>, _> = reader.expect("Feather").collect();
        batches.expect("batches").remove(0)
    };
    let (table, joinids) = (read("obs.feather"), read("obs.joinids.feather"));
    // The filter's column is read as well, as TileDB-SOMA does.
    let schema = table.schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["nnz", "soma_joinid", "tissue_general"]);
    assert_eq!(joinids.num_columns(), 1);
    let values = joinids.column(0).as_primitive::<Int64Type>();
    assert_eq!(table.column(1).as_primitive::<Int64Type>(), values);
    assert!(values.values().is_sorted());
    assert_eq!(values.len(), 2_390);
    let written = fs::read_dir(&out).expect("files").count();
    assert_eq!(written, 2, "something temporary is left");
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn a_census_without_a_summary_is_fetched_from_all_the_same() {
    let (_directory, uri) = census(Shape::Clustered);
    fs::remove_dir_all(uri.join("census_info")).expect("damage");
    let output = fetched(["--uri", text(&uri), "-t", "ureter"]);
    assert!(output.contains("\nsummary: none ("), "{output}");
    assert!(output.contains("\nobs (2390, 28): "), "{output}");
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn versions_are_looked_up_in_the_release_directory_that_is_named() {
    let (directory, uri) = census(Shape::Clustered);
    let releases = directory.path().join("release.json");
    let entry = serde_json::json!({"stable": "2024-07-01", "2024-07-01": {"soma": {"uri": uri}}});
    fs::write(&releases, entry.to_string()).expect("a file");
    for version in ["stable", "2024-07-01"] {
        let output = fetched([
            "-C",
            version,
            "--release-json",
            text(&releases),
            "-c",
            "nnz",
        ]);
        let first = format!(
            "census: {} (version 2024-07-01 of the public Census)",
            uri.display()
        );
        assert_eq!(output.lines().next(), Some(first.as_str()));
    }
    let output = workload(["-C", "latest", "--release-json", text(&releases)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no Census version \"latest\""),
        "{}",
        stderr(&output)
    );
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn servers_that_refuse_or_say_nothing_are_errors_within_a_bound() {
    // Nothing accepts what connects here, so that the connection stands and stays silent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("a port");
    let directory = format!("http://{address}/release.json");
    let refusing = "vfs.s3.endpoint_override=127.0.0.1:1";
    let plain = "vfs.s3.scheme=http";
    for (arguments, expected) in [
        (
            &["-C", "stable", "--release-json", &directory][..],
            "can't be read: curl: (28)",
        ),
        (
            &[
                "--uri",
                "s3://b/census",
                "--config",
                refusing,
                "--config",
                plain,
            ],
            "Could not connect to server",
        ),
    ] {
        let start = Instant::now();
        let output = workload(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{said}"
        );
        assert!(start.elapsed() < Duration::from_secs(120), "{said}");
    }
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn an_unknown_tissue_is_no_rows_and_a_warning() {
    let (_directory, uri) = census(Shape::Clustered);
    let output = workload(["--uri", text(&uri), "-t", "uretre"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("obs (0, 28): "));
    assert_eq!(
        stderr(&output),
        "warning: tissue_general \"uretre\" is unknown to this Census, so no cell has it; the \
         nearest it knows: ureter\n"
    );
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn errors_say_what_is_wrong_in_one_paragraph() {
    let (directory, uri) = census(Shape::Clustered);
    let taken = directory.path().join("taken");
    fs::write(&taken, "a file").expect("a file");
    let uri = text(&uri);
    for (arguments, code, expected) in [
        (
            &["--uri", uri, "-c", "tisue"][..],
            1,
            "(did you mean \"tissue\"",
        ),
        (
            &["--uri", "/nowhere"],
            1,
            "no Census can be opened at /nowhere: /nowhere is no TileDB object",
        ),
        (
            &["--uri", uri, "--organism", "felis_catus"],
            1,
            "there are homo_sapiens, mus_musculus",
        ),
        (
            &["--uri", uri, "-B", "0"],
            1,
            "read buffers of 0 bytes hold nothing",
        ),
        (&["--uri", uri, "-B", "7"], 1, "obs can't be read"),
        (
            &["--uri", uri, "-o", text(&taken)],
            1,
            "taken can't be made: ",
        ),
        (
            &["--uri", uri, "-b", "0"],
            1,
            "Cannot set array memory budget",
        ),
        (
            &["--uri", uri, "--config", "sm.mem.total_budget=x"],
            1,
            "sm.mem.total_budget",
        ),
        (
            &["--uri", uri, "--libtiledb", "/nowhere.so"],
            1,
            "/nowhere.so can't be loaded as libtiledb",
        ),
        (
            &["--uri", uri, "--libtiledb", "libc.so.6"],
            1,
            "libc.so.6 has no function tiledb_",
        ),
        (
            &["--uri", uri, "--value-filter", "nnz >"],
            1,
            "character 6: expected a column or a value",
        ),
        (
            &["--uri", uri, "--value-filter", "nz > 5"],
            1,
            "character 1: no column \"nz\"",
        ),
        (
            &["--uri", uri, "--value-filter", "nnz > 'a'"],
            1,
            "column nnz holds INT64",
        ),
        (&["-B", "1X"], 2, "expected a number of bytes such as"),
        (&["--config", "novalue"], 2, "expected KEY=VALUE"),
        (&["-t", "lung", "-V"], 2, "cannot be used with"),
        (&["--nonsense"], 2, "unexpected argument"),
    ] {
        let output = workload(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(
            said.starts_with("error: ") && !said.contains("\n\nerror"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn a_refused_reservation_is_an_error() {
    let (_directory, uri) = census(Shape::Clustered);
    let command = format!(
        "ulimit -v 6000000; exec {} --uri {}",
        env!("CARGO_BIN_EXE_workload"),
        text(&uri)
    );
    let output = Command::new("sh")
        .args(["-c", &command])
        .output()
        .expect("a shell");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the system refused the reservation"),
        "{}",
        stderr(&output)
    );
}
