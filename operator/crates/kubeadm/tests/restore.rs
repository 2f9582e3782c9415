//! The jobs that replace a control plane, put it back, or restore it, run by bash in a folder that stands for a guest: with its programs, where they do not exist
//! here, played by a few lines, and killed before every command that changes something.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use seedbed_kubeadm::upgrade::{Input, Job, render};
use sha2::{Digest as _, Sha256};

const COMPONENTS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
/// What a snapshot of etcd consists of here; the digest of it follows.
const OBJECTS: &str = "all objects of before";

/// A component runs as long as its manifest is there, in another container once there was another kubelet.
const CTR: &str = r#"anew=$([ ! -e "$ROOT/runs" ] || echo -anew)
case "$*" in
  *"images ls -q") cat "$ROOT/images" ;;
  *"tasks kill --signal SIGKILL "*) echo "${@: -1}" >>"$ROOT/killed" ;;
  *"tasks ls") for file in "$ROOT"/etc/kubernetes/manifests/*.yaml; do [ -e "$file" ] && echo "$(basename "$file" .yaml)$anew 1 RUNNING"; done; exit 0 ;;
  *"containers ls -q"*) for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do [[ $* == *"==$name,"* ]] && echo "$name$anew"; done; exit 0 ;;
  *) exit 1 ;;
esac
"#;
const ETCDUTL: &str = r#"[ "$1 $2" = "snapshot restore" ] || exit 1
[[ $* == *" --bump-revision 1000000000 --mark-compacted --name demo-cp-0 --initial-cluster demo-cp-0=https://10.0.0.1:2380 --initial-advertise-peer-urls https://10.0.0.1:2380" ]] || exit 1
mkdir -p "$5/member"
head -c -32 "$3" >"$5/member/db"
"#;
/// Nobody takes its data away from an etcd that runs. It is noted where a component is put beside an API server of its version that nobody
/// saw answer, and where an API server is put beside a newer component, or before the kubelet has done with the last one. The API server
/// does not know of what is put there.
const MV: &str = r#"if [[ $* == *"/etcd/member"* ]] && [ -e "$ROOT/etc/kubernetes/manifests/etcd.yaml" ]; then touch "$ROOT/violated"; fi
version=$(sed -n 's/^ *image: .*://p' "${@: -2:1}" 2>/dev/null)
case "${@: -1}" in
  */manifests/kube-controller-manager.yaml | */manifests/kube-scheduler.yaml) [ -e "$ROOT/asked-$version" ] || touch "$ROOT/early" ;;
  */manifests/kube-apiserver.yaml)
    others=$(sed -n 's/^ *image: .*://p' "$ROOT"/etc/kubernetes/manifests/kube-[cs]*.yaml 2>/dev/null)
    if [[ $version = old && $others == *new* ]]; then touch "$ROOT/newer"; fi
    if [ -e "$ROOT/var/lib/kubelet/pods/last" ]; then touch "$ROOT/unfinished"; fi
    ;;
esac
case "${@: -1}" in */etc/kubernetes/manifests/*) touch "$ROOT/behind" ;; esac
exec /bin/mv "$@"
"#;
const SYSTEMCTL: &str = r#"case "$*" in
  "restart kubelet")
    cat "$ROOT/usr/bin/kubelet" >"$ROOT/runs"
    rm -f "$ROOT/behind"
    ;;
  "show kubelet"*) echo 7 ;;
esac
"#;
/// The API server is what its manifest says; one that lingers keeps the next one from its start until it is killed.
const KUBECTL: &str = r#"case "$*" in
  "get --raw=/version"*)
    if [ -e "$ROOT/lingers" ] && [ ! -e "$ROOT/killed" ]; then
      touch "$ROOT/unanswered"
      exit 1
    fi
    version=$(sed -n 's/^ *image: .*://p' "$ROOT/etc/kubernetes/manifests/kube-apiserver.yaml")
    [ -n "$version" ] || exit 1
    touch "$ROOT/asked-$version"
    echo "{\"gitVersion\": \"v-$version\"}"
    ;;
  *"get pods "*) [ ! -e "$ROOT/behind" ] || echo others ;;
  *"get lease "*) cat "$ROOT/lease" 2>/dev/null ;;
  *"patch lease "*) echo "$*" >>"$ROOT/given-back" ;;
  *"replace -f "*)
    [ -e "$ROOT/etc/kubernetes/manifests/kube-apiserver.yaml" ] || exit 1
    cat "${@: -1}" >"$ROOT/configuration"
    ;;
  "--namespace kube-system create configmap "*) echo new ;;
esac
"#;
/// Between two commands that change something all is as it was.
const TRAP: &str = r"trap 'case $BASH_COMMAND in mv*|sed*|mkdir*|touch*|cp*|rm*|install*|systemctl*|sync*|*etcdutl*) ((left-- > 0)) || kill -KILL $$ ;; esac' DEBUG
";
const NOTHING: &str = "exit 0\n";

struct Guest(PathBuf);

impl Drop for Guest {
    fn drop(&mut self) {
        // What is left of it is in the folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Guest {
    /// A control plane that was upgraded, with what it was before.
    fn upgraded() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("seedbed-restore-{}-{number}", std::process::id());
        let guest = Self(std::env::temp_dir().join(name));
        for (name, text) in [
            ("ctr", CTR),
            ("mv", MV),
            ("systemctl", SYSTEMCTL),
            ("kubectl", KUBECTL),
            ("sync", NOTHING),
            ("sleep", NOTHING),
        ] {
            guest.program(&format!("played/{name}"), text);
        }
        let home = "var/lib/seedbed/upgrades/u";
        for name in COMPONENTS {
            let flags = "    - --name=demo-cp-0\n    - --initial-advertise-peer-urls=https://10.0.0.1:2380\n    - --initial-cluster=demo-cp-0=https://10.0.0.1:2380\n";
            let text =
                |version: &str| format!("command:\n    - {name}\n{flags}    image: r/{name}:{version}\n");
            guest.put(
                &format!("{home}/saved/kubernetes/manifests/{name}.yaml"),
                &text("old"),
            );
            guest.put(&format!("etc/kubernetes/manifests/{name}.yaml"), &text("new"));
        }
        guest.put(&format!("{home}/saved/kubernetes/admin.conf"), "old");
        guest.put(&format!("{home}/saved/kubeadm-config.yaml"), "old");
        guest.put("etc/kubernetes/admin.conf", "new");
        guest.put(
            "images",
            &COMPONENTS.map(|name| format!("r/{name}:old\n")).concat(),
        );
        guest.program(&format!("{home}/saved/etcdutl"), ETCDUTL);
        let digest = Sha256::digest(OBJECTS);
        let snapshot = [OBJECTS.as_bytes(), digest.as_slice()].concat();
        fs::write(guest.0.join(home).join("saved/etcd.db"), snapshot).unwrap();
        guest.put("var/lib/etcd/member/db", "all objects of now");
        for (name, version) in [("usr/bin", "new"), (&format!("{home}/before"), "old")] {
            for program in ["kubeadm", "kubectl", "kubelet"] {
                guest.program(
                    &format!("{name}/{program}"),
                    &format!("echo Kubernetes v-{version}\n"),
                );
            }
        }
        guest.put("var/lib/kubelet/config.yaml", "new");
        guest.put(&format!("{home}/before/config.yaml"), "old");
        guest
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, path: &str, text: &str) {
        self.put(path, &format!("#!/bin/bash\n{text}"));
        fs::set_permissions(self.0.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Somebody listens where its API server should.
    fn listens(&self) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.put(
            "etc/kubernetes/manifests/kube-apiserver.yaml",
            &format!("    - --secure-port={port}\n    image: r/kube-apiserver:new\n"),
        );
        listener
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// Runs the job, killed before the command of that number of those that change something.
    fn run(&self, job: Job, killed_at: Option<u32>) -> Output {
        self.command(job, killed_at).output().unwrap()
    }

    fn command(&self, job: Job, killed_at: Option<u32>) -> Command {
        let input = Input {
            job,
            token: "t".into(),
            upgrade: "u".into(),
            from: "v-old".into(),
            to: "v-new".into(),
            emulated: None,
            stop: Vec::new(),
            configuration: job.changes_configuration().then(String::new),
        };
        let rendered = render(&input).unwrap();
        for file in &rendered.files {
            let text = String::from_utf8(file.content.clone()).unwrap();
            self.put(file.path.trim_start_matches('/'), &text);
        }
        let mut script = rendered.script;
        for folder in [
            "/var/lib/",
            "/etc/kubernetes",
            "/etc/seedbed",
            "/usr/bin/",
            "/run/seedbed/",
        ] {
            script = script.replace(folder, &format!("{}{folder}", self.0.display()));
        }
        if let Some(number) = killed_at {
            let trap = format!("set -T\nleft={number}\n{TRAP}");
            script = trap + &script;
        }
        let path = std::env::var("PATH").unwrap();
        let played = |folder: &Path| format!("{0}/played:{0}/usr/bin:{path}", folder.display());
        let mut command = Command::new("bash");
        command.args(["-c", &script]);
        command.env("ROOT", &self.0).env("PATH", played(&self.0));
        command
    }

    fn succeeds(&self, job: Job) {
        let output = self.run(job, None);
        assert!(output.status.success(), "{job:?}: {}", told(&output));
    }

    fn fails(&self, job: Job) -> String {
        let output = self.run(job, None);
        assert_eq!(output.status.code(), Some(1), "{job:?}: {}", told(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn manifests(&self) -> Vec<String> {
        let of = |name| self.read(&format!("etc/kubernetes/manifests/{name}.yaml"));
        COMPONENTS.map(of).to_vec()
    }

    fn assert_restored(&self, what: &str) {
        for text in self.manifests() {
            assert!(text.contains(":old"), "{what}: {text}");
        }
        assert_eq!(self.read("etc/kubernetes/admin.conf"), "old", "{what}");
        let data = self.read("var/lib/etcd/member/db");
        assert!(data.starts_with(OBJECTS), "{what}: {data}");
        let aside = self.read("var/lib/etcd/seedbed-before/member/db");
        assert!(aside.starts_with("all objects of now"), "{what}: {aside}");
        assert!(!self.has("violated"), "{what}: etcd ran when its data was moved");
        assert!(self.has("var/lib/seedbed/upgrades/u.undone"), "{what}");
    }
}

fn told(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What makes a snapshot one that cannot be restored.
type Harm = fn(&Guest);

/// Kills the job at each of its commands, and then lets it run to its end.
fn killed_everywhere(
    job: Job,
    prepare: impl Fn(&Guest),
    meanwhile: impl Fn(&Guest),
    check: impl Fn(&Guest, &str),
) {
    let mut number = 0;
    loop {
        let guest = Guest::upgraded();
        prepare(&guest);
        let output = guest.run(job, Some(number));
        let is_over = output.status.success();
        meanwhile(&guest);
        guest.succeeds(job);
        check(
            &guest,
            &format!("killed at command {number} of {job:?}: {}", told(&output)),
        );
        if is_over {
            assert!(number > 8, "{job:?} has {number} commands");
            return;
        }
        number += 1;
    }
}

#[test]
fn preparing_touches_nothing_and_a_restore_puts_back_what_there_was() {
    let guest = Guest::upgraded();
    let before = (guest.manifests(), guest.read("var/lib/etcd/member/db"));
    guest.succeeds(Job::PrepareRestore);
    guest.succeeds(Job::PrepareRestore);
    assert_eq!(before, (guest.manifests(), guest.read("var/lib/etcd/member/db")));
    assert!(!guest.has("var/lib/seedbed/upgrades/u.undone"));
    assert_eq!(guest.read("var/lib/etcd/seedbed-restored/member/db"), OBJECTS);
    guest.succeeds(Job::Restore);
    guest.assert_restored("once");
    guest.succeeds(Job::Restore);
    guest.assert_restored("twice");
    // One that comes late finds nothing to do.
    guest.succeeds(Job::PrepareRestore);
    guest.assert_restored("and prepared");
    guest.succeeds(Job::UndoSnapshot);
    assert!(!guest.has("var/lib/etcd/seedbed-before") && !guest.has("var/lib/seedbed/upgrades/u"));
    guest.fails(Job::PrepareRestore);
    guest.fails(Job::Restore);
    assert_eq!(guest.read("var/lib/etcd/member/db"), OBJECTS);
}

#[test]
fn a_snapshot_that_is_not_whole_stops_it_before_anything_is_touched() {
    const SAVED: &str = "var/lib/seedbed/upgrades/u/saved";
    let harms: [(&str, Harm); 6] = [
        ("there is no snapshot in", |guest| {
            fs::remove_dir_all(guest.0.join(SAVED)).unwrap();
        }),
        ("etcdutl is not there", |guest| {
            fs::remove_file(guest.0.join(SAVED).join("etcdutl")).unwrap();
        }),
        ("kube-scheduler.yaml is not there, or empty", |guest| {
            guest.put(&format!("{SAVED}/kubernetes/manifests/kube-scheduler.yaml"), "");
        }),
        ("etcd.db is damaged: found SHA-256", |guest| {
            let path = guest.0.join(SAVED).join("etcd.db");
            let mut bytes = fs::read(&path).unwrap();
            bytes[3] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        (
            "the container image r/kube-apiserver:old of kube-apiserver",
            |guest| {
                guest.put("images", "r/etcd:old\nr/kube-apiserver:new\n");
            },
        ),
        ("etcdutl did not restore the snapshot", |guest| {
            guest.program(&format!("{SAVED}/etcdutl"), "mkdir -p \"$5\"; exit 1\n");
        }),
    ];
    for (told, harm) in harms {
        for job in [Job::PrepareRestore, Job::Restore] {
            let guest = Guest::upgraded();
            harm(&guest);
            let before = guest.manifests();
            let log = guest.fails(job);
            assert!(
                log.contains(told) && log.contains("nothing was touched"),
                "{job:?}: {log}"
            );
            assert_eq!(guest.manifests(), before, "{told}");
            assert_eq!(
                guest.read("var/lib/etcd/member/db"),
                "all objects of now",
                "{told}"
            );
            assert!(!guest.has("var/lib/etcd/seedbed-restored.part"), "{told}");
            assert!(!guest.has("var/lib/etcd/seedbed-restored"), "{told}");
        }
    }
}

#[test]
fn a_restore_may_be_killed_at_any_command() {
    let prepared = |guest: &Guest| guest.succeeds(Job::PrepareRestore);
    // An etcd that runs when the job is killed is written to.
    let written = |guest: &Guest| {
        if guest.has("etc/kubernetes/manifests/etcd.yaml") {
            let data = guest.read("var/lib/etcd/member/db");
            guest.put("var/lib/etcd/member/db", &format!("{data}, and another one"));
        }
    };
    killed_everywhere(Job::Restore, prepared, written, |guest, what| {
        guest.assert_restored(what);
        // What was written to the etcd that was restored is there, and the rest is kept aside.
        let all = guest.read("var/lib/etcd/member/db") + &guest.read("var/lib/etcd/seedbed-before/member/db");
        let stopped = guest.has("var/lib/seedbed/upgrades/u/stopped/etcd.yaml");
        assert!(
            stopped && all.matches("another one").count() <= 1,
            "{what}: {all}"
        );
    });
}

#[test]
fn a_control_plane_is_put_back_however_often_that_is_killed_its_api_server_first() {
    let nothing = |_: &Guest| {};
    killed_everywhere(Job::UndoControlPlane, nothing, nothing, |guest, what| {
        for text in guest.manifests() {
            assert!(text.contains(":old"), "{what}: {text}");
        }
        assert_eq!(guest.read("configuration"), "old", "{what}");
        assert!(
            !guest.has("behind"),
            "{what}: the API server does not know what runs"
        );
        assert!(!guest.has("newer"), "{what}: a component was newer");
        assert!(
            !guest.has("early"),
            "{what}: a component was there before the API server answered"
        );
    });
}

/// As kubeadm does it: it says what it would write, does what is not yet so, and waits for what the API server says of it.
const KUBEADM: &str = r#"manifests=$ROOT/etc/kubernetes/manifests
case "$*" in
  *" phase control-plane "*" --dry-run")
    echo '[dryrun] Would perform action GET on resource "configmaps"'
    printf '[dryrun] Would upgrade your static Pod-hosted control plane to version "v-new"'
    for name in kube-apiserver kube-controller-manager kube-scheduler; do
      echo "[dryrun] Would write file \"/etc/kubernetes/manifests/$name.yaml\" with content:"
      sed 's/:old/:new/' "$ROOT/var/lib/seedbed/upgrades/u/saved/kubernetes/manifests/$name.yaml"
    done
    echo '[dryrun] Finished'
    ;;
  *" phase control-plane "*)
    if [ -e "$ROOT/behind" ]; then touch "$ROOT/waits-in-vain"; fi
    if grep -q :old "$manifests"/kube-*.yaml; then touch "$ROOT/left"; fi
    ;;
esac
"#;

/// A control plane of the old version whose new programs are there.
fn to_be_upgraded(guest: &Guest) {
    const HOME: &str = "var/lib/seedbed/upgrades/u";
    for name in COMPONENTS {
        let manifest = format!("manifests/{name}.yaml");
        let old = guest.read(&format!("{HOME}/saved/kubernetes/{manifest}"));
        guest.put(&format!("etc/kubernetes/{manifest}"), &old);
    }
    guest.program(&format!("{HOME}/bin/kubeadm"), KUBEADM);
}

#[test]
fn a_control_plane_is_replaced_however_often_that_is_killed_its_api_server_first() {
    let nothing = |_: &Guest| {};
    killed_everywhere(Job::ControlPlane, to_be_upgraded, nothing, |guest, what| {
        let [etcd, rest @ ..] = &guest.manifests()[..] else {
            panic!("{what}")
        };
        assert!(etcd.contains(":old"), "{what}: {etcd}");
        for text in rest {
            assert!(text.ends_with(":new\n"), "{what}: {text}");
        }
        assert_eq!(guest.read("configuration"), "new\n", "{what}");
        for (sign, what_it_says) in [
            (
                "early",
                "a component was there before the API server of its version answered",
            ),
            ("left", "kubeadm had something left to do"),
            (
                "waits-in-vain",
                "kubeadm was asked before the API server knew what runs",
            ),
            ("var/lib/seedbed/upgrades/u/next", "manifests are left"),
            ("var/lib/seedbed/upgrades/u/next.part", "manifests are left"),
        ] {
            assert!(!guest.has(sign), "{what}: {what_it_says}");
        }
    });
}

/// kubeadm waits for a change of what the API server says of a pod: where that is from before the last change, it waits in vain.
#[test]
fn kubeadm_replaces_etcd_when_the_api_server_knows_what_runs() {
    let guest = Guest::upgraded();
    guest.program("var/lib/seedbed/upgrades/u/bin/kubeadm", KUBEADM);
    guest.put("behind", "");
    guest.succeeds(Job::Etcd);
    assert!(!guest.has("behind") && !guest.has("waits-in-vain"));
}

/// A kubelet that finds a static pod while it still has to do with the last one of that name tries again ten seconds later.
#[test]
fn the_api_server_of_before_is_put_there_when_the_kubelet_has_done_with_the_last() {
    let guest = Guest::upgraded();
    guest.program("played/sleep", "exec /bin/sleep 0.1\n");
    guest.put("var/lib/kubelet/pods/last/containers/kube-apiserver/log", "");
    let mut job = Running::start(&guest, Job::UndoControlPlane);
    until("the manifest was not taken away", &mut || {
        !guest.has("etc/kubernetes/manifests/kube-apiserver.yaml")
    });
    thread::sleep(Duration::from_millis(500));
    fs::remove_dir_all(guest.0.join("var/lib/kubelet/pods/last")).unwrap();
    job.ends();
    assert!(!guest.has("unfinished"), "it was put there before");
}

#[test]
fn an_api_server_that_lingers_is_ended_when_it_has_ceased_to_listen_and_not_before() {
    let guest = Guest::upgraded();
    let listener = guest.listens();
    guest.put("lingers", "");
    let mut job = Running::start(&guest, Job::UndoControlPlane);
    until("the API server was not asked", &mut || guest.has("unanswered"));
    // It goes on to serve for as long as it listens.
    thread::sleep(Duration::from_secs(1));
    assert!(!guest.has("killed"), "it was ended while it listened");
    drop(listener);
    job.ends();
    assert_eq!(guest.read("killed"), "kube-apiserver\n");
}

/// kubeadm waits for what a kubelet without an API server would tell a minute later.
#[test]
fn a_kubelet_that_lost_its_api_server_is_restarted_when_the_next_one_answers() {
    let guest = Guest::upgraded();
    guest.program(
        "var/lib/seedbed/upgrades/u/bin/kubeadm",
        "case \"$*\" in *--dry-run) exit ;; esac\ntouch \"$ROOT/waits\"\nuntil [ -e \"$ROOT/runs\" ]; do /bin/sleep 0.1; done\n",
    );
    // On a busy machine whoever looks for it may not have begun to when it goes.
    guest.program("played/grep", "/bin/sleep 0.5\nexec /bin/grep \"$@\"\n");
    let listener = guest.listens();
    let mut job = Running::start(&guest, Job::ControlPlane);
    until("kubeadm was not called", &mut || guest.has("waits"));
    let address = listener.local_addr().unwrap();
    drop(listener);
    until("the API server was not ended", &mut || guest.has("killed"));
    thread::sleep(Duration::from_millis(500));
    assert!(
        !guest.has("runs"),
        "it was restarted while there was no API server"
    );
    let _next = TcpListener::bind(address).unwrap();
    job.ends();
}

/// The next upgrade would be refused until then.
#[test]
fn an_undo_waits_for_the_control_plane_and_does_not_fail_with_it() {
    let guest = Guest::upgraded();
    guest.program(
        "played/kubectl",
        "touch \"$ROOT/waits\"\nuntil [ -e \"$ROOT/given-up\" ]; do /bin/sleep 0.1; done\nexit 1\n",
    );
    let mut job = Running::start(&guest, Job::UndoSnapshot);
    until("nobody waits", &mut || guest.has("waits"));
    thread::sleep(Duration::from_millis(500));
    assert!(job.0.try_wait().unwrap().is_none(), "it has ended");
    guest.put("given-up", "");
    job.ends();
}

/// A job under way, which ends with the test.
struct Running(Child);

impl Running {
    fn start(guest: &Guest, job: Job) -> Self {
        let mut job = guest.command(job, None);
        Self(job.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits until it has ended well.
    fn ends(&mut self) {
        until("the job did not end", &mut || {
            self.0.try_wait().unwrap().is_some()
        });
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.0.kill();
    }
}

fn until(what: &str, is_so: &mut dyn FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

const FLAGS: &str = "var/lib/kubelet/kubeadm-flags.env";

/// A node of the old version whose new programs are there.
fn preloaded(guest: &Guest) {
    const HOME: &str = "var/lib/seedbed/upgrades/u";
    fs::remove_dir_all(guest.0.join(HOME).join("before")).unwrap();
    for program in ["kubeadm", "kubectl", "kubelet"] {
        guest.program(&format!("usr/bin/{program}"), "echo Kubernetes v-old\n");
        guest.program(&format!("{HOME}/bin/{program}"), "echo Kubernetes v-new\n");
    }
    guest.program(&format!("{HOME}/bin/kubelet"), NEW_KUBELET);
    guest.program(&format!("{HOME}/bin/kubeadm"), NEW_KUBEADM);
    guest.put("var/lib/kubelet/config.yaml", "old");
    guest.put(FLAGS, "KUBELET_KUBEADM_ARGS=\"--pod-infra-container-image=r/pause:1 --node-ip=10.0.0.1 --gone-with-the-new\"\n");
}

/// Knows what a newer kubelet knows.
const NEW_KUBELET: &str = r#"for argument in "$@"; do
  case $argument in --node-ip=* | --version) ;; *) echo "unknown flag: $argument" >&2; exit 1 ;; esac
done
echo Kubernetes v-new
"#;
/// As kubeadm does it: what went with its minor version is taken out, and a copy is kept.
const NEW_KUBEADM: &str = r#"case "$*" in
  "upgrade "*" phase kubelet-config "*) echo new >"$ROOT/var/lib/kubelet/config.yaml" ;;
  "upgrade "*" phase post-upgrade "*)
    mkdir -p "$ROOT/etc/kubernetes/tmp/kubeadm-kubelet-env-1"
    sed -i 's/ --gone-with-the-new//' "$ROOT/var/lib/kubelet/kubeadm-flags.env"
    ;;
  *) echo Kubernetes v-new ;;
esac
"#;

#[test]
fn a_kubelet_is_replaced_however_often_that_is_killed_without_the_flags_that_it_does_not_know() {
    let nothing = |_: &Guest| {};
    killed_everywhere(Job::Kubelet, preloaded, nothing, |guest, what| {
        for program in ["kubeadm", "kubectl", "kubelet"] {
            let kept = guest.read(&format!("var/lib/seedbed/upgrades/u/before/{program}"));
            assert!(kept.contains("v-old"), "{what}: {program}: {kept}");
        }
        assert!(guest.read("runs").contains("v-new"), "{what}: it does not run");
        assert_eq!(guest.read("var/lib/kubelet/config.yaml"), "new\n", "{what}");
        assert_eq!(
            guest.read(FLAGS),
            "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1\"\n",
            "{what}"
        );
        let kept = guest.read("var/lib/seedbed/upgrades/u/before/kubeadm-flags.env");
        assert!(
            kept.contains("--pod-infra-container-image=r/pause:1"),
            "{what}: {kept}"
        );
        assert!(!guest.has("etc/kubernetes/tmp/kubeadm-kubelet-env-1"), "{what}");
    });
}

/// The lease of a process that is no more is given back, whoever is alive keeps it.
#[test]
fn with_the_kubelet_of_a_control_plane_only_the_leases_of_the_dead_are_given_back() {
    let name = Command::new("hostname").output().unwrap().stdout;
    let name = String::from_utf8(name).unwrap();
    let name = name.trim();
    for (lease, is_given_back) in [
        (format!("{name}_1 2000-01-01T00:00:00.5Z 7"), true),
        (format!("{name}_1 2999-01-01T00:00:00.5Z 7"), false),
        ("another-1_1 2000-01-01T00:00:00.5Z 7".to_owned(), false),
        (" 2000-01-01T00:00:00.5Z 7".to_owned(), false),
        (String::new(), false),
    ] {
        let guest = Guest::upgraded();
        preloaded(&guest);
        guest.put("lease", &lease);
        guest.succeeds(Job::Kubelet);
        let given_back = guest.read("given-back");
        assert_eq!(
            given_back.contains("patch lease kube-controller-manager")
                && given_back.contains("patch lease kube-scheduler")
                && given_back.contains(r#""value": "7""#),
            is_given_back,
            "{lease}: {given_back}"
        );
        assert!(is_given_back || given_back.is_empty(), "{lease}: {given_back}");
    }
}

#[test]
fn a_kubelet_that_would_not_start_with_its_flags_is_not_put_there() {
    let guest = Guest::upgraded();
    preloaded(&guest);
    guest.put(FLAGS, "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1 --no-such=1\"\n");
    let log = guest.fails(Job::Kubelet);
    assert!(log.contains("unknown flag: --no-such=1"), "{log}");
    assert!(log.contains("does not take the flags in"), "{log}");
    assert!(guest.read("usr/bin/kubelet").contains("v-old"));
    assert!(!guest.has("runs"), "the kubelet was restarted");
}

#[test]
fn a_kubelet_is_put_back_however_often_that_is_killed() {
    let nothing = |_: &Guest| {};
    killed_everywhere(Job::UndoKubelet, nothing, nothing, |guest, what| {
        for program in ["kubeadm", "kubectl", "kubelet"] {
            let text = guest.read(&format!("usr/bin/{program}"));
            assert!(text.contains("v-old"), "{what}: {program}: {text}");
        }
        assert_eq!(guest.read("var/lib/kubelet/config.yaml"), "old", "{what}");
        assert!(
            guest.read("runs").contains("v-old"),
            "{what}: the old one does not run"
        );
    });
}
