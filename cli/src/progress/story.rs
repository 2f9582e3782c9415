//! What is worth a line: each change of a condition once, in the words of the operator.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// An object of the seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// As kubectl takes it.
    pub(crate) fn for_kubectl(&self) -> String {
        let kind = self.kind.to_lowercase();
        match self.namespace.as_str() {
            "default" => format!("{kind}/{}", self.name),
            namespace => format!("{kind}/{} --namespace {namespace}", self.name),
        }
    }
}

pub(crate) fn key_of(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Key {
        kind: text(&object["kind"]),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
    }
}

/// A condition as it is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

fn conditions(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    let list = object["status"]["conditions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    list.iter().map(|found| Condition {
        kind: found["type"].as_str().unwrap_or_default(),
        status: found["status"].as_str().unwrap_or_default(),
        reason: found["reason"].as_str().unwrap_or_default(),
        message: found["message"].as_str().unwrap_or_default(),
    })
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    conditions(object).find(|condition| condition.kind == kind)
}

/// Whether it says so of its present spec.
pub(crate) fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready").is_some_and(|ready| ready.status == "True")
}

/// A line to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The object's name.
    pub(super) who: String,
    /// What is new about it.
    pub(super) text: String,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    known: BTreeMap<Key, BTreeMap<String, (String, String)>>,
    told: BTreeSet<(String, String)>,
}

impl Story {
    /// The lines for an object as it is now.
    pub(super) fn tell(&mut self, object: &Value) -> Vec<Line> {
        if object["kind"] == "Event" {
            return self.warning(object).into_iter().collect();
        }
        let key = key_of(object);
        let first = !self.known.contains_key(&key);
        let known = self.known.entry(key.clone()).or_default();
        let mut texts = Vec::new();
        for condition in conditions(object) {
            let now = (condition.status.to_owned(), condition.reason.to_owned());
            if known.insert(condition.kind.to_owned(), now.clone()) == Some(now) {
                continue;
            }
            // What is not so yet when an object is first seen is no news.
            if !first || condition.status == "True" {
                texts.extend(text_of(&key, condition));
            }
        }
        texts
            .into_iter()
            .filter_map(|text| self.once(&key.name, text))
            .collect()
    }

    /// The line for an object that is gone.
    pub(super) fn forget(&mut self, key: &Key) -> Option<Line> {
        self.known.remove(key)?;
        self.told.retain(|(who, _)| *who != key.name);
        Some(Line {
            who: key.name.clone(),
            text: "gone".to_owned(),
        })
    }

    /// A warning that no condition told.
    fn warning(&mut self, event: &Value) -> Option<Line> {
        if event["type"] != "Warning" {
            return None;
        }
        let who = event["regarding"]["name"].as_str()?;
        let note = event["note"].as_str()?;
        let reason = event["reason"].as_str().unwrap_or_default();
        let of_a_condition = self
            .known
            .values()
            .flat_map(BTreeMap::values)
            .any(|(_, known)| known == reason);
        if of_a_condition {
            return None;
        }
        self.once(who, format!("warning, {reason}: {note}"))
    }

    fn once(&mut self, who: &str, text: String) -> Option<Line> {
        self.told.insert((who.to_owned(), text.clone())).then(|| Line {
            who: who.to_owned(),
            text,
        })
    }
}

/// What a condition says; none where another object's says it better, or nothing was seen yet.
fn text_of(key: &Key, condition: Condition) -> Option<String> {
    let Condition {
        kind,
        status,
        reason,
        message,
    } = condition;
    match kind {
        "Progressing" | "UpToDate" | "SpecValid" | "NetworkPolicyEnforced" => return None,
        "Stalled" | "Ready" if status != "True" => return None,
        // Machines speak for themselves.
        _ if key.kind != "DevMachine" && status != "True" && message.starts_with("machine ") => return None,
        _ if reason == "NotObserved" => return None,
        _ => {}
    }
    let message = if FAILURES.contains(&reason) {
        message.to_owned()
    } else {
        shortened(message)
    };
    let said = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    Some(if status == "True" {
        format!("{kind}{said}")
    } else {
        format!("{reason}{said}")
    })
}

/// Reasons whose messages end with the last lines of a log, which a person wants to see.
const FAILURES: [&str; 2] = ["BootstrapFailed", "BootstrapGaveUp"];
const LONGEST: usize = 140;

fn shortened(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "kind": "DevMachine",
            "metadata": {"namespace": "default", "name": "demo-cp-0", "generation": 1},
            "status": {"observedGeneration": 1, "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": message},
            ]},
        })
    }

    /// A story in which the machine was seen before, without any condition.
    fn seen() -> Story {
        let mut story = Story::default();
        story.tell(&json!({"kind": "DevMachine", "metadata": {"namespace": "default", "name": "demo-cp-0"}}));
        story.tell(&json!({"kind": "DevCluster", "metadata": {"namespace": "default", "name": "demo-cp-0"}}));
        story
    }

    fn texts(story: &mut Story, object: &Value) -> Vec<String> {
        story.tell(object).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_transition_is_told_once() {
        let mut story = seen();
        let boot = machine("Bootstrapped", "False", "Bootstrapping", "kubeadm init runs");
        assert_eq!(texts(&mut story, &boot), ["Bootstrapping: kubeadm init runs"]);
        assert!(texts(&mut story, &boot).is_empty());
        let done = machine("Bootstrapped", "True", "BootstrapSucceeded", "");
        assert_eq!(texts(&mut story, &done), ["Bootstrapped"]);
    }

    #[test]
    fn what_is_not_so_yet_or_follows_from_other_things_is_no_news() {
        let mut story = Story::default();
        assert!(
            texts(
                &mut story,
                &machine("NodeReady", "False", "NodeNotRegistered", "no node yet")
            )
            .is_empty()
        );
        assert!(texts(&mut story, &machine("Ready", "False", "Bootstrapping", "x")).is_empty());
        assert!(texts(&mut story, &machine("Stalled", "False", "AsAsked", "")).is_empty());
        assert_eq!(
            texts(
                &mut story,
                &machine("Stalled", "True", "HostNotFound", "no host x")
            ),
            ["Stalled: no host x"]
        );
        let mut cluster = machine(
            "ControlPlaneReady",
            "False",
            "Bootstrapping",
            "machine demo-cp-0: kubeadm runs",
        );
        cluster["kind"] = json!("DevCluster");
        assert!(texts(&mut seen(), &cluster).is_empty(), "the machine said it");
    }

    #[test]
    fn two_conditions_with_one_message_are_one_line() {
        let mut story = seen();
        assert_eq!(
            texts(
                &mut story,
                &machine("InfrastructureReady", "False", "Provisioning", "starts")
            )
            .len(),
            1
        );
        assert!(
            texts(
                &mut story,
                &machine("Bootstrapped", "False", "Provisioning", "starts")
            )
            .is_empty()
        );
    }

    #[test]
    fn only_a_failure_has_many_lines() {
        let long = format!("{}\nsecond", "ö".repeat(200));
        let told = texts(
            &mut seen(),
            &machine("NodeReady", "False", "ChildUnreachable", &long),
        );
        assert!(
            told[0].ends_with("ö…") && told[0].chars().count() < 170,
            "{told:?}"
        );
        let told = texts(
            &mut seen(),
            &machine(
                "Bootstrapped",
                "False",
                "BootstrapFailed",
                "exit code 1\nlast words",
            ),
        );
        assert!(told[0].ends_with("last words"));
    }

    #[test]
    fn a_warning_that_no_condition_tells_is_shown() {
        let mut story = seen();
        let event = |reason: &str| json!({"kind": "Event", "type": "Warning", "reason": reason, "note": "n", "regarding": {"name": "demo-cp-0"}});
        story.tell(&machine("Bootstrapped", "False", "BootstrapFailed", "kubeadm: n"));
        assert!(texts(&mut story, &event("BootstrapFailed")).is_empty());
        assert_eq!(
            texts(&mut story, &event("StepFailed")),
            ["warning, StepFailed: n"]
        );
    }

    #[test]
    fn an_older_generation_is_not_ready() {
        let mut object = machine("Ready", "True", "AsAsked", "");
        assert!(is_ready(&object));
        object["metadata"]["generation"] = json!(2);
        assert!(!is_ready(&object));
    }
}
