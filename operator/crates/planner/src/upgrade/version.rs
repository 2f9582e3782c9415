//! Kubernetes versions, and what may follow what: <https://kubernetes.io/releases/version-skew-policy/>.

use std::fmt;

/// How many minor versions a kubelet may be behind its API server.
pub const KUBELET_LAG: u32 = 3;

/// A Kubernetes version. What stands behind its three numbers, such as a build, does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second one.
    pub minor: u32,
    /// The third one.
    pub patch: u32,
}

impl Version {
    /// Reads a version such as `v1.35.4` or `v1.35.4+build`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix('v')?.split(['-', '+']).next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
        let version = Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
        };
        numbers.next().is_none().then_some(version)
    }

    /// Its first two numbers, such as `1.35`.
    pub fn series(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A way from one version to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// A newer patch of the same minor version.
    Patch,
    /// The next minor version.
    Minor,
}

/// The way from a version to another one; if there is none, why.
pub fn hop(from: Version, to: Version) -> Result<Hop, String> {
    if to == from {
        return Err(format!(
            "the cluster runs {from} already: ask for another version, or delete this ClusterUpgrade"
        ));
    }
    if to < from {
        return Err(format!(
            "{to} is older than {from}, which the cluster runs: Kubernetes cannot be taken back to an older version; ask for a newer one"
        ));
    }
    if to.major != from.major {
        return Err(format!(
            "{to} is another major version than {from}, which the cluster runs: no upgrade leads there; ask for a v{}",
            from.major
        ));
    }
    match to.minor - from.minor {
        0 => Ok(Hop::Patch),
        1 => Ok(Hop::Minor),
        skipped => {
            let next = from.minor + 1;
            Err(format!(
                "{to} is {skipped} minor versions newer than {from}, which the cluster runs: no minor version may be skipped; upgrade to a v{}.{next} first",
                from.major
            ))
        }
    }
}

/// Why a kubelet of that version cannot be in a cluster whose API server behaves like `api_server`; none where it can. With an emulated
/// version the API server behaves like that one.
pub fn kubelet_skew(kubelet: Version, api_server: Version) -> Option<String> {
    let (kubelet_minor, minor) = (
        (kubelet.major, kubelet.minor),
        (api_server.major, api_server.minor),
    );
    if kubelet_minor > minor {
        return Some(format!(
            "its kubelet {kubelet} is newer than the API server's {}, which no kubelet may be",
            api_server.series()
        ));
    }
    if kubelet.major < api_server.major || api_server.minor - kubelet.minor > KUBELET_LAG {
        return Some(format!(
            "its kubelet {kubelet} is more than {KUBELET_LAG} minor versions older than the API server's {}",
            api_server.series()
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[rstest]
    #[case("v1.35.4", Some((1, 35, 4)))]
    #[case("v1.36.0-alpha.1+build", Some((1, 36, 0)))]
    #[case("v1.35.4+k3s1", Some((1, 35, 4)))]
    #[case("1.35.4", None)]
    #[case("v1.35", None)]
    #[case("v1.35.4.1", None)]
    #[case("v1.x.4", None)]
    fn versions_are_read(#[case] text: &str, #[case] expected: Option<(u32, u32, u32)>) {
        let found = Version::parse(text).map(|v| (v.major, v.minor, v.patch));
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case("v1.35.4", "v1.35.5", Hop::Patch)]
    #[case("v1.35.4", "v1.35.9", Hop::Patch)]
    #[case("v1.35.4", "v1.36.0", Hop::Minor)]
    #[case("v1.35.4", "v1.36.3", Hop::Minor)]
    fn a_patch_and_the_next_minor_version_can_be_reached(
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: Hop,
    ) {
        assert_eq!(hop(v(from), v(to)), Ok(expected));
    }

    #[rstest]
    #[case("v1.35.4", "v1.35.4", "runs v1.35.4 already")]
    #[case("v1.35.4", "v1.35.3", "is older than v1.35.4")]
    #[case("v1.35.4", "v1.34.9", "is older than v1.35.4")]
    #[case("v1.35.4", "v1.37.0", "upgrade to a v1.36 first")]
    #[case("v1.35.4", "v2.0.0", "another major version")]
    fn nothing_else_can_and_the_message_says_why(#[case] from: &str, #[case] to: &str, #[case] part: &str) {
        let message = hop(v(from), v(to)).unwrap_err();
        assert!(message.contains(part), "{message}");
    }

    #[rstest]
    #[case("v1.36.1", "v1.36.0", None)]
    #[case("v1.33.0", "v1.36.3", None)]
    #[case("v1.32.9", "v1.36.3", Some("more than 3 minor versions older"))]
    #[case("v1.36.0", "v1.35.9", Some("newer than the API server's 1.35"))]
    fn a_kubelet_follows_its_api_server(
        #[case] kubelet: &str,
        #[case] api_server: &str,
        #[case] part: Option<&str>,
    ) {
        let found = kubelet_skew(v(kubelet), v(api_server));
        match part {
            None => assert_eq!(found, None),
            Some(part) => assert!(found.as_ref().is_some_and(|m| m.contains(part)), "{found:?}"),
        }
    }

    fn any_version() -> impl Strategy<Value = Version> {
        (1u32..3, 0u32..6, 0u32..4).prop_map(|(major, minor, patch)| Version { major, minor, patch })
    }

    proptest! {
        #[test]
        fn no_way_goes_back_or_skips_a_minor_version(from in any_version(), to in any_version()) {
            match hop(from, to) {
                Ok(Hop::Patch) => {
                    prop_assert!(to > from && to.series() == from.series());
                }
                Ok(Hop::Minor) => {
                    prop_assert_eq!((to.major, to.minor), (from.major, from.minor + 1));
                }
                Err(message) => prop_assert!(!message.is_empty()),
            }
        }

        #[test]
        fn what_is_written_is_read(version in any_version()) {
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version));
        }
    }
}
