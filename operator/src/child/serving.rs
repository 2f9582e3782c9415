//! What an API server runs, and what it behaves like.

use http::Request;
use kube::Client;
use seedbed_planner::upgrade::Version;
use serde::Deserialize;

/// What an API server runs, and what it behaves like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// The version of its program, such as `v1.36.3`.
    pub version: String,
    /// The minor version that it behaves like, such as `1.35`; none of a server that does not say (before 1.34).
    pub behaves_like: Option<String>,
}

impl Serving {
    /// Whether it is that version, and behaves like it.
    pub fn is_wholly(&self, version: Version) -> bool {
        let behaves_like = self.behaves_like.as_ref();
        self.version == version.to_string() && behaves_like.is_none_or(|like| *like == version.series())
    }
}

/// `/version`: <https://github.com/kubernetes/enhancements/tree/master/keps/sig-architecture/4330-compatibility-versions#api-changes>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    git_version: String,
    emulation_major: Option<String>,
    emulation_minor: Option<String>,
}

pub(super) async fn get(client: &Client) -> Result<Serving, kube::Error> {
    let request = Request::get("/version")
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let found: Told = client.request(request).await?;
    let emulated = found.emulation_major.zip(found.emulation_minor);
    Ok(Serving {
        version: found.git_version,
        behaves_like: emulated
            .filter(|(major, minor)| !major.is_empty() && !minor.is_empty())
            .map(|(major, minor)| format!("{major}.{minor}")),
    })
}
