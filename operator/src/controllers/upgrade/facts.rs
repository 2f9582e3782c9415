//! Reads what a guest says of itself: the lines that `seedbed_kubeadm::upgrade::FACTS` writes.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{
    Certificate, ControlPlaneFacts, EtcdFacts, Filesystem, GuestFacts, Use,
};
use serde::Deserialize;
use x509_parser::pem::Pem;

/// Where kubeadm has etcd answer probes.
const ETCD: &str = "http://127.0.0.1:2381";

/// The facts; what is missing or wrong, where the text does not hold them.
pub fn read(text: &str) -> Result<GuestFacts, String> {
    let of = |key: &str| -> Vec<&str> {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        lines.collect()
    };
    let one = |key: &str| of(key).first().copied();
    let number = |key: &str| {
        let found = one(key).ok_or(format!("it has no line {key:?}"))?;
        found
            .parse::<u64>()
            .map_err(|_| format!("{key} {found:?} is no number"))
    };
    let control_plane = if one("etcd data").is_some() {
        Some(ControlPlaneFacts {
            certificates: of("certificate")
                .into_iter()
                .map(certificate)
                .collect::<Result<_, _>>()?,
            etcd: EtcdFacts {
                health: one("etcd health").map_or_else(|| silent("/health"), health),
                data: number("etcd data")?,
                database: metric(&of("etcd metric"), "etcd_mvcc_db_total_size_in_bytes"),
                quota: metric(&of("etcd metric"), "etcd_server_quota_backend_bytes"),
            },
        })
    } else {
        None
    };
    Ok(GuestFacts {
        available_memory: number("memory")?.saturating_mul(1024),
        filesystems: filesystems(&of("disk"))?,
        control_plane,
    })
}

fn silent<T>(path: &str) -> Observed<T> {
    Observed::Unknown(format!("{ETCD}{path} did not answer in its guest"))
}

/// Lines `USE SIZE AVAILABLE MOUNT`: one for each use, of which several may be on one file system.
fn filesystems(lines: &[&str]) -> Result<Vec<Filesystem>, String> {
    let mut found = BTreeMap::new();
    let mut uses = BTreeSet::new();
    for line in lines {
        let wrong = || format!("no file system: {line:?}");
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().ok_or_else(wrong);
        let what = match next()? {
            "images" => Use::Images,
            "kept" => Use::Kept,
            "backups" => Use::Backups,
            _ => return Err(wrong()),
        };
        let size = next()?.parse().map_err(|_| wrong())?;
        let available = next()?.parse().map_err(|_| wrong())?;
        let mount = next()?.to_owned();
        uses.insert(what);
        let filesystem = found.entry(mount.clone()).or_insert(Filesystem {
            mount,
            size,
            available,
            uses: BTreeSet::new(),
        });
        filesystem.uses.insert(what);
    }
    if uses.len() < 3 {
        return Err(format!("it tells of the disks of {uses:?} alone"));
    }
    Ok(found.into_values().collect())
}

/// A line `FILE PEM`, the PEM as base64. Where there are several in a file, the first to expire counts.
fn certificate(line: &str) -> Result<Certificate, String> {
    let (file, encoded) = line.split_once(' ').ok_or(format!("no certificate: {line:?}"))?;
    let wrong = |why: String| format!("{file} is no certificate: {why}");
    let pem = STANDARD
        .decode(encoded.trim())
        .map_err(|error| wrong(error.to_string()))?;
    let mut first: Option<Certificate> = None;
    for block in Pem::iter_from_buffer(&pem) {
        let block = block.map_err(|error| wrong(error.to_string()))?;
        let certificate = block.parse_x509().map_err(|error| wrong(error.to_string()))?;
        let ends = certificate.validity().not_after.timestamp();
        let not_after = Timestamp::from_second(ends).map_err(|error| wrong(error.to_string()))?;
        if first.as_ref().is_none_or(|first| not_after < first.not_after) {
            first = Some(Certificate {
                file: file.to_owned(),
                is_authority: certificate.is_ca(),
                not_after,
            });
        }
    }
    first.ok_or_else(|| wrong("it has no PEM block".to_owned()))
}

/// What etcd's `/health` answers: <https://etcd.io/docs/v3.6/op-guide/monitoring/#health-check>.
#[derive(Deserialize)]
struct Health {
    health: String,
    #[serde(default)]
    reason: String,
}

fn health(text: &str) -> Observed<Result<(), String>> {
    match serde_json::from_str::<Health>(text) {
        Ok(answer) if answer.health == "true" => Observed::Known(Ok(())),
        Ok(answer) => Observed::Known(Err(answer.reason)),
        Err(_) => Observed::Unknown(format!("{ETCD}/health answers {text:?} in its guest")),
    }
}

/// A line `NAME VALUE` of a number in Prometheus' text format, such as `2.147483648e+09`.
fn metric(lines: &[&str], name: &str) -> Observed<u64> {
    let value = lines
        .iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let Some(value) = value else {
        return silent("/metrics");
    };
    match value.trim().parse::<f64>() {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bytes, far below 2^53"
        )]
        Ok(bytes) if bytes.is_finite() && bytes >= 0.0 => Observed::Known(bytes as u64),
        _ => Observed::Unknown(format!("{name} is {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    /// What the script wrote in a control plane, its certificates but two left out.
    const CONTROL_PLANE: &str = include_str!("facts.txt");

    #[test]
    fn what_a_control_plane_says_is_read() {
        let facts = read(CONTROL_PLANE).unwrap();
        assert_eq!(facts.available_memory, 1_180_216 * 1024);
        assert_eq!(
            facts.filesystems,
            [Filesystem {
                mount: "/".into(),
                size: 20_957_446_144,
                available: 14_163_091_968,
                uses: [Use::Images, Use::Kept, Use::Backups].into(),
            }]
        );
        let control_plane = facts.control_plane.unwrap();
        let told: Vec<_> = control_plane
            .certificates
            .iter()
            .map(|c| (c.file.as_str(), c.is_authority, c.not_after.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "/etc/kubernetes/pki/apiserver.crt",
                    false,
                    "2027-07-01T12:00:00Z".to_owned()
                ),
                (
                    "/etc/kubernetes/pki/ca.crt",
                    true,
                    "2036-07-01T12:00:00Z".to_owned()
                ),
                (
                    "/etc/kubernetes/admin.conf",
                    false,
                    "2027-07-01T12:00:00Z".to_owned()
                ),
            ]
        );
        let etcd = EtcdFacts {
            health: Observed::Known(Ok(())),
            data: 233_013_248,
            database: Observed::Known(20_971_520),
            quota: Observed::Known(2_147_483_648),
        };
        assert_eq!(control_plane.etcd, etcd);
    }

    /// The script itself, asking one that answers as etcd does: without a line break at the end of what it says of its health.
    #[test]
    fn what_etcd_answers_is_read() {
        let etcd = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = etcd.local_addr().unwrap().port();
        let answers = std::thread::spawn(move || {
            for body in [
                r#"{"health":"true","reason":""}"#,
                "etcd_mvcc_db_total_size_in_bytes 1.196032e+06\n",
            ] {
                let (mut asked, _) = etcd.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&asked).read_line(&mut line).unwrap();
                write!(asked, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
            }
        });
        let script = seedbed_kubeadm::upgrade::FACTS;
        let asking = script.find("get() {").unwrap();
        let script = script[asking..].replace("127.0.0.1/2381", &format!("127.0.0.1/{port}"));
        let said = Command::new("bash").args(["-c", &script]).output().unwrap();
        answers.join().unwrap();
        let text = format!(
            "memory 1\ndisk images 9 8 /\ndisk kept 9 8 /\ndisk backups 9 8 /\netcd data 5\n{}",
            String::from_utf8(said.stdout).unwrap()
        );
        let etcd = read(&text).unwrap().control_plane.unwrap().etcd;
        assert_eq!(etcd.health, Observed::Known(Ok(())));
        assert_eq!(etcd.database, Observed::Known(1_196_032));
    }

    #[test]
    fn a_worker_has_memory_and_disks_alone() {
        let text = "memory 100\ndisk images 9 8 /images\ndisk kept 7 6 /\ndisk backups 7 6 /\n";
        let facts = read(text).unwrap();
        let mounts: Vec<_> = facts
            .filesystems
            .iter()
            .map(|f| (f.mount.as_str(), f.available, f.uses.len()))
            .collect();
        assert_eq!(mounts, [("/", 6, 2), ("/images", 8, 1)]);
        assert_eq!(facts.control_plane, None);
    }

    #[test]
    fn an_alarm_is_read_and_an_etcd_that_is_silent_is_not_well() {
        let line = CONTROL_PLANE
            .lines()
            .find(|line| line.starts_with("etcd health"))
            .unwrap();
        let with = |other: &str| {
            read(&CONTROL_PLANE.replace(line, other))
                .unwrap()
                .control_plane
                .unwrap()
        };
        let alarm = with("etcd health {\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}");
        assert_eq!(
            alarm.etcd.health,
            Observed::Known(Err("ALARM NOSPACE".to_owned()))
        );
        for other in ["", "etcd health <html>"] {
            assert!(matches!(with(other).etcd.health, Observed::Unknown(_)), "{other}");
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        for (text, part) in [
            ("", "no line \"memory\""),
            ("memory x\n", "is no number"),
            ("memory 1\ndisk images 9 8 /\n", "{Images} alone"),
            ("memory 1\ndisk images 9 /\n", "no file system"),
            (
                "memory 1\netcd data 5\ncertificate /a.crt YQ==\n",
                "/a.crt is no certificate",
            ),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
