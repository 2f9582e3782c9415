//! Bootstrap tokens of a child cluster, as kubeadm makes them.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use seedbed_kubeadm::token::BootstrapToken;

use super::{ChildError, ChildKey};
use crate::deletion;
use crate::names::FIELD_MANAGER;

/// Namespace that bootstrap tokens are looked for in.
const NAMESPACE: &str = "kube-system";
/// Group that kubeadm lets join nodes (`kubeadm init` makes the bindings for it).
const GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

pub(super) async fn ensure(
    client: &Client,
    cluster: &ChildKey,
    token: &BootstrapToken,
    expires: Timestamp,
    description: &str,
) -> Result<(), ChildError> {
    let secret = secret(token, expires, description);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .patch(&name(token.id()), &params, &Patch::Apply(&secret))
        .await
        .map_err(|error| ChildError::of(cluster, format!("make bootstrap token {}", token.id()), &error))?;
    Ok(())
}

pub(super) async fn exists(client: &Client, cluster: &ChildKey, id: &str) -> Result<bool, ChildError> {
    let api = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let found = api.get_metadata_opt(&name(id)).await;
    Ok(found
        .map_err(|error| ChildError::of(cluster, format!("look for bootstrap token {id}"), &error))?
        .is_some())
}

pub(super) async fn delete(client: &Client, cluster: &ChildKey, id: &str) -> Result<(), ChildError> {
    let api = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    deletion::delete(&api, &name(id), None)
        .await
        .map_err(|error| ChildError::of(cluster, format!("delete bootstrap token {id}"), &error))
}

fn name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

fn secret(token: &BootstrapToken, expires: Timestamp, description: &str) -> Secret {
    // The API server's time parser takes whole seconds.
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let data = [
        ("token-id", token.id()),
        ("token-secret", token.secret()),
        ("expiration", &expires),
        ("usage-bootstrap-authentication", "true"),
        ("usage-bootstrap-signing", "true"),
        ("auth-extra-groups", GROUP),
        ("description", description),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(name(token.id())),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("bootstrap.kubernetes.io/token".to_owned()),
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
                .into(),
        ),
        ..Secret::default()
    }
}
