//! What the simulated API server is measured by: that kube-apiserver answers as it is written down in `simulator/api/answers`.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use seedbed_simulated_api::conformance::{self, CASES, text};
use seedbed_tests::{Case, Cases, root_of_checkout};

/// The cases.
pub fn cases() -> Vec<Case> {
    let case = |case: &'static conformance::Case| {
        let name = case.name.replace("calibration-", "calibrated: ");
        Case::new(name, move |given| asked(case, given))
    };
    CASES.iter().map(case).collect()
}

async fn asked(case: &'static conformance::Case, given: Cases) {
    given.namespace(case.name).await;
    let answers = case.of_real(client(&given).await).await;
    if let Some(differences) = case.differences(&answers, false) {
        let name = case.name.trim_start_matches("calibration-");
        let file = format!("simulator/api/answers/{name}.txt");
        let found = given
            .seed
            .programs
            .target
            .join("test-logs")
            .join(format!("{name}.txt"));
        std::fs::write(&found, text(&answers)).unwrap();
        panic!(
            "{differences}\nif that is right, copy {} to {}",
            found.display(),
            root_of_checkout().join(file).display()
        );
    }
}

/// A client that takes a refusal for what it is, and does not ask again by itself.
async fn client(given: &Cases) -> Client {
    let kubeconfig = Kubeconfig::read_from(given.seed.instance().admin_kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}
