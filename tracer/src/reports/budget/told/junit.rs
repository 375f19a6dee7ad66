//! The verdict as a JUnit report, which CI systems show as tests: a limit is a test case.

use super::{Check, Verdict, exceeded, kept, named, of, place, stack};
use crate::reports::text::printable;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io;

/// Writes elements.
type Xml<'w, 'o> = &'w mut Writer<&'o mut Vec<u8>>;

impl Verdict {
    /// The report, as XML.
    ///
    /// # Errors
    /// None that memory does not make.
    pub fn junit(&self, command: &str) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut xml = Writer::new_with_indent(&mut out, b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let doubt = self.doubt();
        let tests = (self.checks.len() + usize::from(doubt.is_some())).to_string();
        let failures = (self.failed().count() + usize::from(doubt.is_some())).to_string();
        let suite = xml.create_element("testsuite").with_attributes([
            ("name", "tracer budget"),
            ("tests", tests.as_str()),
            ("failures", failures.as_str()),
        ]);
        suite.write_inner_content(|xml| {
            for check in &self.checks {
                case(xml, command, &named(&check.limit), &told(check))?;
            }
            match doubt {
                Some(why) => case(xml, command, "complete", &Told::Failed(why, String::new())),
                None => Ok(()),
            }
        })?;
        out.push(b'\n');
        Ok(out)
    }
}

/// What is told of a test case.
enum Told {
    Passed(String),
    /// In a sentence, and with the stacks.
    Failed(String, String),
}

fn told(check: &Check) -> Told {
    if check.is_kept() {
        return Told::Passed(kept(check));
    }
    let culprit = |culprit| {
        let frames: Vec<String> = stack(culprit).map(|line| format!("    {line}\n")).collect();
        let (value, place) = (of(check, culprit), place(culprit));
        format!("{value}  {place}\n{}", frames.concat())
    };
    let by: Vec<String> = check.by.iter().map(culprit).collect();
    Told::Failed(exceeded(check), by.concat())
}

fn case(xml: Xml<'_, '_>, command: &str, name: &str, told: &Told) -> io::Result<()> {
    let (command, name) = (allowed(command), allowed(name));
    let case = xml.create_element("testcase");
    let case = case.with_attributes([("classname", command.as_str()), ("name", name.as_str())]);
    case.write_inner_content(|xml| {
        match told {
            Told::Passed(text) => {
                let out = xml.create_element("system-out");
                out.write_text_content(BytesText::new(&allowed(text)))?;
            }
            Told::Failed(message, text) => {
                let failure = xml.create_element("failure");
                let failure = failure.with_attribute(("message", allowed(message).as_str()));
                failure.write_text_content(BytesText::new(&allowed(text)))?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Text without what XML has no way to write: control characters and the two that are none
/// (XML 1.0, 2.2).
fn allowed(text: &str) -> String {
    let line = |line: &str| printable(line).replace(['\u{fffe}', '\u{ffff}'], "?");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
