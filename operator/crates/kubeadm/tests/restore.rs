//! The jobs that put a control plane back, or restore it, run by bash in a folder that stands for a guest: with its programs, where they do not exist
//! here, played by a few lines, and killed before every command that changes something.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// A component runs as long as its manifest is there.
const CTR: &str = r#"case "$*" in
  *"images ls -q") cat "$ROOT/images" ;;
  *"tasks ls") for file in "$ROOT"/etc/kubernetes/manifests/*.yaml; do [ -e "$file" ] && echo "$(basename "$file" .yaml) 1 RUNNING"; done; exit 0 ;;
  *"containers ls -q"*) for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do [[ $* == *"==$name,"* ]] && echo "$name"; done; exit 0 ;;
  *) exit 1 ;;
esac
"#;
const ETCDUTL: &str = r#"[ "$1 $2" = "snapshot restore" ] || exit 1
[[ $* == *" --bump-revision 1000000000 --mark-compacted --name demo-cp-0 --initial-cluster demo-cp-0=https://10.0.0.1:2380 --initial-advertise-peer-urls https://10.0.0.1:2380" ]] || exit 1
mkdir -p "$5/member"
head -c -32 "$3" >"$5/member/db"
"#;
/// Nobody takes its data away from an etcd that runs. It is noted where a component is put beside an API server that nobody saw answer,
/// and where an API server is put beside a newer component.
const MV: &str = r#"if [[ $* == *"/etcd/member"* ]] && [ -e "$ROOT/etc/kubernetes/manifests/etcd.yaml" ]; then touch "$ROOT/violated"; fi
case "${@: -1}" in
  */kube-controller-manager.yaml | */kube-scheduler.yaml) [ -e "$ROOT/asked" ] || touch "$ROOT/early" ;;
  */kube-apiserver.yaml) if grep -q :new "$ROOT"/etc/kubernetes/manifests/kube-[cs]*.yaml 2>/dev/null; then touch "$ROOT/newer"; fi ;;
esac
exec /bin/mv "$@"
"#;
const SYSTEMCTL: &str = r#"case "$*" in
  "restart kubelet") cat "$ROOT/usr/bin/kubelet" >"$ROOT/runs" ;;
  "show kubelet"*) echo 7 ;;
esac
"#;
/// The API server is what its manifest says.
const KUBECTL: &str = r#"case "$*" in
  "get --raw=/version"*)
    version=$(sed -n 's/^ *image: .*://p' "$ROOT/etc/kubernetes/manifests/kube-apiserver.yaml")
    if [ "$version" = old ]; then touch "$ROOT/asked"; fi
    echo "{\"gitVersion\": \"v-$version\"}"
    ;;
  *"replace -f "*) cp "${@: -1}" "$ROOT/configuration" ;;
esac
"#;
/// Between two commands that change something all is as it was.
const TRAP: &str = r"trap 'case $BASH_COMMAND in mv*|mkdir*|touch*|cp*|rm*|install*|systemctl*|sync*|*etcdutl*) ((left-- > 0)) || kill -KILL $$ ;; esac' DEBUG
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

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// Runs the job, killed before the command of that number of those that change something.
    fn run(&self, job: Job, killed_at: Option<u32>) -> Output {
        let input = Input {
            job,
            token: "t".into(),
            upgrade: "u".into(),
            from: "v-old".into(),
            to: "v-new".into(),
            emulated: None,
            stop: Vec::new(),
            configuration: None,
        };
        let mut script = render(&input).unwrap().script;
        for folder in ["/var/lib/", "/etc/kubernetes", "/etc/seedbed", "/usr/bin/"] {
            script = script.replace(folder, &format!("{}{folder}", self.0.display()));
        }
        if let Some(number) = killed_at {
            let trap = format!("set -T\nleft={number}\n{TRAP}");
            script = trap + &script;
        }
        let path = std::env::var("PATH").unwrap();
        let played = |folder: &Path| format!("{0}/played:{0}/usr/bin:{path}", folder.display());
        Command::new("bash")
            .args(["-c", &script])
            .env("ROOT", &self.0)
            .env("PATH", played(&self.0))
            .output()
            .unwrap()
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
        assert!(!guest.has("newer"), "{what}: a component was newer");
        assert!(
            !guest.has("early"),
            "{what}: a component was there before the API server answered"
        );
    });
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
