//! Lengths of time as they stand in a spec.

use std::time::Duration;

/// The length of a time such as `500ms`, `4s` or `2m`; none where the text is not one.
///
/// The schema lets nothing else through; an object that was stored before a rule was made may still hold something else.
pub fn parse(text: &str) -> Option<Duration> {
    let milliseconds = |number: &str, factor: u64| number.parse::<u64>().ok()?.checked_mul(factor);
    let total = if let Some(number) = text.strip_suffix("ms") {
        milliseconds(number, 1)
    } else if let Some(number) = text.strip_suffix('s') {
        milliseconds(number, 1000)
    } else {
        milliseconds(text.strip_suffix('m')?, 60_000)
    };
    total.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("4s"), Some(Duration::from_secs(4)));
        assert_eq!(parse("2m"), Some(Duration::from_mins(2)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for bad in ["", "4", "s", "-1s", "1h", "1.5s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
