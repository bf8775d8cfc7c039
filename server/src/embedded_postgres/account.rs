//! Whom the private Postgres runs as.
//!
//! Input: this process' user and the cluster's owner. Output: `None` to run as ourselves, or the user that root switches to.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Uid, User};

use crate::embedded_postgres::error::EmbeddedPostgresError;

/// An unprivileged user.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The user for `cluster`, which may not exist yet. An existing one keeps its owner.
    pub fn choose(cluster: &Path) -> Result<Option<Self>, EmbeddedPostgresError> {
        let me = Uid::effective();
        let owner = fs::metadata(cluster).ok().map(|cluster| Self {
            uid: cluster.uid(),
            gid: cluster.gid(),
        });
        match owner {
            Some(owner) if !me.is_root() && owner.uid != me.as_raw() => {
                Err(EmbeddedPostgresError::ForeignCluster {
                    folder: cluster.to_owned(),
                    owner: owner.uid,
                    user: me.as_raw(),
                })
            }
            _ if !me.is_root() => Ok(None),
            Some(owner) if owner.uid != 0 => Ok(Some(owner)),
            _ => ["postgres", "nobody"]
                .iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .map(|user| {
                    Some(Self {
                        uid: user.uid.as_raw(),
                        gid: user.gid.as_raw(),
                    })
                })
                .ok_or(EmbeddedPostgresError::NoAccount),
        }
    }

    /// Whether this user may walk to `folder`. Looks at modes only: an ACL that says otherwise costs nothing but a detour.
    pub fn can_reach(self, folder: &Path) -> bool {
        folder.ancestors().all(|step| {
            fs::metadata(step).is_ok_and(|step| {
                let walk = match () {
                    () if step.uid() == self.uid => 0o100,
                    () if step.gid() == self.gid => 0o010,
                    () => 0o001,
                };
                step.mode() & walk != 0
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_closed_folder_is_out_of_reach_for_others_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("ours");
        let owner = Account {
            uid: Uid::effective().as_raw(),
            gid: u32::MAX - 1,
        };
        let other = Account {
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
        };
        assert!(owner.can_reach(&inner) && !other.can_reach(&inner));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("ours");
        assert!(other.can_reach(&inner));
    }
}
