//! Sizes as they stand in a spec.

/// Bytes of a size such as `512Mi`, `3Gi` or `1Ti`; none where the text is not one.
///
/// The schema lets nothing else through; an object that was stored before a rule was made may still hold something else.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match (
        text.strip_suffix("Mi"),
        text.strip_suffix("Gi"),
        text.strip_suffix("Ti"),
    ) {
        (Some(n), _, _) => (n, 20),
        (_, Some(n), _) => (n, 30),
        (_, _, Some(n)) => (n, 40),
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()
        .filter(|n| *n > 0)?
        .checked_mul(1 << shift)
}

/// A size for people, in Gi with one decimal, or in Mi below one Gi.
pub fn display(bytes: u64) -> String {
    const GI: u64 = 1 << 30;
    if bytes < GI {
        format!("{}Mi", bytes >> 20)
    } else {
        format!("{}.{}Gi", bytes / GI, (bytes % GI) * 10 / GI)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("512Mi"), Some(512 << 20));
        assert_eq!(bytes("3Gi"), Some(3 << 30));
        assert_eq!(bytes("1Ti"), Some(1 << 40));
        for bad in ["", "3", "3G", "Gi", "-1Gi", "0Gi", "99999999999999Ti"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(display(3 << 30), "3.0Gi");
        assert_eq!(display((3 << 30) + (512 << 20)), "3.5Gi");
        assert_eq!(display(700 << 20), "700Mi");
    }
}
