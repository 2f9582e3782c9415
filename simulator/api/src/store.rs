//! The objects, and what may be done to them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::metadata::{has_finalizers, owners, set, stamp, text, unset};
use crate::watch::Log;
use crate::{Change, Event, Kind, Kinds, Refusal, Selector};

/// An object's place: namespace (empty for kinds without) and name.
type Place = (String, String);

/// Why a write to another version than the latest is not done.
const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Which part of an object a write is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresource {
    /// All but its status, where that is a subresource.
    Main,
    /// Its status.
    Status,
}

/// What has to be so for a deletion, and how it is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object's UID.
    pub uid: Option<String>,
    /// Its resourceVersion.
    pub resource_version: Option<String>,
    /// How long a pod has that runs on a node; left out, as long as its own spec says.
    pub grace_seconds: Option<u64>,
}

/// All objects of a store at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    objects: BTreeMap<Kind, BTreeMap<Place, Value>>,
    revision: u64,
}

/// All objects of an API server.
#[derive(Debug)]
pub struct Store {
    kinds: Kinds,
    objects: BTreeMap<Kind, BTreeMap<Place, Value>>,
    revision: u64,
    made: u64,
    seed: Uuid,
    log: Log,
    /// Whether nothing that happened since garbage was last looked for can have left any.
    is_clean: bool,
}

impl Store {
    /// An empty store. The same seed gives the same UIDs.
    pub fn new(kinds: Kinds, seed: &str) -> Self {
        Self {
            kinds,
            objects: BTreeMap::new(),
            revision: 1,
            made: 0,
            seed: Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes()),
            log: Log::default(),
            is_clean: true,
        }
    }

    /// The kinds that it knows.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The resourceVersion of the latest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All objects as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            objects: self.objects.clone(),
            revision: self.revision,
        }
    }

    /// All objects are as they were then. The resourceVersion goes up by that much from what it was then, and what happened before is
    /// forgotten: who watches has to list anew.
    /// As `etcdutl snapshot restore --bump-revision … --mark-compacted` does it.
    pub fn restore(&mut self, snapshot: &Snapshot, bump: u64) {
        self.objects = snapshot.objects.clone();
        self.revision = self.revision.max(snapshot.revision + bump);
        self.is_clean = false;
        self.compact();
    }

    /// Forgets what happened so far: who watches from an earlier resourceVersion has to list anew.
    pub fn compact(&mut self) {
        self.log.forget(self.revision);
    }

    /// The object of that name.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<&Value, Refusal> {
        self.find(kind, namespace, name)
            .ok_or_else(|| Refusal::not_found(kind, name))
    }

    /// All objects of the kind that are wanted, of one namespace or (where it is empty) of all.
    pub fn list<'a>(
        &'a self,
        kind: &Kind,
        namespace: &'a str,
        selector: &'a Selector,
    ) -> impl Iterator<Item = &'a Value> {
        self.objects
            .get(kind)
            .into_iter()
            .flatten()
            .filter(move |((of, _), object)| {
                (namespace.is_empty() || of == namespace) && selector.matches(object)
            })
            .map(|(_, object)| object)
    }

    /// What happened to objects of the kind after that resourceVersion.
    pub fn since<'a>(
        &'a self,
        kind: &'a Kind,
        revision: u64,
    ) -> Result<impl Iterator<Item = &'a Event>, Refusal> {
        Ok(self.log.since(revision)?.filter(move |event| event.kind == *kind))
    }

    /// Everything that happened after that resourceVersion.
    pub fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Event>, Refusal> {
        self.log.since(revision)
    }

    /// Makes the object.
    pub fn create(
        &mut self,
        kind: &Kind,
        namespace: &str,
        object: Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        self.made += 1;
        let object = self.to_create(kind, namespace, object, now)?;
        Ok(self.put(kind, object))
    }

    /// The object as it would be made. Nothing is stored.
    pub fn to_create(
        &self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if text(&object, "name").is_none_or(str::is_empty) {
            let prefix = text(&object, "generateName").unwrap_or_default();
            if prefix.is_empty() {
                let words = "Required value: name or generateName is required";
                return Err(Refusal::invalid(
                    kind,
                    "",
                    "metadata.name",
                    "FieldValueRequired",
                    words,
                ));
            }
            let name = format!("{prefix}{:05x}", self.made);
            set(&mut object, "name", name.into());
        }
        check_namespace(&object, namespace)?;
        let name = text(&object, "name").unwrap_or_default().to_owned();
        if self.find(kind, namespace, &name).is_some() {
            return Err(Refusal::exists(kind, &name));
        }
        if text(&object, "resourceVersion").is_some_and(|v| !v.is_empty()) {
            return Err(Refusal::internal(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        if kind.has_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        if kind.namespaced {
            set(&mut object, "namespace", namespace.into());
        }
        let uid = Uuid::new_v5(&self.seed, &self.made.to_be_bytes());
        set(&mut object, "uid", uid.to_string().into());
        set(&mut object, "creationTimestamp", stamp(now));
        if kind.has_generation {
            set(&mut object, "generation", 1.into());
        }
        unset(&mut object, "deletionTimestamp");
        check_job(kind, &object)?;
        Ok(object)
    }

    /// Puts the object in the place of the one of its name. Where it names a resourceVersion or a UID, they have to be that one's.
    pub fn replace(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        object: Value,
        part: Subresource,
    ) -> Result<Value, Refusal> {
        check_namespace(&object, namespace)?;
        if let Some(found) = text(&object, "name").filter(|found| *found != name) {
            let message =
                format!("the name of the object ({found}) does not match the name on the URL ({name})");
            return Err(Refusal::bad(message));
        }
        let old = self.get(kind, namespace, name)?.clone();
        let wanted = |field| text(&object, field).filter(|v| !v.is_empty());
        if let Some(uid) = wanted("uid").filter(|uid| Some(*uid) != text(&old, "uid")) {
            let key = format!("/registry/{}/{namespace}/{name}", kind.plural);
            let found = text(&old, "uid").unwrap_or_default();
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
            );
            return Err(Refusal::conflict(kind, name, &why));
        }
        match wanted("resourceVersion") {
            None if kind.is_custom => return Err(Refusal::unversioned(kind, name)),
            Some(version) if Some(version) != text(&old, "resourceVersion") => {
                return Err(Refusal::conflict(kind, name, MODIFIED));
            }
            _ => {}
        }
        self.update(kind, old, object, part)
    }

    /// Changes the object of that name by a JSON merge patch.
    /// See RFC 7386.
    pub fn merge(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        part: Subresource,
    ) -> Result<Value, Refusal> {
        let old = self.get(kind, namespace, name)?.clone();
        let mut object = old.clone();
        json_patch::merge(&mut object, patch);
        // A patch that names a resourceVersion is one to that version only.
        if text(&object, "resourceVersion") != text(&old, "resourceVersion") {
            return Err(Refusal::conflict(kind, name, MODIFIED));
        }
        if let Some(uid) = text(&object, "uid").filter(|uid| Some(*uid) != text(&old, "uid")) {
            let words = format!("Invalid value: \"{uid}\": field is immutable");
            return Err(Refusal::invalid(
                kind,
                name,
                "metadata.uid",
                "FieldValueInvalid",
                &words,
            ));
        }
        self.replace(kind, namespace, name, object, part)
    }

    /// Server-side apply: the object gets these fields, or is made of them. Fields that an earlier apply had and this one has not
    /// stay as they are.
    pub fn apply(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        object: Value,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if self.find(kind, namespace, name).is_some() {
            self.merge(kind, namespace, name, &object, Subresource::Main)
        } else {
            self.create(kind, namespace, object, now)
        }
    }

    /// Asks for the object's deletion. One with finalizers is marked, and goes with the last of them.
    pub fn delete(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        conditions: &Preconditions,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let old = self.get(kind, namespace, name)?.clone();
        for (wanted, field, called, how) in [
            (&conditions.uid, "uid", "UID", "deleted and then recreated"),
            (
                &conditions.resource_version,
                "resourceVersion",
                "ResourceVersion",
                "modified",
            ),
        ] {
            if let Some(wanted) = wanted.as_deref().filter(|w| Some(*w) != text(&old, field)) {
                let found = text(&old, field).unwrap_or_default();
                let why = format!(
                    "the {called} in the precondition ({wanted}) does not match the {called} in record ({found}). The object might have been {how}"
                );
                return Err(Refusal::precondition(kind, name, &why));
            }
        }
        let grace = grace(kind, &old, conditions);
        if grace == 0 && !has_finalizers(&old) {
            return Ok(self.remove(kind, old));
        }
        if text(&old, "deletionTimestamp").is_some() {
            return Ok(old);
        }
        let mut object = old;
        let at = now + SignedDuration::from_secs(i64::try_from(grace).unwrap_or(i64::MAX));
        set(&mut object, "deletionTimestamp", stamp(at));
        set(&mut object, "deletionGracePeriodSeconds", grace.into());
        bump_generation(kind, &mut object);
        Ok(self.put(kind, object))
    }

    /// Deletes one object that has owners and none of them is there any more; whether there was one. The garbage collector of a real
    /// cluster comes some time later, too.
    pub fn collect(&mut self, now: Timestamp) -> bool {
        if self.is_clean {
            return false;
        }
        let garbage = self.objects.iter().find_map(|(kind, objects)| {
            let ((namespace, name), _) = objects.iter().find(|((namespace, _), object)| {
                let owners = owners(object);
                text(object, "deletionTimestamp").is_none()
                    && !owners.is_empty()
                    && !owners.iter().any(|owner| self.has_owner(namespace, *owner))
            })?;
            Some((kind.clone(), namespace.clone(), name.clone()))
        });
        let Some((kind, namespace, name)) = garbage else {
            self.is_clean = true;
            return false;
        };
        self.delete(&kind, &namespace, &name, &Preconditions::default(), now)
            .is_ok()
    }

    fn has_owner(&self, namespace: &str, (version, kind, name, uid): (&str, &str, &str, &str)) -> bool {
        let Some(kind) = self.kinds.named(version, kind) else {
            // Of a kind that is not known here nothing can be said.
            return true;
        };
        let namespace = if kind.namespaced { namespace } else { "" };
        self.find(kind, namespace, name)
            .is_some_and(|owner| text(owner, "uid") == Some(uid))
    }

    fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects
            .get(kind)?
            .get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The old object with what a write to that part of it may change.
    fn update(
        &mut self,
        kind: &Kind,
        old: Value,
        wanted: Value,
        part: Subresource,
    ) -> Result<Value, Refusal> {
        let mut object = match (kind.has_status, part) {
            (true, Subresource::Status) => {
                let mut object = old.clone();
                object["status"] = wanted["status"].clone();
                object
            }
            (true, Subresource::Main) => {
                let mut object = wanted;
                match old.get("status") {
                    Some(status) => object["status"] = status.clone(),
                    None => {
                        if let Some(fields) = object.as_object_mut() {
                            fields.remove("status");
                        }
                    }
                }
                object
            }
            (false, _) => wanted,
        };
        // What no write changes.
        for field in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "resourceVersion",
        ] {
            match old["metadata"].get(field) {
                Some(value) => set(&mut object, field, value.clone()),
                None => unset(&mut object, field),
            }
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        if object == old {
            return Ok(old);
        }
        if text(&object, "deletionTimestamp").is_some() {
            let new = added_finalizers(&old, &object);
            if !new.is_empty() {
                let words = format!(
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    new.iter()
                        .map(|name| format!("{name:?}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                let name = text(&old, "name").unwrap_or_default();
                return Err(Refusal::invalid(
                    kind,
                    name,
                    "metadata.finalizers",
                    "FieldValueForbidden",
                    &words,
                ));
            }
        }
        if part == Subresource::Main && differs(&old, &object) {
            bump_generation(kind, &mut object);
        }
        if text(&object, "deletionTimestamp").is_some() && !has_finalizers(&object) {
            // What is answered is what was asked for; what is told to those who watch is what was there last.
            self.remove(kind, old);
            return Ok(object);
        }
        Ok(self.put(kind, object))
    }

    fn put(&mut self, kind: &Kind, mut object: Value) -> Value {
        self.revision += 1;
        set(&mut object, "resourceVersion", self.revision.to_string().into());
        let before = self
            .objects
            .entry(kind.clone())
            .or_default()
            .insert(place(&object), object.clone());
        let change = if before.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        self.tell(kind, change, before, object.clone());
        object
    }

    fn remove(&mut self, kind: &Kind, mut object: Value) -> Value {
        self.revision += 1;
        let before = self
            .objects
            .get_mut(kind)
            .and_then(|objects| objects.remove(&place(&object)));
        set(&mut object, "resourceVersion", self.revision.to_string().into());
        self.tell(kind, Change::Deleted, before, object.clone());
        object
    }

    fn tell(&mut self, kind: &Kind, change: Change, before: Option<Value>, object: Value) {
        // Only an owner that goes, or one that never was, leaves garbage.
        let same_owners = before
            .as_ref()
            .is_some_and(|before| owners(before) == owners(&object));
        self.is_clean &= change == Change::Modified && same_owners;
        self.log.add(Event {
            revision: self.revision,
            change,
            kind: kind.clone(),
            before,
            object,
        });
    }
}

/// How many seconds the object stays before it goes: pods that a kubelet may be running have some.
fn grace(kind: &Kind, object: &Value, conditions: &Preconditions) -> u64 {
    /// What a pod has that says nothing else.
    const DEFAULT: u64 = 30;
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let may_run = object["spec"]["nodeName"].is_string() && !["Succeeded", "Failed"].contains(&phase);
    if kind.plural != "pods" || !may_run {
        return 0;
    }
    let own = || {
        object["spec"]["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(DEFAULT)
    };
    conditions.grace_seconds.unwrap_or_else(own)
}

fn place(object: &Value) -> Place {
    let of = |field| text(object, field).unwrap_or_default().to_owned();
    (of("namespace"), of("name"))
}

/// Whether anything but metadata and status differs.
fn differs(old: &Value, new: &Value) -> bool {
    let body = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("metadata");
            fields.remove("status");
        }
        object
    };
    body(old) != body(new)
}

/// The rule of Jobs that is broken most often: their pods' own default is another one.
fn check_job(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let policy = &object["spec"]["template"]["spec"]["restartPolicy"];
    if kind.kind != "Job" || matches!(policy.as_str(), Some("Never" | "OnFailure")) {
        return Ok(());
    }
    let name = text(object, "name").unwrap_or_default();
    let words = "Required value: valid values: \"OnFailure\", \"Never\"";
    let field = "spec.template.spec.restartPolicy";
    Err(Refusal::invalid(kind, name, field, "FieldValueRequired", words))
}

fn check_namespace(object: &Value, namespace: &str) -> Result<(), Refusal> {
    match text(object, "namespace") {
        Some(found) if !found.is_empty() && found != namespace => Err(Refusal::bad(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => Ok(()),
    }
}

fn added_finalizers<'a>(old: &Value, new: &'a Value) -> Vec<&'a str> {
    let known = old["metadata"]["finalizers"].as_array();
    let all = new["metadata"]["finalizers"].as_array().into_iter().flatten();
    all.filter(|name| !known.is_some_and(|known| known.contains(name)))
        .filter_map(Value::as_str)
        .collect()
}

fn bump_generation(kind: &Kind, object: &mut Value) {
    if !kind.has_generation {
        return;
    }
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
    set(object, "generation", json!(generation));
}
