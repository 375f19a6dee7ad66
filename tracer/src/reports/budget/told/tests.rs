use super::*;
use crate::recording::Frame;
use std::path::Path;

/// A frame with everything in its name that a form could take for its own.
fn hostile() -> Frame {
    Frame {
        function: Some("f</failure>\u{1b}[2J&,:%\n::error::x|`\u{ffff}".to_owned()),
        file: Some("/w/src/a,b:c.c".to_owned()),
        line: Some(7),
        module: Some("prog".to_owned()),
        offset: 1,
        inlined: false,
    }
}

fn verdict() -> Verdict {
    let limit = |scope, most| Limit {
        metric: Metric::Resident,
        scope,
        most,
        baseline: None,
    };
    let mut broken = Check::new(limit(Scope::All, 10), Found::Value(25));
    broken.by = vec![Culprit {
        value: 25,
        location: Frame {
            file: Some("/usr/src/malloc.c".to_owned()),
            ..hostile()
        },
        stack: vec![hostile()],
    }];
    let name = Scope::Process("a\nb".to_owned());
    Verdict {
        checks: vec![
            broken,
            Check::new(limit(name, 5), Found::Nobody),
            Check::new(limit(Scope::All, 99), Found::Value(25)),
        ],
        incomplete: None,
    }
}

#[test]
fn nothing_in_a_name_breaks_out_of_its_line() {
    for line in verdict().lines() {
        assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
    }
}

#[test]
fn an_annotation_stands_at_the_first_line_of_source_that_is_in_the_workspace() {
    let lines = verdict().annotations(Some(Path::new("/w")));
    assert_eq!(lines.len(), 2);
    let start = "::error file=src/a%2Cb%3Ac.c,line=7,title=tracer%3A resident::25 B by f";
    assert!(lines[0].starts_with(start), "{}", lines[0]);
    assert!(lines[1].starts_with("::error title="), "{}", lines[1]);
    for line in &lines {
        assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
    }
    // Of another checkout nothing is known.
    let elsewhere = verdict().annotations(Some(Path::new("/v")));
    assert!(
        elsewhere[0].starts_with("::error title="),
        "{}",
        elsewhere[0]
    );
}

#[test]
fn a_report_of_tests_is_sound_xml_that_says_what_failed() {
    let bytes = verdict().junit("cmd <x>\u{7}").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let mut reader = quick_xml::Reader::from_str(&text);
    let mut cases = 0;
    loop {
        match reader.read_event().expect("sound") {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(tag) if tag.name().as_ref() == b"testcase" => {
                cases += 1;
            }
            _ => {}
        }
    }
    assert_eq!(cases, 3, "{text}");
    assert_eq!(text.matches("<failure ").count(), 2, "{text}");
    assert!(text.contains("failures=\"2\""), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{ffff}']), "{text}");
}

#[test]
fn json_has_the_figures() {
    let json = verdict().json("cmd");
    assert_eq!(json["kept"], false);
    assert_eq!(json["checks"][0]["value"], 25);
    assert_eq!(json["checks"][0]["limit"], 10);
    assert_eq!(json["checks"][0]["by"][0]["value"], 25);
    assert_eq!(json["checks"][1]["value"], serde_json::Value::Null);
    assert_eq!(json["checks"][2]["kept"], true);
}

#[test]
fn of_many_locations_that_have_grown_the_most_are_told_and_the_others_counted() {
    let check = |n: u64| {
        let limit = Limit {
            metric: Metric::Leaked,
            scope: Scope::Location(format!("f{n}  a.c")),
            most: 1,
            baseline: Some(0),
        };
        Check::new(limit, Found::Value(100 - n))
    };
    let verdict = Verdict {
        checks: (0..25).map(check).collect(),
        incomplete: None,
    };
    let lines = verdict.lines();
    assert_eq!(lines.len(), 11, "{lines:#?}");
    assert!(
        lines[0].contains("leaked at f0  a.c: 100 B"),
        "{}",
        lines[0]
    );
    assert!(
        lines[10].contains("15 more locations have grown"),
        "{}",
        lines[10]
    );
    assert_eq!(verdict.json("x")["checks"].as_array().unwrap().len(), 25);
}
