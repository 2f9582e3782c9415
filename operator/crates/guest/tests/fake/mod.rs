//! A host whose only guest is an agent made of a map of files and a function for its commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seedbed_guest::{Guest, Pause};
use seedbed_hypervisor::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// A command that was run in the guest.
#[derive(Debug, Clone)]
pub struct Ran {
    pub arguments: Vec<String>,
    pub input: Vec<u8>,
}

/// How a command ends: exit code, standard output, standard error, and how often it is still running when asked.
pub struct Ends {
    pub exit_code: i32,
    pub stdout: &'static str,
    pub stderr: &'static str,
    pub looks: u32,
}

/// What the fake guest does and remembers.
#[derive(Default)]
pub struct State {
    pub files: HashMap<String, Vec<u8>>,
    pub ends: HashMap<i64, Ends>,
    pub ran: Vec<Ran>,
    /// Every agent command, by name.
    pub commands: Vec<String>,
    /// Every agent command, as it was sent.
    pub sent: Vec<String>,
    /// Answers that are given instead of the protocol's, by command.
    pub answers: HashMap<String, Result<Value, Fault>>,
    handles: HashMap<i64, (Vec<u8>, usize)>,
    next_handle: i64,
    written: String,
}

impl State {
    /// Handles that were opened and not closed.
    pub fn open_handles(&self) -> usize {
        self.handles.len()
    }
}

/// The fake host.
pub struct FakeHost {
    pub state: Mutex<State>,
    events: broadcast::Sender<HostEvent>,
}

/// Does not wait.
pub struct NoPause;

#[async_trait]
impl Pause for NoPause {
    async fn pause(&self, _: Duration) {}
}

/// A fake guest and the host that shows what was done to it.
pub fn guest() -> (Guest, Arc<FakeHost>) {
    let host = Arc::new(FakeHost {
        state: Mutex::default(),
        events: broadcast::channel(1).0,
    });
    let owner = Owner {
        namespace: "default".to_owned(),
        cluster: "demo".to_owned(),
        cluster_uid: "c".to_owned(),
        machine: Some("m".to_owned()),
        machine_uid: Some("m".to_owned()),
    };
    (
        Guest::new(host.clone(), "default.m", owner, Arc::new(NoPause)),
        host,
    )
}

/// What libvirt says when the agent itself reports an error.
pub fn agent_error(words: &str) -> Fault {
    Fault::Refused {
        operation: "ask the guest agent of default.m".to_owned(),
        message: format!("internal error: unable to execute QEMU agent command: {words}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl State {
    fn answer(&mut self, command: &str, arguments: &Value) -> Result<Value, Fault> {
        if let Some(answer) = self.answers.get(command) {
            return answer.clone();
        }
        let handle = arguments["handle"].as_i64().unwrap_or_default();
        match command {
            "guest-file-open" => {
                let path = text(&arguments["path"]);
                if arguments["mode"] == "w" {
                    self.files.insert(path.clone(), Vec::new());
                    self.written.clone_from(&path);
                }
                let Some(content) = self.files.get(&path) else {
                    return Err(agent_error(&format!(
                        "failed to open file '{path}' (mode: 'r'): No such file or directory"
                    )));
                };
                self.next_handle += 1;
                self.handles.insert(self.next_handle, (content.clone(), 0));
                Ok(json!(self.next_handle))
            }
            "guest-file-seek" => {
                let (content, position) = self.handles.get_mut(&handle).unwrap();
                assert_eq!(arguments["whence"], "end");
                let offset = arguments["offset"].as_i64().unwrap();
                let Some(to) = content.len().checked_add_signed(isize::try_from(offset).unwrap()) else {
                    return Err(agent_error("failed to seek file: Invalid argument"));
                };
                *position = to;
                Ok(json!({"position": to, "eof": false}))
            }
            "guest-file-read" => {
                let (content, position) = self.handles.get_mut(&handle).unwrap();
                let count = usize::try_from(arguments["count"].as_u64().unwrap()).unwrap();
                let end = (*position + count).min(content.len());
                let part = &content[*position..end];
                let answer =
                    json!({"count": part.len(), "buf-b64": STANDARD.encode(part), "eof": part.len() < count});
                *position = end;
                Ok(answer)
            }
            "guest-file-write" => {
                let bytes = STANDARD.decode(text(&arguments["buf-b64"])).unwrap();
                self.files
                    .get_mut(&self.written)
                    .unwrap()
                    .extend_from_slice(&bytes);
                Ok(json!({"count": bytes.len(), "eof": false}))
            }
            "guest-file-close" => {
                self.handles.remove(&handle).unwrap();
                Ok(json!({}))
            }
            "guest-exec" => {
                let list = arguments["arg"].as_array().unwrap();
                self.ran.push(Ran {
                    arguments: list.iter().map(text).collect(),
                    input: STANDARD.decode(text(&arguments["input-data"])).unwrap(),
                });
                Ok(json!({"pid": self.ran.len()}))
            }
            "guest-exec-status" => {
                let ends = self.ends.get_mut(&arguments["pid"].as_i64().unwrap()).unwrap();
                if ends.looks > 0 {
                    ends.looks -= 1;
                    return Ok(json!({"exited": false}));
                }
                Ok(json!({
                    "exited": true, "exitcode": ends.exit_code,
                    "out-data": STANDARD.encode(ends.stdout), "err-data": STANDARD.encode(ends.stderr),
                }))
            }
            other => Err(agent_error(&format!("The command {other} has not been found"))),
        }
    }
}

fn unsupported<T>(operation: &str) -> Result<T, Fault> {
    Err(Fault::Unsupported {
        operation: operation.to_owned(),
    })
}

#[async_trait]
impl Hypervisor for FakeHost {
    async fn agent(&self, domain: &str, _: &Owner, command: &str, _: Duration) -> Result<String, Fault> {
        assert_eq!(domain, "default.m");
        let parsed: Value = serde_json::from_str(command).unwrap();
        let name = text(&parsed["execute"]);
        let mut state = self.state.lock().unwrap();
        state.commands.push(name.clone());
        state.sent.push(command.to_owned());
        let answer = state.answer(&name, &parsed["arguments"])?;
        Ok(json!({ "return": answer }).to_string())
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }

    async fn host(&self) -> Result<HostFacts, Fault> {
        unsupported("host")
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        unsupported("inventory")
    }

    async fn domain(&self, _: &str) -> Result<Option<DomainFacts>, Fault> {
        unsupported("domain")
    }

    async fn network(&self, _: &str) -> Result<Option<NetworkFacts>, Fault> {
        unsupported("network")
    }

    async fn volume(&self, _: &str) -> Result<Option<VolumeFacts>, Fault> {
        unsupported("volume")
    }

    async fn ensure_network(&self, _: &NetworkSpec) -> Result<(), Fault> {
        unsupported("ensure_network")
    }

    async fn reserve_address(&self, _: &str, _: &Owner, _: &Reservation) -> Result<(), Fault> {
        unsupported("reserve_address")
    }

    async fn release_address(&self, _: &str, _: &Owner, _: &str) -> Result<(), Fault> {
        unsupported("release_address")
    }

    async fn delete_network(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("delete_network")
    }

    async fn create_volume(&self, _: &VolumeSpec) -> Result<(), Fault> {
        unsupported("create_volume")
    }

    async fn upload_volume(
        &self,
        _: &str,
        _: VolumeFormat,
        _: Arc<dyn ByteSource>,
        _: Option<&str>,
        _: Duration,
    ) -> Result<(), Fault> {
        unsupported("upload_volume")
    }

    async fn delete_volume(&self, _: &str) -> Result<(), Fault> {
        unsupported("delete_volume")
    }

    async fn define_domain(&self, _: &DomainSpec) -> Result<(), Fault> {
        unsupported("define_domain")
    }

    async fn start_domain(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("start_domain")
    }

    async fn shutdown_domain(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("shutdown_domain")
    }

    async fn destroy_domain(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("destroy_domain")
    }

    async fn undefine_domain(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("undefine_domain")
    }

    async fn disown_domain(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("disown_domain")
    }

    async fn keep_disk(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("keep_disk")
    }

    async fn merge_disk(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("merge_disk")
    }

    async fn revert_disk(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("revert_disk")
    }

    async fn attach_disk(&self, _: &str, _: &Owner, _: &AttachedDisk) -> Result<(), Fault> {
        unsupported("attach_disk")
    }

    async fn detach_disk(&self, _: &str, _: &Owner, _: &str) -> Result<(), Fault> {
        unsupported("detach_disk")
    }

    async fn disown_network(&self, _: &str, _: &Owner) -> Result<(), Fault> {
        unsupported("disown_network")
    }
}
