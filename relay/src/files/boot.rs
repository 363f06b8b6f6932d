//! Who this node is, which boots it had, and under which boot of the system.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::files::layout::{
    create_directory, names_in, parse_boot, sync_directory, write_whole, Layout,
};
use crate::files::FilesError;

/// Where the kernel tells its boot.
const SYSTEM_BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// One start of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// 1, 2, 3 and so on.
    pub number: u32,
    /// Random identity, secret towards clients.
    pub id: u64,
    /// Boot identity of the operating system at that time: another one now means that the
    /// page cache of then is gone.
    pub system: String,
    /// Its directory.
    pub(crate) path: PathBuf,
}

impl Boot {
    /// Reads the boots in a journal, oldest first. A directory without a readable identity
    /// is from a start that died before it wrote anything, and is left out.
    pub(crate) fn list(layout: &Layout) -> Result<Vec<Self>, FilesError> {
        let mut boots = Vec::new();
        for name in names_in(&layout.boots())? {
            let Some((number, id)) = parse_boot(&name) else {
                continue;
            };
            let path = layout.boots().join(&name);
            let Ok(text) = fs::read_to_string(path.join("boot")) else {
                continue;
            };
            let system = text.lines().find_map(|line| line.strip_prefix("system = "));
            let Some(system) = system else {
                let path = path.join("boot");
                return Err(FilesError::Identity {
                    path,
                    what: "the identity of a boot",
                });
            };
            boots.push(Self {
                number,
                id,
                system: system.to_owned(),
                path,
            });
        }
        boots.sort_unstable_by_key(|boot| boot.number);
        Ok(boots)
    }

    /// Makes the next boot's directory.
    pub(crate) fn create(
        layout: &Layout,
        number: u32,
        system: &str,
        shards: u16,
    ) -> Result<Self, FilesError> {
        let id = random_u64()?;
        let path = layout.boot(number, id);
        for shard in 0..shards {
            create_directory(&crate::files::layout::shard_directory(&path, shard))?;
        }
        sync_directory(&path)?;
        sync_directory(&layout.boots())?;
        let text = format!("number = {number}\nshards = {shards}\nsystem = {system}\n");
        write_whole(&path.join("boot"), text.as_bytes(), true)?;
        Ok(Self {
            number,
            id,
            system: system.to_owned(),
            path,
        })
    }
}

/// The boot identity of the operating system.
pub(crate) fn system_boot() -> Result<String, FilesError> {
    let path = Path::new(SYSTEM_BOOT);
    let text = fs::read_to_string(path).map_err(FilesError::access("read", path))?;
    Ok(text.trim().to_owned())
}

/// Takes the journal for this process; the kernel gives it back when the process ends.
pub(crate) fn lock(layout: &Layout) -> Result<File, FilesError> {
    let path = layout.lock();
    let file = File::create(&path).map_err(FilesError::access("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FilesError::Locked {
            path: layout.root().to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(FilesError::access("lock", &path)(error)),
    }
}

/// The node's identity, made at the first start.
pub(crate) fn node_identity(layout: &Layout) -> Result<u128, FilesError> {
    let path = layout.node();
    match fs::read_to_string(&path) {
        Ok(text) => u128::from_str_radix(text.trim(), 16).map_err(|_| FilesError::Identity {
            path,
            what: "the identity of a node",
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = u128::from(random_u64()?) << 64 | u128::from(random_u64()?);
            write_whole(&path, format!("{identity:032x}\n").as_bytes(), true)?;
            Ok(identity)
        }
        Err(error) => Err(FilesError::access("read", &path)(error)),
    }
}

fn random_u64() -> Result<u64, FilesError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0u8; 8];
    let mut file = File::open(path).map_err(FilesError::access("open", path))?;
    file.read_exact(&mut bytes)
        .map_err(FilesError::access("read", path))?;
    Ok(u64::from_le_bytes(bytes))
}
