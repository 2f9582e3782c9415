//! Programs that are run to their end.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use crate::error::{Error, Result};

/// How many of the last lines of a failed program are shown.
const SHOWN_LINES: usize = 8;

/// Runs a program to its end and gives what it wrote to its standard output. An exit status other than 0 is an error that
/// shows the end of what it wrote.
pub(crate) fn run(purpose: &str, command: &mut Command) -> Result<String> {
    let output = finish(command.stdin(Stdio::null()), None)?;
    succeeded(purpose, command, &output)
}

/// Like [`run`], with a text for the program's standard input.
pub(crate) fn run_with_input(purpose: &str, command: &mut Command, input: &str) -> Result<String> {
    let output = finish(command.stdin(Stdio::piped()), Some(input))?;
    succeeded(purpose, command, &output)
}

/// Runs a program to its end and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(finish(command.stdin(Stdio::null()), None)?.status.success())
}

fn finish(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let failed = |source| Error::Start {
        program: command_line(command),
        source,
    };
    let mut child = match started {
        Ok(child) => child,
        Err(source) => return Err(failed(source)),
    };
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // A program that ends without reading is judged by its exit status.
        let _ = pipe.write_all(text.as_bytes());
    }
    child.wait_with_output().map_err(failed)
}

fn succeeded(purpose: &str, command: &Command, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [errors, text] = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    let said = if errors.trim().is_empty() { text } else { errors };
    Err(Error::Command {
        purpose: purpose.to_owned(),
        command: command_line(command),
        status: output.status.to_string(),
        output: last_lines(&said),
    })
}

/// The program and its first arguments. Secrets are never arguments.
fn command_line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().take(6).map(|word| word.to_string_lossy()));
    if command.get_args().len() > 6 {
        words.push("…".into());
    }
    words.join(" ")
}

pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_purpose_command_status_and_last_words() {
        let error = run("greet", Command::new("sh").args(["-c", "echo hello >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        for part in ["greet", "sh -c", "exit status: 3", "hello"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(
            run_with_input("copy", &mut Command::new("cat"), "text").unwrap(),
            "text"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("x", &mut Command::new("/nowhere/at-all"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/at-all"), "{error}");
    }
}
