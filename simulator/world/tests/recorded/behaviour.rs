//! How a host behaved, without names, numbers and times that differ from run to run.

use std::collections::BTreeMap;

use serde_json::Value;

/// A difference that is meant.
pub struct Meant {
    /// Of what: `domain`, `network`, `volume` or `host`, and a line that only one of the two has.
    pub line: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// For each thing on a host, what was asked, answered or told, in the order in which each came first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Behaviour(BTreeMap<String, Vec<String>>);

impl Behaviour {
    /// Reads lines of JSON; others are none of it.
    pub fn read(text: &str) -> Self {
        let mut behaviour = Self::default();
        for line in text.lines() {
            let Ok(call) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let of = plain(call["of"].as_str().unwrap_or_default());
            // Which files a release has is its own matter, and all of them go the same way.
            if of.starts_with("seedbed-base-") && !of.contains(".qcow2") {
                continue;
            }
            let what = match (call["event"].as_str(), call["call"].as_str()) {
                (Some(event), _) => format!("event {event}"),
                (None, Some(verb)) => {
                    let asked = call
                        .get("asked")
                        .map(|asked| format!(" {asked}"))
                        .unwrap_or_default();
                    let mut answer = call["answer"].clone();
                    // How many machines had theirs when somebody looked is chance.
                    if let Some(count) = answer.get_mut("reservations") {
                        *count = (*count != 0).into();
                    }
                    plain(&format!("{verb}{asked} -> {answer}"))
                }
                _ => continue,
            };
            let all = behaviour.0.entry(of).or_default();
            if !all.contains(&what) {
                all.push(what);
            }
        }
        behaviour
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What differs, and is not meant to.
    pub fn differences(&self, other: &Self, meant: &[Meant]) -> Vec<String> {
        let mut told = Vec::new();
        let is_meant = |line: &str| meant.iter().any(|m| m.line == line);
        for name in self
            .0
            .keys()
            .chain(other.0.keys())
            .collect::<std::collections::BTreeSet<_>>()
        {
            let of = |behaviour: &Self| behaviour.0.get(name).cloned().unwrap_or_default();
            let (recorded, simulated) = (of(self), of(other));
            let only = |these: &[String], those: &[String]| -> Vec<String> {
                let missing = these
                    .iter()
                    .filter(|line| !those.contains(line) && !is_meant(line));
                missing.cloned().collect()
            };
            for line in only(&recorded, &simulated) {
                told.push(format!("{name}: only recorded: {line}"));
            }
            for line in only(&simulated, &recorded) {
                told.push(format!("{name}: only simulated: {line}"));
            }
            // Both have it: then in the same order. Events come on a way of their own, so that calls may overtake them.
            for events in [true, false] {
                let common = |these: &[String], those: &[String]| -> Vec<String> {
                    these
                        .iter()
                        .filter(|line| line.starts_with("event ") == events)
                        .filter(|line| those.contains(line) && !is_meant(line))
                        .cloned()
                        .collect()
                };
                let (first, second) = (common(&recorded, &simulated), common(&simulated, &recorded));
                if let Some(at) = (0..first.len()).find(|at| first[*at] != second[*at]) {
                    told.push(format!(
                        "{name}: another order: recorded {}, simulated {}",
                        first[at], second[at]
                    ));
                }
            }
        }
        let lines: Vec<&String> = self.0.values().chain(other.0.values()).flatten().collect();
        for meant in meant.iter().filter(|m| !lines.iter().any(|line| *line == m.line)) {
            told.push(format!("{}: neither has it: {}", meant.line, meant.reason));
        }
        told
    }
}

/// The text without what differs from run to run: UIDs, digests, tokens of jobs, and addresses.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.') && !word.is_empty() {
            word.push(c);
            continue;
        }
        out.push_str(&shown(&word));
        word.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

/// Each part of a word between dots: those that are made of hexadecimal digits and long are somebody's number.
fn shown(word: &str) -> String {
    if word.parse::<std::net::Ipv4Addr>().is_ok() {
        return "an address".to_owned();
    }
    let part = |part: &str| {
        let digits = part
            .chars()
            .filter(|c| *c != '-' && *c != ':')
            .collect::<Vec<_>>();
        let is_number = digits.len() >= 12 && digits.iter().all(char::is_ascii_hexdigit);
        let (prefix, rest) = part.rsplit_once('-').unwrap_or((part, ""));
        let ends_with_number = rest.len() >= 12 && rest.chars().all(|c| c.is_ascii_hexdigit());
        if is_number {
            "#".to_owned()
        } else if ends_with_number {
            format!("{prefix}-#")
        } else {
            part.to_owned()
        }
    };
    word.split('.').map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_only_one_gives_and_another_order_are_told() {
        let line =
            |answer: &str| format!("{{\"call\": \"domain\", \"of\": \"a\", \"answer\": \"{answer}\"}}\n");
        let of = |answers: &[&str]| Behaviour::read(&answers.iter().map(|a| line(a)).collect::<String>());
        assert_eq!(
            of(&["x", "y"]).differences(&of(&["x", "x", "y", "x"]), &[]),
            Vec::<String>::new()
        );
        assert_eq!(of(&["x", "y"]).differences(&of(&["x"]), &[]).len(), 1);
        assert_eq!(of(&["x", "y"]).differences(&of(&["y", "x"]), &[]).len(), 1);
        let meant = [Meant {
            line: "domain -> \"y\"",
            reason: "a test",
        }];
        assert_eq!(
            of(&["x", "y"]).differences(&of(&["x"]), &meant),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_differs_from_run_to_run_is_taken_out() {
        assert_eq!(plain("default.demo-cp-0"), "default.demo-cp-0");
        assert_eq!(
            plain("default.demo-cp-0.0f9c0a5e-0000-4000-8000-000000000001.root.qcow2"),
            "default.demo-cp-0.#.root.qcow2"
        );
        assert_eq!(
            plain("seedbed-base-4e420b178bcbaa33.qcow2"),
            "seedbed-base-#.qcow2"
        );
        assert_eq!(
            plain("/var/lib/seedbed/jobs/0123456789abcdef0123/log"),
            "/var/lib/seedbed/jobs/#/log"
        );
        assert_eq!(
            plain("reserve 10.64.0.10 in network x"),
            "reserve an address in network x"
        );
    }
}
