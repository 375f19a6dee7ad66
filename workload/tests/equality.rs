//! What the workload fetches is what TileDB-SOMA's Python fetches, value by value.

mod common;

use std::path::Path;

use common::{CELLS, SEED, ask_python, census, fetched};
use serde_json::{Value, json};
use workload::census::{FULL_CELLS, FULL_LUNG_CELLS, Population, Shape, Terms, Vocabulary};

/// The lung cells of the tests' Census.
const LUNG: u64 = CELLS * FULL_LUNG_CELLS / FULL_CELLS;

/// Dictionaries, lists with a value that nothing has, and a flag.
const FILTER: &str = "tissue_general in ['lung', 'ureter', 'nowhere'] and \
                      (sex != 'male' or is_primary_data == True) and tissue not in ['left lung']";
/// Numbers of both kinds, and a chain.
const NUMBERS: &str = "500 < nnz <= 2000 and raw_mean_nnz >= 2.5 or soma_joinid in [3, 5, 99999]";

/// The cells that meet the two filters, by the generator's word.
fn filtered(shape: Shape) -> (u64, u64) {
    let (population, vocabulary) = (Population::new(CELLS, shape, SEED), Vocabulary::new(SEED));
    let (mut labels, mut numbers) = (0, 0);
    for joinid in 0..CELLS {
        let cell = population.cell(joinid, &vocabulary);
        let label = |terms: &Terms, code: usize| terms.labels[code].clone();
        let general = label(&vocabulary.tissue_general, cell.tissue_general as usize);
        let tissue = label(&vocabulary.tissue, cell.tissue as usize);
        let male = label(&vocabulary.sex, cell.sex as usize) == "male";
        let some = general == "lung" || general == "ureter";
        labels += u64::from(some && (!male || cell.is_primary_data) && tissue != "left lung");
        let few = 500 < cell.nnz && cell.nnz <= 2_000 && cell.raw_mean_nnz >= 2.5;
        numbers += u64::from(few || [3, 5, 99_999].contains(&joinid));
    }
    (labels, numbers)
}

/// Fetches with the workload, and describes the same fetch for Python.
fn case(uri: &Path, out: &Path, arguments: &[&str], mut described: Value) -> Value {
    let uri = uri.to_str().expect("UTF-8");
    let out = out.join(arguments.join("_").replace(['/', ' ', '\'', '"'], ""));
    let frame = if arguments.contains(&"-V") {
        "var"
    } else {
        "obs"
    };
    let mut all = vec!["--uri", uri, "-o", out.to_str().expect("UTF-8")];
    all.extend(arguments);
    fetched(all);
    described["uri"] = uri.into();
    described["frame"] = frame.into();
    described["feather"] = out.join(format!("{frame}.feather")).to_str().into();
    if described.get("organism").is_none() {
        described["organism"] = "homo_sapiens".into();
    }
    described
}

fn equal_in(shape: Shape) {
    let (directory, uri) = census(shape);
    let ureter = json!({"filter": "tissue_general == 'ureter'"});
    let lung = json!({"filter": "tissue_general == 'lung'"});
    let columns = "nnz,tissue,soma_joinid,is_primary_data,observation_joinid";
    let mut some = ureter.clone();
    some["columns"] = columns.split(',').collect();
    let of = |arguments: &[&str], described: &Value| {
        case(&uri, directory.path(), arguments, described.clone())
    };
    let cases = json!([
        of(&["-t", "ureter"], &ureter),
        of(&["-t", "lung"], &lung),
        // Many sets of buffers, joined.
        of(&["-t", "lung", "-B", "20k"], &lung),
        of(&["-t", "ureter", "-c", columns], &some),
        of(
            &["-t", "nowhere"],
            &json!({"filter": "tissue_general == 'nowhere'"})
        ),
        of(&[], &json!({})),
        of(&["--value-filter", FILTER], &json!({"filter": FILTER})),
        of(
            &["--value-filter", NUMBERS, "-c", "sex"],
            &json!({"filter": NUMBERS, "columns": ["sex"]})
        ),
        of(&["-V"], &json!({})),
        of(
            &["-V", "--organism", "mus_musculus"],
            &json!({"organism": "mus_musculus"})
        ),
    ]);
    let rows = ask_python("equal.py", &cases);
    let (labels, numbers) = filtered(shape);
    let expected = [
        2_390, LUNG, LUNG, 2_390, 0, CELLS, labels, numbers, 60_530, 52_417,
    ];
    assert_eq!(rows, json!(expected));
}

#[test]
#[ignore = "needs libtiledb and TileDB-SOMA: cargo xtask test"]
fn clustered_census_equals() {
    equal_in(Shape::Clustered);
}

#[test]
#[ignore = "needs libtiledb and TileDB-SOMA: cargo xtask test"]
fn scattered_census_equals() {
    equal_in(Shape::Scattered);
}
