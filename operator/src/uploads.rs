//! Transfers of release files to hosts, in the background: one at a time for each volume of each host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{AbortHandle, abortable};
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use seedbed_hypervisor::{Fault, Hypervisor, VolumeFormat};
use seedbed_planner::release::Effect;

use crate::context::{Clock, Randomness, Tasks, jittered};
use crate::triggers::Triggers;
use crate::{effect, source};

/// Pause after the first failed attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A file that should be on a host.
#[derive(Clone)]
pub struct Upload {
    /// Name of the `HypervisorHost`.
    pub host: String,
    /// The host.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Name of the volume to fill.
    pub volume: String,
    /// The file's format.
    pub format: VolumeFormat,
    /// Where the operator reads it: `file://`, `http://` or `https://`.
    pub url: String,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
}

/// How far a transfer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadState {
    /// It is under way.
    Running {
        /// When this attempt began.
        since: Timestamp,
    },
    /// The last attempt failed. Asking again after `retry_at` begins the next one; a changed url or digest begins it at once.
    Failed {
        /// What was found and what to do.
        message: String,
        /// When it failed.
        at: Timestamp,
        /// From when on it may be tried again.
        retry_at: Timestamp,
    },
    /// The volume is on the host, and its digest was found right. Told once: whoever asks again for a volume that it does not
    /// find on the host begins a new transfer.
    Done,
}

/// A transfer ended: a reason to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadTrigger {
    /// Name of the `HypervisorHost`.
    pub host: String,
    /// Name of the volume.
    pub volume: String,
}

/// Transfers of release files to hosts.
pub struct Uploads {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    tasks: Arc<dyn Tasks>,
    limit: Duration,
    entries: Arc<Mutex<HashMap<Key, Transfer>>>,
    triggers: Triggers<UploadTrigger>,
}

/// Host, volume and url: two releases may name one file by different urls, and the failures of one are not the other's.
type Key = (String, String, String);

struct Transfer {
    url: String,
    sha256: String,
    /// Failed attempts in a row.
    failures: u32,
    state: UploadState,
    task: AbortHandle,
}

impl Uploads {
    /// Transfers of at most `limit` each.
    pub fn new(
        clock: Arc<dyn Clock>,
        random: Arc<dyn Randomness>,
        tasks: Arc<dyn Tasks>,
        limit: Duration,
    ) -> Self {
        Self {
            clock,
            random,
            tasks,
            limit,
            entries: Arc::default(),
            triggers: Triggers::default(),
        }
    }

    /// Begins the transfer where none is under way and none waits for its next attempt; how far it has come. Never waits.
    ///
    /// A transfer under way goes on with what it began with, even where url or digest are others by now: it is asked again
    /// when it ends, and the digest decides.
    pub fn ensure(&self, upload: &Upload) -> UploadState {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let of_volume = |(host, volume, _): &Key| *host == upload.host && *volume == upload.volume;
        let under_way = entries
            .iter()
            .find(|(key, transfer)| of_volume(key) && matches!(transfer.state, UploadState::Running { .. }));
        if let Some((_, transfer)) = under_way {
            return transfer.state.clone();
        }
        match entries.entry((upload.host.clone(), upload.volume.clone(), upload.url.clone())) {
            Entry::Vacant(entry) => entry.insert(self.begin(upload, 0)).state.clone(),
            Entry::Occupied(mut entry) => {
                let known = entry.get();
                let changed = known.sha256 != upload.sha256;
                match &known.state {
                    UploadState::Running { .. } => known.state.clone(),
                    UploadState::Done if !changed => {
                        entry.remove();
                        UploadState::Done
                    }
                    UploadState::Failed { retry_at, .. } if !changed && now < *retry_at => {
                        known.state.clone()
                    }
                    UploadState::Failed { .. } | UploadState::Done => {
                        let failures = if changed { 0 } else { known.failures };
                        entry.insert(self.begin(upload, failures));
                        entry.get().state.clone()
                    }
                }
            }
        }
    }

    /// Lets go of all transfers to a host that is deleted.
    pub fn forget(&self, host: &str) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(of, _, _), transfer| {
                let keep = of != host;
                if !keep {
                    transfer.task.abort();
                }
                keep
            });
    }

    /// Transfers that end from now on.
    pub fn triggers(&self) -> BoxStream<'static, UploadTrigger> {
        self.triggers.stream().boxed()
    }

    fn begin(&self, upload: &Upload, failures: u32) -> Transfer {
        let (entries, triggers) = (self.entries.clone(), self.triggers.clone());
        let (clock, limit) = (self.clock.clone(), self.limit);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << failures.min(6))
            .min(LONGEST_PAUSE);
        let pause = jittered(&*self.random, pause);
        let wanted = upload.clone();
        let (work, task) = abortable(async move {
            let result = transfer(&wanted, limit);
            let result = effect::carry_out(&wanted.volume, Effect::Transfer, result).await;
            let key = (wanted.host.clone(), wanted.volume.clone(), wanted.url.clone());
            if let Some(entry) = entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_mut(&key)
            {
                settle(entry, result, clock.now(), pause);
            }
            triggers.send(UploadTrigger {
                host: wanted.host,
                volume: wanted.volume,
            });
        });
        self.tasks.spawn(
            "upload",
            Box::pin(async move {
                // Aborted when the host is forgotten: nobody asks for the result then.
                let _ = work.await;
            }),
        );
        Transfer {
            url: upload.url.clone(),
            sha256: upload.sha256.clone(),
            failures,
            state: UploadState::Running {
                since: self.clock.now(),
            },
            task,
        }
    }
}

async fn transfer(upload: &Upload, limit: Duration) -> Result<(), Fault> {
    let (host, volume) = (&*upload.host, &*upload.volume);
    tracing::info!(host, volume, url = source::shown(&upload.url), "transfer begun");
    let source = source::of(&upload.url).map_err(|error| Fault::Source {
        operation: format!("upload volume {volume}"),
        message: error.to_string(),
    })?;
    upload
        .hypervisor
        .upload_volume(volume, upload.format, source, Some(&upload.sha256), limit)
        .await
}

fn settle(entry: &mut Transfer, result: Result<(), Fault>, now: Timestamp, pause: Duration) {
    match result {
        Ok(()) => {
            tracing::info!(url = source::shown(&entry.url), "transfer done");
            entry.failures = 0;
            entry.state = UploadState::Done;
        }
        Err(fault) => {
            tracing::warn!(url = source::shown(&entry.url), "transfer failed: {fault}");
            entry.failures = entry.failures.saturating_add(1);
            let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
            let retry_at = now.checked_add(pause).unwrap_or(Timestamp::MAX);
            entry.state = UploadState::Failed {
                message: fault.to_string(),
                at: now,
                retry_at,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::TokioTasks;
    use crate::testing::{NoChance, TransferHost, virtual_clock};

    fn uploads() -> Uploads {
        let limit = Duration::from_hours(1);
        Uploads::new(virtual_clock(), Arc::new(NoChance), Arc::new(TokioTasks), limit)
    }

    fn upload(hypervisor: &Arc<TransferHost>) -> Upload {
        Upload {
            host: "local".into(),
            hypervisor: hypervisor.clone(),
            volume: "base-1234.qcow2".into(),
            format: VolumeFormat::Qcow2,
            url: "file:///guest.qcow2".into(),
            sha256: "1234".into(),
        }
    }

    fn refused() -> Fault {
        Fault::Refused {
            operation: "upload volume base-1234.qcow2".into(),
            message: "no space left".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_it_is_asked_one_transfer_runs() {
        let (host, outcomes) = TransferHost::new();
        let (uploads, upload) = (uploads(), upload(&host));
        let mut triggers = uploads.triggers();
        for _ in 0..5 {
            assert!(matches!(uploads.ensure(&upload), UploadState::Running { .. }));
            tokio::task::yield_now().await;
        }
        assert_eq!(host.begun(), 1);
        outcomes.send(Ok(())).unwrap();
        let trigger = triggers.next().await.unwrap();
        assert_eq!(
            trigger,
            UploadTrigger {
                host: "local".into(),
                volume: "base-1234.qcow2".into()
            }
        );
        assert_eq!(uploads.ensure(&upload), UploadState::Done);
        assert_eq!(host.begun(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_transfer_waits_for_its_next_attempt() {
        let (host, outcomes) = TransferHost::new();
        let (uploads, upload) = (uploads(), upload(&host));
        let mut triggers = uploads.triggers();
        uploads.ensure(&upload);
        outcomes.send(Err(refused())).unwrap();
        triggers.next().await.unwrap();
        for _ in 0..5 {
            let state = uploads.ensure(&upload);
            assert!(
                matches!(&state, UploadState::Failed { message, .. } if message.contains("no space left")),
                "{state:?}"
            );
        }
        assert_eq!(host.begun(), 1);
        tokio::time::advance(FIRST_PAUSE + Duration::from_secs(1)).await;
        assert!(matches!(uploads.ensure(&upload), UploadState::Running { .. }));
        outcomes.send(Err(refused())).unwrap();
        triggers.next().await.unwrap();
        tokio::time::advance(FIRST_PAUSE + Duration::from_secs(1)).await;
        assert!(
            matches!(uploads.ensure(&upload), UploadState::Failed { .. }),
            "the second pause is longer"
        );
        assert_eq!(host.begun(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mended_release_is_tried_at_once() {
        let (host, outcomes) = TransferHost::new();
        let (uploads, mut upload) = (uploads(), upload(&host));
        let mut triggers = uploads.triggers();
        uploads.ensure(&upload);
        outcomes.send(Err(refused())).unwrap();
        triggers.next().await.unwrap();
        upload.url = "file:///other.qcow2".into();
        assert!(matches!(uploads.ensure(&upload), UploadState::Running { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn two_releases_that_name_one_file_by_different_urls_do_not_start_each_other_over_and_over() {
        let (host, outcomes) = TransferHost::new();
        let (uploads, one) = (uploads(), upload(&host));
        let other = Upload {
            url: "file:///other.qcow2".into(),
            ..one.clone()
        };
        let mut triggers = uploads.triggers();
        for wanted in [&one, &other] {
            uploads.ensure(wanted);
            outcomes.send(Err(refused())).unwrap();
            triggers.next().await.unwrap();
        }
        for _ in 0..5 {
            assert!(matches!(uploads.ensure(&one), UploadState::Failed { .. }));
            assert!(matches!(uploads.ensure(&other), UploadState::Failed { .. }));
        }
        assert_eq!(host.begun(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_url_that_cannot_be_read_is_a_failure_of_the_source() {
        let (host, _outcomes) = TransferHost::new();
        let (uploads, mut upload) = (uploads(), upload(&host));
        upload.url = "ftp://host/file".into();
        let mut triggers = uploads.triggers();
        uploads.ensure(&upload);
        triggers.next().await.unwrap();
        let state = uploads.ensure(&upload);
        assert!(
            matches!(&state, UploadState::Failed { message, .. } if message.contains("ftp")),
            "{state:?}"
        );
        assert_eq!(host.begun(), 0);
    }
}
