//! The jobs that make a machine a node: those that make a cluster, and those that join one.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::SignedDuration;
use seedbed_guest::GuestFile;
use seedbed_guest::simulated::Begun;
use seedbed_simulated_api::ApiServer;

use crate::control_plane::{Cluster, Manifests};
use crate::job::{self, Kubeadm, NodeSpec};
use crate::machines::{Boot, Machines};
use crate::{cluster, facts};

/// Between two attempts of a worker to join.
const JOIN_PAUSE: Duration = Duration::from_secs(1);

/// A worker's job.
struct Join {
    boot: Boot,
    token: String,
    node: NodeSpec,
    server: Ipv4Addr,
    credentials: (String, String),
    ca: Vec<u8>,
    deadline: jiff::Timestamp,
    fails: bool,
}

/// A control plane's job.
struct Init {
    boot: Boot,
    token: String,
    node: NodeSpec,
    version: String,
    address: Ipv4Addr,
    join_token: Option<(String, String)>,
    configuration: String,
    files: Vec<GuestFile>,
    fails: bool,
}

impl Machines {
    /// Does what the job's kubeadm documents say.
    pub(crate) fn begin_bootstrap(&self, boot: Boot, begun: &Begun, fails: bool) {
        let token = begun.token.clone();
        match job::read(begun) {
            Ok(Kubeadm::Init {
                node,
                version,
                address,
                token: join_token,
                configuration,
                files,
            }) => {
                // What an earlier attempt left is reset.
                self.in_boot(&boot, |disk| {
                    if let Some(mut cluster) = disk.cluster.take() {
                        self.ends(&mut cluster);
                    }
                    disk.node = None;
                });
                let init = Init {
                    boot,
                    token,
                    node,
                    version,
                    address,
                    join_token,
                    configuration,
                    files,
                    fails,
                };
                self.after(self.timing().api_server, move |machines| machines.init(init));
            }
            Ok(Kubeadm::Join {
                node,
                server,
                token: credentials,
                ca,
            }) => {
                let deadline = self.time_after(self.timing().join_limit);
                self.join(Join {
                    boot,
                    token,
                    node,
                    server,
                    credentials,
                    ca,
                    deadline,
                    fails,
                });
            }
            Err(why) => {
                self.in_boot(&boot, |disk| {
                    disk.os
                        .log(&token, &format!("this job is not simulated: {why}\n"));
                    disk.os.end(&token, 1);
                });
            }
        }
    }

    /// The time of day after that long.
    pub(crate) fn time_after(&self, delay: Duration) -> jiff::Timestamp {
        let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        let then = self.0.timers.now().saturating_add(delay);
        then.unwrap_or(jiff::Timestamp::MAX)
    }

    /// The API server is up: the control plane's node registers, and the job goes on to its end.
    fn init(&self, init: Init) {
        let Init {
            boot,
            token,
            node,
            version,
            address,
            join_token,
            configuration,
            files,
            fails,
        } = init;
        let now = self.0.timers.now();
        let timers = self.0.timers.clone();
        let mut store = cluster::new(
            &format!("{} {} {token}", boot.domain, boot.number),
            join_token.as_ref(),
            &configuration,
            now,
        );
        let manifests = Manifests::of(&version);
        cluster::register(&mut store, &node, Some(&manifests), &version, now);
        let api = ApiServer::new(store, version.clone(), move || timers.now());
        let process = self.next_server();
        let is_on = self.in_boot(&boot, |disk| {
            disk.os.log(&token, "seedbed: phase kubeadm\n");
            let cluster = Cluster {
                address,
                api,
                files,
                answers: true,
                process,
                serves: manifests.clone(),
                manifests,
                is_stopped: false,
                changed_by: None,
            };
            if let Err(why) = self.answers(&cluster) {
                disk.os.log(&token, &format!("kube-apiserver: {why}\n"));
                disk.os.end(&token, 1);
                return false;
            }
            disk.node = Some((node, address));
            disk.kubelet = Some(version);
            disk.cluster = Some(cluster);
            facts::tell(disk, now);
            true
        });
        if is_on != Some(true) {
            return;
        }
        self.tend(address, process);
        self.report_ready(&boot);
        self.after(self.timing().init, move |machines| {
            if fails {
                machines.fail(&boot, &token, "addon");
                return;
            }
            let ended = machines.in_boot(&boot, |disk| {
                disk.os.log(&token, "seedbed: phase done\n");
                disk.os.end(&token, 0);
            });
            if ended.is_some() {
                machines.with_api(address, |store, now| cluster::set_dns(store, false, now));
                machines.bring_dns(address);
            }
        });
    }

    /// A worker asks whether it may join, again and again.
    fn join(&self, join: Join) {
        if self.in_boot(&join.boot, |_| ()).is_none() {
            return;
        }
        let trusted = self.ca(join.server).is_some_and(|ca| ca == join.ca);
        let admitted = trusted
            && !self.is_silent(&join.boot.domain)
            && self
                .with_api(join.server, |store, _| cluster::admits(store, &join.credentials))
                .unwrap_or(false);
        if admitted {
            self.after(self.timing().join, move |machines| machines.joined(join));
        } else if self.0.timers.now() < join.deadline {
            self.after(JOIN_PAUSE, move |machines| machines.join(join));
        } else {
            self.in_boot(&join.boot, |disk| {
                disk.os
                    .log(&join.token, "error execution phase kubelet-start: timed out\n");
                disk.os.end(&join.token, 1);
            });
        }
    }

    fn joined(&self, join: Join) {
        if self.in_boot(&join.boot, |_| ()).is_none() {
            return;
        }
        let of_cluster = self.lock().kubelet_to_join(join.server);
        let Some(of_cluster) = of_cluster else {
            return self.join(join);
        };
        // A disk that was a node before has its kubelet.
        let kubelet = self.in_boot(&join.boot, |disk| disk.kubelet.get_or_insert(of_cluster).clone());
        let Some(kubelet) = kubelet else { return };
        let registered = self.with_api(join.server, |store, now| {
            cluster::register(store, &join.node, None, &kubelet, now);
        });
        if registered.is_none() {
            return self.join(join);
        }
        if join.fails {
            self.fail(&join.boot, &join.token, "kubelet-start");
            return;
        }
        self.in_boot(&join.boot, |disk| {
            disk.node = Some((join.node, join.server));
            disk.os.log(&join.token, "seedbed: phase done\n");
            disk.os.end(&join.token, 0);
        });
        self.report_ready(&join.boot);
    }
}
