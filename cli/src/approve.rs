//! `approve`: a person's word for an upgrade that waits for one.

use seedbed_seed::{Instance, Kubectl, Outcome, Report as _};
use serde_json::Value;

use crate::{arguments::ApproveArguments, console::Console, error::Error};

/// What the operator looks for on an upgrade with `approval: Manual`.
const ANNOTATION: &str = "seedbed.dev/approve";

/// Approves the upgrade.
pub(crate) fn approve(
    instance: &Instance,
    arguments: &ApproveArguments,
    console: &mut Console,
) -> Result<(), Error> {
    let kubectl = Kubectl::of(instance, &instance.existing_settings()?);
    let object = [
        "clusterupgrade",
        &arguments.name,
        "--namespace",
        &arguments.namespace,
    ];
    let upgrade = kubectl.json("read the upgrade", &[&["get"][..], &object].concat())?;
    let shown = format!("{}/{}", arguments.namespace, arguments.name);
    let is_new = decide(&upgrade).map_err(|why| Error::NotApproved {
        upgrade: shown.clone(),
        why,
    })?;
    if is_new {
        let annotation = format!("{ANNOTATION}=true");
        let words = [&["annotate"][..], &object, &[&annotation, "--overwrite"]].concat();
        kubectl.run("approve the upgrade", &words)?;
    }
    console.end("approved", &Outcome::of(is_new, shown));
    Ok(())
}

/// Whether the approval is still to be given; why it cannot be.
fn decide(upgrade: &Value) -> Result<bool, String> {
    let (spec, status) = (&upgrade["spec"], &upgrade["status"]);
    let version = spec["version"].as_str().unwrap_or_default();
    let condition = |type_: &str| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.clone().find(|condition| condition["type"] == type_)
    };
    let is = |type_: &str, value: &str| condition(type_).is_some_and(|found| found["status"] == value);
    if spec["dryRun"] == true {
        return Err("it is only planned (spec.dryRun)".to_owned());
    }
    if spec["approval"] != "Manual" {
        return Err("it does not wait for anybody: spec.approval is not Manual".to_owned());
    }
    if is("Succeeded", "True") {
        return Err(format!("it is done: the cluster runs {version}"));
    }
    if is("PointOfNoReturnPassed", "True") {
        return Err("it has passed its point of no return already".to_owned());
    }
    if let Some(undo) = status.get("undo") {
        let why = undo["message"].as_str().unwrap_or_default();
        return Err(format!("it is undone, or was: {why}; make another one"));
    }
    if spec["cancel"] == true || upgrade["metadata"].get("deletionTimestamp").is_some() {
        return Err("it was cancelled; make another one".to_owned());
    }
    Ok(upgrade["metadata"]["annotations"][ANNOTATION] != "true")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting() -> Value {
        json!({
            "metadata": {"name": "next"},
            "spec": {"version": "v1.36.3", "approval": "Manual", "dryRun": false, "cancel": false},
            "status": {"phase": "Waiting", "conditions": [
                {"type": "Succeeded", "status": "Unknown"}, {"type": "PointOfNoReturnPassed", "status": "False"},
            ]},
        })
    }

    #[test]
    fn one_that_waits_is_approved_and_once() {
        assert_eq!(decide(&waiting()), Ok(true));
        let mut approved = waiting();
        approved["metadata"]["annotations"] = json!({"seedbed.dev/approve": "true"});
        assert_eq!(decide(&approved), Ok(false));
        approved["metadata"]["annotations"] = json!({"seedbed.dev/approve": "no"});
        assert_eq!(decide(&approved), Ok(true));
    }

    #[test]
    fn one_that_was_not_begun_can_be_approved_ahead() {
        let mut fresh = waiting();
        fresh.as_object_mut().unwrap().remove("status");
        assert_eq!(decide(&fresh), Ok(true));
    }

    #[test]
    fn where_there_is_nothing_to_approve_it_is_said_why() {
        let ended = |type_: &str| json!([{"type": type_, "status": "True"}]);
        for (pointer, value, part) in [
            (
                "/spec/approval",
                json!("Automatic"),
                "spec.approval is not Manual",
            ),
            ("/spec/dryRun", json!(true), "only planned"),
            ("/spec/cancel", json!(true), "was cancelled"),
            (
                "/status/conditions",
                ended("Succeeded"),
                "the cluster runs v1.36.3",
            ),
            (
                "/status/conditions",
                ended("PointOfNoReturnPassed"),
                "passed its point of no return",
            ),
        ] {
            let mut upgrade = waiting();
            *upgrade.pointer_mut(pointer).unwrap() = value;
            let why = decide(&upgrade).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        let mut undone = waiting();
        undone["status"]["undo"] = json!({"cause": "SoakFailed", "message": "not well for 180 s"});
        let why = decide(&undone).unwrap_err();
        assert!(
            why.contains("undone") && why.contains("not well for 180 s"),
            "{why}"
        );
        let mut leaving = waiting();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-26T00:00:00Z");
        assert!(decide(&leaving).is_err());
    }
}
