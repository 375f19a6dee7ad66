use super::*;
use crate::reports::dataset::tests::run;
use std::io::Read as _;

/// What a profile says by metric: the sum of each, and of each innermost frame's.
pub(in crate::reports) fn sums(gzip: &[u8]) -> BTreeMap<String, i64> {
    let mut bytes = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(gzip);
    reader.read_to_end(&mut bytes).expect("gzip");
    let profile = Profile::decode(&*bytes).expect("a profile");
    let text = |number: i64| &profile.string_table[number as usize];
    let mut sums = BTreeMap::new();
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len());
        let location = &profile.location[sample.location_id[0] as usize - 1];
        let function = &profile.function[location.line[0].function_id as usize - 1];
        for (kind, value) in profile.sample_type.iter().zip(&sample.value) {
            let metric = format!("{} {}", text(kind.r#type), text(kind.unit));
            *sums.entry(metric).or_default() += value;
            if *value > 0 {
                let place = format!("{} {}", text(kind.r#type), text(function.name));
                *sums.entry(place).or_default() += value;
            }
        }
    }
    sums
}

#[test]
fn samples_add_up_to_what_the_run_came_to() {
    let mut input = run();
    input.run.mode = "heap".to_owned();
    for (id, name) in [(1, "inner"), (2, "other")] {
        let frame = |name: &str| Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        };
        let frames = [frame(name), frame("main")];
        input.symbols.insert(StackId(id), frames);
    }
    let sums = sums(&pprof(&input).expect("in memory"));
    let expected = [
        ("allocs count", 7),
        ("allocs inner", 7),
        ("leaked bytes", 11),
        ("leaked inner", 11),
        ("reserved bytes", 300),
        ("reserved inner", 200),
        ("reserved other", 100),
        ("resident [image]", 30),
        ("resident bytes", 90),
        // Slack is below the stack that grew the arena.
        ("resident inner", 60),
    ];
    let found: Vec<(&str, i64)> = sums
        .iter()
        .map(|(name, sum)| (name.as_str(), *sum))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_was_not_counted_is_no_value() {
    let mut input = run();
    input.run.mode = "pages".to_owned();
    let profile = profile(&input);
    let names = profile
        .sample_type
        .iter()
        .map(|kind| &profile.string_table[kind.r#type as usize]);
    assert_eq!(names.collect::<Vec<_>>(), ["reserved", "resident"]);
    assert_eq!(profile.string_table[0], "");
}
