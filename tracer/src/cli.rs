//! The command line. clap's types stop here.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;
use tracer::reports::budget::{Growth, Limit};
use tracer::reports::{Between, Metric};
use tracer::symbols::Naming;
use tracer::units::Bytes;

const EXAMPLES: &str = "\
Examples:
  sudo tracer -- workload -t ureter          trace a command
  sudo tracer -o out/py -- python3 app.py    name the folder for the results
  sudo tracer --trace pages -- ./server      mappings and faults only, no malloc probes
  sudo tracer -u \"$USER\" -- ./server        run it as yourself, not as root
  sudo tracer --max-resident 400M -- ./test  fail if more becomes resident
  sudo tracer --repeat 5 --max-allocs 9000 -- ./test  the median of five runs
  tracer report out/py                       every report again, offline, no root
  tracer report out/py --between begin end   of what came between two marks
  tracer diff out/before out/after           what changed, location by location

Results: --out-dir DIR, by default out/<label>. A run that is there already moves to previous/ in the
same folder. They belong to the user who called sudo, whoever the command runs as. The summary goes
to standard error, since standard output is the command's own.

Exit status: the command's own (128+N when signal N ended it), 126 or 127 when it could not be
run, 125 when the tracer itself failed, 123 when the command succeeded and its budget was exceeded.

Environment:
  TRACER_CACHE   folder that keeps unwind tables for the next run [default: /var/cache/tracer];
                 empty: they are made anew each time
  DEBUGINFOD_URLS
                 servers that are asked for debug files that this machine lacks, for a minute
                 at most, all requests together; what they send is kept where gdb and elfutils
                 keep it (DEBUGINFOD_CACHE_PATH). DEBUGINFOD_TIMEOUT, DEBUGINFOD_MAXTIME and
                 DEBUGINFOD_MAXSIZE set narrower limits. sudo drops such variables unless they
                 stand behind it: sudo DEBUGINFOD_URLS=https://… tracer …

Words:
  reserved   address space asked for: live heap allocations plus direct mappings
  resident   physical memory, as the kernel counts it (RSS)
  reserver   the stack that allocated or mapped the memory a page belongs to
  toucher    the stack that was running when a page became resident";

const DIFF: &str = "\
Locations are the same if their function and file name are, wherever they have moved. Reserved and
leaked bytes and calls are compared exactly; resident bytes count as changed from 64 KiB and 1 % on.
A stats.json has the largest locations alone where there are many; recordings have all.

A flame graph is as wide as what both runs have together: red has more in the second, blue less.

Exit status: 0 whatever changed (budgets gate: --max-…), 125 where the two can't be compared.";

const EXPORT: &str = "\
With --push, what the server has not taken waits in a folder, 256 MiB of it at most, and goes with the
next --push. $TRACER_PUSH_TOKEN is sent as a bearer's, where it is set. Exit status: 0 also where the
server was away, and the profiles wait; 125 where it wants none of them.

Each run adds a file to each of DIR/runs, DIR/stacks and DIR/processes, in a folder of its day
(date=2026-11-29). A run that is exported again replaces its own files. DuckDB, Spark, DataFusion and
pyarrow read them as tables: SELECT * FROM 'DIR/runs/*/*.parquet'.";

const DOCTOR: &str = "\
Loads and attaches everything, then traces a child of its own that does what is known
beforehand, and compares. Nothing stays behind.

Exit status: 0 where a trace works (with what is less exact, by name), 1 where it does not, 125
when the doctor itself failed.";

/// Who reserved the memory, who touched it, and what does the kernel say?
///
/// Runs COMMAND and follows, by eBPF from outside the process, every call of the malloc
/// family, every mapping and every page that becomes resident, each with its call stack.
#[derive(Debug, Parser)]
#[command(name = "tracer", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(
    override_usage = "tracer [OPTIONS] [--] COMMAND [ARGS]...\n       tracer report DIR [-o DIR]\n       tracer diff BASE HEAD"
)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    /// Another job than tracing a command.
    #[command(subcommand)]
    pub(crate) job: Option<Job>,
    /// Tracing a command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What else the tracer does.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Write every report again from a recording: offline, without root
    Report(Box<ReportArgs>),
    /// Compare two runs, location by location: recordings, folders of results, or stats.json
    Diff(DiffArgs),
    /// Add runs to a dataset of Parquet files, one table over many; or send them to Pyroscope or Parca
    Export(ExportArgs),
    /// Try what this machine allows, by a trace of its own, and tell the remedy for what it lacks
    Doctor(DoctorArgs),
    /// Name this moment in the trace that it runs under: a mark, for --between
    Mark {
        /// The name: 80 bytes at most
        #[arg(value_parser = parse_mark)]
        name: String,
    },
    /// Print what completes the command line in a shell: `source <(tracer completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual's pages into a folder
    #[command(hide = true)]
    ManPages {
        /// The folder
        dir: PathBuf,
    },
    /// Read files for their names, without any rights: the tracer starts it itself
    #[command(hide = true)]
    ReadNames,
}

/// The marks that `--between` names.
pub(crate) fn between(names: &[String]) -> Option<Between> {
    let [from, to] = names else {
        return None;
    };
    let name = |name: &String| (name != "-").then(|| name.clone());
    Some(Between {
        from: name(from),
        to: name(to),
    })
}

impl Job {
    /// Has files read for their names by this program, in a process of its own.
    pub(crate) fn naming() -> Naming {
        Naming::Apart(["/proc/self/exe", "read-names"].map(Into::into).into())
    }
}

/// Options of a trace.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder for the results [default: out/<label>, made from the command's words]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,

    /// What to follow
    #[arg(long, value_enum, default_value_t = Trace::Heap)]
    pub(crate) trace: Trace,

    /// Run the command as this user, by name or number, with HOME, USER and LOGNAME of his, as
    /// `runuser -u` does [default: as who runs the tracer, which under sudo is root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,

    /// Go on until every process that the command left behind has ended too; Ctrl-C ends the wait
    #[arg(short, long)]
    pub(crate) wait: bool,

    /// Memory for events on their way from the kernel, such as 64MiB (a power of two is made of
    /// it, of one page at least) [default: 128MiB, or less where memory is short]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) ring_buffer: Option<u64>,

    /// Write the summary to a file; `-` is standard output, which is the command's own
    /// [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub(crate) summary: Option<PathBuf>,

    /// No progress, and no summary on standard error: only files, warnings and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Run the command so many times, and hold the median of each figure against the budget; the
    /// results are in run-1, run-2, … of the folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: Option<u32>,

    /// Report, and hold against the budget, only what came between two marks, by their names; `-` is
    /// the beginning or the end (docs/marks.md says how a program makes marks)
    #[arg(long, num_args = 2, value_names = ["MARK", "MARK"])]
    pub(crate) between: Vec<String>,

    /// Be one of several runs: who started it keeps the budget
    #[arg(long, hide = true)]
    pub(crate) one_of_several: bool,

    /// How much it may take.
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,

    /// The command to trace, with its arguments
    #[arg(required = true, value_name = "COMMAND", trailing_var_arg = true, help_heading = None, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

/// How much the command may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Budget (exit status 123 where it is exceeded)")]
pub(crate) struct BudgetArgs {
    /// Most bytes reserved at a time, by all processes together or, with a NAME, by each that runs
    /// that program or script; may be given several times
    #[arg(long, value_name = "[NAME=]SIZE", value_parser = parse_reserved)]
    pub(crate) max_reserved: Vec<Limit>,

    /// Most bytes resident at a time
    #[arg(long, value_name = "[NAME=]SIZE", value_parser = parse_resident)]
    pub(crate) max_resident: Vec<Limit>,

    /// Most bytes in blocks that are never freed
    #[arg(long, value_name = "[NAME=]SIZE", value_parser = parse_leaked)]
    pub(crate) max_leaked: Vec<Limit>,

    /// Most allocations
    #[arg(long, value_name = "[NAME=]NUMBER", value_parser = parse_allocs)]
    pub(crate) max_allocs: Vec<Limit>,

    /// Read the budget from this file; options go before it [default: tracer.toml in the current
    /// folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) budget: Option<PathBuf>,

    /// Limit all of these to what an earlier run came to: a stats.json, a recording, or the folder
    /// of its results
    #[arg(long, value_name = "BASE")]
    pub(crate) baseline: Option<PathBuf>,

    /// By how much each, and each location, may have grown since, in per cent of what the whole
    /// was [default: 5%]; METRIC is also `location` or `location-METRIC`; may be given several times
    #[arg(long, value_name = "[METRIC=]PERCENT", requires = "baseline", value_parser = Growth::parse)]
    pub(crate) max_growth: Vec<Growth>,

    /// Keep to the budget even where events were lost, and it may have come to more
    #[arg(long)]
    pub(crate) allow_lost: bool,

    /// Write what came of the budget as JUnit XML, a test case for each limit
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Write what came of the budget as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) verdict: Option<PathBuf>,

    /// Tell GitHub's runner too: annotations at the lines of source that broke the budget, and
    /// Markdown behind the job's summary, $GITHUB_STEP_SUMMARY [default: where GITHUB_ACTIONS is
    /// `true`]
    #[arg(long)]
    pub(crate) github: bool,
}

/// What a trace follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trace {
    /// The malloc family, mappings and page faults
    Heap,
    /// Mappings and page faults only, no malloc probes; a large malloc shows as its mmap
    Pages,
}

/// Options of `tracer report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The folder of an earlier trace's results, or the `recording` folder within
    pub(crate) recording: PathBuf,

    /// Folder for the results [default: the one that holds the recording]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,

    /// No summary: only files, warnings and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Report, and hold against the budget, only what came between two marks, by their names; `-` is
    /// the beginning or the end (docs/marks.md says how a program makes marks)
    #[arg(long, num_args = 2, value_names = ["MARK", "MARK"])]
    pub(crate) between: Vec<String>,

    /// How much it may have taken.
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
}

/// Options of `tracer diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF)]
pub(crate) struct DiffArgs {
    /// The earlier run: a recording, the folder of its results, or a stats.json
    pub(crate) base: PathBuf,

    /// The later one
    pub(crate) head: PathBuf,

    /// Print Markdown, for a job's summary
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Compare stack by stack rather than by locations; needs recordings
    #[arg(long)]
    pub(crate) stacks: bool,

    /// Draw the difference as a flame graph too, an SVG; needs recordings
    #[arg(long, value_name = "FILE")]
    pub(crate) flame: Option<PathBuf>,

    /// What the flame graph is of
    #[arg(long, value_name = "METRIC", default_value = "reserved", requires = "flame", value_parser = Metric::named)]
    pub(crate) metric: Metric,
}

/// Options of `tracer export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct ExportArgs {
    /// Recordings, or the folders of their results; of several runs all
    #[arg(required = true)]
    pub(crate) recordings: Vec<PathBuf>,

    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    pub(crate) format: Format,

    /// The folder of the dataset, made if it is not there
    #[arg(long, value_name = "DIR", required_unless_present = "push")]
    pub(crate) dataset: Option<PathBuf>,

    /// Send the runs to a server of profiles, as pprof: `https://host` or `pyroscope+https://host`
    /// for Pyroscope, `parca+https://host` for Parca; `user:password@` may stand before the host
    #[arg(long, value_name = "URL")]
    pub(crate) push: Option<String>,

    /// Where profiles wait while the server is away, for the next --push [default:
    /// $XDG_STATE_HOME/tracer/spool, ~/.local/state/tracer/spool]
    #[arg(long, value_name = "DIR", requires = "push")]
    pub(crate) spool: Option<PathBuf>,

    /// The revision of what ran [default: $GITHUB_SHA, $CI_COMMIT_SHA]
    #[arg(long, value_name = "REVISION")]
    pub(crate) commit: Option<String>,

    /// Something else to tell the runs by; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) label: Vec<(String, String)>,
}

/// What `tracer export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Apache Parquet, partitioned by day as Hive does it
    Parquet,
}

/// Options of `tracer doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long, conflicts_with = "unwind")]
    pub(crate) json: bool,

    /// Room for events, as a trace would be given it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) ring_buffer: Option<u64>,

    /// Be the command that the doctor traces
    #[arg(long, hide = true)]
    pub(crate) child: bool,

    /// Tell instead what of an ELF file's code the stack unwinder covers
    #[arg(long, value_name = "FILE")]
    pub(crate) unwind: Option<PathBuf>,
}

/// Room for events, as [`Bytes`] are written.
fn parse_size(text: &str) -> Result<u64, String> {
    let Bytes(bytes) = text.parse()?;
    let has_unit = !text.ends_with(|c: char| c.is_ascii_digit());
    match bytes {
        1..4096 if !has_unit => Err(format!(
            "`{text}` is {bytes} bytes: did you mean {bytes}MiB?"
        )),
        4096..=0x8000_0000 => Ok(bytes),
        _ => Err(format!("`{text}` is not between 4 KiB and 2 GiB")),
    }
}

fn parse_mark(text: &str) -> Result<String, String> {
    match text.len() {
        1..=80 => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not 1 to 80 bytes long")),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

macro_rules! limit_parsers {
    ($($name:ident: $metric:ident,)*) => {
        $(
            fn $name(text: &str) -> Result<Limit, String> {
                Limit::parse(Metric::$metric, text)
            }
        )*
    };
}

limit_parsers! {
    parse_reserved: Reserved,
    parse_resident: Resident,
    parse_leaked: Leaked,
    parse_allocs: Allocs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_after_the_command_are_the_commands_own() {
        let cli = Cli::parse_from(["tracer", "-o", "x", "--", "prog", "-o", "y", "--help"]);
        assert_eq!(cli.run.command, ["prog", "-o", "y", "--help"]);
        let cli = Cli::parse_from(["tracer", "prog", "-t", "--trace", "pages"]);
        assert_eq!(cli.run.command, ["prog", "-t", "--trace", "pages"]);
        assert_eq!(cli.run.trace, Trace::Heap);
    }

    #[test]
    fn a_command_called_like_a_job_can_be_traced() {
        let cli = Cli::parse_from(["tracer", "--", "report", "x"]);
        assert!(cli.job.is_none());
        assert_eq!(cli.run.command, ["report", "x"]);
    }

    #[test]
    fn nothing_to_trace_is_an_error() {
        assert!(Cli::try_parse_from(["tracer"]).is_err());
        assert!(Cli::try_parse_from(["tracer", "--"]).is_err());
    }

    #[test]
    fn sizes_parse_or_say_why_not() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("4.5k"), Ok(4608));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        for bad in ["", "x", "1T", "-1", "0", "3G", "1..2", "nan", "1k", "4095"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        let said = parse_size("5").unwrap_err();
        assert_eq!(said, "`5` is 5 bytes: did you mean 5MiB?");
    }

    #[test]
    fn an_option_that_is_none_is_no_command() {
        let said = |words: &[&str]| Cli::try_parse_from(words).unwrap_err().to_string();
        let text = said(&["tracer", "--traces", "x"]);
        assert!(text.contains("unexpected argument '--traces'"), "{text}");
        assert!(text.contains("'--trace'"), "the nearest: {text}");
        let text = said(&["tracer", "-x", "1"]);
        assert!(text.contains("unexpected argument '-x'"), "{text}");
        assert!(Cli::try_parse_from(["tracer", "-q", "--", "-x"]).is_ok());
    }
}
