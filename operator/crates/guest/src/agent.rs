//! One command to the agent and its answer.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Guest, GuestError, REPLY_LIMIT};

/// A command without arguments.
#[derive(Serialize)]
pub(crate) struct NoArguments {}

#[derive(Serialize)]
struct Command<'a, A> {
    execute: &'a str,
    arguments: A,
}

impl Guest {
    /// Whether the agent answers.
    pub async fn ping(&self) -> Result<(), GuestError> {
        self.command::<Value>("guest-ping", NoArguments {})
            .await
            .map(drop)
    }

    /// Sends one command and reads the `return` of its answer.
    pub(crate) async fn command<R: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<R, GuestError> {
        let malformed = |reason: String| GuestError::Malformed {
            domain: self.domain.clone(),
            command: command.to_owned(),
            reason,
        };
        let text = serde_json::to_string(&Command {
            execute: command,
            arguments,
        })
        .map_err(|error| malformed(format!("the command cannot be written as JSON: {error}")))?;
        let answer = self
            .host
            .agent(&self.domain, &self.owner, &text, REPLY_LIMIT)
            .await?;
        let mut answer: Value =
            serde_json::from_str(&answer).map_err(|error| malformed(error.to_string()))?;
        let value = answer
            .get_mut("return")
            .map(Value::take)
            .ok_or_else(|| malformed("it has no field \"return\"".to_owned()))?;
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }
}
