//! The fetch, step by step, with the clock running.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use workload::census::{self, Census, Frame, Location, REGION};
use workload::size::Bytes;
use workload::soma::{self, Batches, DataFrame, Filter, JOINID, ReadOptions, feather};
use workload::tiledb::{Context, Library};

use crate::about::About;
use crate::cli::Cli;

/// The column that `--tissue` asks about.
const TISSUE: &str = "tissue_general";
/// The setting that sizes the read buffers; TileDB-SOMA's own, libtiledb doesn't know it.
const INIT_BUFFER_BYTES: &str = "soma.init_buffer_bytes";

/// Runs the whole command.
pub(crate) fn run(cli: &Cli) -> Result<()> {
    let location = location(cli)?;
    println!("census: {} ({})", location.uri, location.why);
    if let Some(directory) = &cli.out_dir {
        fs::create_dir_all(directory)
            .with_context(|| format!("{} can't be made", directory.display()))?;
    }
    let frame = cli.frame();
    let name = frame.name();

    let (ctx, census) = timed("open", || open(cli, &location))?;
    println!("{}", About::of(&census, &cli.organism));
    let (data, filter) = timed("query", || prepare(cli, &census, frame))?;
    let buffer_bytes = buffer_bytes(cli)?;
    let columns = cli.columns.as_deref();
    let options = ReadOptions {
        columns,
        filter: filter.as_ref(),
        buffer_bytes,
        ..ReadOptions::default()
    };
    let table = timed(name, || {
        let table = data.read(&options).and_then(Batches::table);
        table.with_context(|| {
            format!(
                "{name} can't be read into buffers of {}",
                Bytes(buffer_bytes as u64)
            )
        })
    })?;
    if cli.timings {
        println!("submit took {}s", Seconds(table.submitting.as_secs_f64()));
    }
    let whole = timed(&format!("{name}-df"), || Ok(table.materialize()?))?;
    drop((table, ctx));

    println!("{name} {}", Shape(&whole));
    if let Some(directory) = &cli.out_dir {
        write(directory, name, &whole)?;
    }
    Ok(())
}

fn location(cli: &Cli) -> Result<Location> {
    if let Some(uri) = &cli.uri {
        let (uri, region) = (uri.clone(), REGION.to_owned());
        return Ok(Location {
            uri,
            why: "named by --uri".into(),
            region,
        });
    }
    if let Some(version) = &cli.census_version {
        let release = census::find_release(version, cli.release_json.as_deref())?;
        if let Some(reason) = &release.retracted {
            eprintln!(
                "warning: Census version {} was retracted: {reason}",
                release.version
            );
        }
        let why = format!("version {} of the public Census", release.version);
        return Ok(Location {
            uri: release.uri,
            why,
            region: release.region,
        });
    }
    census::default_location().map_err(|places| {
        let places: Vec<_> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        anyhow::anyhow!(
            "no synthetic Census on this machine (looked at {}): write one with `cargo xtask \
             census`, or name a Census with --uri",
            places.join(", ")
        )
    })
}

fn open(cli: &Cli, location: &Location) -> Result<(Context, Census)> {
    let library = Library::find(cli.libtiledb.as_deref())?;
    let budget = cli.mem_total_budget.0.to_string();
    let buffers = cli.init_buffer_bytes.0.to_string();
    let defaults = [
        ("sm.mem.total_budget", budget.as_str()),
        (INIT_BUFFER_BYTES, &buffers),
        // What TileDB-SOMA and cellxgene_census set.
        ("sm.mem.reader.sparse_global_order.ratio_array_data", "0.3"),
        ("vfs.s3.no_sign_request", "true"),
        ("vfs.s3.region", &location.region),
    ];
    let named = cli
        .config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let ctx = Context::new(library, defaults.into_iter().chain(named))?;
    let census = Census::open(&ctx, &location.uri, &cli.organism)
        .with_context(|| format!("no Census can be opened at {}", location.uri))?;
    Ok((ctx, census))
}

fn prepare(cli: &Cli, census: &Census, frame: Frame) -> Result<(DataFrame, Option<Filter>)> {
    let data = census.frame(frame)?;
    let tissue = cli
        .tissue
        .as_ref()
        .map(|tissue| has_tissue(&data, tissue))
        .transpose()?;
    let named = cli
        .value_filter
        .as_ref()
        .map(|text| Filter::parse(&data, text))
        .transpose()?;
    let filter = match (tissue, named) {
        (Some(tissue), Some(named)) => Some(tissue.and(named)?),
        (tissue, named) => tissue.or(named),
    };
    Ok((data, filter))
}

/// `tissue_general == tissue`. A tissue that isn't in the vocabulary has no cells, which is a
/// result; but a misspelling is likelier, so there is a warning.
fn has_tissue(data: &DataFrame, tissue: &str) -> Result<Filter> {
    if let Some(vocabulary) = data.vocabulary(TISSUE)?
        && !vocabulary.iter().any(|entry| entry == tissue)
    {
        let nearest = match soma::nearest(tissue, &vocabulary) {
            none if none.is_empty() => vocabulary,
            some => some,
        };
        eprintln!(
            "warning: {TISSUE} {tissue:?} is unknown to this Census, so no cell has it; the \
             nearest it knows: {}",
            nearest.join(", ")
        );
    }
    Ok(Filter::equals(data, TISSUE, tissue)?)
}

/// `-B`, unless `--config` says otherwise.
fn buffer_bytes(cli: &Cli) -> Result<usize> {
    let configured = cli
        .config
        .iter()
        .rev()
        .find(|(key, _)| key == INIT_BUFFER_BYTES);
    let bytes = match configured {
        None => cli.init_buffer_bytes.0,
        Some((key, value)) => value
            .parse()
            .with_context(|| format!("--config {key}={value} is no number of bytes"))?,
    };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!("read buffers of {bytes} bytes hold nothing"),
    }
}

/// `obs.feather` and `obs.joinids.feather`.
fn write(directory: &Path, name: &str, table: &RecordBatch) -> Result<()> {
    feather::write(&directory.join(format!("{name}.feather")), table)?;
    if let Ok(index) = table.schema().index_of(JOINID) {
        let joinids = table.project(&[index])?;
        feather::write(&directory.join(format!("{name}.joinids.feather")), &joinids)?;
    }
    Ok(())
}

/// Runs a step, and prints how long it took, in seconds to three digits.
fn timed<T>(step: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = run()?;
    println!("{step} took {}s", Seconds(start.elapsed().as_secs_f64()));
    Ok(result)
}

/// Three significant digits, as `0.654`, `2.34`, `31.6`.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            s if s < 0.001 => 6,
            s if s < 0.01 => 5,
            s if s < 0.1 => 4,
            s if s < 1.0 => 3,
            s if s < 10.0 => 2,
            _ => 1,
        };
        write!(f, "{:.digits$}", self.0)
    }
}

/// `(rows, columns): name,name,…`.
struct Shape<'a>(&'a RecordBatch);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.0.schema();
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        write!(
            f,
            "({}, {}): {}",
            self.0.num_rows(),
            names.len(),
            names.join(",")
        )
    }
}
