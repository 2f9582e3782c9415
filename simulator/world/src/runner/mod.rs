//! Running seeds: one in this process, or many in processes of their own.
//!
//! A process simulates one seed: libraries count what they make in a process, and what they draw follows from the count.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

mod many;
mod minimise;
mod one;

pub use many::Many;
pub use one::One;

fn number<T: std::str::FromStr>(flag: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{flag} needs a number"))?;
    value
        .parse()
        .map_err(|_| format!("{flag}: found {value:?}, expected a number"))
}
