//! Which instance has which ports and addresses: a list in the folder of the instances, one writer at a time.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command,
    error::{Error, Result},
    files,
    instance::{PORTS_OF_A_SLOT, first_port, range_number},
};

/// How many instances a machine can have: the address ranges run from 10.64.0.0/16 to 10.127.0.0/16.
const SLOTS: u8 = 64;

/// The list, locked.
pub(crate) struct Slots {
    path: PathBuf,
    taken: BTreeMap<String, u8>,
    _lock: File,
}

impl Slots {
    /// Opens the list and keeps others away from it until the result is dropped.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        // The folder itself is locked: no file is left over for it. The last instance's `down` removes it.
        let lock = loop {
            files::create_folder(root)?;
            let folder = File::open(root).map_err(Error::file("open", root))?;
            folder.lock().map_err(Error::file("lock", root))?;
            if files::is_at(&folder, root) {
                break folder;
            }
        };
        let path = root.join(".slots.json");
        let taken = files::read_json(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            taken,
            _lock: lock,
        })
    }

    /// The instance's slot, or else the first that nobody has and whose ports and addresses nothing on the machine uses.
    pub(crate) fn take(self, instance: &str) -> Result<u8> {
        let ranges = ranges_in_use()?;
        self.take_where(instance, |slot| {
            ports_are_free(slot) && !ranges.contains(&range_number(slot))
        })
    }

    fn take_where(mut self, instance: &str, usable: impl Fn(u8) -> bool) -> Result<u8> {
        if let Some(slot) = self.taken.get(instance) {
            return Ok(*slot);
        }
        let taken: Vec<_> = self.taken.values().copied().collect();
        let Some(slot) = (0..SLOTS).find(|slot| !taken.contains(slot) && usable(*slot)) else {
            return Err(Error::unexpected(
                "the ports and address ranges of this machine",
                format!("{} instances and nothing free besides", taken.len()),
                format!(
                    "a free one of {SLOTS}: stop instances that are not needed (see {})",
                    self.path.display()
                ),
            ));
        };
        self.taken.insert(instance.to_owned(), slot);
        files::write_json(&self.path, &self.taken)?;
        Ok(slot)
    }

    /// Gives the instance's slot back.
    pub(crate) fn give_back(mut self, instance: &str) -> Result<()> {
        self.taken.remove(instance);
        if self.taken.is_empty() {
            return files::remove(&self.path);
        }
        files::write_json(&self.path, &self.taken).map(drop)
    }
}

fn ports_are_free(slot: u8) -> bool {
    let first = first_port(slot);
    (first..first + PORTS_OF_A_SLOT).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// Second numbers of the ranges 10.x.0.0/16 in which this machine has routes.
fn ranges_in_use() -> Result<Vec<u8>> {
    let text = command::run(
        "list the machine's routes",
        Command::new("ip").args(["-4", "-json", "route"]),
    )?;
    let routes: Vec<serde_json::Value> = serde_json::from_str(&text)
        .map_err(|error| Error::unexpected("`ip -json route`", error.to_string(), "a JSON list"))?;
    Ok(routes
        .iter()
        .filter_map(|route| route["dst"].as_str())
        .flat_map(numbers_of)
        .collect())
}

/// The second numbers that a destination such as `10.64.3.0/24` or `10.0.0.0/8` covers.
fn numbers_of(destination: &str) -> Vec<u8> {
    let (address, length) = destination.split_once('/').unwrap_or((destination, "32"));
    let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return Vec::new();
    };
    let [10, second, ..] = address.octets() else {
        return Vec::new();
    };
    let size = 1_u16 << 16_u32.saturating_sub(length).min(8);
    (u16::from(second)..u16::from(second).saturating_add(size))
        .filter_map(|number| u8::try_from(number).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder;

    fn take(root: &Path, name: &str) -> u8 {
        Slots::open(root).unwrap().take_where(name, |_| true).unwrap()
    }

    #[test]
    fn a_slot_is_kept_until_it_is_given_back() {
        let root = folder("slots");
        assert_eq!([take(&root, "a"), take(&root, "b"), take(&root, "a")], [0, 1, 0]);
        Slots::open(&root).unwrap().give_back("a").unwrap();
        assert_eq!([take(&root, "c"), take(&root, "b")], [0, 1]);
        for name in ["b", "c"] {
            Slots::open(&root).unwrap().give_back(name).unwrap();
        }
        assert!(
            std::fs::read_dir(&*root).unwrap().next().is_none(),
            "nothing stays of it"
        );
    }

    #[test]
    fn what_the_machine_uses_is_left_out() {
        let root = folder("slots-used");
        let slot = Slots::open(&root)
            .unwrap()
            .take_where("a", |slot| slot > 2)
            .unwrap();
        assert_eq!(slot, 3);
        let error = Slots::open(&root)
            .unwrap()
            .take_where("b", |_| false)
            .unwrap_err();
        assert!(error.to_string().contains("stop instances"), "{error}");
    }

    #[test]
    fn at_once_from_many_sides_nobody_gets_the_same() {
        let root = folder("slots-many");
        let mut taken: Vec<_> = std::thread::scope(|scope| {
            let root = &root;
            let threads: Vec<_> = (0..8)
                .map(|n| scope.spawn(move || take(root, &format!("i{n}"))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..8).collect::<Vec<u8>>());
    }

    #[test]
    fn routes_cover_ranges() {
        assert_eq!(numbers_of("10.64.3.0/24"), [64]);
        assert_eq!(numbers_of("10.64.0.0/14"), [64, 65, 66, 67]);
        assert_eq!(numbers_of("10.0.0.0/8").len(), 256);
        assert!(numbers_of("default").is_empty());
        assert!(numbers_of("192.168.0.0/16").is_empty());
    }
}
