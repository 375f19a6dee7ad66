//! Reserved is exact, resident within a stated tolerance.

use crate::harness::{Trace, number, program, site, trace};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Resident bytes of a site may be off by the larger of 1 % and 64 KiB.
fn assert_close(what: &str, got: u64, truth: u64) {
    let tolerance = (truth / 100).max(64 << 10);
    assert!(
        got.abs_diff(truth) <= tolerance,
        "{what}: {got}, should be {truth} ± {tolerance}"
    );
}

fn reserve(options: &[&str]) -> (Trace, Value) {
    let run = trace(options, &program("reserve", &[]), &[]);
    run.assert_nothing_lost();
    let stats = run.stats();
    (run, stats)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn reserved_and_resident_are_told_apart_by_site() {
    let (_run, stats) = reserve(&[]);
    let mapped = site(&stats, "map_256_touch_32");
    assert_eq!(number(&mapped["reserved_at_peak_bytes"]), 256 * MIB);
    assert_close(
        "mapping",
        number(&mapped["resident_at_peak_bytes"]),
        32 * MIB,
    );
    let block = site(&stats, "malloc_512_touch_16");
    assert_eq!(number(&block["reserved_at_peak_bytes"]), 512 * MIB);
    assert_close("block", number(&block["resident_at_peak_bytes"]), 16 * MIB);
    let gone = site(&stats, "gone_before");
    assert_eq!(number(&gone["reserved_at_peak_bytes"]), 0);
    assert_eq!(number(&gone["resident_at_peak_bytes"]), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_peaks_agree_with_the_kernel() {
    let (_run, stats) = reserve(&[]);
    assert_eq!(stats["peak_mem"], stats["reserved"]["peak_bytes"]);
    let resident = number(&stats["resident"]["peak_bytes"]);
    let kernel = number(&stats["resident"]["kernel_peak_bytes"]);
    assert!(
        resident.abs_diff(kernel) <= (kernel / 100).max(256 << 10),
        "{resident} beside {kernel}"
    );
    assert!(number(&stats["reserved"]["kernel_peak_bytes"]) >= 768 * MIB);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_malloc_probes_a_large_block_is_its_mapping() {
    let (_run, stats) = reserve(&["--trace", "pages"]);
    // malloc adds its header and rounds up to pages.
    let mapped = number(&stats["reserved"]["mapping_bytes"]);
    let truth = 256 * MIB + 512 * MIB + 4096;
    assert!(
        (truth..truth + MIB).contains(&mapped),
        "{mapped}: the rest is the C runtime's"
    );
    assert_eq!(stats["reserved"]["heap_bytes"], 0);
}
