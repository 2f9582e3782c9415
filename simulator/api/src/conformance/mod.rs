//! What the server and a real kube-apiserver are both asked, and have to answer alike.
//!
//! A case is a row of HTTP requests. What kube-apiserver answered to them is written down in `answers/`, without what differs from
//! run to run; the same is asked of the server in memory, by its own tests, and again of a real one, so that what is written down
//! stays true. What is meant to differ is in [`MEANT`], with a reason for each: an answer that is listed there and does not differ is
//! an error, too.

mod calls;
mod cases;

pub use calls::{Answer, Calls};
pub use cases::CASES;

use std::fmt::Write as _;

use futures::future::BoxFuture;
use kube::Client;

use crate::{ApiServer, Store};

/// A row of requests.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, which is also that of the namespace that it works in.
    pub name: &'static str,
    /// What kube-apiserver answered, as [`text`] writes it.
    pub recorded: &'static str,
    run: for<'a> fn(&'a mut Calls) -> BoxFuture<'a, ()>,
}

/// A difference that is meant.
#[derive(Debug, Clone, Copy)]
pub struct Meant {
    /// The case.
    pub case: &'static str,
    /// The request, as its answer's first line has it.
    pub request: &'static str,
    /// Why the server in memory answers otherwise.
    pub reason: &'static str,
}

/// Differences that are meant. Besides, no answer is compared in what [`Calls`] leaves out.
pub const MEANT: &[Meant] = &[
    Meant {
        case: "calibration-created",
        request: "POST v1 configmaps #7",
        reason: "a body that is no JSON is refused in other words",
    },
    Meant {
        case: "calibration-merged",
        request: "PATCH v1 configmaps/a (merge) #7",
        reason: "a body that is no JSON is refused in other words",
    },
    Meant {
        case: "calibration-generations",
        request: "PATCH apps/v1 deployments/d (merge) #3",
        reason: "annotations count as part of what a Deployment asks for, and of nothing else",
    },
    Meant {
        case: "calibration-generations",
        request: "PATCH apps/v1 deployments/d (merge) #4",
        reason: "its generation is another since its annotations were changed",
    },
    Meant {
        case: "calibration-nodes",
        request: "PATCH /api/v1/nodes/calibration-node (merge) #3",
        reason: "rules for fields, such as that a pod range stays, are not simulated",
    },
    Meant {
        case: "calibration-unknown",
        request: "GET nothing.dev/v1 nothings",
        reason: "of a group that it does not know a server says so in plain text",
    },
];

impl Case {
    /// Asks a server in memory everything.
    pub async fn of_memory(&self, server: &ApiServer) -> Vec<Answer> {
        let forgetting = server.clone();
        let forget = Box::new(move || forgetting.with(Store::compact));
        let client = Client::new(server.clone(), "default");
        self.answers(Calls::new(client, self.name, Some(forget))).await
    }

    /// Asks a real API server everything. The case's namespace has to be there.
    pub async fn of_real(&self, client: Client) -> Vec<Answer> {
        self.answers(Calls::new(client, self.name, None)).await
    }

    async fn answers(&self, mut calls: Calls) -> Vec<Answer> {
        (self.run)(&mut calls).await;
        calls.answers()
    }

    /// How the answers differ from those that are written down, in what is not meant to differ; none where they do not.
    pub fn differences(&self, answers: &[Answer], in_memory: bool) -> Option<String> {
        let recorded: Vec<&str> = self.recorded.split("\n\n").map(str::trim).collect();
        let mut told = String::new();
        if recorded.len() != answers.len() {
            let _ = writeln!(
                told,
                "{} answers, {} are written down",
                answers.len(),
                recorded.len()
            );
        }
        for (answer, expected) in answers.iter().zip(recorded) {
            let meant = MEANT
                .iter()
                .find(|m| in_memory && m.case == self.name && m.request == answer.request);
            let (found, is_same) = (answer.to_string(), answer.to_string().trim() == expected);
            match meant {
                None if !is_same => {
                    let _ = writeln!(told, "answered:\n{found}\nkube-apiserver answers:\n{expected}\n");
                }
                Some(meant) if is_same => {
                    let _ = writeln!(
                        told,
                        "{}: does not differ, although it is said that it does: {}",
                        meant.request, meant.reason
                    );
                }
                _ => {}
            }
        }
        (!told.is_empty()).then(|| format!("{}: {told}", self.name))
    }
}

/// The answers as they are written down.
pub fn text(answers: &[Answer]) -> String {
    let all: Vec<String> = answers.iter().map(ToString::to_string).collect();
    format!("{}\n", all.join("\n\n"))
}
