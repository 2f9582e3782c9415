//! What a job in a machine asks of kubeadm.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seedbed_guest::GuestFile;
use seedbed_guest::simulated::Begun;
use serde_json::Value;

/// What a job asks of kubeadm.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kubeadm {
    /// Make a cluster.
    Init {
        node: NodeSpec,
        version: String,
        address: Ipv4Addr,
        /// The token that nodes may join with at first: id and secret.
        token: Option<(String, String)>,
        /// The `ClusterConfiguration`, as it is written.
        configuration: String,
        /// The files that kubeadm finds beside its configuration: the cluster's authorities among them.
        files: Vec<GuestFile>,
    },
    /// Join one.
    Join {
        node: NodeSpec,
        server: Ipv4Addr,
        token: (String, String),
        /// Certificate of the CA that it trusts, PEM.
        ca: Vec<u8>,
    },
}

/// The node that a machine becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    pub(crate) provider_id: Option<String>,
    pub(crate) taints: Value,
}

/// Reads the job's kubeadm documents; what is missing, where they are not those of a job that is known.
pub(crate) fn read(job: &Begun) -> Result<Kubeadm, String> {
    let file = job.files.iter().find(|file| file.path.ends_with("/kubeadm.yaml"));
    let documents = documents_of(&file.ok_or("it has no kubeadm.yaml")?.content)?;
    let written = |kind: &str| documents.iter().find(|(_, document)| document["kind"] == kind);
    let of = |kind: &str| written(kind).map(|(_, document)| document);
    if let Some(init) = of("InitConfiguration") {
        let (configuration, cluster) =
            written("ClusterConfiguration").ok_or("kubeadm.yaml has no ClusterConfiguration")?;
        return Ok(Kubeadm::Init {
            node: node(init)?,
            version: text(&cluster["kubernetesVersion"]).ok_or("kubernetesVersion is missing")?,
            address: address(&init["localAPIEndpoint"]["advertiseAddress"])?,
            token: text(&init["bootstrapTokens"][0]["token"]).and_then(|t| split(&t)),
            configuration: configuration.clone(),
            files: ca(&job.files)
                .map(|_| job.files.clone())
                .ok_or("it has no ca.crt")?,
        });
    }
    let join = of("JoinConfiguration")
        .ok_or("kubeadm.yaml has neither an InitConfiguration nor a JoinConfiguration")?;
    let discovery = job
        .files
        .iter()
        .find(|file| Some(file.path.as_str()) == join["discovery"]["file"]["kubeConfigPath"].as_str())
        .and_then(|file| documents_of(&file.content).ok()?.into_iter().next())
        .map(|(_, document)| document)
        .ok_or("the discovery file is missing")?;
    let server = text(&discovery["clusters"][0]["cluster"]["server"]).ok_or("the server is missing")?;
    let host = server
        .trim_start_matches("https://")
        .rsplit_once(':')
        .map_or(server.as_str(), |(host, _)| host);
    Ok(Kubeadm::Join {
        node: node(join)?,
        server: address(&Value::from(host))?,
        token: text(&discovery["users"][0]["user"]["token"])
            .and_then(|t| split(&t))
            .ok_or("the token is missing")?,
        ca: text(&discovery["clusters"][0]["cluster"]["certificate-authority-data"])
            .and_then(|data| STANDARD.decode(data).ok())
            .ok_or("the CA is missing")?,
    })
}

/// Certificate of the CA among the files that a control plane is given, PEM.
pub(crate) fn ca(files: &[GuestFile]) -> Option<&[u8]> {
    files
        .iter()
        .find(|file| file.path.ends_with("/ca.crt") && !file.path.contains("/etcd/"))
        .map(|file| file.content.as_slice())
}

/// The documents as they are written, and what they say.
fn documents_of(content: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let read = |text: &str| serde_saphyr::from_str(text).map_err(|error| error.to_string());
    String::from_utf8_lossy(content)
        .split("\n---\n")
        .map(|text| Ok((format!("{}\n", text.trim_end()), read(text)?)))
        .collect()
}

fn node(document: &Value) -> Result<NodeSpec, String> {
    let registration = &document["nodeRegistration"];
    let flag = |name: &str| {
        registration["kubeletExtraArgs"]
            .as_array()?
            .iter()
            .find(|argument| argument["name"] == name)
            .and_then(|argument| text(&argument["value"]))
    };
    Ok(NodeSpec {
        name: text(&registration["name"]).ok_or("nodeRegistration.name is missing")?,
        address: flag("node-ip"),
        provider_id: flag("provider-id"),
        taints: registration["taints"].clone(),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn address(value: &Value) -> Result<Ipv4Addr, String> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn split(token: &str) -> Option<(String, String)> {
    let (id, secret) = token.split_once('.')?;
    Some((id.to_owned(), secret.to_owned()))
}
