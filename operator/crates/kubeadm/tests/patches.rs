//! What the user's patches do, and which are refused with which words.
#![allow(clippy::unwrap_used, reason = "a test ends where its input is wrong")]

mod common;

use common::{content, init, join, json6902, strategic};
use rstest::rstest;
use seedbed_kubeadm::{
    TimingProfile,
    config::{
        Document::{
            self, ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeProxyConfiguration,
            KubeletConfiguration,
        },
        KUBEADM_CONFIG, KUBEADM_PATCHES, check_patches, check_pool_patches, render_init, render_join,
    },
    patch::UserPatch,
};
use serde_json::{Value, json};

/// The document after the patches, of an init with the relaxed profile or of a join.
fn patched(target: Document, patches: Vec<UserPatch>) -> Result<Value, String> {
    let files = if target == JoinConfiguration {
        let mut input = join(TimingProfile::Relaxed);
        input.patches = patches;
        render_join(&input).map_err(|error| error.to_string())?.files
    } else {
        let mut input = init(TimingProfile::Relaxed);
        input.patches = patches;
        render_init(&input).map_err(|error| error.to_string())?.files
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(content(&files, KUBEADM_CONFIG)).unwrap();
    Ok(documents
        .into_iter()
        .find(|document| document["kind"] == target.kind())
        .unwrap())
}

#[rstest]
#[case::a_map_is_merged(
    ClusterConfiguration, "apiServer: {extraArgs: [{name: audit-log-path, value: /var/log/audit.log}]}",
    "/apiServer", json!({"certSANs": ["demo.example", "10.0.0.1"], "extraArgs": [
        {"name": "etcd-healthcheck-timeout", "value": "20s"},
        {"name": "etcd-readycheck-timeout", "value": "20s"},
        {"name": "audit-log-path", "value": "/var/log/audit.log"}]}))]
#[case::json_is_yaml(
    KubeProxyConfiguration, r#"{"mode": "iptables"}"#, "/mode", json!("iptables"))]
#[case::an_argument_is_replaced_where_it_stands(
    ClusterConfiguration, "scheduler: {extraArgs: [{name: leader-elect-renew-deadline, value: 100s}]}",
    "/scheduler/extraArgs", json!([
        {"name": "leader-elect-lease-duration", "value": "100s"},
        {"name": "leader-elect-renew-deadline", "value": "100s"},
        {"name": "leader-elect-retry-period", "value": "20s"}]))]
#[case::an_argument_may_be_given_twice(
    ClusterConfiguration, "scheduler: {extraArgs: [{name: a, value: one}, {name: a, value: two}]}",
    "/scheduler/extraArgs/4", json!({"name": "a", "value": "two"}))]
#[case::an_entry_is_removed(
    ClusterConfiguration, "etcd: {local: {extraArgs: [{name: heartbeat-interval, $patch: delete}]}}",
    "/etcd/local/extraArgs", json!([{"name": "election-timeout", "value": "5000"}]))]
#[case::a_list_is_replaced_on_request(
    ClusterConfiguration, "scheduler: {extraArgs: [{$patch: replace}, {name: v, value: '2'}]}",
    "/scheduler/extraArgs", json!([{"name": "v", "value": "2"}]))]
#[case::a_map_is_replaced_on_request(
    ClusterConfiguration, "scheduler: {$patch: replace, extraEnvs: [{name: A, value: b}]}",
    "/scheduler", json!({"extraEnvs": [{"name": "A", "value": "b"}]}))]
#[case::null_removes(ClusterConfiguration, "scheduler: null", "", Value::Null)]
#[case::a_map_is_removed(ClusterConfiguration, "scheduler: {$patch: delete}", "", Value::Null)]
#[case::nulls_of_new_maps_are_left_out(
    ClusterConfiguration, "dns: {imageTag: v1, imageRepository: null}", "/dns", json!({"imageTag": "v1"}))]
#[case::plain_lists_are_replaced(
    ClusterConfiguration, "apiServer: {certSANs: [new, demo.example, 10.0.0.1]}",
    "/apiServer/certSANs", json!(["new", "demo.example", "10.0.0.1"]))]
#[case::phases_may_come(
    InitConfiguration, "skipPhases: [show-join-command, addon/kube-proxy]",
    "/skipPhases", json!(["show-join-command", "addon/kube-proxy"]))]
#[case::taints_come(
    JoinConfiguration, "nodeRegistration: {taints: [{key: gpu, value: a, effect: NoSchedule}]}",
    "/nodeRegistration/taints", json!([{"key": "gpu", "value": "a", "effect": "NoSchedule"}]))]
#[case::kubelet_flags_are_merged(
    JoinConfiguration, "nodeRegistration: {kubeletExtraArgs: [{name: v, value: '4'}]}",
    "/nodeRegistration/kubeletExtraArgs/3", json!({"name": "v", "value": "4"}))]
#[case::timeouts_are_the_users(
    InitConfiguration, "timeouts: {etcdAPICall: 1h30m}", "/timeouts/etcdAPICall", json!("1h30m"))]
#[case::kubelet_fields_are_not_looked_at(
    KubeletConfiguration, "{maxPods: 50, evictionHard: {memory.available: 100Mi}}",
    "/evictionHard", json!({"memory.available": "100Mi"}))]
#[case::equal_to_what_the_operator_set(
    ClusterConfiguration, "{kind: ClusterConfiguration, kubernetesVersion: v1.35.4}",
    "/kubernetesVersion", json!("v1.35.4"))]
fn strategic_merge(
    #[case] target: Document,
    #[case] patch: &str,
    #[case] path: &str,
    #[case] expected: Value,
) {
    let document = patched(target, vec![strategic(target, patch)]).unwrap();
    let found = if path.is_empty() {
        &document["scheduler"]
    } else {
        document.pointer(path).unwrap()
    };
    assert_eq!(*found, expected);
}

#[rstest]
#[case::add(
    ClusterConfiguration, "[{op: add, path: /apiServer/extraArgs, value: [{name: v, value: '2'}]}]",
    "/apiServer/extraArgs", json!([{"name": "v", "value": "2"}]))]
#[case::add_at_the_end(
    ClusterConfiguration, r#"[{"op": "add", "path": "/scheduler/extraArgs/-", "value": {"name": "v", "value": "2"}}]"#,
    "/scheduler/extraArgs/3", json!({"name": "v", "value": "2"}))]
#[case::replace(
    KubeletConfiguration, "[{op: replace, path: /nodeLeaseDurationSeconds, value: 60}]",
    "/nodeLeaseDurationSeconds", json!(60))]
#[case::remove(
    ClusterConfiguration, "[{op: test, path: /scheduler/extraArgs/0/name, value: leader-elect-lease-duration}, {op: remove, path: /scheduler/extraArgs/0}]",
    "/scheduler/extraArgs/0/name", json!("leader-elect-renew-deadline"))]
fn json_patch(#[case] target: Document, #[case] patch: &str, #[case] path: &str, #[case] expected: Value) {
    let document = patched(target, vec![json6902(target, patch)]).unwrap();
    assert_eq!(document.pointer(path), Some(&expected));
}

#[test]
fn patches_are_applied_in_their_order() {
    let patches = vec![
        strategic(KubeletConfiguration, "maxPods: 50"),
        strategic(ClusterConfiguration, "featureGates: {NodeLocalCRISocket: true}"),
        json6902(KubeletConfiguration, "[{op: replace, path: /maxPods, value: 60}]"),
    ];
    assert_eq!(patched(KubeletConfiguration, patches).unwrap()["maxPods"], 60);
}

#[test]
fn taints_are_told_apart_by_key_and_effect() {
    let patches = vec![
        strategic(
            JoinConfiguration,
            "nodeRegistration: {taints: [{key: a, value: one, effect: NoSchedule}, {key: a, value: one, effect: NoExecute}]}",
        ),
        strategic(
            JoinConfiguration,
            "nodeRegistration: {taints: [{key: a, value: two, effect: NoExecute}]}",
        ),
    ];
    assert_eq!(
        patched(JoinConfiguration, patches.clone()).unwrap()["nodeRegistration"]["taints"],
        json!([{"key": "a", "value": "one", "effect": "NoSchedule"}, {"key": "a", "value": "two", "effect": "NoExecute"}])
    );
    let removed = strategic(
        JoinConfiguration,
        "nodeRegistration: {taints: [{key: a, $patch: delete}]}",
    );
    let patches = [patches, vec![removed]].concat();
    assert_eq!(
        patched(JoinConfiguration, patches).unwrap()["nodeRegistration"]["taints"],
        json!([])
    );
}

#[test]
fn a_patch_for_another_document_changes_nothing_here() {
    let mut input = join(TimingProfile::Standard);
    let plain = render_join(&input).unwrap();
    input.patches = vec![strategic(
        ClusterConfiguration,
        "scheduler: {extraArgs: [{name: v, value: '2'}]}",
    )];
    assert!(render_join(&input).unwrap() == plain);
}

#[rstest]
#[case::not_yaml(strategic(ClusterConfiguration, "a: [b"))]
#[case::not_a_map(strategic(ClusterConfiguration, "- a"))]
#[case::not_a_list(json6902(ClusterConfiguration, "{op: add}"))]
#[case::an_operation_that_is_none(json6902(ClusterConfiguration, "[{op: put, path: /dns, value: {}}]"))]
#[case::a_path_that_is_not_there(json6902(ClusterConfiguration, "[{op: remove, path: /dns/imageTag}]"))]
#[case::a_failed_test(json6902(ClusterConfiguration, "[{op: test, path: /clusterName, value: other}]"))]
#[case::a_misspelt_field(strategic(ClusterConfiguration, "apiServer: {extraArg: []}"))]
#[case::a_field_of_another_place(strategic(InitConfiguration, "kubeletExtraArgs: [{name: v, value: '2'}]"))]
#[case::v1beta3_arguments(strategic(ClusterConfiguration, "apiServer: {extraArgs: {v: '2'}}"))]
#[case::v1beta3_arguments_over_a_list(strategic(ClusterConfiguration, "scheduler: {extraArgs: {v: '2'}}"))]
#[case::a_number_for_a_text(strategic(
    ClusterConfiguration,
    "scheduler: {extraArgs: [{name: v, value: 2}]}"
))]
#[case::a_text_for_a_map(strategic(ClusterConfiguration, "scheduler: none"))]
#[case::an_entry_without_its_name(strategic(ClusterConfiguration, "scheduler: {extraArgs: [{value: '2'}]}"))]
#[case::not_a_duration(strategic(InitConfiguration, "timeouts: {discovery: 15 minutes}"))]
#[case::another_directive(strategic(ClusterConfiguration, "apiServer: {$retainKeys: [certSANs]}"))]
#[case::an_unknown_patch_directive(strategic(ClusterConfiguration, "apiServer: {$patch: merge}"))]
#[case::the_version(strategic(ClusterConfiguration, "kubernetesVersion: v1.36.0"))]
#[case::the_networking(strategic(ClusterConfiguration, "networking: {podSubnet: 10.0.0.0/8}"))]
#[case::the_endpoint(json6902(ClusterConfiguration, "[{op: remove, path: /controlPlaneEndpoint}]"))]
#[case::the_kind(strategic(ClusterConfiguration, "kind: InitConfiguration"))]
#[case::the_api_version(strategic(ClusterConfiguration, "apiVersion: kubeadm.k8s.io/v1beta3"))]
#[case::external_etcd(strategic(
    ClusterConfiguration,
    "etcd: {external: {endpoints: [a], caFile: a, certFile: b, keyFile: c}}"
))]
#[case::a_lost_name_of_the_certificate(strategic(ClusterConfiguration, "apiServer: {certSANs: [other]}"))]
#[case::node_ranges(strategic(
    ClusterConfiguration,
    "controllerManager: {extraArgs: [{name: allocate-node-cidrs, value: 'true'}]}"
))]
#[case::the_nodes_name(strategic(InitConfiguration, "nodeRegistration: {name: other}"))]
#[case::the_nodes_address(strategic(
    JoinConfiguration,
    "nodeRegistration: {kubeletExtraArgs: [{name: node-ip, value: 1.2.3.4}]}"
))]
#[case::the_provider_id(strategic(KubeletConfiguration, "providerID: aws:///i-1"))]
#[case::the_token(strategic(InitConfiguration, "bootstrapTokens: [{token: aaaaaa.0123456789abcdef}]"))]
#[case::the_discovery(strategic(JoinConfiguration, "discovery: {tlsBootstrapToken: a}"))]
#[case::the_phase_that_prints_the_token(strategic(InitConfiguration, "skipPhases: [addon]"))]
#[case::the_whole_document(strategic(ClusterConfiguration, "$patch: delete"))]
fn refused(#[case] patch: UserPatch) {
    let name = std::thread::current()
        .name()
        .unwrap()
        .rsplit("case_")
        .next()
        .unwrap()
        .to_owned();
    let error = patched(patch.target, vec![patch]).unwrap_err();
    assert!(!error.contains("0123456789abcdef"), "{error}");
    insta::assert_snapshot!(format!("refused_{name}"), error);
}

#[test]
fn bad_patches_are_found_before_there_is_a_machine() {
    let bad = strategic(JoinConfiguration, "nodeRegistration: {taint: []}");
    let good = strategic(ClusterConfiguration, "dns: {imageTag: v1}");
    check_patches(
        &common::cluster(),
        TimingProfile::Standard,
        std::slice::from_ref(&good),
    )
    .unwrap();
    let error = check_patches(&common::cluster(), TimingProfile::Standard, &[good, bad]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("kubeadm patches[1] (StrategicMerge of JoinConfiguration):"),
        "{error}"
    );
}

/// What a pool's patches change for its kubelets, beside a cluster's that change something too.
fn kubelet_changes(pool_patches: Vec<UserPatch>) -> Option<Value> {
    let mut input = join(TimingProfile::Relaxed);
    input.patches = vec![strategic(
        KubeletConfiguration,
        "{maxPods: 50, evictionHard: {memory.available: 100Mi}}",
    )];
    input.pool_patches = pool_patches;
    let files = render_join(&input).unwrap().files;
    let path = format!("{KUBEADM_PATCHES}/kubeletconfiguration0+merge.yaml");
    let named: Value = serde_saphyr::from_str(content(&files, KUBEADM_CONFIG)).unwrap();
    let file = files.iter().find(|file| file.path == path)?;
    assert_eq!(named["patches"]["directory"], KUBEADM_PATCHES);
    Some(serde_saphyr::from_slice(&file.content).unwrap())
}

#[test]
fn a_pools_kubelet_patches_become_a_patch_of_what_the_cluster_shares() {
    let patches = vec![
        strategic(
            KubeletConfiguration,
            "{maxPods: 20, evictionHard: {nodefs.available: 5%}, syncFrequency: null}",
        ),
        json6902(
            KubeletConfiguration,
            "[{op: test, path: /evictionHard/memory.available, value: 100Mi}]",
        ),
    ];
    assert_eq!(
        kubelet_changes(patches),
        Some(json!({"maxPods": 20, "evictionHard": {"nodefs.available": "5%"}, "syncFrequency": null}))
    );
}

#[test]
fn a_pool_without_kubelet_patches_has_none_of_its_own() {
    assert_eq!(
        kubelet_changes(vec![strategic(JoinConfiguration, "timeouts: {discovery: 1h}")]),
        None
    );
    assert_eq!(
        kubelet_changes(vec![strategic(KubeletConfiguration, "maxPods: 50")]),
        None
    );
}

#[rstest]
#[case::misspelt(strategic(JoinConfiguration, "nodeRegistration: {taint: []}"))]
#[case::owned(strategic(KubeletConfiguration, "staticPodPath: /tmp"))]
#[case::the_clusters(strategic(ClusterConfiguration, "dns: {imageTag: v1}"))]
fn a_pools_bad_patches_are_its_own(#[case] bad: UserPatch) {
    let error = check_pool_patches(TimingProfile::Standard, &[], &[bad]).unwrap_err();
    assert!(
        error.to_string().starts_with("of the pool: kubeadm patches[0] ("),
        "{error}"
    );
}
