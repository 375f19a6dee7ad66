//! Writes a synthetic Census.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::{fs, io, thread};

use super::frame::{self, Values};
use super::obs::{self, Chunk};
use super::{Population, Shape, Vocabulary};
use crate::soma::{ENCODING_VERSION, OBJECT_TYPE};
use crate::tiledb::{self, Array, Context, Group, Mode, WriteQuery};

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Human cells.
    pub cells: u64,
    /// How they lie.
    pub shape: Shape,
    /// Decides every value.
    pub seed: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            cells: 1_000_000,
            shape: Shape::Clustered,
            seed: 20_240_701,
        }
    }
}

/// Why no Census was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// TileDB's error.
    #[error(transparent)]
    TileDb(#[from] tiledb::Error),
    /// The file system's error.
    #[error("{path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
    /// A path that TileDB can't be told.
    #[error("{0} isn't valid UTF-8, and TileDB takes no other paths")]
    Path(PathBuf),
}

/// Cells written at a time: four tiles, some 25 MB.
const CHUNK: u64 = 4 * obs::CAPACITY;
/// Mouse cells.
const MOUSE_CELLS: u64 = 20_000;
/// Genes of `ms/RNA/var`, as in the Census of 2024-07-01: human, mouse.
const GENES: [(&str, &str, usize); 2] = [
    ("homo_sapiens", "ENSG", 60_530),
    ("mus_musculus", "ENSMUSG", 52_417),
];

/// Writes a Census to `out`, which must not exist: into a temporary directory beside it first, so
/// that what bears the name is whole. `progress` hears of human cells as they are written.
pub fn generate(
    ctx: &Context,
    out: &Path,
    spec: &Spec,
    mut progress: impl FnMut(u64),
) -> Result<(), GenerateError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| GenerateError::Io { path, source }
    };
    if out.exists() {
        return Err(io(out)(io::ErrorKind::AlreadyExists.into()));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io(parent))?;
    let temporary = out.with_extension(format!("partial-{}", std::process::id()));
    let written = write_census(ctx, &temporary, spec, &mut progress)
        .and_then(|()| fs::rename(&temporary, out).map_err(io(out)));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

fn write_census(
    ctx: &Context,
    root: &Path,
    spec: &Spec,
    progress: &mut impl FnMut(u64),
) -> Result<(), GenerateError> {
    let uri = root
        .to_str()
        .ok_or_else(|| GenerateError::Path(root.to_owned()))?;
    let io = |source| GenerateError::Io {
        path: root.to_owned(),
        source,
    };
    for directory in [
        "census_info",
        "census_data/homo_sapiens/ms/RNA",
        "census_data/mus_musculus/ms/RNA",
    ] {
        fs::create_dir_all(root.join(directory)).map_err(io)?;
    }
    let vocabulary = Vocabulary::new(spec.seed);
    let human = Population::new(spec.cells, spec.shape, spec.seed);
    let mouse = Population::new(MOUSE_CELLS, spec.shape, !spec.seed);
    let data = format!("{uri}/census_data");
    for ((organism, prefix, genes), cells) in GENES.iter().zip([&human, &mouse]) {
        let experiment = format!("{data}/{organism}");
        let heard = |written| {
            if *organism == "homo_sapiens" {
                progress(written)
            }
        };
        write_obs(ctx, &format!("{experiment}/obs"), cells, &vocabulary, heard)?;
        frame::write(
            ctx,
            &format!("{experiment}/ms/RNA/var"),
            &var(prefix, *genes, spec.seed),
        )?;
        write_group(
            ctx,
            &format!("{experiment}/ms/RNA"),
            "SOMAMeasurement",
            &["var"],
        )?;
        write_group(ctx, &format!("{experiment}/ms"), "SOMACollection", &["RNA"])?;
        write_group(ctx, &experiment, "SOMAExperiment", &["obs", "ms"])?;
    }
    let info = format!("{uri}/census_info");
    frame::write(ctx, &format!("{info}/summary"), &summary(&human, &mouse))?;
    frame::write(
        ctx,
        &format!("{info}/datasets"),
        &datasets(&human, &vocabulary),
    )?;
    write_group(ctx, &info, "SOMACollection", &["summary", "datasets"])?;
    write_group(
        ctx,
        &data,
        "SOMACollection",
        &["homo_sapiens", "mus_musculus"],
    )?;
    write_group(ctx, uri, "SOMACollection", &["census_info", "census_data"])?;
    Ok(())
}

/// Writes `obs`, one thread making up the next cells while TileDB compresses these.
fn write_obs(
    ctx: &Context,
    uri: &str,
    population: &Population,
    vocabulary: &Vocabulary,
    mut progress: impl FnMut(u64),
) -> tiledb::Result<()> {
    let specs = obs::attributes(vocabulary);
    frame::create(ctx, uri, &specs)?;
    let array = Array::open(ctx, uri, Mode::Write)?;
    let mut query = WriteQuery::new(&array, &frame::names(&specs))?;
    let (full, ready) = sync_channel::<Chunk>(0);
    let (empty, reused) = sync_channel::<Chunk>(2);
    thread::scope(|scope| {
        scope.spawn(move || {
            for start in (0..population.len()).step_by(CHUNK as usize) {
                let mut chunk = reused.try_recv().unwrap_or_default();
                chunk.fill(
                    population,
                    vocabulary,
                    start..(start + CHUNK).min(population.len()),
                );
                if full.send(chunk).is_err() {
                    return; // The writer has failed, and says why.
                }
            }
        });
        for chunk in ready {
            query.submit(&chunk.inputs())?;
            progress(chunk.len() as u64);
            // Nobody waits for it any more after the last one.
            let _ = empty.send(chunk);
        }
        Ok::<(), tiledb::Error>(())
    })?;
    query.finish()?;
    frame::finish(array)
}

fn write_group(ctx: &Context, uri: &str, kind: &str, members: &[&str]) -> tiledb::Result<()> {
    Group::create(ctx, uri)?;
    let group = Group::open(ctx, uri, Mode::Write)?;
    group.set_metadata(OBJECT_TYPE, kind)?;
    group.set_metadata(ENCODING_VERSION, "1")?;
    for member in members {
        group.add_member(member, member)?;
    }
    group.close()
}

/// The genes of an organism.
fn var(prefix: &str, genes: usize, seed: u64) -> Vec<frame::Column> {
    let number = |gene: usize, salt: u64| super::mix(seed ^ salt ^ (gene as u64) << 8) % 100_000;
    let all = || 0..genes;
    vec![
        (
            "feature_id",
            Values::Utf8(
                all()
                    .map(|n| format!("{prefix}{:011}", 3 + 2 * n))
                    .collect(),
            ),
        ),
        (
            "feature_name",
            Values::Utf8(all().map(|n| format!("GENE{n}")).collect()),
        ),
        (
            "feature_length",
            Values::Int64(all().map(|n| 200 + number(n, 1) as i64 / 10).collect()),
        ),
        (
            "nnz",
            Values::Int64(all().map(|n| number(n, 2) as i64).collect()),
        ),
        (
            "n_measured_obs",
            Values::Int64(all().map(|n| 100_000 + number(n, 3) as i64).collect()),
        ),
    ]
}

/// `census_info/summary`.
fn summary(human: &Population, mouse: &Population) -> Vec<frame::Column> {
    let total = human.len() + mouse.len();
    let rows = [
        ("census_schema_version", "2.0.1".to_owned()),
        ("census_build_date", super::DEFAULT_VERSION.to_owned()),
        ("dataset_schema_version", "5.1.0".to_owned()),
        ("total_cell_count", total.to_string()),
        ("number_cells_homo_sapiens", human.len().to_string()),
        ("number_cells_mus_musculus", mouse.len().to_string()),
        ("provenance", "synthetic".to_owned()),
    ];
    let (labels, values) = rows
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value))
        .unzip();
    vec![
        ("label", Values::Utf8(labels)),
        ("value", Values::Utf8(values)),
    ]
}

/// `census_info/datasets`.
fn datasets(human: &Population, vocabulary: &Vocabulary) -> Vec<frame::Column> {
    let ids = &vocabulary.datasets;
    let each = |text: fn(usize) -> String| Values::Utf8((0..ids.len()).map(text).collect());
    let cells = human
        .dataset_cells()
        .into_iter()
        .map(|cells| cells as i64)
        .collect();
    vec![
        (
            "citation",
            each(|n| format!("Synthetic dataset {n}; no publication")),
        ),
        ("collection_id", each(|n| format!("synthetic-{:03}", n / 4))),
        (
            "collection_name",
            each(|n| format!("Synthetic collection {}", n / 4)),
        ),
        ("collection_doi", each(|_| String::new())),
        ("dataset_id", Values::Utf8(ids.clone())),
        ("dataset_version_id", Values::Utf8(ids.clone())),
        ("dataset_title", each(|n| format!("Synthetic dataset {n}"))),
        (
            "dataset_h5ad_path",
            Values::Utf8(ids.iter().map(|id| format!("{id}.h5ad")).collect()),
        ),
        ("dataset_total_cell_count", Values::Int64(cells)),
    ]
}
