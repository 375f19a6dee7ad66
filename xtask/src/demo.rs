//! `cargo xtask demo`: the main job on a fresh machine, in one command.

use crate::command::{build, root, run};
use crate::portable::make_portable;
use crate::root::Root;
use crate::{census, libtiledb, packages};
use anyhow::{Context, Result};

/// The three runs of the original investigation: where the results go, and what is traced.
const RUNS: [(&str, &[&str]); 3] = [
    ("out/ureter", &["workload", "-t", "ureter"]),
    ("out/lung", &["workload", "-t", "lung"]),
    (
        "out/lung-100MiB",
        &["workload", "-t", "lung", "-B", "100MiB"],
    ),
];

/// Builds, fetches what is missing, runs the three traces and names the pictures.
pub(crate) fn demo() -> Result<()> {
    let become_root = Root::find()?;
    packages::ensure(&[packages::For::Demo])?;
    build(&["tracer", "workload"])?;
    libtiledb::ensure()?;
    census::ensure_default()?;

    let tracer = libtiledb::release("tracer")?;
    let bin = tracer.parent().context("a program lies in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", bin.display());
    for (out, command) in RUNS {
        println!("\n$ sudo tracer -o {out} -- {}", command.join(" "));
        run(become_root
            .command("tracer", &[("PATH", path.clone())])
            .env("PATH", &path)
            .args(["-o", out, "--"])
            .args(command))?;
        make_portable(&root().join(out))?;
    }
    println!("\nFlame graphs to open in a browser:");
    for (out, _) in RUNS {
        for picture in ["reserved.svg", "resident.svg", "touched.svg"] {
            println!("  {}", root().join(out).join(picture).display());
        }
    }
    Ok(())
}
