//! Logs as people read them.

/// The last lines of a log that fit into `limit` bytes, without control characters and escape sequences. A first line that
/// would be cut is left out, unless it is the only one.
pub(crate) fn last_lines(log: &[u8], limit: usize) -> String {
    let text = plain(&String::from_utf8_lossy(log));
    let text = text.trim_end();
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut begin = text.len() - limit;
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    let at_line_start = text[..begin].ends_with('\n');
    let end = &text[begin..];
    match end.find('\n') {
        Some(index) if !at_line_start => end[index + 1..].to_owned(),
        _ => end.to_owned(),
    }
}

/// The phase that the last line `seedbed: phase <name>` of a log names.
pub(crate) fn phase(log: &[u8]) -> Option<String> {
    String::from_utf8_lossy(log).lines().rev().find_map(|line| {
        line.strip_prefix("seedbed: phase ")
            .map(|name| name.trim().to_owned())
    })
}

/// The text without escape sequences (ECMA-48 CSI) and control characters other than tab and line feed.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                while characters.next().is_some_and(|next| !('@'..='~').contains(&next)) {}
            }
        } else if !character.is_control() || matches!(character, '\n' | '\t') {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_whole_lines_at_the_end() {
        assert_eq!(last_lines(b"first line\nsecond\nthird\n", 13), "second\nthird");
        assert_eq!(last_lines(b"first line\nsecond\nthird\n", 12), "second\nthird");
        assert_eq!(last_lines(b"first line\nsecond\nthird\n", 11), "third");
        assert_eq!(last_lines(b"short\n", 100), "short");
        assert_eq!(last_lines(b"", 100), "");
    }

    #[test]
    fn cuts_a_line_only_where_it_is_the_only_one() {
        assert_eq!(last_lines(b"0123456789", 4), "6789");
        assert_eq!(last_lines("äöü".as_bytes(), 3), "ü");
    }

    #[test]
    fn drops_what_a_terminal_would_interpret() {
        assert_eq!(
            last_lines(b"\x1b[31merror\x1b[0m: bad\r\n\x07x\ty\n", 100),
            "error: bad\nx\ty"
        );
        assert_eq!(last_lines(b"ends in \x1b[", 100), "ends in");
    }

    #[test]
    fn finds_the_last_phase() {
        assert_eq!(
            phase(b"seedbed: phase preflight\nok\nseedbed: phase init\n[init] x\n"),
            Some("init".to_owned())
        );
        assert_eq!(phase(b"it says seedbed: phase nothing\n"), None);
    }
}
